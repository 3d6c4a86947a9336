import pytest

from proxyd.auth.registry import compile as compile_auth
from proxyd.core.authority import Authority
from proxyd.core.errors import ProxyError
from proxyd.core.exchange import Exchange, Peer
from proxyd.core.limits import PoolLimits
from proxyd.core.message import BytesBody, Request
from proxyd.core.route import Choice, Route
from proxyd.core.service import Auth, AuthPart, BaseUrl, HostPattern, Service, Timeouts
from proxyd.core.snapshot import Snapshot
from proxyd.filters.access import OpenJudge
from proxyd.filters.credential import CredentialFilter

HOST = "api.example"
OWN = (b"authorization", b"Bearer client")


def exchange(headers=(), *, method=b"GET", keep=False, auth=True, nominated=None):
    how = Auth("bearer", (AuthPart("", "api/token"),), keep=keep) if auth else None
    service = Service("api", (HostPattern(HOST),), BaseUrl("https", HOST, 443), auths=(how,) if how else ())
    request = Request(method, b"https", Authority(HOST, 443, False), b"/", list(headers), BytesBody())
    request.nominated = nominated
    made = Exchange(Peer("main", "127.0.0.1"), Snapshot(1, "p", 1000), request, 0.0, "plain")
    made.route = Route(service, Timeouts(), PoolLimits(), OpenJudge())
    if how is not None:
        made.route.choices = (Choice(compile_auth(how), how),)
    return made


class NoTokens:
    def lacks(self, injector):
        return False

    async def first(self, exchange, injector):
        raise AssertionError


def chosen_for(made):
    return CredentialFilter(made.route.choices, NoTokens()).request(made)


@pytest.mark.parametrize(
    ("options", "chosen"),
    [
        ({}, True),
        ({"headers": [OWN]}, True),
        ({"headers": [OWN], "keep": True}, False),
        ({"keep": True}, True),
    ],
)
async def test_the_services_credential_is_chosen_unless_the_client_may_keep_its_own(options, chosen):
    made = exchange(**options)
    chosen_for(made)
    assert made.credential is (made.route.choices[0].injector if chosen else None)


async def test_choosing_leaves_the_request_as_it_is():
    made = exchange([OWN])
    chosen_for(made)
    assert made.request.headers == [OWN]


async def test_a_connection_field_that_names_the_credentials_field_is_refused():
    with pytest.raises(ProxyError) as caught:
        chosen_for(exchange(nominated=frozenset({b"authorization", b"x"})))
    assert caught.value.status == 400
    chosen_for(exchange(nominated=frozenset({b"x"})))


async def test_trace_carries_no_credential_of_anybody():
    made = exchange([OWN, (b"cookie", b"a=b"), (b"accept", b"*/*")], method=b"TRACE", keep=True)
    chosen_for(made)
    assert made.credential is None
    assert made.request.headers == [(b"accept", b"*/*")]


# --- schemes that sign ----------------------------------------------------------------------------


def signed(host, headers=(), method=b"GET", body=b""):
    how = Auth("sigv4", secrets=(("access_key_id", "aws/id"), ("secret_access_key", "aws/key")))
    made = exchange(headers)
    made.request = Request(method, b"https", Authority(host, 443, False), b"/", list(headers), BytesBody(body))
    made.route.choices = (Choice(compile_auth(how), how),)
    return made


@pytest.mark.parametrize(
    ("host", "chosen"),
    [("sqs.eu-west-1.amazonaws.com", True), ("1.dkr.ecr.eu-west-1.amazonaws.com", False)],
)
async def test_a_request_that_takes_no_signature_goes_as_it_comes(host, chosen):
    made = signed(host, [OWN])
    prepared = chosen_for(made)
    assert (prepared is not None) is chosen
    if prepared is not None:
        await prepared
    assert (made.credential is not None) is chosen
    assert made.request.headers == [OWN]


async def test_a_scheme_that_cannot_tell_for_what_to_sign_says_so():
    with pytest.raises(ProxyError, match="for which service and region") as caught:
        await chosen_for(signed("storage.example.com", method=b"POST", body=b"x"))
    assert caught.value.error == "proxy_configuration_error"


@pytest.mark.parametrize("scheme", ["json", "form"])
async def test_a_body_that_takes_the_credential_is_held(scheme):
    how = Auth(scheme, (AuthPart("key", "api/token"),))
    made = exchange(method=b"POST")
    made.request.body = BytesBody(b"{}")
    made.route.choices = (Choice(compile_auth(how), how),)
    await chosen_for(made)
    assert made.credential is made.route.choices[0].injector
    assert made.payload == b"{}"


# --- several credentials, and what is removed -----------------------------------------------------


def choice(**how):
    auth = Auth("bearer", (AuthPart("", "api/token"),), **how)
    return Choice(compile_auth(auth), auth)


@pytest.mark.parametrize(
    ("host", "path", "chosen"),
    [("git.example", b"/x", 0), (HOST, b"/v1/items?x", 1), (HOST, b"/v2", 2), ("other.example", b"/v1", 1)],
)
async def test_the_first_credential_that_applies_is_chosen(host, path, chosen):
    choices = [choice(hosts=(HostPattern("git.example"),)), choice(paths=("/v1",)), choice()]
    made = exchange()
    made.request.authority = Authority(host, 443, False)
    made.request.path = path
    CredentialFilter(choices, NoTokens()).request(made)
    assert made.credential is choices[chosen].injector


async def test_where_none_applies_there_is_no_credential():
    made = exchange()
    CredentialFilter([choice(paths=("/v1",))], NoTokens()).request(made)
    assert made.credential is None


async def test_leftovers_that_contradict_it_are_removed():
    made = exchange([(b"cookie", b"session=1"), (b"sudo", b"root"), (b"accept", b"*/*")])
    made.request.path = b"/a?access_token=mine&x=1"
    CredentialFilter([choice(strip=("Cookie", "sudo"), strip_query=("access_token",))], NoTokens()).request(made)
    assert made.request.headers == [(b"accept", b"*/*")]
    assert made.request.path == b"/a?x=1"


async def test_a_client_that_keeps_its_own_keeps_all_of_it():
    own = [OWN, (b"cookie", b"session=1")]
    made = exchange(own)
    CredentialFilter([choice(keep=True, strip=("cookie",))], NoTokens()).request(made)
    assert made.request.headers == own
