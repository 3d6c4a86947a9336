"""IBM's own SDK with a placeholder, through proxyd, to doubles of IAM and of the resource controller."""

import pytest

from tests.catalogue.lab.issuer import asking
from tests.catalogue.lab.proxied import PLACEHOLDER, loopback
from tests.catalogue.lab.vendor import Answer

CLIENTS = ("ibm-platform-services",)
AGAINST = "double"
HOST = "resource-controller.cloud.ibm.com"
API_KEY = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
TOKEN = "eyJraWQiOiJBQUFBIn0.eyJpYW1faWQiOiJJQk1pZCJ9.AAAA"


def check(asked):
    """IAM takes the API key in a form; services take the token that it gave, as a bearer."""
    if asked.path == "/identity/token":
        form = asked.form()
        grant = form.get("grant_type") == "urn:ibm:params:oauth:grant-type:apikey"
        return "" if grant and form.get("apikey") == API_KEY else "Provided API key could not be found."
    return "" if asked.value("authorization") == f"Bearer {TOKEN}" else "The token is invalid"


def answers(asked):
    match asked.method, asked.path:
        case "POST", "/identity/token":
            return Answer(200, {"access_token": TOKEN, "token_type": "Bearer", "expires_in": 3600})
        case "GET", "/v2/resource_groups":
            return Answer(200, {"resources": [{"id": "g1", "name": "Default"}]})
    return Answer(404, {"errors": [{"code": "not_found", "message": "not here"}]})


def refuse(why):
    return Answer(400, {"errorCode": "BXNIM0415E", "errorMessage": why})


@pytest.mark.parametrize("api_key", [API_KEY, "B" * 44], ids=["right", "wrong"])
def test_the_sdk_works_with_a_placeholder(pki_of, vendor, proxied, tmp_path, api_key):
    from ibm_cloud_sdk_core import ApiException
    from ibm_cloud_sdk_core.authenticators import BearerTokenAuthenticator
    from ibm_platform_services import ResourceManagerV2

    pki = pki_of(HOST, "localhost")
    double = vendor(pki, check, answers, refuse)
    service = {"secret": {"api_key": "i/key"}, **loopback(double.port)}
    catalogue = [asking("ibm", double.port, tmp_path)]
    proxied(pki, {"ibm": service}, {"i/key": api_key}, catalogue=catalogue)
    client = ResourceManagerV2(BearerTokenAuthenticator(PLACEHOLDER))
    if api_key != API_KEY:
        with pytest.raises(ApiException, match="Status code: 500"):
            client.list_resource_groups()
        return
    groups = client.list_resource_groups().get_result()
    assert groups["resources"][0]["name"] == "Default"
    assert [asked.path for asked in double.asked] == ["/identity/token", "/v2/resource_groups"]
    assert double.refused == []
    assert API_KEY not in str(double.asked[1])
