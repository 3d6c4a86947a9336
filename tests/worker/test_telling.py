"""Services that are told of each client by the PROXY protocol: who shares a connection, and how long it lives."""

import re

import pytest
import trio

from proxyd.core.caching import CachePolicy
from proxyd.core.snapshot import Listener, ListenerMode
from proxyd.wire.proxy_protocol import SIGNATURE, Place, Reader, header
from tests.lab.plane import Client, Origin, Wire, open_origin, open_plane, read_request, service

HOST = "api.tickets.example"
URL = b"http://%b/" % HOST.encode()
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
BEHIND = Listener("behind", ListenerMode.FORWARD, "127.0.0.1:0", proxies=("127.0.0.0/8",))
APPS = Listener("apps", ListenerMode.FORWARD, "127.0.0.1:0")
LOCAL = Listener("local", ListenerMode.FORWARD, "unix:apps.sock")


class Told:
    """An origin that demands the header and remembers what it was told on each connection."""

    def __init__(self, response: bytes = OK) -> None:
        self.heads: list[bytes] = []
        self.ended = 0
        self._response = response

    async def __call__(self, origin: Origin, wire: Wire) -> None:
        head = await wire.exactly(5)
        if head == SIGNATURE[:5]:
            head += await wire.exactly(11)
            head += await wire.exactly(int.from_bytes(head[14:16], "big"))
        else:
            head += await wire.until(b"\r\n")
        self.heads.append(head)
        try:
            while await read_request(origin, wire) is not None:
                await wire.send(self._response)
        finally:
            self.ended += 1

    def sources(self) -> list[Place | None]:
        return [_source(head) for head in self.heads]


def _source(head: bytes) -> Place | None:
    reader = Reader()
    assert reader.take(head) == len(head)
    assert reader.header is not None
    return reader.header.source


def own(client: Client) -> Place:
    return Place(*client.raw_socket.getsockname()[:2])


async def until_ended(told: Told, count: int) -> None:
    with trio.fail_after(5):
        while told.ended < count:  # noqa: ASYNC110 - nothing tells of it
            await trio.sleep(0.01)


@pytest.mark.parametrize("version", ["v1", "v2"])
async def test_each_connection_tells_of_its_client_and_is_its_alone(version: str) -> None:
    told = Told()
    async with open_origin(told) as origin:
        services = (service("tickets", HOST, "http", origin.port, proxy_protocol=version),)
        async with open_plane(services=services) as plane:
            one, other = await plane.connect(), await plane.connect()
            for client in (one, other, one, other):
                assert (await client.get(URL)).status == 200
            assert told.sources() == [own(one), own(other)]
            await plane.event(3)
            assert [event["reused"] for event in plane.events] == [False, False, True, True]
            destination = b" 127.0.0.1 %d %d\r\n" % (own(one).port, origin.port)
            assert told.heads[0].endswith(destination if version == "v1" else origin.port.to_bytes(2, "big"))


async def test_a_clients_connections_end_with_it() -> None:
    told = Told()
    async with open_origin(told) as origin:
        services = (service("tickets", HOST, "http", origin.port, proxy_protocol="v2"),)
        async with open_plane(services=services) as plane:
            one, other = await plane.connect(), await plane.connect()
            assert (await one.get(URL)).status == (await other.get(URL)).status == 200
            await one.aclose()
            await until_ended(told, 1)
            assert (await other.get(URL)).status == 200
            assert len(told.heads) == 2
            (pool,) = await plane.ask("pools")
            assert pool["client"] == "{}:{}".format(*own(other))
            await other.aclose()
            await until_ended(told, 2)
            assert not plane.worker._assembly.pools.clients


async def test_a_client_that_a_proxy_told_of_is_told_on() -> None:
    told, client_place = Told(), Place("2001:db8::7", 40000)
    async with open_origin(told) as origin:
        services = (service("tickets", HOST, "http", origin.port, proxy_protocol="v1"),)
        async with open_plane(services=services, listeners=(BEHIND,)) as plane:
            client = await plane.connect("behind")
            await client.send(header("v2", client_place, Place("2001:db8::1", 3128)))
            assert (await client.get(URL)).status == 200
            pattern = rb"PROXY TCP6 2001:db8::7 ::ffff:7f00:0001 40000 %d\r\n" % origin.port
            assert re.fullmatch(pattern, told.heads[0])


async def test_callers_without_an_address_share_connections_that_tell_of_none() -> None:
    for version, expected in (("v1", b"PROXY UNKNOWN\r\n"), ("v2", SIGNATURE + b"\x20\0\0\0")):
        told = Told()
        async with open_origin(told) as origin:
            services = (service("tickets", HOST, "http", origin.port, proxy_protocol=version),)
            async with open_plane(services=services, listeners=(LOCAL,)) as plane:
                for _ in range(2):
                    client = await plane.connect("local")
                    assert (await client.get(URL)).status == 200
                    await client.aclose()
                assert told.heads == [expected]


async def test_what_is_asked_in_the_background_tells_of_no_client() -> None:
    stale = (
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncache-control: max-age=0, stale-while-revalidate=60\r\n"
        b'etag: "1"\r\n\r\nok'
    )
    told = Told(stale)
    async with open_origin(told) as origin:
        services = (service("tickets", HOST, "http", origin.port, proxy_protocol="v2", cache=CachePolicy()),)
        async with open_plane(services=services) as plane:
            client = await plane.connect()
            assert (await client.get(URL)).status == (await client.get(URL)).status == 200
            await plane.wait_for(lambda: len(plane.events) == 3)
            assert told.sources() == [own(client), None]


async def test_a_service_without_the_key_shares_connections_and_is_told_nothing() -> None:
    async with open_origin() as origin:
        services = (service("tickets", HOST, "http", origin.port),)
        async with open_plane(services=services) as plane:
            for _ in range(2):
                client = await plane.connect()
                assert (await client.get(URL)).status == 200
            await plane.event(1)
            assert [event["reused"] for event in plane.events] == [False, True]
            assert not plane.worker._assembly.pools.clients
