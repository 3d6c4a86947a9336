"""Listeners behind proxies: the client that a header tells counts everywhere, and nobody else may tell one."""

import contextlib
import dataclasses

import trio

from proxyd.core.access import Access, Rule
from proxyd.core.limits import Limits
from proxyd.core.snapshot import Listener, ListenerMode
from proxyd.wire.proxy_protocol import Place, header
from tests.lab.plane import Plane, open_origin, open_plane

CLIENT = Place("192.0.2.7", 40000)
HERE = Place("198.51.100.1", 3128)
BEHIND = Listener("apps", ListenerMode.FORWARD, "127.0.0.1:0", proxies=("127.0.0.0/8",))
ELSEWHERE = dataclasses.replace(BEHIND, proxies=("10.0.0.0/8", "::/0"))
REFUSED = "proxyd_downstream_connections_refused"


async def test_the_client_that_is_told_stands_in_the_log_and_no_byte_behind_the_header_is_lost() -> None:
    async with open_origin() as origin, open_plane(listeners=(BEHIND,)) as plane:
        request = b"GET http://%b/ HTTP/1.1\r\nHost: %b\r\n\r\n" % (origin.authority, origin.authority)
        for number, version in enumerate(("v1", "v2")):
            for bytewise in (False, True):
                client = await plane.connect()
                await client.send(header(version, CLIENT, HERE) + request, bytewise=bytewise)
                assert (await client.reply()).status == 200
                event = await plane.event(2 * number + bytewise)
                assert (event["caller"], event["uid"]) == ("192.0.2.7:40000", None)


async def test_rules_by_address_judge_the_client_and_not_the_proxy() -> None:
    rules = (Rule(allow=True, cidrs=("192.0.2.0/24",)),)
    async with open_origin() as origin, open_plane(listeners=(BEHIND,), access=Access(rules)) as plane:
        url = b"http://%b/" % origin.authority
        for source, status in ((CLIENT, 200), (Place("::ffff:192.0.2.8", 1), 200), (Place("192.0.3.7", 1), 403)):
            client = await plane.connect()
            await client.send(header("v2", source, HERE))
            assert (await client.get(url)).status == status


async def test_a_client_is_never_taken_for_the_proxys_user() -> None:
    """The kernel would name the proxy's uid, and the daemon's own uid may do everything."""
    async with open_origin() as origin, open_plane(listeners=(BEHIND,)) as plane:
        url = b"http://%b/" % origin.authority
        for told in (header("v1", Place("127.0.0.1", 5), HERE), b"PROXY UNKNOWN\r\n"):
            client = await plane.connect()
            await client.send(told)
            assert (await client.get(url)).status == 200
            assert (await plane.event(len(plane.events)))["uid"] is None
        client = await plane.connect()
        await client.send(header("v2", None, None))
        assert (await client.get(url)).status == 200
        event = await plane.event(2)
        assert event["uid"] is not None, "a connection of the proxy's own is the proxy's"
        assert event["caller"].startswith("127.0.0.1:")


async def test_connections_count_for_the_client_and_not_for_the_proxy() -> None:
    async with open_plane(listeners=(BEHIND,), limits=Limits(connections_per_caller=1)) as plane:
        one, other, again = [await plane.connect() for _ in range(3)]
        await one.send(header("v1", CLIENT, HERE))
        await other.send(header("v1", CLIENT._replace(address="192.0.2.8"), HERE))
        await plane_has(plane, {"192.0.2.7": 1, "192.0.2.8": 1, "127.0.0.1": 1})
        await again.send(header("v1", CLIENT, HERE))
        assert await again.rest() == b""
        await plane_has(plane, {"192.0.2.7": 1, "192.0.2.8": 1})
        await plane.wait_for(lambda: plane.counters.get((REFUSED, "caller")) == 1)
        await one.aclose()
        await other.aclose()
        await plane_has(plane, {})


async def plane_has(plane: Plane, callers: dict[str, int]) -> None:
    with trio.fail_after(5):
        while dict(plane.worker._callers) != callers:  # noqa: ASYNC110 - nothing tells of it
            await trio.sleep(0.01)


async def test_nobody_but_a_listed_proxy_is_let_in_and_one_notice_says_it() -> None:
    async with open_plane(listeners=(ELSEWHERE,)) as plane:
        for _ in range(3):
            client = await plane.connect()
            assert await client.rest() == b""
        await plane.wait_for(lambda: plane.counters.get((REFUSED, "proxy")) == 3)
        (notice,) = plane.notices
        assert notice[1:3] == ["warning", "proxy_refused"]
        assert "proxy_protocol.from" in notice[3]


async def test_a_connection_without_a_header_is_closed_unread() -> None:
    async with open_origin() as origin, open_plane(listeners=(BEHIND,)) as plane:
        client = await plane.connect()
        await client.send(b"GET http://%b/ HTTP/1.1\r\nHost: %b\r\n\r\n" % (origin.authority, origin.authority))
        with trio.fail_after(5), contextlib.suppress(trio.BrokenResourceError):  # what was not read makes it a reset
            assert await client.stream.receive_some() == b""
        await plane.wait_for(lambda: plane.counters.get((REFUSED, "proxy_header")) == 1)
        assert not origin.requests
        assert not plane.events


async def test_a_header_that_does_not_come_is_not_waited_for_longer_than_head_timeout() -> None:
    async with open_plane(listeners=(BEHIND,), limits=Limits(head_timeout=0.3)) as plane:
        client = await plane.connect()
        await client.send(b"PROXY TCP4 192.0.2.7 ")
        assert await client.rest() == b""
        await plane.wait_for(lambda: plane.notices)
        assert "0.3 s" in plane.notices[0][3]


async def test_a_drain_closes_connections_that_wait_for_their_header() -> None:
    async with open_plane(listeners=(BEHIND,)) as plane:
        client = await plane.connect()
        await plane_has(plane, {"127.0.0.1": 1})
        plane.worker.drain(5.0, gentle=False)
        assert await client.rest() == b""
        assert not plane.notices


async def test_a_listener_without_the_key_reads_no_header() -> None:
    async with open_plane() as plane:
        client = await plane.connect()
        await client.send(header("v1", CLIENT, HERE) + b"\r\n")
        assert (await client.reply()).status == 400
