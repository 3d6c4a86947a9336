"""HTTP/1.1 between a client and an origin, through a live worker: what each end sees on its wire."""

import base64
import dataclasses

import pytest
import trio

from proxyd.core.access import ProxyUser
from proxyd.core.limits import Limits
from proxyd.core.service import Auth, AuthPart
from proxyd.core.snapshot import Listener, ListenerMode
from tests.lab.plane import (
    SECRET,
    Client,
    Origin,
    Plane,
    Wire,
    open_origin,
    open_plane,
    parse_head,
    read_request,
    scripted,
    server_context,
    service,
)

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
HOST = "api.tickets.example"


def get(origin: Origin, path: bytes = b"/", *fields: bytes, version: int = 11) -> bytes:
    lines = b"".join(line + b"\r\n" for line in (b"Host: x", *fields))
    return b"GET http://%b%b HTTP/1.%d\r\n%b\r\n" % (origin.authority, path, version - 10, lines)


def post(origin: Origin, *fields: bytes) -> bytes:
    lines = b"".join(line + b"\r\n" for line in (b"Host: x", *fields))
    return b"POST http://%b/ HTTP/1.1\r\n%b\r\n" % (origin.authority, lines)


async def echo_path(origin: Origin, wire: Wire) -> None:
    while (seen := await read_request(origin, wire)) is not None:
        await wire.send(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(seen.target), seen.target))


async def silent(origin: Origin, wire: Wire) -> None:
    """Never answer; read to the peer's end."""
    await wire.rest()


# --- persistence and order ------------------------------------------------------------------------


async def test_requests_of_one_connection_share_one_upstream_connection() -> None:
    async with open_origin() as origin, open_plane() as plane:
        client = await plane.connect()
        for _ in range(3):
            assert (await client.get(b"http://%b/" % origin.authority)).body == b"ok"
        assert len(origin.wires) == 1
        assert [(await plane.event(n))["reused"] for n in range(3)] == [False, True, True]


async def test_pipelined_requests_are_answered_in_order() -> None:
    async with open_origin(echo_path) as origin, open_plane() as plane:
        client = await plane.connect()
        paths = [b"/%d" % n for n in range(20)]
        await client.send(b"".join(get(origin, path) for path in paths))
        assert [(await client.reply()).body for _ in paths] == paths
        assert [seen.target for seen in origin.requests] == paths


async def test_pipelined_requests_wait_behind_a_body() -> None:
    async with open_origin() as origin, open_plane() as plane:
        client = await plane.connect()
        body = b"x" * 300_000
        await client.send(post(origin, b"Content-Length: %d" % len(body)) + body + get(origin, b"/next"))
        assert (await client.reply()).status == 200
        assert (await client.reply()).status == 200
        assert [(seen.method, len(seen.body)) for seen in origin.requests] == [(b"POST", len(body)), (b"GET", 0)]


async def test_connection_close_is_kept_on_both_sides() -> None:
    async with open_origin() as origin, open_plane() as plane:
        client = await plane.connect()
        await client.send(get(origin, b"/", b"Connection: close"))
        reply = await client.reply()
        assert reply.first(b"connection") == b"close"
        assert await client.is_closed()
        assert not origin.wires[0].ended.is_set(), "the client's wish is not the upstream's"


