import dataclasses

import pytest

from proxyd.core.authority import Authority
from proxyd.core.errors import Flag, ProxyError
from proxyd.core.exchange import Exchange, Peer
from proxyd.core.message import BytesBody, Request
from proxyd.core.resilience import Balance, BreakerPolicy, HashBy, HashKey, Hold, Override, Resilience
from proxyd.core.service import BaseUrl, Endpoint, HostPattern, Service
from proxyd.core.snapshot import Snapshot
from proxyd.upstream.cluster import ClusterSet

FAST = Resilience(breaker=BreakerPolicy(consecutive_failures=2, open_for=5.0))


def service(*ports, policy=FAST):
    endpoints = tuple(Endpoint("10.0.0.1", port) for port in ports)
    return Service("api", (HostPattern("a.example"),), BaseUrl("https", "a.example", 443), endpoints, resilience=policy)


def exchange(path=b"/", headers=(), uid=1000):
    request = Request(b"GET", b"https", Authority("a.example", 443, False), path, list(headers), BytesBody())
    return Exchange(Peer("apps", "127.0.0.1", uid=uid), Snapshot(1, "p", 0), request, 0.0, "plain")


def cluster(*ports, policy=FAST):
    return ClusterSet().apply([service(*ports, policy=policy)], 0.0)["api"]


def lost():
    return ProxyError(502, Flag.UPSTREAM_DISCONNECT, "connection_terminated", "x")


def test_a_service_without_endpoints_has_one_state_and_its_breaker():
    made = cluster()
    state = made.pick(exchange(), 0.0)
    for _ in range(2):
        made.admit(0.0)
        made.answered(state, 500, 0.1, 0.0)
    with pytest.raises(ProxyError) as caught:
        made.admit(1.0)
    assert (caught.value.status, caught.value.error) == (503, "destination_unavailable")
    made.admit(6.0)
    made.answered(state, 200, 0.1, 6.0)
    made.admit(6.0)


def test_what_is_nobodys_fault_upstream_opens_nothing():
    made = cluster()
    state = made.pick(exchange(), 0.0)
    for _ in range(9):
        made.admit(0.0)
        made.failed(state, ProxyError(499, Flag.DOWNSTREAM_DISCONNECT, "x", "the client left"), 0.0)
        made.answered(state, 429, 0.1, 0.0)
    made.admit(0.0)


def test_a_kept_connection_that_was_closed_meanwhile_says_nothing_of_its_endpoint():
    made = cluster(1, 2)
    state = made.pick(exchange(), 0.0)
    before = state.load(0.0)
    for _ in range(9):
        made.admit(0.0)
        stale = ProxyError(502, Flag.UPSTREAM_DISCONNECT, "connection_terminated", "x", stale=True)
        made.failed(state, stale, 0.0, 0.0)
    assert state.is_available(0.0)
    assert state.load(0.0) == before


def test_another_endpoint_is_one_that_is_thought_well_of():
    made = cluster(1, 2)
    first, second = made.states
    assert made.has_others(first, 0.0)
    second.ejected_until = 5.0
    assert not made.has_others(first, 0.0)
    assert made.has_others(first, 6.0)
    assert not cluster(1).has_others(first, 0.0)


def test_endpoints_are_those_that_are_not_resolved_from_a_name():
    clusters = ClusterSet()
    named = dataclasses.replace(service(), name="named")
    clusters.apply([service(1, 2), named], 0.0)
    assert clusters.endpoints() == {("10.0.0.1", 1), ("10.0.0.1", 2)}


def test_a_slow_call_counts_as_a_failure_where_that_is_said():
    made = cluster(policy=Resilience(breaker=BreakerPolicy(consecutive_failures=1, slow=1.0)))
    made.answered(made.states[0], 200, 1.5, 0.0)
    with pytest.raises(ProxyError):
        made.admit(1.6)


def test_one_endpoint_of_several_is_left_alone_while_the_service_goes_on():
    policy = dataclasses.replace(FAST, breaker=BreakerPolicy(consecutive_failures=2, open_for=5.0), outlier=None)
    made = cluster(1, 2, policy=policy)
    bad, good = made.states
    made.failed(bad, lost(), 0.0)
    made.answered(good, 200, 0.01, 0.0)
    made.failed(bad, lost(), 0.0)
    assert {made.pick(exchange(), 1.0) for _ in range(20)} == {good}
    made.admit(1.0)


