"""Bodies on their way: each piece is handed on before the next one is written, whatever stands in between."""

import dataclasses
import zlib
from collections.abc import Callable

import pytest
import trio

from proxyd.core.authority import Authority
from proxyd.core.exchange import Exchange, Peer
from proxyd.core.message import BytesBody, Lines, Request, Response
from proxyd.core.service import Version
from proxyd.core.snapshot import Listener, ListenerMode, Snapshot
from proxyd.downstream import reply
from tests.lab.http2 import open_h2, open_h2c
from tests.lab.http2_origin import Asked, Session, http2_context, open_http2
from tests.lab.plane import SECRET, Client, Origin, Wire, open_origin, open_plane, parse_head, server_context, service

HOST = "api.tickets.example"
PIECES = [b"data: one\n\n", b"data: two\n\n", b"x" * 100_000, b"data: three\n\n"]
TEXT = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"


def chunk(piece: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(piece), piece)


def zipped() -> Callable[[bytes], bytes]:
    coder = zlib.compressobj(wbits=zlib.MAX_WBITS | 16)
    return lambda piece: chunk(coder.compress(piece) + coder.flush(zlib.Z_SYNC_FLUSH))


FRAMINGS: dict[str, tuple[bytes, Callable[[], Callable[[bytes], bytes]]]] = {
    "chunked": (b"transfer-encoding: chunked\r\n", lambda: chunk),
    "length": (b"content-length: %d\r\n" % len(b"".join(PIECES)), lambda: bytes),
    "close": (b"", lambda: bytes),
    "gzip": (b"transfer-encoding: chunked\r\ncontent-encoding: gzip\r\n", zipped),
}


class Stepwise:
    """An origin that writes a piece of its answer when it is told that the one before has arrived."""

    def __init__(self, framing: str) -> None:
        fields, make = FRAMINGS[framing]
        self.head = TEXT + fields + b"\r\n"
        self.code = make()
        self.arrived, self._wait = trio.open_memory_channel[None](0)

    async def __call__(self, origin: Origin, wire: Wire) -> None:
        await wire.head()
        await wire.send(self.head)
        async with self._wait:
            for piece in PIECES:
                await self._wait.receive()
                await wire.send(self.code(piece))
            await self._wait.receive()


async def read_in_steps(client: Client, steps: Stepwise, decode: Callable[[bytes], bytes]) -> None:
    """Read the answer; each piece is asked for when the one before is there in whole."""
    head = parse_head(await client.head())
    assert head.status == 200
    is_chunked = head.first(b"transfer-encoding") is not None
    for piece in PIECES:
        await steps.arrived.send(None)
        came = b""
        while len(came) < len(piece):
            if is_chunked:
                size = int(await client.until(b"\r\n"), 16)
                came += decode(await client.exactly(size))
                await client.until(b"\r\n")
            else:
                came += await client.exactly(len(piece))
        assert came == piece
    await steps.arrived.send(None)


@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("masked", [False, True], ids=["unmasked", "masked"])
@pytest.mark.parametrize("way", ["plain", "intercepted"])
async def test_a_piece_of_a_response_arrives_before_the_next_is_written(framing: str, masked: bool, way: str) -> None:
    steps = Stepwise(framing)
    scheme = "https" if way == "intercepted" else "http"
    tls = server_context(HOST) if way == "intercepted" else None
    async with open_origin(steps, tls=tls) as origin:
        tickets = service("tickets", HOST, scheme, origin.port, auth=masked)
        async with open_plane(services=(tickets,), leaves=(HOST,)) as plane:
            client = await plane.connect()
            target = b"/" if way == "intercepted" else b"http://%b/" % HOST.encode()
            if way == "intercepted":
                await client.tunnel(b"%b:443" % HOST.encode())
                client = await client.start_tls(HOST)
            await client.send(b"GET %b HTTP/1.1\r\nHost: %b\r\n\r\n" % (target, HOST.encode()))
            is_decoded = masked and framing == "gzip"
            await read_in_steps(client, steps, (lambda piece: piece) if is_decoded or framing != "gzip" else unzipped())


def unzipped() -> Callable[[bytes], bytes]:
    return zlib.decompressobj(zlib.MAX_WBITS | 16).decompress


