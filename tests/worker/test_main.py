"""A worker's life: snapshots in and out, revocation, draining, and links that come and go."""

import dataclasses
import os

import pytest
import trio

from proxyd.core.access import Access, Rule
from proxyd.core.messages import ApplySnapshot, Drain
from proxyd.core.service import HostPattern
from proxyd.core.snapshot import Listener, ListenerMode, UnknownHosts
from tests.lab.plane import Client, Origin, Plane, Wire, open_origin, open_plane, read_request, server_context, service

HOST = "api.tickets.example"
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
DENY = Access()
ALLOW = Access(allow_by_default=True)


class Slow:
    """An origin that answers when told to."""

    def __init__(self) -> None:
        self.go = trio.Event()

    async def __call__(self, origin: Origin, wire: Wire) -> None:
        while await read_request(origin, wire) is not None:
            await self.go.wait()
            await wire.send(OK)


async def echo(origin: Origin, wire: Wire) -> None:
    while wire.waiting or await wire.fill():
        await wire.send(await wire.exactly(len(wire.waiting)))


def url(origin: Origin) -> bytes:
    return b"http://%b/" % origin.authority


async def opaque(plane: Plane, origin: Origin) -> Client:
    client = await plane.connect()
    assert (await client.tunnel(origin.authority)).status == 200
    await client.send(b"hello")
    assert await client.exactly(5) == b"hello"
    return client


def listener(name: str, mode: UnknownHosts = UnknownHosts.TUNNEL) -> Listener:
    return Listener(name, ListenerMode.FORWARD, "127.0.0.1:0", unknown_hosts=mode)


# --- snapshots ------------------------------------------------------------------------------------


async def test_a_kept_connections_next_request_is_judged_by_the_new_snapshot() -> None:
    async with open_origin() as origin, open_plane() as plane:
        client = await plane.connect()
        assert (await client.get(url(origin))).status == 200
        await plane.apply(access=DENY)
        assert (await client.get(url(origin))).status == 403
        await plane.apply(access=ALLOW)
        assert (await client.get(url(origin))).status == 200
        assert len(origin.requests) == 2


async def test_an_intercepted_connections_next_request_is_judged_by_the_new_snapshot() -> None:
    async with open_origin(tls=server_context(HOST)) as origin:
        services = (service("tickets", HOST, "https", origin.port),)
        async with open_plane(services=services, leaves=(HOST,)) as plane:
            client = await plane.connect()
            await client.tunnel(HOST.encode() + b":443")
            await client.start_tls(HOST)
            request = b"GET / HTTP/1.1\r\nHost: %b\r\n\r\n" % HOST.encode()
            await client.send(request)
            assert (await client.reply()).status == 200
            await plane.apply(access=DENY)
            await client.send(request)
            assert (await client.reply()).status == 403
            assert len(origin.requests) == 1


async def test_a_snapshot_whose_listener_has_no_socket_is_refused_and_the_old_one_goes_on() -> None:
    async with open_origin() as origin, open_plane() as plane:
        bad = dataclasses.replace(
            plane.snapshot, version=99, listeners=(listener("apps"), listener("more")), access=DENY
        )
        await plane.send(ApplySnapshot(bad))
        await plane.wait_for(lambda: plane._refused)
        assert "more" in plane._refused
        plane._refused = ""
        client = await plane.connect()
        assert (await client.get(url(origin))).status == 200
        assert (await plane.ask("connections"))["version"] == plane.snapshot.version


async def test_listeners_come_and_go() -> None:
    async with open_origin() as origin, open_plane() as plane:
        kept = await plane.connect()
        assert (await kept.get(url(origin))).status == 200
        await plane.listen("more")
        await plane.apply(listeners=(listener("apps"), listener("more")))
        other = await plane.connect("more")
        assert (await other.get(url(origin))).status == 200
        assert (await plane.event(1))["listener"] == "more"
        await plane.apply(listeners=(listener("more"),))
        assert await kept.is_closed(), "an idle connection of a listener that is gone"
        with pytest.raises(OSError, match=r"."):
            await plane.connect("apps")
        assert (await other.get(url(origin))).status == 200


async def test_an_exchange_that_runs_keeps_its_snapshot_until_drain_old() -> None:
    slow = Slow()
    async with open_origin(slow) as origin, open_plane(drain_old=60.0) as plane:
        client = await plane.connect()
        await client.send(b"GET %b HTTP/1.1\r\nHost: x\r\n\r\n" % url(origin))
        await origin.saw(b"\r\n\r\n")
        await plane.apply(access=DENY)
        slow.go.set()
        assert (await client.reply()).status == 200


async def test_an_exchange_that_a_reload_forbids_is_cut_after_drain_old() -> None:
    async def silent(origin: Origin, wire: Wire) -> None:
        await wire.rest()

    async with open_origin(silent) as origin, open_plane(drain_old=0.3) as plane:
        client = await plane.connect()
        await client.send(b"GET %b HTTP/1.1\r\nHost: x\r\n\r\n" % url(origin))
        await origin.saw(b"\r\n\r\n")
        await plane.apply(access=DENY)
        assert not client.ended.is_set()
        with trio.fail_after(2):
            await client.rest()
            await origin.wires[0].ended.wait()


