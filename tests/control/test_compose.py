from dataclasses import replace

from proxyd.control.compose import Instance, compose, intercepted_hosts, intercepts_all
from proxyd.core.service import Endpoint
from proxyd.core.settings import AccessLog
from proxyd.core.snapshot import Egress, UnknownHosts
from tests.control.fakes import listener, service, settings

INSTANCE = Instance("proxyd-1", 1000, ("127.0.0.1:3130",))


def test_own_addresses_are_those_that_were_bound():
    chosen = settings(listeners=(listener("a"), listener("b", "0.0.0.0:1")), egress=Egress(("10.0.0.0/8",), (443,)))
    snapshot = compose(chosen, {"a": "127.0.0.1:4711", "b": "0.0.0.0:1"}, 5, INSTANCE)
    assert snapshot.egress == Egress(("10.0.0.0/8",), (443,), ("127.0.0.1:4711", "0.0.0.0:1", "127.0.0.1:3130"))
    assert (snapshot.version, snapshot.pseudonym, snapshot.daemon_uid) == (5, "proxyd-1", 1000)


def test_unix_sockets_are_no_addresses_to_guard():
    chosen = settings(listeners=(listener("a", "unix:/run/a"),))
    assert compose(chosen, {"a": "unix:/run/a"}, 1, INSTANCE).egress.own == ("127.0.0.1:3130",)


def test_all_that_a_worker_needs_is_passed_on():
    chosen = settings(service("a", "a.example"), drain_old=1.0, drain_timeout=2.0, extra_roots_pem=b"pem")
    snapshot = compose(chosen, {}, 1, INSTANCE)
    for name in ("listeners", "services", "access", "limits", "unknown_timeouts", "unknown_pool", "extra_roots_pem"):
        assert getattr(snapshot, name) == getattr(chosen, name)
    assert (snapshot.drain_old, snapshot.drain_timeout) == (1.0, 2.0)


def test_exchanges_are_reported_only_for_an_access_log_or_to_be_kept():
    assert not compose(settings(recent=0), {}, 1, INSTANCE).access_log
    assert compose(settings(recent=0, access_log=AccessLog("-")), {}, 1, INSTANCE).access_log
    assert compose(settings(recent=1), {}, 1, INSTANCE).access_log


def test_hosts_of_all_services_are_intercepted():
    chosen = settings(service("a", "a.example", "*.a.example"), service("b", "b.example"))
    assert [pattern.host for pattern in intercepted_hosts(chosen)] == ["a.example", "a.example", "b.example"]


def test_all_is_intercepted_when_one_listener_says_so():
    assert not intercepts_all(settings())
    assert intercepts_all(settings(listeners=(listener(), listener("b", unknown_hosts=UnknownHosts.INTERCEPT))))


def test_endpoints_that_were_found_are_in_the_snapshot_and_the_rest_waits():
    plain = service("plain", "plain.example")
    found, waiting = (replace(service(name, f"{name}.example"), source="dns x", pending=True) for name in ("a", "b"))
    endpoint = Endpoint("192.0.2.1", 443)
    snapshot = compose(settings(plain, found, waiting), {}, 1, INSTANCE, {"a": (endpoint,), "plain": (endpoint,)})
    assert snapshot.services == (plain, replace(found, endpoints=(endpoint,), pending=False), waiting)