async def test_upstream_close_does_not_end_the_clients_connection() -> None:
    answer = scripted(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok", close=True)
    async with open_origin(answer) as origin, open_plane() as plane:
        client = await plane.connect()
        for _ in range(2):
            await client.send(get(origin))
            reply = await client.reply()
            assert reply.first(b"connection") is None
        assert len(origin.wires) == 2


async def test_a_1_0_client_is_closed_unless_it_asks_to_be_kept() -> None:
    async with open_origin() as origin, open_plane() as plane:
        client = await plane.connect()
        await client.send(get(origin, b"/", b"Connection: keep-alive", version=10))
        assert (await client.reply()).first(b"connection") == b"keep-alive"
        await client.send(get(origin, version=10))
        assert (await client.reply()).first(b"connection") == b"close"
        assert await client.is_closed()


async def test_a_1_0_client_gets_a_streamed_answer_until_the_end_and_no_interim() -> None:
    head_came = trio.Event()

    async def in_two(origin: Origin, wire: Wire) -> None:
        await wire.head()
        await wire.send(b"HTTP/1.1 103 Early\r\nlink: </a>\r\n\r\n")
        await wire.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n")
        await head_came.wait()
        await wire.send(b"1\r\nc\r\n0\r\nx-sum: 1\r\n\r\n")

    async with open_origin(in_two) as origin, open_plane() as plane:
        client = await plane.connect()
        await client.send(get(origin, b"/", b"Connection: keep-alive", version=10))
        reply = parse_head(await client.head())
        assert reply.status == 200
        assert reply.first(b"transfer-encoding") is None
        assert reply.first(b"content-length") is None
        assert reply.first(b"connection") == b"close"
        head_came.set()
        assert await client.rest() == b"abc"


async def test_a_head_answer_leaves_the_connection_in_step() -> None:
    async with open_origin() as origin, open_plane() as plane:
        client = await plane.connect()
        await client.send(b"HEAD http://%b/ HTTP/1.1\r\nHost: x\r\n\r\n" % origin.authority + get(origin))
        head = await client.reply(b"HEAD")
        assert head.first(b"content-length") == b"2"
        assert (await client.reply()).body == b"ok"
        assert len(origin.wires) == 1


async def test_bytes_after_an_answer_end_its_connection_and_answer_nothing() -> None:
    poisoned = OK + b"HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\npoisoned"
    async with open_origin(scripted(poisoned)) as origin, open_plane() as plane:
        client = await plane.connect()
        for _ in range(2):
            await client.send(get(origin))
            assert (await client.reply()).body == b"ok"
        assert len(origin.wires) == 2


# --- interim and early responses ------------------------------------------------------------------


async def test_interim_responses_pass() -> None:
    async with (
        open_origin(scripted(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + OK)) as origin,
        open_plane() as plane,
    ):
        client = await plane.connect()
        await client.send(get(origin))
        interim = await client.reply()
        assert (interim.status, interim.first(b"link")) == (103, b"</a>")
        assert (await client.reply()).status == 200


async def continue_then(origin: Origin, wire: Wire) -> None:
    head = await wire.head()
    assert b"expect: 100-continue" in head
    assert not wire.waiting
    await wire.send(b"HTTP/1.1 100 Continue\r\n\r\n")
    assert await wire.exactly(5) == b"hello"
    await wire.send(OK)


async def test_continue_goes_end_to_end() -> None:
    async with open_origin(continue_then) as origin, open_plane() as plane:
        client = await plane.connect()
        await client.send(post(origin, b"Content-Length: 5", b"Expect: 100-continue"))
        assert (await client.reply()).status == 100
        await client.send(b"hello")
        assert (await client.reply()).status == 200


async def test_a_client_that_waits_for_continue_is_not_a_stalled_body() -> None:
    async def slow(origin: Origin, wire: Wire) -> None:
        await wire.head()
        await trio.sleep(0.9)
        await wire.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        await wire.exactly(5)
        await wire.send(OK)

    async with open_origin(slow) as origin, open_plane(limits=Limits(body_rate_grace=0.2)) as plane:
        client = await plane.connect()
        await client.send(post(origin, b"Content-Length: 5", b"Expect: 100-continue"))
        assert (await client.reply()).status == 100
        await client.send(b"hello")
        assert (await client.reply()).status == 200


@pytest.mark.parametrize("fields", [(), (b"Expect: 100-continue",)], ids=["plain", "expecting"])
async def test_an_early_refusal_reaches_a_client_that_still_sends(fields: tuple[bytes, ...]) -> None:
    async def refuse(origin: Origin, wire: Wire) -> None:
        await wire.head()
        await wire.send(b"HTTP/1.1 413 Too Large\r\ncontent-length: 3\r\n\r\nbig")
        await wire.rest()

    async with open_origin(refuse) as origin, open_plane() as plane:
        client = await plane.connect()
        await client.send(post(origin, b"Content-Length: 100000000", *fields))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.send, b"x" * 10_000_000)
            reply = await client.reply()
        assert (reply.status, reply.body) == (413, b"big")
        assert reply.first(b"connection") == b"close"
        await client.rest()
        assert len(origin.wires[0].received) < 100_000_000