NAMED = HostPattern("127.0.0.1")


@pytest.mark.parametrize(
    "change",
    [
        {"access": DENY},
        {"access": Access((Rule(False, hosts=(NAMED,)),), True)},
        {"access": Access((Rule(True, hosts=(NAMED,), paths=("/v2",)),))},
        {"listeners": (listener("apps", UnknownHosts.DENY),)},
        {"listeners": ()},
    ],
    ids=["deny all", "deny host", "only paths", "deny unknown", "no listener"],
)
async def test_a_tunnel_that_a_reload_forbids_is_cut_within_drain_old(change: dict[str, object]) -> None:
    async with open_origin(echo) as origin, open_plane(drain_old=0.4) as plane:
        client = await opaque(plane, origin)
        await plane.apply(**change)
        await client.send(b"still")
        assert await client.exactly(5) == b"still"
        with trio.fail_after(2):
            await client.rest()
            await origin.wires[0].ended.wait()


async def test_a_tunnel_whose_host_became_a_service_is_cut() -> None:
    async with open_origin(echo) as origin, open_plane(drain_old=0.1) as plane:
        client = await opaque(plane, origin)
        taken = service("mine", "127.0.0.1", "https", origin.port, hosts=(HostPattern("127.0.0.1", origin.port),))
        await plane.set_secret("mine/key", b"secret-of-mine")
        await plane.apply(services=(taken,))
        with trio.fail_after(2):
            await client.rest()


async def test_what_a_reload_still_allows_goes_on() -> None:
    async with open_origin(echo) as origin, open_plane(drain_old=0.1) as plane:
        client = await opaque(plane, origin)
        await plane.apply(access=Access((Rule(True, hosts=(NAMED,)),)))
        await plane.apply(access=DENY)
        await plane.apply(access=ALLOW)  # forbidden for a moment, allowed when drain_old is over
        await trio.sleep(0.3)
        await client.send(b"still")
        assert await client.exactly(5) == b"still"


async def test_without_access_rules_services_are_for_the_daemons_own_uid() -> None:
    async with open_origin() as origin:
        services = (service("plain", "plain.example", "http", origin.port),)
        async with open_plane(services=services, access=None) as plane:
            client = await plane.connect()
            assert (await client.get(b"http://plain.example/")).status == 200
            assert (await plane.event())["uid"] == os.getuid()
            await plane.apply(daemon_uid=os.getuid() + 1)
            assert (await client.get(b"http://plain.example/")).status == 403
            assert (await client.get(url(origin))).status == 200


# --- ends -----------------------------------------------------------------------------------------


async def test_a_drain_finishes_what_runs_and_takes_nothing_new() -> None:
    slow = Slow()
    async with open_origin(slow) as origin, open_plane() as plane:
        idle, busy = await plane.connect(), await plane.connect()
        await busy.send(b"GET %b HTTP/1.1\r\nHost: x\r\n\r\n" % url(origin))
        await origin.saw(b"\r\n\r\n")
        await plane.send(Drain(20.0))
        assert await idle.is_closed()
        with pytest.raises(OSError, match=r"."):
            await plane.connect()
        assert not plane.exited.is_set()
        slow.go.set()
        reply = await busy.reply()
        assert (reply.status, reply.first(b"connection")) == (200, b"close")
        with trio.fail_after(2):
            await plane.exited.wait()
        assert plane.exit_code == 0
        await plane.event()  # the last record was not lost


async def test_a_gentle_drain_leaves_an_idle_connection_its_next_request() -> None:
    async with open_origin() as origin, open_plane() as plane:
        used, fresh = await plane.connect(), await plane.connect()
        assert (await used.get(url(origin))).status == 200
        await plane.supervise(Drain(20.0, gentle=True))
        await plane.wait_for(lambda: plane.worker.draining)
        with pytest.raises(OSError, match=r"."):
            await plane.connect()
        for client in (used, fresh):
            assert not plane.exited.is_set()
            reply = await client.get(url(origin))
            assert (reply.status, reply.first(b"connection")) == (200, b"close")
            assert await client.is_closed()
        with trio.fail_after(2):
            await plane.exited.wait()


async def test_a_gentle_drain_keeps_tunnels_and_lets_new_ones_be_made_on_old_connections() -> None:
    async with open_origin(echo) as origin, open_plane() as plane:
        tunnel, idle = await opaque(plane, origin), await plane.connect()
        await plane.supervise(Drain(20.0, gentle=True))
        await plane.wait_for(lambda: plane.worker.draining)
        assert (await idle.tunnel(origin.authority)).status == 200
        for client in (tunnel, idle):
            await client.send(b"still")
            assert await client.exactly(5) == b"still"
            assert not plane.exited.is_set()
            await client.aclose()
        with trio.fail_after(2):
            await plane.exited.wait()


