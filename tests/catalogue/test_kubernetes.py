"""The kubernetes library with a placeholder, through proxyd, to a double of an API server that streams a watch."""

from tests.catalogue.lab.proxied import PLACEHOLDER, loopback
from tests.catalogue.lab.vendor import Answer

CLIENTS = ("kubernetes",)
AGAINST = "double"
HOST = "cluster.example.com"
TOKEN = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJzeXN0ZW06c2VydmljZWFjY291bnQ6bGFiOmFkYSJ9.c2ln"


def check(asked):
    """The API server's rule: a bearer token, and nobody impersonated."""
    if asked.values("impersonate-user"):
        return "impersonation"
    return "" if asked.value("authorization") == f"Bearer {TOKEN}" else "Unauthorized"


def answers(asked):
    pods = {
        "kind": "PodList", "apiVersion": "v1", "metadata": {"resourceVersion": "1"},
        "items": [{"metadata": {"name": "web-1", "namespace": "lab"}}],
    }  # fmt: skip
    match asked.method, asked.path:
        case "GET", "/api/v1/namespaces/lab/pods":
            return Answer(200, pods)
        case "POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews":
            status = {"userInfo": {"username": "system:serviceaccount:lab:ada"}}
            return Answer(201, {**asked.json(), "status": status})
    return Answer(404, {"kind": "Status", "reason": "NotFound", "code": 404})


def test_the_sdk_works_with_a_placeholder(pki_of, vendor, proxied):
    from kubernetes import client

    pki = pki_of(HOST)
    double = vendor(pki, check, answers)
    service = {"secret": "k/token", **loopback(double.port, [HOST])}
    proxy = proxied(pki, {"kubernetes": service}, {"k/token": TOKEN})
    configuration = client.Configuration(host=f"https://{HOST}")
    configuration.api_key["authorization"] = f"Bearer {PLACEHOLDER}"
    configuration.proxy = proxy.url
    configuration.ssl_ca_cert = proxy.roots
    api = client.ApiClient(configuration)
    api.default_headers["Impersonate-User"] = "admin"
    found = client.CoreV1Api(api).list_namespaced_pod("lab")
    assert [pod.metadata.name for pod in found.items] == ["web-1"]
    review = client.AuthenticationV1Api(api).create_self_subject_review(client.V1SelfSubjectReview())
    assert review.status.user_info.username == "system:serviceaccount:lab:ada"
    assert double.refused == []