async def test_lingering_ends_after_its_bytes() -> None:
    limits = Limits(linger_bytes=1000, linger_seconds=30.0)
    async with open_plane(limits=limits) as plane:
        client = await plane.connect()
        await client.send(b"bad request\r\n\r\n")
        assert (await client.reply()).status == 400
        await client.send(b"x" * 20_000)
        await client.rest()
        event = await plane.event()
        assert event["status"] == 400


async def test_the_answer_may_begin_before_the_body_has_ended() -> None:
    async def duplex(origin: Origin, wire: Wire) -> None:
        await wire.head()
        await wire.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        for _ in range(3):
            piece = await wire.until(b"\r\n") + await wire.until(b"\r\n")
            await wire.send(piece)
        await wire.until(b"0\r\n\r\n")
        await wire.send(b"0\r\n\r\n")
        await wire.rest()

    async with open_origin(duplex) as origin, open_plane() as plane:
        client = await plane.connect()
        await client.send(post(origin, b"Transfer-Encoding: chunked"))
        reply = parse_head(await client.head())
        assert reply.status == 200
        for word in (b"one", b"two", b"three"):
            chunk = b"%x\r\n%b\r\n" % (len(word), word)
            await client.send(chunk)
            assert await client.exactly(len(chunk)) == chunk
        await client.send(b"0\r\n\r\n")
        assert await client.exactly(5) == b"0\r\n\r\n"


# --- bodies ---------------------------------------------------------------------------------------


async def test_trailers_pass_both_ways() -> None:
    raw = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\nx-sum: 1\r\n\r\n"
    async with open_origin(scripted(raw)) as origin, open_plane() as plane:
        client = await plane.connect()
        await client.send(post(origin, b"Transfer-Encoding: chunked", b"TE: trailers"))
        await client.send(b"1\r\na\r\n0\r\nx-mine: 2\r\n\r\n")
        reply = await client.reply()
        assert (reply.body, reply.trailers) == (b"a", [(b"x-sum", b"1")])
        assert origin.requests[0].trailers == [(b"x-mine", b"2")]
        assert origin.requests[0].first(b"te") == b"trailers"


@pytest.mark.parametrize("framing", ["length", "chunked"])
async def test_large_bodies_pass_unchanged_both_ways(framing: str) -> None:
    body = bytes(range(256)) * 8000

    async def mirror(origin: Origin, wire: Wire) -> None:
        seen = await read_request(origin, wire)
        assert seen is not None
        if framing == "length":
            await wire.send(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(seen.body) + seen.body)
        else:
            await wire.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
            await wire.send(b"%x\r\n" % len(seen.body) + seen.body + b"\r\n0\r\n\r\n")

    async with open_origin(mirror) as origin, open_plane() as plane:
        client = await plane.connect()
        if framing == "length":
            await client.send(post(origin, b"Content-Length: %d" % len(body)) + body)
        else:
            chunks = b"".join(
                b"%x\r\n%b\r\n" % (len(piece), piece) for piece in (body[:7], body[7:70_000], body[70_000:])
            )
            await client.send(post(origin, b"Transfer-Encoding: chunked") + chunks + b"0\r\n\r\n")
        reply = await client.reply()
        assert reply.body == body
        assert origin.requests[0].body == body
        event = await plane.event()
        assert (event["request_bytes"], event["response_bytes"]) == (len(body), len(body))