async def test_a_gentle_drain_serves_an_intercepted_tunnel_that_has_just_begun() -> None:
    async with open_origin(tls=server_context(HOST)) as origin:
        services = (service("tickets", HOST, "https", origin.port),)
        async with open_plane(services=services, leaves=(HOST,)) as plane:
            client = await plane.connect()
            await plane.supervise(Drain(20.0, gentle=True))
            await plane.wait_for(lambda: plane.worker.draining)
            await client.tunnel(HOST.encode() + b":443")
            await client.start_tls(HOST)
            await client.send(b"GET / HTTP/1.1\r\nHost: %b\r\n\r\n" % HOST.encode())
            reply = await client.reply()
            assert (reply.status, reply.first(b"connection")) == (200, b"close")


async def test_a_drain_that_is_not_gentle_ends_what_a_gentle_one_has_left() -> None:
    async with open_origin() as origin, open_plane() as plane:
        client = await plane.connect()
        assert (await client.get(url(origin))).status == 200
        await plane.supervise(Drain(20.0, gentle=True))
        await plane.wait_for(lambda: plane.worker.draining)
        await plane.supervise(Drain(20.0))
        assert await client.is_closed()
        with trio.fail_after(2):
            await plane.exited.wait()


async def test_a_drain_ends_at_its_deadline() -> None:
    async with open_origin(Slow()) as origin, open_plane() as plane:
        client = await plane.connect()
        await client.send(b"GET %b HTTP/1.1\r\nHost: x\r\n\r\n" % url(origin))
        await origin.saw(b"\r\n\r\n")
        await plane.supervise(Drain(0.2))
        with trio.fail_after(2):
            await plane.exited.wait()
            await client.rest()


async def test_a_worker_ends_with_its_lifeline() -> None:
    async with open_plane() as plane:
        plane.lifeline.close()
        with trio.fail_after(2):
            await plane.exited.wait()


async def test_traffic_goes_on_without_control_and_a_new_one_is_adopted() -> None:
    async with open_origin() as origin, open_plane() as plane:
        await plane.lose_control()
        client = await plane.connect()
        for _ in range(3):
            assert (await client.get(url(origin))).status == 200
        async with trio.open_nursery() as nursery:
            await plane.adopt()
            nursery.start_soon(plane.receive)
            await plane.wait_for(lambda: plane.ready == 2)
            assert (await plane.event(2))["status"] == 200, "what happened meanwhile is told"
            await plane.apply(access=DENY)
            assert (await client.get(url(origin))).status == 403
            nursery.cancel_scope.cancel()


async def test_counters_add_up() -> None:
    async with open_origin() as origin, open_plane() as plane:
        client = await plane.connect()
        for _ in range(3):
            await client.get(url(origin))
        await client.get(b"http://127.0.0.1:0/")
        await client.aclose()
        key = ("proxyd_requests", "apps", "")
        await plane.wait_for(lambda: plane.counters.get((*key, "400")) == 1)
        assert plane.counters[*key, "200"] == 3
        assert plane.counters["proxyd_downstream_connections", "apps"] == 1


async def test_an_access_record_tells_the_whole_story() -> None:
    async with open_origin() as origin, open_plane() as plane:
        client = await plane.connect()
        await client.send(b"POST %b?q=1 HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc" % url(origin))
        await client.reply()
        event = await plane.event()
        told = {
            name: event[name] for name in ("kind", "listener", "mode", "method", "scheme", "path", "status", "origin")
        }
        assert told == {
            "kind": "http",
            "listener": "apps",
            "mode": "plain",
            "method": b"POST",
            "scheme": b"http",
            "path": b"/?q=1",
            "status": 200,
            "origin": "upstream",
        }
        assert event["authority"] == event["endpoint"] == origin.authority.decode()
        assert event["caller"].startswith("127.0.0.1:")
        assert (event["request_bytes"], event["response_bytes"], event["attempts"]) == (3, 2, 1)
        assert event["total_ms"] >= event["first_byte_ms"] >= 0
        assert 0 <= event["dns_ms"] <= event["connect_ms"]
        assert event["queue_ms"] is None


async def test_without_a_listener_what_runs_finishes_and_its_connection_is_closed() -> None:
    slow = Slow()
    async with open_origin(slow) as origin, open_plane() as plane:
        busy = await plane.connect()
        await busy.send(b"GET %b HTTP/1.1\r\nHost: %b\r\n\r\n" % (url(origin), origin.authority))
        await origin.saw(b"\r\n\r\n")
        await plane.apply(listeners=())
        assert (await plane.ask("connections"))["draining"]
        slow.go.set()
        reply = await busy.reply()
        assert reply.status == 200
        assert await busy.is_closed()
        await plane.listen("apps")
        await plane.apply(listeners=(listener("apps"),))
        assert not (await plane.ask("connections"))["draining"]
        client = await plane.connect()
        assert (await client.get(url(origin))).status == 200
