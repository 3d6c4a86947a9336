import pytest

from proxyd.core.access import Access, Rule
from proxyd.core.authority import Authority
from proxyd.core.errors import Flag, ProxyError
from proxyd.core.exchange import Exchange, Peer
from proxyd.core.limits import PoolLimits
from proxyd.core.message import BytesBody, Request
from proxyd.core.route import Route
from proxyd.core.service import BaseUrl, HostPattern, Service, Timeouts
from proxyd.core.snapshot import Snapshot
from proxyd.filters.access import AccessFilter, OpenJudge, OwnUidJudge, RuleJudge, refusal

HOST = "api.example"
PEER = Peer("main", "127.0.0.1", 4000, uid=1000, gid=100)


def service(name="api", base_path="", encoded_slash=False):
    base = BaseUrl("https", HOST, 443, base_path)
    return Service(name, (HostPattern(HOST),), base, encoded_slash=encoded_slash)


def judge(*rules, of="api", default=False):
    return RuleJudge(Access(rules, default), service(of) if of else None)


def decide(judge, method=b"GET", path=b"/", peer=PEER, host=HOST, port=443):
    return judge.decide(peer, host, port, method, path)


def may(judge, peer=PEER, host=HOST, port=443):
    return judge.may(peer, host, port)


def tunnel(judge, peer=PEER, host=HOST, port=443):
    return judge.tunnel(peer, host, port)


ALLOW = Rule(True, ("api",))
DENY = Rule(False, ("api",))


def test_the_first_rule_that_matches_decides():
    assert decide(judge(ALLOW, DENY))
    assert not decide(judge(DENY, ALLOW))
    assert decide(judge(Rule(False, ("api",), methods=("POST",)), ALLOW))
    assert not decide(judge(Rule(False, ("api",), methods=("POST",)), ALLOW), method=b"POST")


@pytest.mark.parametrize("default", [True, False])
def test_the_default_decides_where_no_rule_matches(default):
    of_others = judge(Rule(not default, ("other",)), Rule(not default, ("api",), uids=(7,)), default=default)
    assert decide(of_others) is default
    assert may(of_others) is default
    assert tunnel(of_others) is default


@pytest.mark.parametrize(
    ("condition", "fits", "misses"),
    [
        ({"uids": (1000, 1001)}, {"uid": 1000}, {"uid": 1002}),
        ({"uids": (0,)}, {"uid": 0}, {"uid": None}),
        ({"gids": (100,)}, {"gid": 100}, {"gid": None}),
        ({"users": ("alice",)}, {"user": "alice"}, {"user": None}),
        ({"cidrs": ("10.0.0.0/8", "2001:db8::/32")}, {"address": "10.9.8.7"}, {"address": "11.0.0.1"}),
        ({"cidrs": ("10.0.0.0/8", "2001:db8::/32")}, {"address": "2001:db8::1"}, {"address": "unix"}),
        ({"cidrs": ("10.0.0.0/8",)}, {"address": "::ffff:10.0.0.1"}, {"address": "::ffff:11.0.0.1"}),
        ({"uids": (1000,), "cidrs": ("10.0.0.0/8",)}, {"uid": 1000, "address": "10.0.0.1"}, {"uid": 1000}),
    ],
)
def test_every_condition_on_the_caller_must_hold(condition, fits, misses):
    rules = judge(Rule(True, ("api",), **condition))
    who = {"listener": "main", "address": "127.0.0.1"}
    assert decide(rules, peer=Peer(**{**who, **fits}))
    assert not decide(rules, peer=Peer(**{**who, **misses}))


@pytest.mark.parametrize(
    ("path", "under"),
    [(b"/v1", True), (b"/v1/", True), (b"/v1/a?x=/v2", True), (b"/v10", False), (b"/V1", False), (b"/?/v1", False)],
)
def test_paths_are_prefixes_by_whole_segments(path, under):
    assert decide(judge(Rule(True, ("api",), paths=("/v1",))), path=path) is under


def test_a_star_is_every_service_and_no_unknown_host():
    everything = Rule(True, ("*",))
    assert decide(judge(everything))
    assert decide(judge(everything, of="other"))
    assert not decide(judge(everything, of=None))


def test_rules_of_hosts_judge_hosts_that_are_no_service():
    rule = Rule(True, hosts=(HostPattern("example", wildcard=True),))
    assert decide(judge(rule, of=None))
    assert not decide(judge(rule, of=None), host="example")
    assert not decide(judge(rule))


def test_rules_of_services_leave_unknown_hosts_alone():
    assert not decide(judge(ALLOW, of=None))


def test_a_rule_that_names_neither_judges_both():
    rule = Rule(True, uids=(1000,))
    assert decide(judge(rule))
    assert decide(judge(rule, of=None))


def test_a_host_without_a_port_covers_every_port_and_one_with_a_port_that_alone():
    anyport = judge(Rule(True, hosts=(HostPattern(HOST),)), of=None)
    assert decide(anyport, port=8443)
    one = judge(Rule(True, hosts=(HostPattern(HOST, 8443),)), of=None)
    assert decide(one, port=8443)
    assert not decide(one, port=443)


