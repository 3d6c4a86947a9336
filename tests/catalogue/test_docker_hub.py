"""skopeo to Debian's docker-registry in the registry's place, requests to a double of the Hub's API."""

import shutil
from pathlib import Path

import pytest

from proxyd.catalog.shelf import SHIPPED
from tests.catalogue.lab.proxied import PLACEHOLDER, loopback
from tests.catalogue.lab.registry import TokenService, image, registry
from tests.catalogue.lab.vendor import Answer

CLIENTS = ("skopeo", "requests")
AGAINST = "real: docker-registry (Debian); double"
USER, TOKEN = "ada", "dckr_pat_0123456789abcdefghijklmnopq"
JWT = "eyJhbGciOiJub25lIn0.e30.of-ten-minutes"
HUB, REGISTRY = "hub.docker.com", "registry-1.docker.io"
SECRETS = {"hub/user": USER, "hub/token": TOKEN}
SECTION = {"secret": {"user": "hub/user", "token": "hub/token"}}


def definition(folder: Path, port: int) -> str:
    """Write the shipped definition with this machine in place of those that give out tokens; return its path."""
    text = (SHIPPED / "docker-hub.yaml").read_text()
    for vendors, ours in (
        ("url: https://hub.docker.com/v2/auth/token", f"url: https://localhost:{port}/v2/auth/token"),
        ("      hosts: [hub.docker.com]", "      hosts: [localhost]"),
        ("realms: [auth.docker.io]", "realms: [localhost]"),
    ):
        assert text.count(vendors) == 1
        text = text.replace(vendors, ours)
    path = folder / "docker-hub.yaml"
    path.write_text(text)
    return str(path)


@pytest.mark.skipif(
    not (shutil.which("skopeo") and shutil.which("docker-registry")),
    reason="needs the Debian packages skopeo and docker-registry",
)
def test_an_image_is_pushed_and_pulled(pki_of, vendor, proxied, stack, tmp_path):
    pki = pki_of(REGISTRY, "localhost", "127.0.0.1")
    service = TokenService(pki, USER, TOKEN)

    def check(asked):
        return "" if asked.path == "/v2/auth/token" else service.check(asked)

    double = vendor(pki, check, lambda asked: Answer(404) if asked.path == "/v2/auth/token" else service.answers(asked))
    port = stack.enter_context(registry(tmp_path, pki, f"https://localhost:{double.port}/token"))
    own = definition(tmp_path, double.port)
    proxy = proxied(pki, {"docker-hub": {**SECTION, **loopback(port)}}, SECRETS, catalogue=[own])
    credentials = f"me:{PLACEHOLDER}"
    source = f"oci:{image(tmp_path / 'image')}"
    skopeo = ("skopeo", "--insecure-policy")
    proxy.output(*skopeo, "copy", "--dest-creds", credentials, source, "docker://docker.io/ada/app:1")
    proxy.output(
        *skopeo, "copy", "--src-creds", credentials, "docker://docker.io/ada/app:1", f"dir:{tmp_path / 'copy'}"
    )
    assert (tmp_path / "copy" / "manifest.json").is_file()
    assert double.refused == []


def test_the_hubs_api_gets_a_token_of_ten_minutes(pki_of, vendor, proxied, tmp_path):
    import requests

    def check(asked):
        if asked.path == "/v2/auth/token":  # https://docs.docker.com/reference/api/hub/latest/#tag/authentication-api
            return "" if asked.json() == {"identifier": USER, "secret": TOKEN} else "incorrect"
        return "" if asked.value("authorization") == f"Bearer {JWT}" else "Unauthorized"

    def answers(asked):
        if asked.path == "/v2/auth/token":
            return Answer(200, {"access_token": JWT})
        return Answer(200, {"count": 1, "next": None, "results": [{"token_label": "ci"}]})

    pki = pki_of(HUB, "localhost")
    double = vendor(pki, check, answers)
    own = definition(tmp_path, double.port)
    proxied(pki, {"docker-hub": {**SECTION, **loopback(double.port)}}, SECRETS, catalogue=[own])
    headers = {"authorization": f"Bearer {PLACEHOLDER}"}
    answer = requests.get(f"https://{HUB}/v2/access-tokens", headers=headers, timeout=20)
    assert answer.json()["results"] == [{"token_label": "ci"}]
    assert double.refused == []
