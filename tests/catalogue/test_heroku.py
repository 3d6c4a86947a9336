"""heroku3 and git with placeholders, through proxyd, to a double of Heroku."""

import base64

from tests.catalogue.lab.proxied import PLACEHOLDER, loopback
from tests.catalogue.lab.vendor import Answer

CLIENTS = ("heroku3", "git")
AGAINST = "double"
HOSTS = ("api.heroku.com", "git.heroku.com")
TOKEN = "HRKU-01234567-89ab-cdef-0123-456789abcdef"


def check(asked):
    """Heroku's rule: a bearer and a version for the API; Basic with the key as the password for git."""
    if asked.host == "git.heroku.com":
        said = base64.b64decode(asked.value("authorization").removeprefix("Basic ")).decode()
        return "" if said.endswith(f":{TOKEN}") else "Invalid credentials"
    if "version=3" not in asked.value("accept"):
        return "Please specify a version along with Heroku's API MIME type"
    return "" if asked.value("authorization") == f"Bearer {TOKEN}" else "Invalid credentials"


def answers(asked):
    limits = {"content-type": "application/json", "ratelimit-remaining": "4499", "request-id": "r-1"}
    match asked.method, asked.path:
        case "GET", "/account":
            account = {"id": "1", "email": "ada@example.com", "name": "Ada", "verified": True}
            return Answer(200, account, limits)
        case "GET", "/account/rate-limits":
            return Answer(200, {"remaining": 4499}, limits)
        case "GET", "/tool.git/info/refs":
            body = "001e# service=git-upload-pack\n0000" + "0000"
            return Answer(200, body, {"content-type": "application/x-git-upload-pack-advertisement"})
    return Answer(404, {"id": "not_found", "message": "not here"}, limits)


def test_the_sdk_and_git_work_with_placeholders(pki_of, vendor, proxied):
    import requests
    from heroku3.api import Heroku

    pki = pki_of(*HOSTS)
    double = vendor(pki, check, answers)
    service = {"secret": {"token": "h/token"}, **loopback(double.port)}
    proxy = proxied(pki, {"heroku": service}, {"h/token": TOKEN})
    client = Heroku(requests.Session())  # from_key would take a session that does not look at the proxy's variables
    client.authenticate(PLACEHOLDER)
    assert client.account().email == "ada@example.com"
    proxy.output("git", "ls-remote", "https://git.heroku.com/tool.git")
    assert double.refused == []