async def test_a_piece_of_a_body_is_sent_on_before_the_next_one_came() -> None:
    pieces = trio.Event()

    async def watch(origin: Origin, wire: Wire) -> None:
        await wire.head()
        assert await wire.exactly(3) == b"abc"
        pieces.set()
        assert await wire.exactly(3) == b"def"
        await wire.send(OK)

    async with open_origin(watch) as origin, open_plane() as plane:
        client = await plane.connect()
        await client.send(post(origin, b"Content-Length: 6") + b"abc")
        with trio.fail_after(5):
            await pieces.wait()
        await client.send(b"def")
        assert (await client.reply()).status == 200


async def test_a_body_that_breaks_off_never_looks_complete_to_the_origin() -> None:
    async with open_origin() as origin, open_plane() as plane:
        client = await plane.connect()
        await client.send(post(origin, b"Content-Length: 10") + b"abc")
        await origin.saw(b"abc")
        await client.aclose()
        await cancelled(origin)
        assert origin.requests == []
        assert (await plane.event())["flags"] == "DC"


async def test_a_malformed_later_chunk_is_400_and_the_origin_sees_no_end() -> None:
    async with open_origin() as origin, open_plane() as plane:
        client = await plane.connect()
        await client.send(post(origin, b"Transfer-Encoding: chunked") + b"3\r\nabc\r\n")
        await origin.saw(b"abc")
        await client.send(b"zz\r\n")
        assert (await client.reply()).status == 400
        assert origin.requests == []
        await origin.wires[0].ended.wait()


# --- clients that leave, and slow ones ------------------------------------------------------------


async def cancelled(origin: Origin) -> None:
    """A sweep of the reaper is a quarter of a second; a loaded machine gets some more."""
    with trio.fail_after(3):
        await origin.wires[0].ended.wait()


@pytest.mark.parametrize("how", ["close", "half-close", "reset"])
async def test_a_client_that_leaves_cancels_the_attempt(how: str) -> None:
    async with open_origin(silent) as origin, open_plane() as plane:
        client = await plane.connect()
        await client.send(get(origin))
        await origin.saw(b"\r\n\r\n")
        if how == "close":
            await client.aclose()
        elif how == "half-close":
            await client.finish_writing()
        else:
            client.reset()
        await cancelled(origin)
        event = await plane.event()
        assert (event["status"], event["flags"]) == (499, "DC")


