"""pyartifactory, pip and npm with placeholders, through proxyd, to a double of Artifactory."""

import base64

import pytest

from tests.catalogue.lab.proxied import PLACEHOLDER, loopback
from tests.catalogue.lab.vendor import Answer

CLIENTS = ("PyArtifactory", "pip")
AGAINST = "double"
HOST = "acme.jfrog.io"
TOKEN = "eyJ2ZXIiOiIyIiwidHlwIjoiSldUIn0.eyJzdWIiOiJqZnJ0In0.AAAA"
WHEEL = "tool-1.0-py3-none-any.whl"


def check(asked):
    """Artifactory's rule: a bearer, or Basic with the token as the password; X-JFrog-Art-Api would be asked first."""
    said = asked.value("authorization")
    basic = said.startswith("Basic ") and base64.b64decode(said[6:]).decode().endswith(f":{TOKEN}")
    strange = asked.values("x-jfrog-art-api") or asked.values("cookie")
    return "" if (said == f"Bearer {TOKEN}" or basic) and not strange else "Bad credentials"


def answers(asked):
    match asked.method, asked.path:
        case "GET", "/artifactory/api/repositories":
            return Answer(
                200,
                [{"key": "pypi", "type": "LOCAL", "packageType": "Pypi", "url": f"https://{HOST}/artifactory/pypi"}],
            )
        case "GET", "/artifactory/api/pypi/pypi/simple/tool/":
            page = f'<a href="../../packages/{WHEEL}">{WHEEL}</a>'
            return Answer(200, f"<!DOCTYPE html><html><body>{page}</body></html>", {"content-type": "text/html"})
        case "GET", path if path == f"/artifactory/api/pypi/pypi/packages/{WHEEL}":
            return Answer(200, wheel(), {"content-type": "application/octet-stream"})
    return Answer(404, {"errors": [{"status": 404, "message": "not here"}]})


def refuse(why):
    return Answer(401, {"errors": [{"status": 401, "message": why}]})


def wheel():
    """Return a wheel without code."""
    import io
    import zipfile

    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        folder = "tool-1.0.dist-info"
        archive.writestr(f"{folder}/METADATA", "Metadata-Version: 2.1\nName: tool\nVersion: 1.0\n")
        archive.writestr(f"{folder}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{folder}/RECORD", "")
    return held.getvalue()


@pytest.fixture
def lab(pki_of, vendor, proxied):
    def make(token):
        pki = pki_of(HOST)
        double = vendor(pki, check, answers, refuse)
        service = {"secret": {"token": "a/token"}, **loopback(double.port, [HOST])}
        return double, proxied(pki, {"artifactory": service}, {"a/token": token})

    return make


@pytest.mark.parametrize("token", [TOKEN, "another-token-000000"], ids=["right", "wrong"])
def test_the_client_works_with_a_placeholder(lab, token):
    import requests
    from pyartifactory import Artifactory

    double, _ = lab(token)
    client = Artifactory(url=f"https://{HOST}/artifactory", auth=("me", PLACEHOLDER), api_version=1)
    if token != TOKEN:
        with pytest.raises(requests.HTTPError, match="401"):
            client.repositories.list()
        return
    assert [one.key for one in client.repositories.list()] == ["pypi"]
    assert double.refused == []


def test_pip_installs_with_a_placeholder(lab, tmp_path):
    import sys

    double, proxy = lab(TOKEN)
    index = f"https://me:{PLACEHOLDER}@{HOST}/artifactory/api/pypi/pypi/simple"
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--cert", proxy.roots, "download", "tool"]
    proxy.output(*pip, "--no-deps", "--no-cache-dir", "--index-url", index, "-d", str(tmp_path / "got"))
    assert (tmp_path / "got" / WHEEL).is_file()
    assert double.refused == []


def test_a_key_of_the_older_kind_in_the_client_is_removed(lab):
    import requests

    double, _ = lab(TOKEN)
    fields = {"X-JFrog-Art-Api": "old", "Cookie": "SESSION=old"}
    assert requests.get(f"https://{HOST}/artifactory/api/repositories", headers=fields, timeout=20).status_code == 200
    assert double.refused == []