def test_a_snapshot_keeps_what_was_learned_of_endpoints_that_stay():
    clusters = ClusterSet()
    before = clusters.apply([service(1, 2)], 0.0)["api"]
    before.states[0].ejected_until = 99.0
    clusters.set_health("api", "10.0.0.1", 2, False, 0.0)
    after = clusters.apply([service(2, 1, 3)], 1.0)["api"]
    assert after.states[1] is before.states[0]
    assert [state.is_available(2.0) for state in after.states] == [False, False, True]
    assert after.budget is before.budget
    assert after.breaker is before.breaker


@pytest.mark.parametrize("change", [{"ratio": 0.5}, {"min_per_second": 0.0}])
def test_a_snapshot_that_changes_the_retry_budget_begins_a_new_one(change):
    clusters = ClusterSet()
    before = clusters.apply([service(1)], 0.0)["api"]
    changed = dataclasses.replace(FAST, retry=dataclasses.replace(FAST.retry, **change))
    assert clusters.apply([service(1, policy=changed)], 1.0)["api"].budget is not before.budget


def test_health_may_come_before_the_snapshot_that_it_is_about():
    clusters = ClusterSet()
    clusters.set_health("api", "10.0.0.1", 1, False, 0.0)
    made = clusters.apply([service(1, 2)], 0.0)["api"]
    assert [state.is_healthy for state in made.states] == [False, True]
    clusters.set_health("api", "10.0.0.1", 1, True, 5.0)
    assert made.states[0].is_healthy
    assert made.states[0].added == 5.0


@pytest.mark.parametrize(
    ("by", "same", "other"),
    [
        (HashBy(HashKey.CALLER), {"path": b"/x"}, {"uid": 7}),
        (HashBy(HashKey.PATH), {"path": b"/?q"}, {"path": b"/else"}),
        (HashBy(HashKey.HEADER, "x-user"), {"headers": [(b"x-user", b"")]}, {"headers": [(b"x-user", b"eve")]}),
        (HashBy(HashKey.COOKIE, "sid"), {"headers": [(b"cookie", b"a=b")]}, {"headers": [(b"cookie", b"a=b; sid=9")]}),
    ],
)
def test_consistent_hashing_goes_by_its_key_alone(by, same, other):
    made = cluster(*range(1, 40), policy=Resilience(balance=Balance.HASH, hash_by=by))
    first = made.pick(exchange(), 0.0)
    assert made.pick(exchange(**same), 0.0) is first
    assert made.pick(exchange(**other), 0.0) is not first


def test_the_view_shows_every_endpoint():
    clusters = ClusterSet()
    clusters.apply([service(1, 2)], 0.0)
    rows = clusters.view(1.0)
    assert [(row["address"], row["available"], row["breaker"]) for row in rows] == [
        ("10.0.0.1:1", True, "closed"),
        ("10.0.0.1:2", True, "closed"),
    ]


def test_the_breaker_of_a_service_opens_for_failures_only_where_no_other_endpoint_is_left():
    policy = dataclasses.replace(FAST, outlier=None)
    made = cluster(1, 2, policy=policy)
    one, other = made.states
    for now in (0.0, 0.1, 0.2, 0.3):
        made.admit(now)
        made.failed(one, lost(), now, now)
    made.admit(1.0)
    for now in (1.0, 1.1):
        made.failed(other, lost(), now, now)
    with pytest.raises(ProxyError):
        made.admit(1.2)


def test_a_probe_that_fails_where_another_endpoint_is_left_gives_its_place_to_the_next():
    policy = dataclasses.replace(FAST, outlier=None)
    made = cluster(1, 2, policy=policy)
    for state in made.states:
        for _ in range(4):
            made.failed(state, lost(), 0.0, 0.0)
    made.admit(5.0)
    first = made.pick(exchange(), 5.0)
    made.failed(first, lost(), 5.1, 5.0)
    made.admit(5.2)
    second = made.pick(exchange(), 5.2)
    assert second is not first
    made.answered(second, 200, 0.1, 5.2)
    made.admit(5.4)


