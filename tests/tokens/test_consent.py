"""Consent by device and by browser, at issuers that keep to the RFCs; time is virtual where a scripted one answers."""

import dataclasses
import itertools
import json
from urllib.parse import parse_qs, urlsplit

import pytest
import trio

from proxyd.core.settings import Consent, TokenSource
from proxyd.tokens.client import Answer, Client
from proxyd.tokens.consent import DEVICE_GRANT, by_browser, by_device
from proxyd.tokens.errors import TokenError
from proxyd.tokens.flow import Ask
from tests.lab.issuer import Issuer

SECRETS = {"s/id": b"the-client", "s/secret": b"the-secret"}


def consent_of(token_url, **more):
    secrets = (("client_id", "s/id"), ("client_secret", "s/secret"))
    source = TokenSource("token:s", "s", "consent", token_url, secrets, (("client_auth", "post"),), ("localhost",))
    return Consent(source, "Vendor", "refresh_token", "s/refresh", is_renewed=True, scope="read offline", **more)


def asking(consent, client):
    return Ask(consent.source, client, lambda field: SECRETS[dict(consent.source.secrets)[field]])


# --- devices --------------------------------------------------------------------------------------


class Scripted:
    """An issuer whose answers are given; tells when it was asked."""

    def __init__(self, device, *polls):
        self.answers = [(200, device), *polls]
        self.asked = []

    async def ask(self, url, hosts, **said):
        self.asked.append((trio.current_time(), url, said["form"]))
        answer = self.answers.pop(0)
        if isinstance(answer, TokenError):
            raise answer
        return Answer(answer[0], {}, json.dumps(answer[1]).encode())


DEVICE = {
    "device_code": "dev-1", "user_code": "WDJB-MJHT", "verification_uri": "https://vendor.example/activate",
    "expires_in": 600, "interval": 3,
}  # fmt: skip
GRANTED = (200, {"access_token": "a", "refresh_token": "the-refresh-token", "scope": "read"})
PENDING, SLOW = (400, {"error": "authorization_pending"}), (400, {"error": "slow_down"})


async def by_script(*polls, **changes):
    client = Scripted({**DEVICE, **changes}, *polls)
    consent = consent_of("https://localhost/token", device_url="https://localhost/device")
    shown = []

    async def show(prompt):
        shown.append(prompt)

    granted = await by_device(asking(consent, client), consent, show)
    return granted, client.asked, shown


async def test_a_code_is_shown_and_its_token_waited_for(autojump_clock):
    granted, asked, [prompt] = await by_script(PENDING, GRANTED)
    assert (granted.value, granted.scope) == (b"the-refresh-token", "read")
    assert "the-refresh-token" not in repr(granted)
    assert (prompt.url, prompt.code, prompt.seconds) == ("https://vendor.example/activate", "WDJB-MJHT", 600)
    (_, url, first), (_, _, poll), _ = asked
    assert url == "https://localhost/device"
    assert first == {"client_id": "the-client", "client_secret": "the-secret", "scope": "read offline"}
    assert (poll["grant_type"], poll["device_code"], poll["client_id"]) == (DEVICE_GRANT, "dev-1", "the-client")


async def test_the_issuers_interval_is_kept_and_slow_down_makes_it_longer(autojump_clock):
    _, asked, _ = await by_script(PENDING, SLOW, PENDING, SLOW, GRANTED)
    times = [when for when, _, _ in asked]
    assert [round(after - before) for before, after in itertools.pairwise(times)] == [3, 3, 8, 8, 13]


async def test_an_issuer_that_is_away_is_asked_ever_more_rarely(autojump_clock):
    away = TokenError("cannot be asked")
    _, asked, _ = await by_script(away, away, GRANTED)
    times = [when for when, _, _ in asked]
    assert [round(after - before) for before, after in itertools.pairwise(times)] == [3, 6, 12]


async def test_githubs_refusal_with_status_200_is_one(autojump_clock):
    granted, _, _ = await by_script((200, {"error": "authorization_pending"}), GRANTED)
    assert granted.value == b"the-refresh-token"


@pytest.mark.parametrize(
    ("poll", "why"),
    [
        ((400, {"error": "access_denied"}), "consent was refused"),
        ((400, {"error": "expired_token"}), "begin again"),
        ((400, {"error": "invalid_client"}), "invalid_client"),
        ((200, {"access_token": "a"}), "no refresh_token; its scope for that may be missing"),
        ((500, {}), "500"),
    ],
)
async def test_what_ends_the_wait_is_said(poll, why, autojump_clock):
    with pytest.raises(TokenError, match=why):
        await by_script(PENDING, poll)


async def test_nobody_who_consents_is_waited_for_as_long_as_the_code_lasts(autojump_clock):
    before = trio.current_time()
    with pytest.raises(TokenError, match="in time"):
        await by_script(*[PENDING] * 20, expires_in=30)
    assert trio.current_time() - before == pytest.approx(30)


