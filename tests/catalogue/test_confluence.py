"""atlassian-python-api with placeholders, through proxyd, to a double of Confluence Cloud."""

import base64

import pytest

from tests.catalogue.lab.proxied import PLACEHOLDER, loopback
from tests.catalogue.lab.vendor import Answer

CLIENTS = ("atlassian-python-api",)
AGAINST = "double"
SITE = "acme.atlassian.net"
EMAIL, TOKEN = "ada@acme.example", "ATATT3xFfGF0AAAAAAAAAAAAAAAA"


def check(asked):
    """Atlassian's rule: Basic of the account's address and an API token."""
    pair = base64.b64encode(f"{EMAIL}:{TOKEN}".encode()).decode()
    return "" if asked.value("authorization") == f"Basic {pair}" else "Unauthorized"


def answers(asked):
    match asked.method, asked.path:
        case "GET", "/wiki/api/v2/pages/7":
            return Answer(200, {"id": "7", "type": "page", "title": "Runbook"})
        case "POST", "/wiki/api/v2/pages":
            return Answer(200, {"id": "8", "title": asked.json()["title"]})
    return Answer(404, {"message": "not here"})


@pytest.mark.filterwarnings("ignore:V1 methods are deprecated")  # said for every client of version 2
def test_the_sdk_works_with_placeholders(pki_of, vendor, proxied):
    from atlassian import ConfluenceV2

    pki = pki_of(SITE)
    double = vendor(pki, check, answers)
    service = {"secret": {"email": "c/email", "token": "c/token"}, **loopback(double.port, [SITE])}
    proxied(pki, {"confluence": service}, {"c/email": EMAIL, "c/token": TOKEN})
    client = ConfluenceV2(url=f"https://{SITE}", username="me@example.com", password=PLACEHOLDER, cloud=True)
    assert client.get_page_by_id("7")["title"] == "Runbook"
    assert client.create_page("1", "New page", "<p>text</p>")["id"] == "8"
    assert double.refused == []