class TestHeldByAnOperator:
    def test_a_breaker_is_held_open_and_let_go(self):
        clusters = ClusterSet()
        made = clusters.apply([service(1, 2)], 0.0)["api"]
        clusters.set_overrides([Override("api", "", 0, Hold.OPEN)])
        with pytest.raises(ProxyError, match="held open by an operator"):
            made.admit(0.0)
        assert clusters.view(0.0)[0]["breaker"] == "closed", "the endpoint's own"
        clusters.set_overrides([])
        made.admit(0.0)

    def test_a_breaker_that_is_off_can_be_held_open(self):
        clusters = ClusterSet()
        off = Resilience(breaker=None)
        made = clusters.apply([service(policy=off)], 0.0)["api"]
        clusters.set_overrides([Override("api", "", 0, Hold.OPEN)])
        assert clusters.view(0.0)[0]["breaker"] == "forced open"
        with pytest.raises(ProxyError):
            made.admit(0.0)
        clusters.set_overrides([])
        assert clusters.view(0.0)[0]["breaker"] == "off"
        made.admit(0.0)

    def test_an_endpoint_that_is_held_down_gets_nothing_even_where_no_other_is_left(self):
        clusters = ClusterSet()
        made = clusters.apply([service(1, 2)], 0.0)["api"]
        clusters.set_overrides([Override("api", "10.0.0.1", 1, Hold.DOWN)])
        assert {made.pick(exchange(), 0.0).endpoint.port for _ in range(20)} == {2}
        clusters.set_health("api", "10.0.0.1", 2, False, 0.0)
        assert {made.pick(exchange(), 0.0).endpoint.port for _ in range(20)} == {2}, "panic"
        clusters.set_overrides([Override("api", "10.0.0.1", 1, Hold.DOWN), Override("api", "10.0.0.1", 2, Hold.OPEN)])
        with pytest.raises(ProxyError) as caught:
            made.pick(exchange(), 0.0)
        assert (caught.value.status, caught.value.flag) == (503, Flag.NO_HEALTHY)

    def test_the_only_endpoint_can_be_held_down(self):
        clusters = ClusterSet()
        made = clusters.apply([service()], 0.0)["api"]
        clusters.set_overrides([Override("api", "a.example", 443, Hold.DOWN)])
        with pytest.raises(ProxyError, match="held down"):
            made.pick(exchange(), 0.0)

    def test_an_endpoint_that_is_held_up_is_used_whatever_checks_say(self):
        clusters = ClusterSet()
        made = clusters.apply([service(1, 2)], 0.0)["api"]
        clusters.set_health("api", "10.0.0.1", 1, False, 0.0)
        clusters.set_overrides([Override("api", "10.0.0.1", 1, Hold.UP)])
        assert {made.pick(exchange(), 0.0).endpoint.port for _ in range(40)} == {1, 2}
        assert [row["held"] for row in clusters.view(0.0)] == ["up", None]

    def test_what_is_held_outlives_a_reload(self):
        clusters = ClusterSet()
        clusters.set_overrides([Override("api", "10.0.0.1", 1, Hold.DOWN), Override("api", "", 0, Hold.OPEN)])
        for _ in range(2):
            made = clusters.apply([service(1, 2)], 0.0)["api"]
            assert made.pick(exchange(), 0.0).endpoint.port == 2
            with pytest.raises(ProxyError):
                made.admit(0.0)


def discovered(*ports, source="dns a.example", pending=False):
    return dataclasses.replace(service(*ports), source=source, pending=pending)


def test_a_discovered_service_without_endpoints_dials_nothing_and_says_why():
    made = ClusterSet().apply([discovered(pending=True)], 0.0)["api"]
    for _ in range(5):
        made.admit(0.0)
        with pytest.raises(ProxyError, match=r"dns a\.example names none") as caught:
            made.pick(exchange(), 0.0)
        assert (caught.value.status, caught.value.flag) == (503, Flag.NO_HEALTHY)