async def test_a_client_that_leaves_within_the_answer_cancels_the_attempt() -> None:
    async def endless(origin: Origin, wire: Wire) -> None:
        await wire.head()
        await wire.send(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\nabc")
        await wire.rest()

    async with open_origin(endless) as origin, open_plane() as plane:
        client = await plane.connect()
        await client.send(get(origin))
        await client.until(b"abc")
        await client.aclose()
        await cancelled(origin)
        assert (await plane.event())["flags"] == "DC"


async def test_a_client_that_leaves_a_secure_upstream_leaves_others_alone() -> None:
    """The closed TLS stream's descriptor is another connection's at once."""

    async def drip(origin: Origin, wire: Wire) -> None:
        await wire.head()
        await wire.send(b"HTTP/1.1 200 OK\r\ncontent-length: 100000000\r\n\r\n")
        while True:
            await wire.stream.send_all(b"x" * 60_000)

    async with (
        open_origin(drip, tls=server_context(HOST)) as secure,
        open_origin(echo_path) as other,
        open_plane(services=(service("tickets", HOST, "https", secure.port),)) as plane,
    ):
        leaver = await plane.connect()
        await leaver.send(b"GET http://%b/ HTTP/1.1\r\nHost: %b\r\n\r\n" % (HOST.encode(), HOST.encode()))
        await leaver.until(b"\r\n\r\n")
        await leaver.finish_writing()  # and goes on reading: the relay is in the middle of it
        await cancelled(secure)
        clients = [await plane.connect() for _ in range(5)]
        for client in clients:
            assert (await client.get(b"http://%b/mine" % other.authority)).body == b"/mine"
        await leaver.rest()
        assert leaver.was_reset
        for client in clients:
            assert (await client.get(b"http://%b/mine" % other.authority)).body == b"/mine"


async def test_a_head_that_takes_too_long_is_408() -> None:
    async with open_plane(limits=Limits(head_timeout=0.3)) as plane:
        client = await plane.connect()
        await client.send(b"GET http://a/ HT")
        assert (await client.reply()).status == 408
        assert await client.is_closed()
        await client.aclose()
        event = await plane.event()
        assert (event["status"], event["flags"]) == (408, "DT")


async def test_a_body_that_stalls_is_408_and_ends_the_attempt() -> None:
    async with open_origin() as origin, open_plane(limits=Limits(body_rate_grace=0.4)) as plane:
        client = await plane.connect()
        await client.send(post(origin, b"Content-Length: 10") + b"abc")
        assert (await client.reply()).status == 408
        assert await client.is_closed()
        assert origin.requests == []
        event = await plane.event()
        assert (event["status"], event["flags"]) == (408, "DT")


async def test_a_body_slower_than_the_rate_is_408_although_it_moves() -> None:
    limits = Limits(body_rate_grace=0.5, body_rate=1000)
    async with open_origin() as origin, open_plane(limits=limits) as plane:
        client = await plane.connect()
        await client.send(post(origin, b"Content-Length: 1000"))
        async with trio.open_nursery() as nursery:

            async def drip() -> None:
                while True:
                    await client.send(b"x")
                    await trio.sleep(0.1)

            nursery.start_soon(drip)
            assert (await client.reply()).status == 408
            nursery.cancel_scope.cancel()


async def test_a_body_at_the_rate_is_served_however_long_it_takes() -> None:
    limits = Limits(body_rate_grace=0.5, body_rate=100)
    async with open_origin() as origin, open_plane(limits=limits) as plane:
        client = await plane.connect()
        await client.send(post(origin, b"Content-Length: 240"))
        for _ in range(12):
            await client.send(b"x" * 20)
            await trio.sleep(0.1)
        assert (await client.reply()).status == 200


async def test_an_idle_connection_is_closed_without_a_word() -> None:
    async with open_origin() as origin, open_plane(limits=Limits(idle_timeout=0.3)) as plane:
        fresh, used = await plane.connect(), await plane.connect()
        assert (await used.get(b"http://%b/" % origin.authority)).status == 200
        assert await fresh.is_closed()
        assert await used.is_closed()
        assert len(plane.events) == 1


async def test_connections_beyond_a_callers_limit_are_closed_at_once() -> None:
    async with open_origin() as origin, open_plane(limits=Limits(connections_per_caller=2)) as plane:
        kept = [await plane.connect() for _ in range(2)]
        for client in kept:
            assert (await client.get(b"http://%b/" % origin.authority)).status == 200
        surplus = await plane.connect()
        await surplus.send(get(origin))
        answer = await surplus.rest()
        assert answer == b"" or answer.startswith(b"HTTP/1.1 503")
        await surplus.aclose()
        await kept[0].aclose()
        await trio.sleep(0.05)
        again = await plane.connect()
        assert (await again.get(b"http://%b/" % origin.authority)).status == 200


# --- upgrades -------------------------------------------------------------------------------------

UPGRADE = (b"Connection: Upgrade", b"Upgrade: websocket", b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==")


async def switch(origin: Origin, wire: Wire) -> None:
    head = await wire.head()
    assert b"\r\nconnection: upgrade\r\n" in head
    assert b"\r\nupgrade: websocket\r\n" in head
    await wire.send(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: WebSocket\r\nConnection: upgrade\r\nX-A: b\r\n\r\nfrom origin"
    )
    assert await wire.exactly(11) == b"from client"
    while data := wire.waiting or (await wire.fill() and wire.waiting):
        await wire.send(await wire.exactly(len(data)))
    await wire.send(b"last words")


async def test_websocket_with_bytes_that_came_with_the_heads() -> None:
    async with open_origin(switch) as origin, open_plane() as plane:
        client = await plane.connect()
        await client.send(get(origin, b"/ws", *UPGRADE) + b"from client")
        reply = parse_head(await client.head())
        assert reply.status == 101
        assert reply.first(b"upgrade") == b"websocket"
        assert reply.first(b"connection") == b"upgrade"
        assert reply.first(b"x-a") == b"b"
        assert await client.exactly(11) == b"from origin"
        await client.send(b"echo me")
        assert await client.exactly(7) == b"echo me"
        await client.finish_writing()  # half-close is for tunnels
        assert await client.rest() == b"last words"
        event = await plane.event()
        assert event["status"] == 101
        assert event["response_bytes"] >= 17


SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n"


async def test_an_upgraded_connection_in_which_nothing_moves_is_ended_and_reported() -> None:
    limits = Limits(tunnel_idle=0.4)
    async with open_origin(scripted(SWITCHED)) as origin, open_plane(limits=limits) as plane:
        client = await plane.connect()
        await client.send(get(origin, b"/ws", *UPGRADE))
        await client.head()
        assert await client.rest() == b""
        event = await plane.event()
        assert (event["status"], event["flags"]) == (101, "SI")
        assert event["detail"] == "the upgraded connection ended: idle"


async def test_an_upgraded_connection_lives_while_one_side_sends() -> None:
    async def tick(origin: Origin, wire: Wire) -> None:
        await wire.head()
        await wire.send(SWITCHED)
        for _ in range(8):
            await trio.sleep(0.1)
            await wire.send(b".")

    async with open_origin(tick) as origin, open_plane(limits=Limits(tunnel_idle=0.5)) as plane:
        client = await plane.connect()
        await client.send(get(origin, b"/ws", *UPGRADE))
        await client.head()
        assert await client.exactly(8) == b"." * 8
        await client.finish_writing()
        await client.rest()
        assert (await plane.event())["flags"] == ""


async def test_bytes_that_came_with_the_heads_are_counted() -> None:
    async with open_origin(switch) as origin, open_plane() as plane:
        client = await plane.connect()
        await client.send(get(origin, b"/ws", *UPGRADE) + b"from client")
        await client.head()
        await client.finish_writing()
        assert await client.rest() == b"from originlast words"
        event = await plane.event()
        assert (event["request_bytes"], event["response_bytes"]) == (11, 21)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n",
    ],
)
async def test_a_switch_to_something_else_is_502(answer: bytes) -> None:
    async with open_origin(scripted(answer)) as origin, open_plane() as plane:
        client = await plane.connect()
        await client.send(get(origin, b"/", *UPGRADE))
        assert (await client.reply()).status == 502
        assert (await plane.event())["error"] == "http_upgrade_failed"


