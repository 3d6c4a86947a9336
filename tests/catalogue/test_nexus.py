"""twine and requests with placeholders, through proxyd, to a double of Nexus Repository."""

import base64

import pytest

from tests.catalogue.lab.proxied import PLACEHOLDER, loopback
from tests.catalogue.lab.vendor import Answer
from tests.catalogue.test_artifactory import WHEEL, wheel

CLIENTS = ("twine",)
AGAINST = "double"
HOST = "nexus.corp.example"
USER, PASSWORD = "Kpq3", "p4ss-code-of-a-token-00"


def check(asked):
    """Nexus's rule: Basic; with a session's cookie beside it a write would want the anti-CSRF token."""
    pair = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    strange = asked.values("cookie") or asked.values("nx-anti-csrf-token")
    return "" if asked.value("authorization") == f"Basic {pair}" and not strange else "Unauthorized"


def answers(asked):
    match asked.method, asked.path:
        case "POST", "/repository/pypi-hosted/":
            assert b'name="name"' in asked.body
            return Answer(201)
        case "GET", "/service/rest/v1/repositories":
            return Answer(200, [{"name": "pypi-hosted", "format": "pypi", "type": "hosted"}])
        case "PUT", "/repository/npm-hosted/@acme/tool":
            return Answer(200, {"success": True})
    return Answer(404)


@pytest.fixture
def lab(pki_of, vendor, proxied):
    def make(password):
        pki = pki_of(HOST)
        double = vendor(pki, check, answers)
        service = {"secret": {"user": "n/user", "password": "n/password"}, **loopback(double.port, [HOST])}
        return double, proxied(pki, {"nexus": service}, {"n/user": USER, "n/password": password})

    return make


@pytest.mark.parametrize("password", [PASSWORD, "another-password-00"], ids=["right", "wrong"])
def test_twine_uploads_with_placeholders(lab, tmp_path, password):
    import sys

    double, proxy = lab(password)
    (tmp_path / WHEEL).write_bytes(wheel())
    command = [sys.executable, "-m", "twine", "upload", "--non-interactive", "--disable-progress-bar"]
    command += ["--cert", proxy.roots, "--repository-url", f"https://{HOST}/repository/pypi-hosted/"]
    done = proxy.run(*command, "-u", "me", "-p", PLACEHOLDER, str(tmp_path / WHEEL))
    if password != PASSWORD:
        assert done.returncode == 1
        assert "401" in done.stdout + done.stderr
        return
    assert done.returncode == 0, done.stdout + done.stderr
    assert double.refused == []


def test_leftovers_of_a_browser_are_removed_and_slashes_in_names_stay(lab):
    import requests

    double, _ = lab(PASSWORD)
    fields = {"Cookie": "NXSESSIONID=old; NX-ANTI-CSRF-TOKEN=1", "NX-ANTI-CSRF-TOKEN": "1"}
    listed = requests.get(f"https://{HOST}/service/rest/v1/repositories", headers=fields, timeout=20)
    assert listed.json()[0]["name"] == "pypi-hosted"
    url = f"https://{HOST}/repository/npm-hosted/@acme%2Ftool"
    assert requests.put(url, json={}, headers=fields, timeout=20).json() == {"success": True}
    assert double.asked[-1].target == "/repository/npm-hosted/@acme%2Ftool"
