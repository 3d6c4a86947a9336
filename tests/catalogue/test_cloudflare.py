"""The cloudflare library with a placeholder, through proxyd, to a double of Cloudflare."""

import pytest

from tests.catalogue.lab.proxied import PLACEHOLDER, loopback
from tests.catalogue.lab.vendor import Answer

CLIENTS = ("cloudflare",)
AGAINST = "double"
HOST = "api.cloudflare.com"
TOKEN = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"


def check(asked):
    """Cloudflare's rule: a bearer, and no key of the older kind beside it."""
    return "" if asked.value("authorization") == f"Bearer {TOKEN}" and not asked.values("x-auth-key") else "Invalid"


def answers(asked):
    def result(value, **more):
        return Answer(200, {"success": True, "errors": [], "messages": [], "result": value, **more})

    match asked.method, asked.path:
        case "GET", "/client/v4/user/tokens/verify":
            return result({"id": "1", "status": "active"})
        case "GET", "/client/v4/zones":
            page = int(asked.parameter("page") or 1)
            return result(
                [{"id": f"z{page}", "name": f"{page}.example"}] if page < 3 else [], result_info={"page": page}
            )
    return Answer(404, {"success": False, "errors": [{"code": 7003, "message": "not here"}]})


def refuse(why):
    return Answer(401, {"success": False, "errors": [{"code": 10000, "message": why}]})


@pytest.mark.parametrize("token", [TOKEN, "another-token-altogether-00000000"], ids=["right", "wrong"])
def test_the_sdk_works_with_a_placeholder(pki_of, vendor, proxied, token):
    import cloudflare

    pki = pki_of(HOST)
    double = vendor(pki, check, answers, refuse)
    proxied(pki, {"cloudflare": {"secret": {"token": "cf/token"}, **loopback(double.port)}}, {"cf/token": token})
    client = cloudflare.Cloudflare(api_token=PLACEHOLDER, max_retries=0)
    if token != TOKEN:
        with pytest.raises(cloudflare.AuthenticationError):
            client.user.tokens.verify()
        return
    assert client.user.tokens.verify().status == "active"
    assert [zone.name for zone in client.zones.list()] == ["1.example", "2.example"]
    assert double.refused == []
