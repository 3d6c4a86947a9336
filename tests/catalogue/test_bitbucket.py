"""atlassian-python-api and git with placeholders, through proxyd, to a double of Bitbucket Cloud."""

import base64

from tests.catalogue.lab.proxied import PLACEHOLDER, loopback
from tests.catalogue.lab.vendor import Answer

CLIENTS = ("atlassian-python-api", "git")
AGAINST = "double"
HOSTS = ("api.bitbucket.org", "bitbucket.org")
TOKEN = "ATCTT3xFfGN0AAAAAAAAAAAAAAAA"


def check(asked):
    """Bitbucket's rule: an access token is a bearer for the API, and the password of x-token-auth for git."""
    if asked.host == "bitbucket.org":
        pair = base64.b64encode(f"x-token-auth:{TOKEN}".encode()).decode()
        return "" if asked.value("authorization") == f"Basic {pair}" else "Unauthorized"
    return "" if asked.value("authorization") == f"Bearer {TOKEN}" else "Unauthorized"


def answers(asked):
    match asked.method, asked.path:
        case "GET", "/2.0/repositories/acme/tool":
            return Answer(200, {"slug": "tool", "name": "tool", "type": "repository"})
        case "GET", "/acme/tool.git/info/refs":
            body = "001e# service=git-upload-pack\n0000" + "0000"
            return Answer(200, body, {"content-type": "application/x-git-upload-pack-advertisement"})
    return Answer(404, {"type": "error", "error": {"message": "not here"}})


def test_the_sdk_and_git_work_with_placeholders(pki_of, vendor, proxied):
    from atlassian.bitbucket import Cloud

    pki = pki_of(*HOSTS)
    double = vendor(pki, check, answers)
    service = {"secret": {"access_token": "bb/token"}, **loopback(double.port)}
    proxy = proxied(pki, {"bitbucket": service}, {"bb/token": TOKEN})
    client = Cloud(token=PLACEHOLDER, cloud=True)
    assert client.get("repositories/acme/tool")["slug"] == "tool"
    proxy.output("git", "ls-remote", "https://bitbucket.org/acme/tool.git")
    assert double.refused == []