async def test_an_upgrade_that_the_origin_ignores_is_an_exchange_like_any_other() -> None:
    async with open_origin() as origin, open_plane() as plane:
        client = await plane.connect()
        await client.send(get(origin, b"/", *UPGRADE) + get(origin, b"/next"))
        assert (await client.reply()).status == 200
        assert (await client.reply()).status == 200
        assert [seen.target for seen in origin.requests] == [b"/", b"/next"]


# --- who and where --------------------------------------------------------------------------------


def users(*names: str) -> tuple[Listener, ...]:
    allowed = tuple(ProxyUser(name, f"{name}/password") for name in names)
    return (Listener("apps", ListenerMode.FORWARD, "127.0.0.1:0", users=allowed),)


@pytest.mark.parametrize(
    ("value", "status"),
    [
        (None, 407),
        (b"Basic " + base64.b64encode(b"ann:wrong"), 407),
        (b"Basic " + base64.b64encode(b"bob:hunter22"), 407),
        (b"Basic " + base64.b64encode(b"annhunter22"), 407),
        (b"Basic !!", 407),
        (b"Bearer hunter22", 407),
        (b"Basic " + base64.b64encode(b"ann:hunter22"), 200),
        (b"basic " + base64.b64encode(b"ann:hunter22"), 200),
    ],
)
async def test_proxy_authentication_is_demanded_and_never_forwarded(value: bytes | None, status: int) -> None:
    async with open_origin() as origin, open_plane(listeners=users("ann")) as plane:
        await plane.set_secret("ann/password", b"hunter22")
        client = await plane.connect()
        fields = () if value is None else (b"Proxy-Authorization: " + value,)
        await client.send(get(origin, b"/", *fields))
        reply = await client.reply()
        assert reply.status == status
        if status == 407:
            assert reply.first(b"proxy-authenticate") == b'Basic realm="proxyd"'
            assert origin.received == b""
        else:
            assert b"hunter" not in origin.received
            assert b"roxy-" not in origin.received
        tunnel = await plane.connect()
        await tunnel.send(
            b"CONNECT %b HTTP/1.1\r\nHost: x\r\n" % origin.authority + b"".join(f + b"\r\n" for f in fields) + b"\r\n"
        )
        assert (await tunnel.reply(b"CONNECT")).status == status


