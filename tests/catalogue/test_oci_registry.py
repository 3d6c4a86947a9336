"""skopeo with placeholders, through proxyd, to Debian's docker-registry with a token service."""

import shutil

import pytest

from tests.catalogue.lab.proxied import PLACEHOLDER, loopback
from tests.catalogue.lab.registry import TokenService, image, registry

CLIENTS = ("skopeo",)
AGAINST = "real: docker-registry (Debian)"
USER, PASSWORD = "ada", "the-password-of-ada"
HOST = "registry.example"

pytestmark = pytest.mark.skipif(
    not (shutil.which("skopeo") and shutil.which("docker-registry")),
    reason="needs the Debian packages skopeo and docker-registry",
)


@pytest.fixture
def start(pki_of, vendor, proxied, stack, tmp_path):
    """Run registry, token service and daemon."""

    def started(password=PASSWORD):
        pki = pki_of(HOST, "localhost", "127.0.0.1")
        service = TokenService(pki, USER, PASSWORD)
        double = vendor(pki, service.check, service.answers)
        port = stack.enter_context(registry(tmp_path, pki, f"https://localhost:{double.port}/token"))
        section = {
            "secret": {"user": "registry/user", "token": "registry/password"},
            "options": {"realm_host": "localhost"},
            **loopback(port, [HOST]),
        }
        secrets = {"registry/user": USER, "registry/password": password}
        return service, double, proxied(pki, {"oci-registry": section}, secrets)

    return started


def skopeo(proxy, *words):
    return proxy.run("skopeo", "--insecure-policy", *words)


CREDENTIALS = f"me:{PLACEHOLDER}"


def test_an_image_is_pushed_listed_mounted_and_pulled(start, tmp_path):
    service, double, proxy = start()
    source = f"oci:{image(tmp_path / 'image')}"
    done = skopeo(proxy, "copy", "--dest-creds", CREDENTIALS, source, f"docker://{HOST}/ada/app:1")
    assert done.returncode == 0, done.stderr
    done = skopeo(proxy, "list-tags", "--creds", CREDENTIALS, f"docker://{HOST}/ada/app")
    assert '"1"' in done.stdout, done.stderr
    done = skopeo(proxy, "copy", "--src-creds", CREDENTIALS, f"docker://{HOST}/ada/app:1", f"dir:{tmp_path / 'copy'}")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "copy" / "manifest.json").is_file()
    assert double.refused == []
    asked = {scope.rpartition(":") for scopes in service.scopes for scope in scopes}
    assert {(name, frozenset(actions.split(","))) for name, _, actions in asked} == {
        ("repository:ada/app", frozenset({"pull"})),
        ("repository:ada/app", frozenset({"pull", "push"})),  # in any order
    }
    before = len(service.scopes)
    for _ in range(3):  # tokens are kept: nobody is asked again
        assert skopeo(proxy, "inspect", "--creds", CREDENTIALS, f"docker://{HOST}/ada/app:1").returncode == 0
    assert len(service.scopes) == before
    said = " ".join(value for asked in double.asked for _, value in asked.headers)
    assert PLACEHOLDER not in said


def test_a_wrong_password_is_said_in_status_and_the_client_gets_the_registrys_answer(start):
    _, double, proxy = start(password="not-the-password")
    done = skopeo(proxy, "inspect", "--creds", CREDENTIALS, f"docker://{HOST}/ada/app:1")
    assert done.returncode != 0
    assert double.refused
    status = proxy.daemon.run("status").stdout
    assert "a token of oci-registry cannot be had: the issuer answered 401" in status
    assert "registry/password" in status
    assert "not-the-password" not in status + done.stdout + done.stderr
