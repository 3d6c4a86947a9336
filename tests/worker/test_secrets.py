"""What becomes of running exchanges when a secret changes or goes."""

import base64

import pytest
import trio

from proxyd.core.access import ProxyUser
from proxyd.core.messages import SetCredential
from proxyd.core.snapshot import Listener, ListenerMode
from tests.lab.plane import Client, Origin, Plane, Wire, open_origin, open_plane, read_request, service

HOST = "api.tickets.example"
HEAD = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nfirst"
SECRET = b"secret-of-tickets"
REQUEST = b"GET http://%b/ HTTP/1.1\r\nHost: %b\r\n\r\n" % (HOST.encode(), HOST.encode())


async def stream(origin: Origin, wire: Wire) -> None:
    """Begin a response and never end it."""
    await read_request(origin, wire)
    await wire.send(HEAD)
    await wire.rest()


async def echo(origin: Origin, wire: Wire) -> None:
    while wire.waiting or await wire.fill():
        await wire.send(await wire.exactly(len(wire.waiting)))


async def begin(plane: Plane) -> Client:
    """Have a response that is under way."""
    client = await plane.connect()
    await client.send(REQUEST)
    while b"first" not in client.waiting:
        assert await client.fill()
    return client


def proxy_users(*names: str) -> tuple[Listener, ...]:
    users = tuple(ProxyUser(name, f"proxy/{name}") for name in names)
    return (Listener("apps", ListenerMode.FORWARD, "127.0.0.1:0", users=users),)


def basic(pair: bytes) -> bytes:
    return b"Proxy-Authorization: Basic " + base64.b64encode(pair)


async def test_a_stream_ends_within_drain_old_when_its_secret_is_removed() -> None:
    async with open_origin(stream) as origin:
        services = (service("tickets", HOST, "http", origin.port),)
        async with open_plane(services=services, drain_old=0.3) as plane:
            client = await begin(plane)
            await plane.set_secret("tickets/key", None, "it was removed")
            assert not client.ended.is_set()
            with trio.fail_after(3):
                await client.rest()
                await origin.wires[0].ended.wait()


@pytest.mark.parametrize("name", ["other/key", "tickets/key"], ids=["another secret goes", "its secret changes"])
async def test_a_stream_goes_on_when_its_secret_is_not_removed(name: str) -> None:
    async with open_origin(stream) as origin:
        services = (service("tickets", HOST, "http", origin.port),)
        async with open_plane(services=services, drain_old=0.05) as plane:
            await plane.set_secret("other/key", b"another-secret")
            client = await begin(plane)
            await plane.set_secret(name, None if name == "other/key" else b"the-next-value")
            await trio.sleep(0.3)
            assert not client.ended.is_set()


async def test_a_stream_goes_on_when_the_same_value_comes_back_in_time() -> None:
    async with open_origin(stream) as origin:
        services = (service("tickets", HOST, "http", origin.port),)
        async with open_plane(services=services, drain_old=0.2) as plane:
            await plane.set_secret("tickets/key", SECRET)
            client = await begin(plane)
            await plane.set_secret("tickets/key", None, "the vault was restored")
            await plane.set_secret("tickets/key", SECRET)
            await trio.sleep(0.5)
            assert not client.ended.is_set()


async def test_a_tunnel_ends_when_the_password_of_its_user_is_removed() -> None:
    async with open_origin(echo) as origin, open_plane(listeners=proxy_users("ann"), drain_old=0.2) as plane:
        await plane.set_secret("proxy/ann", b"hunter22")
        client = await plane.connect()
        head = b"CONNECT %b HTTP/1.1\r\nHost: x\r\n" % origin.authority
        await client.send(head + basic(b"ann:hunter22") + b"\r\n\r\n")
        assert (await client.reply(b"CONNECT")).status == 200
        await client.send(b"hello")
        assert await client.exactly(5) == b"hello"
        await plane.set_secret("proxy/ann", None, "it was removed")
        with trio.fail_after(3):
            await client.rest()


async def test_both_passwords_count_during_the_overlap() -> None:
    async with open_origin() as origin, open_plane(listeners=proxy_users("ann")) as plane:
        url = b"http://%b/" % origin.authority
        client = await plane.connect()
        for number, (former, statuses) in enumerate([([b"hunter22"], (200, 200)), ([], (407, 200))], 101):
            await plane.send(SetCredential("proxy/ann", b"hunter33", "", number, former))
            await plane.wait_for(lambda number=number: plane._credentials >= number)
            for password, status in zip((b"hunter22", b"hunter33"), statuses, strict=True):
                client = await plane.connect()
                assert (await client.get(url, basic(b"ann:" + password))).status == status
