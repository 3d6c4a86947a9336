import datetime
import functools
import math
import socket
import ssl
import time

import pytest
import trio
import trustme
from trio.testing import wait_all_tasks_blocked

from proxyd.core.authority import Authority
from proxyd.core.errors import Flag, ProxyError, Retry
from proxyd.core.exchange import Exchange, Peer
from proxyd.core.message import BytesBody, Request
from proxyd.core.snapshot import Egress, Snapshot
from proxyd.net.reaper import Reaper
from proxyd.net.resolve import Resolver
from proxyd.net.stream import Stream
from proxyd.net.tls import TlsStream, shown_certificate
from proxyd.upstream.connector import Connector
from proxyd.upstream.pool import PoolKey
from tests.lab.plane import authority, open_origin, polite, roots, scripted, server_context

HOST = "origin.example"
SECONDS = 5.0


def make_connector(*addresses, egress=None, extra_roots=None):
    """A connector whose resolver knows no other addresses than these."""

    async def lookup(host, port):
        return [(int(socket.AF_INET6 if ":" in address else socket.AF_INET), address) for address in addresses]

    trusted = roots() if extra_roots is None else extra_roots
    return Connector(egress or Egress(), trusted, Resolver(lookup), Reaper())


def key(port, name=HOST, address=HOST, configured=True):
    return PoolKey(address, port, name, configured, "policy")


def make_exchange():
    request = Request(b"GET", b"https", Authority(HOST, 443, False), b"/", [], BytesBody())
    return Exchange(Peer("main", "127.0.0.1"), Snapshot(1, "p", 1000), request, 0.0, "plain")


@functools.cache
def untrusted_context():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert(HOST).configure_cert(context)
    return context


@functools.cache
def expired_context():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    past = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    authority().issue_cert(HOST, not_before=past, not_after=past + datetime.timedelta(days=1)).configure_cert(context)
    return context


async def get(stream):
    await stream.send(b"GET / HTTP/1.1\r\nhost: origin.example\r\n\r\n")
    received = b""
    while not received.endswith(b"ok"):
        piece = await stream.receive()
        assert piece
        received += piece


async def test_a_stream_is_returned_with_the_address_it_goes_to():
    async with open_origin() as origin:
        connector = make_connector("127.0.0.1")
        stream, peer = await connector.connect(key(origin.port, name=""), None, SECONDS)
        assert type(stream) is Stream
        assert peer == f"127.0.0.1:{origin.port}"
        await get(stream)
        stream.close()


@pytest.mark.parametrize("name", [HOST, "127.0.0.1"])
async def test_tls_with_a_certificate_for_the_name_carries_requests(name):
    async with open_origin(tls=server_context(name)) as origin:
        stream, _ = await make_connector("127.0.0.1").connect(key(origin.port, name=name), None, SECONDS)
        assert isinstance(stream, TlsStream)
        await get(stream)
        stream.close()


@pytest.mark.parametrize(
    ("context", "name"),
    [
        (lambda: server_context("other.example"), HOST),
        (lambda: server_context("*.example"), "a.origin.example"),
        (lambda: server_context("127.0.0.2"), "127.0.0.1"),
        (untrusted_context, HOST),
        (expired_context, HOST),
    ],
    ids=["wrong name", "wildcard too short", "wrong address", "untrusted root", "expired"],
)
async def test_a_certificate_that_proves_nothing_is_refused_and_not_tried_again(context, name):
    async with open_origin(tls=context()) as origin:
        with pytest.raises(ProxyError) as caught:
            await make_connector("127.0.0.1").connect(key(origin.port, name=name), None, SECONDS)
        error = caught.value
        assert (error.status, error.flag, error.error) == (502, Flag.UPSTREAM_CONNECT, "tls_certificate_error")
        assert error.retry is Retry.NEVER
        assert name in error.detail
        assert origin.requests == []


async def test_a_verified_certificate_is_shown_and_a_refused_one_is_not():
    seen = []

    def saw(host, stream):
        seen.append((host, shown_certificate(stream)))

    async def lookup(host, port):
        return [(int(socket.AF_INET), "127.0.0.1")]

    connector = Connector(Egress(), roots(), Resolver(lookup), Reaper(), saw)
    async with open_origin(tls=server_context(HOST)) as origin, open_origin(tls=untrusted_context()) as other:
        stream, _ = await connector.connect(key(origin.port), None, SECONDS)
        stream.close()
        with pytest.raises(ProxyError):
            await connector.connect(key(other.port), None, SECONDS)
    [(host, shown)] = seen
    assert host == HOST
    assert shown.not_valid_before_utc.timestamp() < time.time() < shown.not_valid_after_utc.timestamp()


async def test_without_our_root_nothing_is_trusted():
    async with open_origin(tls=server_context(HOST)) as origin:
        with pytest.raises(ProxyError) as caught:
            await make_connector("127.0.0.1", extra_roots=b"").connect(key(origin.port), None, SECONDS)
        assert caught.value.error == "tls_certificate_error"