async def test_a_request_that_was_here_before_is_508() -> None:
    async with open_origin() as origin, open_plane() as plane:
        client = await plane.connect()
        await client.send(get(origin, b"/", b"Via: 1.0 other, 1.1 Proxyd-Lab (x)"))
        reply = await client.reply()
        assert reply.status == 508
        assert b"proxy_loop_detected" in (reply.first(b"proxy-status") or b"")
        await client.send(get(origin, b"/", b"Via: 1.1 proxyd-lab2"))
        assert (await client.reply()).status == 200
        assert [value for name, value in origin.requests[0].headers if name == b"via"] == [
            b"1.1 proxyd-lab2",
            b"1.1 proxyd-lab",
        ]


async def test_generated_replies_say_who_why_and_which_request() -> None:
    async with open_plane() as plane:
        client = await plane.connect()
        await client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        with trio.fail_after(5):
            await client.fill()
        raw = client.waiting
        reply = parse_head(raw.partition(b"\r\n\r\n")[0] + b"\r\n\r\n")
        assert int(reply.first(b"content-length") or 0) == len(raw.partition(b"\r\n\r\n")[2]), "one segment"
        assert (reply.first(b"proxy-status") or b"").startswith(b"proxyd-lab; error=http_request_error")
        assert reply.first(b"x-request-id")
        await client.aclose()
        assert (await plane.event())["id"].encode() == reply.first(b"x-request-id")


# --- services -------------------------------------------------------------------------------------


async def via_service(plane: Plane, *fields: bytes, method: bytes = b"GET", host: bytes = HOST.encode()) -> Client:
    client = await plane.connect()
    lines = b"".join(line + b"\r\n" for line in (b"Host: " + host, *fields))
    await client.send(b"%b http://%b/v2/x?y=%%2F HTTP/1.1\r\n%b\r\n" % (method, HOST.encode(), lines))
    return client


async def test_a_services_request_goes_over_tls_with_the_credential_although_it_came_plain() -> None:
    async with (
        open_origin(tls=server_context(HOST)) as origin,
        open_plane(services=(service("tickets", HOST, "https", origin.port),)) as plane,
    ):
        client = await via_service(plane, b"Authorization: Bearer mine")
        assert (await client.reply()).status == 200
        [seen] = origin.requests
        assert [value for name, value in seen.headers if name == b"authorization"] == [b"Bearer " + SECRET]
        assert seen.target == b"/v2/x?y=%2F"
        assert seen.first(b"host") == HOST.encode()
        event = await plane.event()
        assert (event["service"], event["credential"]) == ("tickets", "tickets/key")


async def test_an_unknown_host_never_gets_a_credential() -> None:
    async with (
        open_origin() as origin,
        open_plane(services=(service("tickets", HOST, "https", origin.port),)) as plane,
    ):
        client = await plane.connect()
        assert (await client.get(b"http://%b/" % origin.authority)).status == 200
        assert SECRET not in origin.received


