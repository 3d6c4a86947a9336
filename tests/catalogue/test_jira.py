"""The jira library with placeholders, through proxyd, to a double of Jira Cloud."""

import base64

import pytest

from tests.catalogue.lab.proxied import PLACEHOLDER, loopback
from tests.catalogue.lab.vendor import Answer

CLIENTS = ("jira",)
AGAINST = "double"
SITE = "acme.atlassian.net"
EMAIL, TOKEN = "ada@acme.example", "ATATT3xFfGF0AAAAAAAAAAAAAAAA"


def check(asked):
    """Atlassian's rule: Basic of the account's address and an API token."""
    pair = base64.b64encode(f"{EMAIL}:{TOKEN}".encode()).decode()
    return "" if asked.value("authorization") == f"Basic {pair}" and not asked.values("cookie") else "Unauthorized"


def answers(asked):
    match asked.method, asked.path:
        case "GET", "/rest/api/2/serverInfo":
            return Answer(
                200, {"versionNumbers": [1001, 0, 0], "deploymentType": "Cloud", "baseUrl": f"https://{SITE}"}
            )
        case "GET", "/rest/api/2/myself":
            return Answer(200, {"accountId": "1", "emailAddress": EMAIL, "displayName": "Ada"})
        case "GET", "/rest/api/2/issue/ACME-1":
            return Answer(200, {"id": "1", "key": "ACME-1", "fields": {"summary": "broken"}})
        case "POST", "/rest/api/2/issue/ACME-1/comment":
            return Answer(201, {"id": "9", "body": asked.json()["body"]})
    return Answer(404, {"errorMessages": ["not here"]})


def start(pki_of, vendor, proxied, token=TOKEN):
    pki = pki_of(SITE)
    double = vendor(pki, check, answers)
    service = {"secret": {"email": "jira/email", "token": "jira/token"}, **loopback(double.port, [SITE])}
    proxied(pki, {"jira": service}, {"jira/email": EMAIL, "jira/token": token})
    return double


def test_the_sdk_works_with_placeholders(pki_of, vendor, proxied):
    import jira

    double = start(pki_of, vendor, proxied)
    client = jira.JIRA(f"https://{SITE}", basic_auth=("me@example.com", PLACEHOLDER), max_retries=0)
    assert client.myself()["displayName"] == "Ada"
    assert client.issue("ACME-1").fields.summary == "broken"
    assert client.add_comment("ACME-1", "seen").id == "9"
    assert double.refused == []


def test_a_wrong_token_is_refused(pki_of, vendor, proxied):
    import jira

    start(pki_of, vendor, proxied, token="ATATT3x-of-somebody-else")
    with pytest.raises(jira.JIRAError) as caught:
        jira.JIRA(f"https://{SITE}", basic_auth=("me@example.com", PLACEHOLDER), max_retries=0).myself()
    assert caught.value.status_code == 401