@pytest.mark.parametrize(
    "changes",
    [
        {"verification_uri": "file:///etc/passwd"},
        {"verification_uri": "javascript:alert(1)"},
        {"verification_uri": "https://vendor.example/\x1b[2J"},
        {"user_code": "a\x1b[2J"},
        {"device_code": None},
    ],
)
async def test_an_answer_that_cannot_be_shown_is_refused(changes, autojump_clock):
    with pytest.raises(TokenError, match="names no code"):
        await by_script(**changes)


async def test_googles_name_of_the_address_is_known(autojump_clock):
    _, _, [prompt] = await by_script(GRANTED, verification_uri=None, verification_url="https://www.google.com/device")
    assert prompt.url == "https://www.google.com/device"


# --- browsers -------------------------------------------------------------------------------------


@pytest.fixture
def issuer():
    with Issuer() as made:
        yield made


class Browser:
    """Follows the address that is shown, and what that leads to."""

    def __init__(self, **brings):
        self.brings = brings
        self.answers = []
        self.prompt = None

    async def show(self, prompt):
        self.prompt = prompt
        self.nursery.start_soon(self.follow, prompt.url)

    async def follow(self, url):
        import httpx

        async with httpx.AsyncClient(trust_env=False, follow_redirects=False) as client:
            location = (await client.get(url)).headers["location"]
            for brought in self.brings.get("first", ()):
                self.answers.append((await client.get(location.partition("?")[0] + brought)).status_code)
            self.answers.append((await client.get(location)).status_code)


async def browse(lab, browser, told=lambda text: None, **more):
    consent = consent_of(lab.url, authorize_url=lab.authorize_url, **more)
    async with trio.open_nursery() as browser.nursery:
        return await by_browser(asking(consent, Client()), consent, browser.show, told=told)


async def test_a_browser_brings_a_code_which_pkce_binds_to_us(issuer):
    browser = Browser()
    granted = await browse(issuer, browser, parameters=(("access_type", "offline"),))
    assert granted.value.decode() == issuer.refresh
    assert browser.answers == [200]
    query = parse_qs(urlsplit(browser.prompt.url).query)
    assert (query["access_type"], query["scope"], query["client_id"]) == (["offline"], ["read offline"], ["the-client"])
    (redirect,) = query["redirect_uri"]
    assert redirect.startswith("http://127.0.0.1:")
    assert redirect.endswith("/callback")
    form = issuer.asked[-1]
    assert form["grant_type"] == "authorization_code"
    assert form["code_verifier"] not in browser.prompt.url
    assert "the-secret" not in browser.prompt.url


async def test_another_state_is_refused_and_the_right_one_still_counts(issuer):
    told = []
    browser = Browser(first=["?code=stolen&state=other", "?code=stolen", "?state=a&state=b&code=c"])
    granted = await browse(issuer, browser, told.append)
    assert granted.value.decode() == issuer.refresh
    assert browser.answers == [400, 400, 400, 200]
    assert len(told) == 2
    assert issuer.asked[-1]["code"] == "code-0"


async def refused(lab, browser, why, **more):
    with pytest.raises(ExceptionGroup) as caught:
        await browse(lab, browser, **more)
    (error,) = caught.value.exceptions
    assert isinstance(error, TokenError)
    assert why in str(error)
    assert lab.asked == []


async def test_a_callback_of_another_issuer_is_refused(issuer):
    issuer.callback = {"iss": "https://evil.example"}
    await refused(issuer, Browser(), "another issuer", issuer="https://vendor.example")


async def test_a_callback_of_the_issuer_is_taken(issuer):
    issuer.callback = {"iss": "https://vendor.example"}
    assert (await browse(issuer, Browser(), issuer="https://vendor.example")).value


async def test_a_refusal_is_said(issuer):
    issuer.callback = {"error": "access_denied", "code": ""}
    await refused(issuer, Browser(), "consent was refused")


async def test_a_code_is_missing(issuer):
    issuer.callback = {"code": ""}
    await refused(issuer, Browser(), "has no code")


async def test_an_access_token_that_lasts_is_kept_itself(issuer):
    consent = consent_of(issuer.url, authorize_url=issuer.authorize_url)
    lasting = dataclasses.replace(consent, is_renewed=False, stores="token")
    browser = Browser()
    async with trio.open_nursery() as browser.nursery:
        granted = await by_browser(asking(lasting, Client()), lasting, browser.show, told=print)
    assert granted.value == b"access-token-number-1"


async def test_nobody_who_comes_back_is_waited_for_ten_minutes(autojump_clock):
    consent = consent_of("https://localhost/token", authorize_url="https://localhost/authorize")

    async def show(prompt):
        assert prompt.seconds == 600

    with pytest.raises(TokenError, match="in time"):
        await by_browser(asking(consent, Client()), consent, show, told=print)
    assert trio.current_time() >= 600