async def test_an_origin_that_speaks_no_tls_is_a_protocol_error_that_another_endpoint_may_mend():
    async def answer(origin, wire):
        await wire.fill()
        await wire.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async with open_origin(answer) as origin:
        with pytest.raises(ProxyError) as caught:
            await make_connector("127.0.0.1").connect(key(origin.port), None, SECONDS)
        assert (caught.value.error, caught.value.retry) == ("tls_protocol_error", Retry.ALWAYS)


async def test_the_session_of_the_first_connection_is_resumed_by_the_second():
    resumed = []

    async def answer(origin, wire):
        resumed.append(wire.stream.session_reused)
        await polite(origin, wire)

    async with open_origin(answer, tls=server_context(HOST)) as origin:
        connector = make_connector("127.0.0.1")
        for _ in range(2):
            stream, _ = await connector.connect(key(origin.port), None, SECONDS)
            await get(stream)
            connector.remember(key(origin.port), stream)
            stream.close()
    assert resumed == [False, True]


async def test_a_session_is_not_resumed_under_another_key():
    resumed = []

    async def answer(origin, wire):
        resumed.append(wire.stream.session_reused)
        await polite(origin, wire)

    async with open_origin(answer, tls=server_context(HOST, "other.example")) as origin:
        connector = make_connector("127.0.0.1")
        for name in (HOST, "other.example"):
            stream, _ = await connector.connect(key(origin.port, name=name), None, SECONDS)
            await get(stream)
            connector.remember(key(origin.port, name=name), stream)
            stream.close()
    assert resumed == [False, False]


async def test_prohibited_addresses_are_refused_by_403_and_never_dialled():
    async with open_origin(scripted(b"")) as origin:
        with pytest.raises(ProxyError) as caught:
            await make_connector("127.0.0.1").connect(key(origin.port, name="", configured=False), None, SECONDS)
        assert (caught.value.status, caught.value.error) == (403, "destination_ip_prohibited")
        assert origin.wires == []


async def test_of_several_addresses_the_permitted_ones_remain():
    connector = make_connector("127.0.0.1", "8.8.8.8", "169.254.169.254")
    assert await connector.addresses(HOST, 443, configured=False) == [("8.8.8.8", 443)]


async def test_a_handshake_that_takes_too_long_ends_and_is_closed(autojump_clock):
    async def silent(origin, wire):
        await wire.rest()

    async with open_origin(silent) as origin:
        connector = make_connector("127.0.0.1")
        connector._reaper.add = streams = Streams()
        with pytest.raises(ProxyError) as caught:
            await connector.connect(key(origin.port), None, 2.0)
        assert (caught.value.status, caught.value.error) == (504, "connection_timeout")
        assert caught.value.retry is Retry.ALWAYS
        assert [stream.ended for stream in streams.seen] == ["closed"]


@pytest.mark.parametrize("seconds", [0.2, 1.5], ids=["exact", "by the reaper"])
async def test_a_handshake_has_a_bound_of_its_own_within_that_of_the_connection(nursery, autojump_clock, seconds):
    async def silent(origin, wire):
        await wire.rest()

    async with open_origin(silent) as origin:
        connector = make_connector("127.0.0.1")
        streams = Streams(connector._reaper.add)
        connector._reaper.add = streams
        nursery.start_soon(connector._reaper.run)
        with pytest.raises(ProxyError) as caught:
            await connector.connect(key(origin.port), None, 60.0, seconds)
        assert (caught.value.status, caught.value.flag) == (504, Flag.UPSTREAM_CONNECT)
        assert caught.value.detail == f"TLS with {HOST} took longer than `tls` ({seconds:g} s)"
        assert caught.value.retry is Retry.ALWAYS
        assert all(stream.ended for stream in streams.seen)
        nursery.cancel_scope.cancel()


async def test_a_handshake_within_its_bound_leaves_no_deadline_behind():
    async with open_origin(tls=server_context(HOST)) as origin:
        stream, _ = await make_connector("127.0.0.1").connect(key(origin.port), None, SECONDS, SECONDS / 2)
        assert stream.deadline == math.inf
        await get(stream)
        stream.close()


class Streams:
    def __init__(self, then=None):
        self.seen = []
        self.then = then

    def __call__(self, stream):
        self.seen.append(stream)
        if self.then is not None:
            self.then(stream)


async def test_a_client_that_leaves_ends_the_dial(nursery):
    exchange = make_exchange()
    errors = []

    async def hang(host, port):
        await trio.sleep_forever()

    connector = Connector(Egress(), b"", Resolver(hang), Reaper())

    async def connect():
        try:
            await connector.connect(key(443), exchange, 0.0)
        except ProxyError as error:
            errors.append(error)

    nursery.start_soon(connect)
    await wait_all_tasks_blocked()
    exchange.abandon()
    await wait_all_tasks_blocked()
    assert [(error.status, error.flag) for error in errors] == [(499, Flag.DOWNSTREAM_DISCONNECT)]
    assert exchange.scope is None
