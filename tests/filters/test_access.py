"""Access: the first rule that matches decides, and no path or method gets past it by another spelling."""

import dataclasses

import pytest

from proxyd.core.access import Access, ProxyUser, Rule
from proxyd.core.exchange import Peer
from proxyd.core.service import BaseUrl, HostPattern, Service
from proxyd.core.snapshot import Listener, ListenerMode
from proxyd.filters.access import OpenJudge, OwnUidJudge, RuleJudge
from tests.lab.plane import open_origin, open_plane, service

TICKETS = Service("tickets", (HostPattern("api.tickets.example"),), BaseUrl("https", "api.tickets.example", 443))
PEER = Peer("apps", "127.0.0.1", 4000, uid=1000, gid=100, user="ann")
EVERY = HostPattern("", None, True)


def decide(
    rules: list[Rule], peer: Peer = PEER, method: bytes = b"GET", path: bytes = b"/v2/x", of: Service | None = TICKETS
) -> bool:
    host, port = ("api.tickets.example", 443) if of is not None else ("other.example", 443)
    return RuleJudge(Access(tuple(rules)), of).decide(peer, host, port, method, path)


def test_without_a_matching_rule_the_default_decides() -> None:
    assert not decide([])
    assert RuleJudge(Access((), True), TICKETS).decide(PEER, "a", 1, b"GET", b"/")


def test_the_first_matching_rule_decides() -> None:
    allow, deny = Rule(True, services=("tickets",)), Rule(False, services=("*",))
    assert decide([allow, deny])
    assert not decide([deny, allow])


def test_rules_about_services_and_rules_about_hosts_are_strangers() -> None:
    everything = Rule(True, hosts=(EVERY,))
    assert not decide([everything])
    assert decide([everything], of=None)
    assert not decide([Rule(True, services=("*",))], of=None)
    assert not decide([Rule(True, services=("others",))])
    neither = Rule(True, uids=(1000,))
    assert decide([neither])
    assert decide([neither], of=None)


@pytest.mark.parametrize(
    ("condition", "fits"),
    [
        ({"methods": ("GET", "POST")}, True),
        ({"methods": ("POST",)}, False),
        ({"methods": ("get",)}, False),
        ({"paths": ("/v2/",)}, True),
        ({"paths": ("/v2",)}, True),
        ({"paths": ("/v",)}, False),
        ({"paths": ("/v1", "/v2/x")}, True),
        ({"uids": (1000,)}, True),
        ({"uids": (0,)}, False),
        ({"gids": (100,)}, True),
        ({"gids": (101,)}, False),
        ({"users": ("ann",)}, True),
        ({"users": ("bob",)}, False),
        ({"cidrs": ("127.0.0.0/8",)}, True),
        ({"cidrs": ("10.0.0.0/8", "::1/128")}, False),
        ({"cidrs": ("127.0.0.0/8",), "users": ("bob",)}, False),
    ],
)
def test_conditions_must_all_hold(condition: dict[str, tuple[object, ...]], fits: bool) -> None:
    assert decide([Rule(True, services=("tickets",), **condition)]) is fits  # type: ignore[arg-type]
    assert decide([Rule(False, services=("tickets",), **condition), Rule(True, services=("*",))]) is not fits  # type: ignore[arg-type]


def test_a_caller_of_unknown_identity_fits_no_rule_that_names_one() -> None:
    unknown = Peer("apps", "127.0.0.1", 4000)
    for condition in ({"uids": (0,)}, {"gids": (0,)}, {"users": ("",)}):
        assert not decide([Rule(True, services=("*",), **condition)], unknown)  # type: ignore[arg-type]


def test_a_mapped_address_is_the_ipv4_address_that_it_stands_for() -> None:
    mapped = dataclasses.replace(PEER, address="::ffff:10.1.2.3")
    assert decide([Rule(True, services=("*",), cidrs=("10.0.0.0/8",))], mapped)
    unix = dataclasses.replace(PEER, address="unix", port=0)
    assert not decide([Rule(True, services=("*",), cidrs=("0.0.0.0/0", "::/0"))], unix)


def test_connect_asks_whether_anything_could_be_allowed_and_whether_all_is() -> None:
    looks = Rule(True, hosts=(EVERY,), methods=("GET",))
    forbids = Rule(False, hosts=(EVERY,), paths=("/admin",))
    blind = Rule(True, hosts=(EVERY,))
    for rules, may, tunnel in (
        ([looks], True, False),
        ([blind], True, True),
        ([forbids, blind], True, False),
        ([looks, blind], True, True),
        ([Rule(False, hosts=(EVERY,)), blind], False, False),
        ([], False, False),
    ):
        judge = RuleJudge(Access(tuple(rules)), None)
        assert judge.may(PEER, "other.example", 443) is may
        assert judge.tunnel(PEER, "other.example", 443) is tunnel


