"""Tokens for a scope, asked for as the distribution project has it."""

import base64
import json
from urllib.parse import parse_qsl, urlsplit

import pytest

from proxyd.core.settings import TokenSource
from proxyd.tokens.challenge import scoped
from proxyd.tokens.client import Answer, Client
from proxyd.tokens.errors import TokenError
from proxyd.tokens.flow import Ask

SOURCE = TokenSource("token:hub", "hub", "challenge", secrets=(("user", "u"), ("token", "t")), realms=("auth.example",))


class Service:
    def __init__(self, status, body):
        self.answer = Answer(status, {}, json.dumps(body).encode())
        self.asked = []

    async def ask(self, url, hosts, **said):
        self.asked.append((url, hosts, said))
        return self.answer


def asking(client, user=b"ada", password=b"s:ecret"):
    return Ask(SOURCE, client, {"user": user, "token": password}.__getitem__)


@pytest.mark.parametrize(
    ("body", "value", "life"),
    [
        ({"token": "a"}, b"a", 60),
        ({"access_token": "b", "expires_in": 300}, b"b", 300),
        ({"token": "a", "access_token": "b", "expires_in": 300}, b"a", 300),
    ],
)
async def test_either_name_of_the_token_is_known_and_a_minute_is_what_is_not_said(body, value, life):
    service = Service(200, body)
    issued = await scoped(asking(service), "https://auth.example/token", "registry", "")
    assert (issued.values, issued.life) == ({"access_token": value}, life)
    ((url, hosts, said),) = service.asked
    assert dict(parse_qsl(urlsplit(url).query)) == {"service": "registry", "client_id": "proxyd"}
    assert hosts == ("auth.example",)
    pair = said["headers"]["authorization"].removeprefix("Basic ")
    assert base64.b64decode(pair) == b"ada:s:ecret"


@pytest.mark.parametrize(
    ("status", "body", "why"),
    [(401, {"details": "incorrect username or password"}, "answered 401"), (200, {}, "no access_token")],
)
async def test_a_refusal_is_said_without_the_services_words(status, body, why):
    with pytest.raises(TokenError, match=why) as caught:
        await scoped(asking(Service(status, body)), "https://auth.example/token", "", "s")
    assert "incorrect" not in str(caught.value)


@pytest.mark.parametrize(("realm", "glue"), [("https://a/t", "?"), ("https://a/t?x=1", "&"), ("https://a/t#f", "?")])
async def test_a_realm_keeps_its_own_query(realm, glue):
    service = Service(200, {"token": "a"})
    await scoped(asking(service), realm, "", "")
    assert service.asked[0][0] == f"{realm.partition('#')[0]}{glue}client_id=proxyd"


async def test_a_user_with_a_colon_is_refused():
    with pytest.raises(TokenError, match="colon"):
        await scoped(asking(Service(200, {}), user=b"a:b"), "https://auth.example/token", "", "")


@pytest.mark.parametrize(
    "realm",
    [
        "https://evil.example/token",
        "https://auth.example.evil.example/token",
        "https://auth.example@evil.example/token",
        "http://auth.example/token",
        "//auth.example/token",
        "no url",
        "https://[auth.example/token",
        "https://auth.example:99999/token",
        "https://auth.example:x/token",
        "https://auth.example\\@evil.example/token",
        "https://evil.example\\@auth.example/token",
        "https://evil.example#@auth.example/token",
        "https://evil.example/ https://auth.example/",
        "https://auth.example%2eevil.example/",
        "https://\N{KELVIN SIGN}/token",
        "",
    ],
)
async def test_the_credential_goes_to_no_other_realm(realm):
    with pytest.raises(TokenError) as caught:
        await scoped(asking(Client()), realm, "", "")
    assert caught.value.is_final