def test_connect_to_a_service_may_be_whatever_some_request_may():
    assert may(judge(Rule(True, ("api",), paths=("/v1",))))
    assert may(judge(Rule(False, ("api",), methods=("POST",)), ALLOW))
    assert not may(judge(DENY, ALLOW))
    assert not may(judge(Rule(False, ("api",), methods=("POST",))))


def test_a_tunnel_is_not_allowed_by_a_rule_that_looks_into_requests_but_denied_by_one():
    assert not tunnel(judge(Rule(True, hosts=(HostPattern(HOST),), methods=("GET",)), of=None))
    assert not tunnel(judge(Rule(False, hosts=(HostPattern(HOST),), paths=("/v1",)), Rule(True), of=None))
    assert tunnel(judge(Rule(True, hosts=(HostPattern(HOST),), methods=("GET",)), Rule(True), of=None))


@pytest.mark.parametrize(
    ("rules", "always"),
    [
        ([ALLOW], True),
        ([ALLOW, DENY], True),
        ([DENY, ALLOW], False),
        ([Rule(True, ("api",), uids=(1,))], False),
        ([Rule(True, ("api",), methods=("GET",))], False),
        ([], False),
    ],
)
def test_only_an_unconditional_first_allow_makes_judging_needless(rules, always):
    assert judge(*rules).always is always


def test_without_a_section_services_are_for_the_daemons_own_uid():
    own = OwnUidJudge(1000)
    assert decide(own)
    for ask in (decide, may, tunnel):
        assert not ask(own, peer=Peer("main", "127.0.0.1", uid=1001))
        assert not ask(own, peer=Peer("main", "10.0.0.1", uid=None))


def test_without_a_section_unknown_hosts_follow_the_listener():
    assert decide(OpenJudge())
    assert may(OpenJudge())
    assert tunnel(OpenJudge())
    assert OpenJudge().always


def exchange(rules, *, path=b"/", method=b"GET", headers=(), of=None):
    request = Request(method, b"https", Authority(HOST, 443, False), path, list(headers), BytesBody())
    made = Exchange(PEER, Snapshot(1, "p", 1000), request, 0.0, "plain")
    of = of or service()
    made.route = Route(of, Timeouts(), PoolLimits(), RuleJudge(Access(tuple(rules)), of))
    return made


async def test_a_forbidden_request_is_refused_by_403_that_says_who_and_what():
    with pytest.raises(ProxyError) as caught:
        await AccessFilter().request(exchange([DENY]))
    assert (caught.value.status, caught.value.flag) == (403, Flag.DENIED)
    assert "uid 1000" in caught.value.detail
    assert "api" in caught.value.detail


def test_a_caller_without_a_uid_is_named_by_its_address():
    assert "10.0.0.1" in refusal(Peer("main", "10.0.0.1"), "api")


AMBIGUOUS = [b"/v1/../v2", b"/v1/%2e%2e/v2", b"//v1", b"/v1%2fv2", b"/v1\\v2", b"/v1;x/v2", b"/v1/%252e", b"/v1%zz"]


@pytest.mark.parametrize("path", AMBIGUOUS)
async def test_a_path_that_rules_could_misread_is_refused(path):
    with pytest.raises(ProxyError, match="ambiguous") as caught:
        await AccessFilter().request(exchange([Rule(True, ("api",), paths=("/",))], path=path))
    assert caught.value.status == 400


@pytest.mark.parametrize("path", AMBIGUOUS)
async def test_a_base_path_alone_makes_paths_checked(path):
    with pytest.raises(ProxyError, match="ambiguous"):
        await AccessFilter().request(exchange([ALLOW], path=path, of=service(base_path="/v1")))


@pytest.mark.parametrize("path", AMBIGUOUS)
async def test_where_no_rule_reads_paths_they_pass_byte_for_byte(path):
    made = exchange([ALLOW], path=path)
    assert await AccessFilter().request(made) is None
    assert made.request.path == path


async def test_an_encoded_slash_is_let_through_where_the_service_has_it():
    rules = [Rule(True, ("api",), paths=("/v1",))]
    made = exchange(rules, path=b"/v1/a%2Fb", of=service(encoded_slash=True))
    assert await AccessFilter().request(made) is None


OVERRIDES = [(b"x-http-method-override", b"DELETE"), (b"x-http-method", b"PUT"), (b"x-method-override", b"PATCH")]


async def test_method_overrides_are_dropped_under_rules_that_read_methods():
    made = exchange([Rule(True, ("api",), methods=("POST",))], method=b"POST", headers=[*OVERRIDES, (b"a", b"b")])
    await AccessFilter().request(made)
    assert made.request.headers == [(b"a", b"b")]


async def test_method_overrides_stay_where_no_rule_reads_methods():
    made = exchange([Rule(True, ("api",), paths=("/",))], method=b"POST", headers=OVERRIDES)
    await AccessFilter().request(made)
    assert made.request.headers == OVERRIDES
