"""python-jenkins with placeholders, through proxyd, to a double of Jenkins that knows of crumbs and sessions."""

import base64

from tests.catalogue.lab.proxied import PLACEHOLDER, loopback
from tests.catalogue.lab.vendor import Answer

CLIENTS = ("python-jenkins",)
AGAINST = "double"
HOST = "jenkins.example.com"
USER, TOKEN = "ada", "11" + "ab" * 16


def check(asked):
    """Jenkins' rule: Basic of user and API token; with a session's cookie a POST would need a crumb."""
    if asked.values("cookie") and asked.method == "POST":
        return "No valid crumb was included in the request"
    pair = base64.b64encode(f"{USER}:{TOKEN}".encode()).decode()
    return "" if asked.value("authorization") == f"Basic {pair}" else "Authentication required"


def answers(asked):
    session = {"set-cookie": "JSESSIONID.x=node0; Path=/; HttpOnly", "x-jenkins": "2.500"}
    match asked.method, asked.path:
        case "GET", "/me/api/json":
            return Answer(200, {"id": USER, "fullName": "Ada"}, session)
        case "GET", "/job/build-tool/api/json":
            return Answer(200, {"name": "build-tool", "buildable": True, "property": []}, session)
        case "POST", "/job/build-tool/build":
            return Answer(201, "", {"location": f"https://{HOST}/queue/item/7/", **session})
        case _, "/crumbIssuer/api/json":
            return Answer(404, "", session)
    return Answer(404, "no such page", session)


def refuse(why):
    return Answer(403, why)


def test_the_sdk_works_with_placeholders_and_needs_no_crumb(pki_of, vendor, proxied):
    import jenkins

    pki = pki_of(HOST)
    double = vendor(pki, check, answers, refuse)
    service = {"secret": {"user": "j/user", "token": "j/token"}, **loopback(double.port, [HOST])}
    proxied(pki, {"jenkins": service}, {"j/user": USER, "j/token": TOKEN})
    client = jenkins.Jenkins(f"https://{HOST}/", username="me", password=PLACEHOLDER)
    assert client.get_whoami()["fullName"] == "Ada"
    assert client.get_job_info("build-tool")["buildable"] is True
    assert client.build_job("build-tool") == 7
    assert double.refused == []