async def test_a_piece_of_a_request_arrives_before_the_next_is_written() -> None:
    arrived, wait = trio.open_memory_channel[None](0)

    async def listen(origin: Origin, wire: Wire) -> None:
        await wire.head()
        for piece in PIECES:
            came = b""
            while len(came) < len(piece):
                size = int(await wire.until(b"\r\n"), 16)
                came += await wire.exactly(size)
                await wire.until(b"\r\n")
            assert came == piece
            await arrived.send(None)
        await wire.until(b"0\r\n\r\n")
        await wire.send(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")

    async with open_origin(listen) as origin, open_plane() as plane:
        client = await plane.connect()
        head = b"POST http://%b/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        await client.send(head % origin.authority)
        for piece in PIECES:
            await client.send(chunk(piece))
            await wait.receive()
        await client.send(b"0\r\n\r\n")
        assert (await client.reply()).status == 200


# --- HTTP/2 ---------------------------------------------------------------------------------------

LISTENERS = (
    Listener("local", ListenerMode.GATEWAY, "unix:/gateway.sock"),
    Listener("apps", ListenerMode.FORWARD, "127.0.0.1:0"),
)


@pytest.mark.parametrize("framing", ["chunked", "gzip", "length"])
@pytest.mark.parametrize("masked", [False, True], ids=["unmasked", "masked"])
@pytest.mark.parametrize("way", ["gateway", "intercepted"])
async def test_a_piece_arrives_by_http2_before_the_next_is_written(framing: str, masked: bool, way: str) -> None:
    steps = Stepwise(framing)
    async with open_origin(steps, tls=server_context(HOST)) as origin:
        tickets = service("tickets", HOST, "https", origin.port, auth=masked)
        async with open_plane(services=(tickets,), listeners=LISTENERS, leaves=(HOST,)) as plane:
            client = await (open_h2c(plane, b"tickets") if way == "gateway" else open_h2(plane, HOST))
            answer = client.answers[await client.ask(b"/")]
            decode = bytes if masked or framing != "gzip" else unzipped()
            came = taken = b""
            for piece in PIECES:
                await steps.arrived.send(None)
                while len(came) < len(taken) + len(piece):
                    before = len(answer.body)
                    await client.until(lambda: len(answer.body) > before)  # noqa: B023
                    came += decode(answer.body[before:])
                taken += piece
                assert came == taken
            await steps.arrived.send(None)


@pytest.mark.parametrize("masked", [False, True], ids=["unmasked", "masked"])
async def test_a_piece_of_an_http2_service_arrives_before_the_next_is_written(masked: bool) -> None:
    arrived, wait = trio.open_memory_channel[None](0)

    async def answer(session: Session, asked: Asked) -> None:
        await session.head(asked.stream, 200, (b"content-type", b"text/event-stream"))
        for piece in PIECES:
            await wait.receive()
            await session.data(asked.stream, piece)
        await session.data(asked.stream, b"", ended=True)

    async with open_http2(answer, tls=http2_context(HOST)) as site:
        made = service("tickets", HOST, "https", site.port, auth=masked)
        async with open_plane(services=(dataclasses.replace(made, protocol=Version.HTTP2),)) as plane:
            client = await plane.connect()
            await client.send(b"GET http://%b/ HTTP/1.1\r\nHost: %b\r\n\r\n" % (HOST.encode(), HOST.encode()))
            await client.head()
            for piece in PIECES:
                await arrived.send(None)
                came = b""
                while len(came) < len(piece):
                    size = int(await client.until(b"\r\n"), 16)
                    came += await client.exactly(size)
                    await client.until(b"\r\n")
                assert came == piece


async def test_an_echo_of_an_http2_service_is_masked_in_head_body_and_trailers() -> None:
    async def answer(session: Session, asked: Asked) -> None:
        await session.head(asked.stream, 200, (b"content-type", b"text/plain"), (b"x-echo", SECRET))
        await session.data(asked.stream, b"<" + SECRET + b">")
        await session.trailers(asked.stream, (b"x-last", SECRET))

    async def headed(session: Session, asked: Asked) -> None:
        await session.answer(asked.stream, 200, (b"x-echo", SECRET), body=b"ok")

    for how in (answer, headed):
        async with open_http2(how, tls=http2_context(HOST)) as site:
            made = service("tickets", HOST, "https", site.port)
            async with open_plane(services=(dataclasses.replace(made, protocol=Version.HTTP2),)) as plane:
                client = await plane.connect()
                await client.get(b"http://%b/" % HOST.encode())
                assert b"x-echo: " + b"*" * len(SECRET) in client.received
                assert SECRET not in client.received


async def test_an_upgrade_is_http1_even_to_a_service_of_http2() -> None:
    async def switch(origin: Origin, wire: Wire) -> None:
        await wire.head()
        await wire.send(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\nhello")
        await wire.rest()

    async with open_origin(switch, tls=http2_context(HOST, protocols=("h2", "http/1.1"))) as origin:
        made = service("tickets", HOST, "https", origin.port)
        async with open_plane(services=(dataclasses.replace(made, protocol=Version.HTTP2),)) as plane:
            client = await plane.connect()
            upgrade = b"Connection: Upgrade\r\nUpgrade: websocket\r\n"
            await client.send(
                b"GET http://%b/ HTTP/1.1\r\nHost: %b\r\n%b\r\n" % (HOST.encode(), HOST.encode(), upgrade)
            )
            assert parse_head(await client.head()).status == 101
            assert await client.exactly(5) == b"hello"


class Sink:
    """As far as a reply needs a stream."""

    def __init__(self) -> None:
        self.sent = b""

    def send_nowait(self, data: bytes) -> bytes:
        self.sent += data
        return b""


@pytest.mark.parametrize("is_replaced", [False, True])
async def test_lines_made_before_are_sent_unless_a_filter_gave_the_answer_other_fields(is_replaced: bool) -> None:
    headers = [(b"location", b"/kept")]
    response = Response(200, headers, BytesBody(b"ok"))
    response.lines = Lines(headers, b"location: /kept\r\n")
    if is_replaced:
        response.headers = [(b"location", b"/new")]
    request = Request(b"GET", b"http", Authority("api.test", 80, False), b"/", [], BytesBody())
    exchange = Exchange(Peer("main", "127.0.0.1"), Snapshot(1, "p", 1000), request, 0.0, "plain")
    sink = Sink()
    assert await reply.write(sink, exchange, response, b"via: p\r\n", keep=True)  # type: ignore[arg-type]
    location = b"/new" if is_replaced else b"/kept"
    assert sink.sent == b"HTTP/1.1 200 OK\r\nlocation: " + location + b"\r\nvia: p\r\ncontent-length: 2\r\n\r\nok"
