"""npm with a placeholder, through proxyd, to a double of the registry: who am I, publish, view."""

import json

import pytest

from tests.catalogue.lab.proxied import PLACEHOLDER, loopback
from tests.catalogue.lab.vendor import Answer

CLIENTS = ("npm",)
AGAINST = "double"
HOST = ".".join(("registry", "npmjs", "org"))
TOKEN = "npm_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"


def check(asked):
    """The registry's rule: a bearer, where something is not public."""
    return "" if asked.value("authorization") == f"Bearer {TOKEN}" else "Unauthorized"


def answers(asked):
    match asked.method, asked.target.partition("?")[0]:
        case "GET", "/-/whoami":
            return Answer(200, {"username": "ada"})
        case "PUT", "/@lab%2ftool":
            return Answer(201, {"ok": True, "name": asked.json()["name"]})
    return Answer(404, {"error": "Not found"})


@pytest.fixture
def package(tmp_path):
    folder = tmp_path / "package"
    folder.mkdir()
    (folder / "package.json").write_text(json.dumps({"name": "@lab/tool", "version": "1.0.0", "license": "MIT"}))
    return folder


def test_npm_works_with_a_placeholder(pki_of, vendor, proxied, package):
    pki = pki_of(HOST)
    double = vendor(pki, check, answers)
    proxy = proxied(pki, {"npm": {"secret": "npm/token", **loopback(double.port)}}, {"npm/token": TOKEN})
    (proxy.daemon.folder / "home" / ".npmrc").write_text(f"//{HOST}/:_authToken={PLACEHOLDER}\n")
    words = ("--registry", f"https://{HOST}/", "--no-update-notifier", "--no-fund", "--no-audit")
    assert proxy.output("npm", "whoami", *words).strip() == "ada"
    proxy.output("npm", "publish", "--access", "restricted", *words, cwd=package)
    assert double.refused == []
    assert double.asked[-1].target.startswith("/@lab%2f")