@pytest.mark.parametrize("host", [b"other.example", b"api.tickets.example:444", b"", b"127.0.0.1"])
async def test_a_services_request_whose_host_differs_is_421(host: bytes) -> None:
    async with (
        open_origin(tls=server_context(HOST)) as origin,
        open_plane(services=(service("tickets", HOST, "https", origin.port),)) as plane,
    ):
        client = await via_service(plane, host=host)
        assert (await client.reply()).status == 421
        assert origin.wires == []


@pytest.mark.parametrize("host", [b"API.tickets.example", b"api.tickets.example.", b"api.tickets.example:80"])
async def test_a_services_host_is_compared_after_normalisation(host: bytes) -> None:
    async with (
        open_origin(tls=server_context(HOST)) as origin,
        open_plane(services=(service("tickets", HOST, "https", origin.port),)) as plane,
    ):
        client = await via_service(plane, host=host)
        assert (await client.reply()).status == 200
        assert origin.requests[0].first(b"host") == HOST.encode()


async def test_trace_never_carries_a_credential() -> None:
    async with (
        open_origin(tls=server_context(HOST)) as origin,
        open_plane(services=(service("tickets", HOST, "https", origin.port),)) as plane,
    ):
        client = await via_service(plane, b"Authorization: Bearer mine", b"Cookie: a=b", method=b"TRACE")
        assert (await client.reply()).status == 200
        assert origin.requests[0].first(b"authorization") is None
        assert origin.requests[0].first(b"cookie") is None
        assert SECRET not in origin.received


async def test_connection_must_not_name_the_credentials_field() -> None:
    auth = Auth("header", (AuthPart("X-Api-Key", "tickets/key"),))
    async with (
        open_origin(tls=server_context(HOST)) as origin,
        open_plane(services=(service("tickets", HOST, "https", origin.port),)) as plane,
    ):
        await plane.apply(services=(dataclasses.replace(plane.snapshot.services[0], auths=(auth,)),))
        client = await via_service(plane, b"Connection: close, X-API-Key", b"X-Api-Key: mine")
        assert (await client.reply()).status == 400
        assert origin.requests == []
        client = await via_service(plane, b"Connection: x-other", b"X-Api-Key: mine")
        assert (await client.reply()).status == 200
        assert origin.requests[0].first(b"x-api-key") == SECRET


async def test_a_secret_that_cannot_be_had_is_500_and_its_reason() -> None:
    async with (
        open_origin(tls=server_context(HOST)) as origin,
        open_plane(services=(service("tickets", HOST, "https", origin.port),)) as plane,
    ):
        await plane.set_secret("tickets/key", None, "the variable is not set")
        client = await via_service(plane)
        reply = await client.reply()
        assert reply.status == 500
        assert b"the variable is not set" in reply.body
        assert origin.requests == []
        await plane.set_secret("tickets/key", b"new-value-of-it")
        await client.send(b"GET http://%b/ HTTP/1.1\r\nHost: %b\r\n\r\n" % (HOST.encode(), HOST.encode()))
        assert (await client.reply()).status == 200
        assert origin.requests[0].first(b"authorization") == b"Bearer new-value-of-it"


async def test_another_port_of_a_services_name_is_403() -> None:
    async with open_plane(services=(service("tickets", HOST, "https", 1),)) as plane:
        client = await plane.connect()
        assert (await client.get(b"http://%b:8080/" % HOST.encode())).status == 403


async def test_two_services_never_share_a_connection_or_a_secret() -> None:
    async with open_origin() as origin:
        services = (
            service("one", "one.example", "http", origin.port),
            service("two", "two.example", "http", origin.port),
        )
        async with open_plane(services=services) as plane:
            await plane.set_secret("two/key", b"another-secret")
            client = await plane.connect()
            for host in (b"one.example", b"two.example", b"one.example"):
                assert (await client.get(b"http://%b/" % host)).status == 200
            sent = [(seen.first(b"host"), seen.first(b"authorization")) for seen in origin.requests]
            assert sent == [
                (b"one.example", b"Bearer " + SECRET),
                (b"two.example", b"Bearer another-secret"),
                (b"one.example", b"Bearer " + SECRET),
            ]