def test_a_control_process_that_has_not_looked_yet_takes_nothing_away():
    clusters = ClusterSet()
    states = clusters.apply([discovered(1, 2)], 0.0)["api"].states
    assert clusters.apply([discovered(pending=True)], 1.0)["api"].states == states
    assert clusters.apply([discovered(9, source="dns b.example", pending=True)], 2.0)["api"].states != states
    assert clusters.apply([discovered()], 3.0)["api"].states == []


def test_what_is_known_of_an_endpoint_that_stays_is_kept():
    clusters = ClusterSet()
    first, second = clusters.apply([discovered(1, 2)], 0.0)["api"].states
    second.pending = 3
    made = clusters.apply([discovered(2, 3)], 1.0)["api"]
    assert made.states[0] is second
    assert first not in made.states


@pytest.mark.parametrize(
    ("made", "source"), [(service(), "base_url"), (service(1), "configuration"), (discovered(1), "dns a.example")]
)
def test_the_view_says_where_endpoints_come_from(made, source):
    clusters = ClusterSet()
    clusters.apply([made], 0.0)
    assert [row["source"] for row in clusters.view(0.0)] == [source]


def test_an_exchange_under_way_finds_the_latest_list_of_the_same_source():
    clusters = ClusterSet()
    first = clusters.apply([discovered(1)], 0.0)["api"]
    assert first.current() is first
    clusters.apply([discovered(2)], 1.0)
    last = clusters.apply([discovered(3)], 2.0)["api"]
    assert first.current() is last
    clusters.apply([discovered(4, source="dns b.example")], 3.0)
    assert first.current() is last


def test_an_endpoint_that_answers_429_at_once_is_not_preferred_for_being_quick():
    made = cluster(1, 2)
    quick, other = made.states
    for number in range(20):
        made.answered(quick, 429, 0.001, number / 10)
        made.answered(other, 200, 0.1, number / 10)
    assert quick.load(2.0) > other.load(2.0)
    assert quick.is_available(2.0)


class TestOverload:
    """Refusals that come before queued successes."""

    def test_refusals_that_overtake_a_queue_neither_open_a_breaker_nor_eject(self):
        made = cluster(1, 2, policy=Resilience())
        for state in made.states:
            made.answered(state, 200, 0.1, 0.0)
            state.pending = 5
        for _ in range(9):
            made.failed(made.states[0], lost(), 0.2, 0.2)
        assert made.states[0].is_available(0.2)

    def test_failures_that_came_no_quicker_than_successes_do(self):
        made = cluster(1, 2, policy=Resilience())
        for state in made.states:
            made.answered(state, 200, 0.1, 0.0)
            state.pending = 5
        for _ in range(9):
            made.failed(made.states[0], lost(), 0.3, 0.1)
        assert not made.states[0].is_available(0.3)

    def test_what_fails_at_all_endpoints_alike_is_the_services_failure(self):
        made = cluster(1, 2, policy=dataclasses.replace(Resilience(), outlier=None))
        for number in range(60):
            state = made.states[number % 2]
            if number % 3:
                made.failed(state, lost(), 1.0, 1.0)
            else:
                made.answered(state, 200, 0.0, 1.0)
        assert all(state.is_available(1.0) for state in made.states)
        with pytest.raises(ProxyError):
            made.admit(1.1)

    def test_a_narrowed_breaker_says_how_much_it_admits(self):
        clusters = ClusterSet()
        made = clusters.apply([service(policy=FAST)], 0.0)["api"]
        for _ in range(2):
            made.failed(made.states[0], lost(), 0.0, 0.0)
        made.admit(5.0)
        made.answered(made.states[0], 200, 0.1, 5.0)
        made.states[0].pending = 3
        for number in range(20):
            made.answered(made.states[0], 200, 0.1, 5.1 + number / 100)
            for _ in range(9):
                made.failed(made.states[0], lost(), 5.11 + number / 100, 5.11 + number / 100)
        with pytest.raises(ProxyError, match="admits 50% of the requests"):
            made.admit(5.3)
        made.admit(5.3)
        assert clusters.view(5.4)[0]["admitted"] == 0.5