def test_without_rules_services_are_for_the_own_uid_and_hosts_for_all() -> None:
    own = OwnUidJudge(1000)
    for ask in (own.may, own.tunnel):
        assert ask(PEER, "a", 1)
        assert not ask(Peer("apps", "127.0.0.1"), "a", 1)
    assert not own.decide(dataclasses.replace(PEER, uid=0), "a", 1, b"GET", b"/")
    assert OpenJudge().decide(Peer("apps", "127.0.0.1"), "a", 1, b"GET", b"/")


# --- through a live worker ------------------------------------------------------------------------

RULES = Access((Rule(True, services=("plain",), methods=("GET", "POST"), paths=("/v2/",)),))


@pytest.mark.parametrize(
    ("line", "status"),
    [
        (b"GET http://plain.example/v2/x", 200),
        (b"GET http://plain.example/v2?/../admin", 200),
        (b"GET http://plain.example/v2/caf%C3%A9", 200),
        (b"DELETE http://plain.example/v2/x", 403),
        (b"get http://plain.example/v2/x", 403),
        (b"GET http://plain.example/v20", 403),
        (b"GET http://plain.example/admin", 403),
        (b"GET http://plain.example/V2/x", 403),
        (b"GET http://plain.example/v2/../admin", 400),
        (b"GET http://plain.example/v2/%2e%2e/admin", 400),
        (b"GET http://plain.example/v2/.%2E/admin", 400),
        (b"GET http://plain.example/v2/..%2fadmin", 400),
        (b"GET http://plain.example/v2/..%5cadmin", 400),
        (b"GET http://plain.example/v2/..\\admin", 400),
        (b"GET http://plain.example/v2/..;/admin", 400),
        (b"GET http://plain.example/v2/x;a=b", 400),
        (b"GET http://plain.example//v2/x", 400),
        (b"GET http://plain.example/%762/x", 400),
        (b"GET http://plain.example/v2/%252e%252e/admin", 400),
        (b"GET http://plain.example/v2/%00", 400),
        (b"OPTIONS http://plain.example", 403),
    ],
)
async def test_a_path_rule_lets_nothing_past_that_an_origin_reads_otherwise(line: bytes, status: int) -> None:
    async with open_origin() as origin:
        services = (service("plain", "plain.example", "http", origin.port),)
        async with open_plane(services=services, access=RULES) as plane:
            client = await plane.connect()
            await client.send(line + b" HTTP/1.1\r\nHost: plain.example\r\n\r\n")
            assert (await client.reply()).status == status
            targets = [seen.target for seen in origin.requests]
            assert targets == ([line.partition(b"plain.example")[2]] if status == 200 else [])


async def test_without_path_rules_any_path_goes_as_it_is() -> None:
    async with open_origin() as origin, open_plane() as plane:
        client = await plane.connect()
        assert (await client.get(b"http://%b/a/..;/%%2e%%2F//b" % origin.authority)).status == 200
        assert origin.requests[0].target == b"/a/..;/%2e%2F//b"


@pytest.mark.parametrize("name", [b"X-HTTP-Method-Override", b"X-HTTP-Method", b"X-Method-Override"])
async def test_a_method_rule_is_not_overridden_by_a_field(name: bytes) -> None:
    async with open_origin() as origin:
        services = (service("plain", "plain.example", "http", origin.port),)
        async with open_plane(services=services, access=RULES) as plane:
            client = await plane.connect()
            assert (await client.get(b"http://plain.example/v2/x", name + b": DELETE")).status == 200
            assert origin.requests[0].first(name.lower()) is None
            await plane.apply(access=Access(allow_by_default=True))
            assert (await client.get(b"http://plain.example/v2/x", name + b": DELETE")).status == 200
            assert origin.requests[1].first(name.lower()) == b"DELETE"


async def test_a_rule_may_name_a_proxy_user() -> None:
    users = (ProxyUser("ann", "ann/password"), ProxyUser("bob", "bob/password"))
    listeners = (Listener("apps", ListenerMode.FORWARD, "127.0.0.1:0", users=users),)
    access = Access((Rule(True, hosts=(EVERY,), users=("ann",)),))
    async with open_origin() as origin, open_plane(listeners=listeners, access=access) as plane:
        for name in ("ann", "bob"):
            await plane.set_secret(f"{name}/password", b"password")
        client = await plane.connect()
        url = b"http://%b/" % origin.authority
        ann, bob = b"Proxy-Authorization: Basic YW5uOnBhc3N3b3Jk", b"Proxy-Authorization: Basic Ym9iOnBhc3N3b3Jk"
        assert (await client.get(url, ann)).status == 200
        assert (await client.get(url, bob)).status == 403, "on the same connection"
        assert (await client.get(url, ann)).status == 200
        assert [(await plane.event(number))["user"] for number in range(3)] == ["ann", "bob", "ann"]
