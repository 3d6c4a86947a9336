"""Generated conversations through a live worker: no chunking and no mutation crashes it, desynchronises it, or
carries a secret elsewhere.
"""

import contextlib

import h11
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proxyd.core.limits import Limits
from proxyd.core.snapshot import Egress
from tests.lab.plane import (
    SECRET,
    Client,
    HandTls,
    Origin,
    Seen,
    Wire,
    open_origin,
    open_plane,
    read_request,
    server_context,
    service,
)

HOST = "api.tickets.example"
RELAXED = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])

METHODS = st.sampled_from([b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"OPTIONS", b"LIST"])
PATHS = st.text("abc/.%2F;=?&~!", max_size=12).map(lambda text: b"/" + text.encode())
NAMES = st.sampled_from([b"X-One", b"x-two", b"Accept", b"Cookie", b"Content-Type"])
VALUES = st.text('ab ,;="\t\xe9', max_size=10).map(lambda text: text.encode("latin-1").strip(b" \t"))
FIELDS = st.lists(st.tuples(NAMES, VALUES), max_size=4)
BODIES = st.one_of(
    st.none(),
    st.binary(max_size=300),
    st.lists(st.binary(min_size=1, max_size=80), max_size=5),
    st.just(b"GET http://other.example/ HTTP/1.1\r\nHost: other.example\r\n\r\n"),
    st.integers(60_000, 150_000).map(bytes),
)
CUTS = st.lists(st.integers(1, 4000) | st.integers(1, 20), max_size=40)


def render(authority: bytes, asked: tuple[bytes, bytes, list[tuple[bytes, bytes]], object]) -> tuple[bytes, Seen]:
    """Return the bytes of one request and what the origin has to see of it."""
    method, path, fields, body = asked
    head = b"%b http://%b%b HTTP/1.1\r\nHost: %b\r\n" % (method, authority, path, authority)
    head += b"".join(b"%b: %b\r\n" % item for item in fields)
    seen = Seen(method, path, [(name.lower(), value) for name, value in fields])
    if body is None:
        return head + b"\r\n", seen
    if isinstance(body, bytes):
        seen.body = body
        return head + b"Content-Length: %d\r\n\r\n" % len(body) + body, seen
    assert isinstance(body, list)
    seen.body = b"".join(body)
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in body)
    return head + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n", seen


async def send_in_pieces(client: Client, raw: bytes, cuts: list[int]) -> None:
    at = 0
    for size in cuts:
        await client.send(raw[at : at + size])
        await trio.lowlevel.checkpoint()
        at += size
    await client.send(raw[at:])


async def numbered(origin: Origin, wire: Wire) -> None:
    """Answer with the number of the request, as the origin counts them."""
    while (seen := await read_request(origin, wire)) is not None:
        number = b"%d-%d" % (origin.port, len(origin.requests))
        body = b"" if seen.method == b"HEAD" else number
        await wire.send(b"HTTP/1.1 200 OK\r\nx-number: %b\r\ncontent-length: %d\r\n\r\n" % (number, len(number)) + body)


@given(asked=st.lists(st.tuples(METHODS, PATHS, FIELDS, BODIES), min_size=1, max_size=6), cuts=CUTS)
@RELAXED
async def test_any_chunking_of_any_valid_conversation_arrives_as_it_was_sent(asked: list, cuts: list[int]) -> None:  # type: ignore[type-arg]
    async with open_origin(numbered) as origin, open_plane() as plane:
        rendered = [render(origin.authority, item) for item in asked]
        client = await plane.connect()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(send_in_pieces, client, b"".join(raw for raw, _ in rendered), cuts)
            for number, (_, expected) in enumerate(rendered, 1):
                reply = await client.reply(expected.method)
                assert reply.status == 200
                assert reply.first(b"x-number") == b"%d-%d" % (origin.port, number)
        assert len(origin.requests) == len(rendered)
        for seen, (_, expected) in zip(origin.requests, rendered, strict=True):
            assert (seen.method, seen.target, seen.body) == (expected.method, expected.target, expected.body)
            assert seen.end_to_end() == expected.headers


EDITS = st.lists(
    st.tuples(
        st.integers(0, 2000),
        st.one_of(
            st.sampled_from(
                [b"\r\n", b"\n", b"\r", b" ", b"\0", b":", b"\r\n ", b"0\r\n\r\n", b"\r\n\r\n", b"5", b"chunked"]
            ),
            st.binary(min_size=1, max_size=3),
            st.just(b"Content-Length: 3\r\n"),
            st.just(b"Transfer-Encoding: chunked\r\n"),
            st.just(b"Connection: authorization\r\n"),
        ),
        st.integers(0, 3),
    ),
    min_size=1,
    max_size=3,
)


@given(edits=EDITS, cuts=CUTS)
@settings(RELAXED, max_examples=200)
async def test_no_mutation_crashes_desynchronises_or_leaks(
    edits: list[tuple[int, bytes, int]], cuts: list[int]
) -> None:
    """Two hosts, one of them a service with a secret, in one pipelined conversation that is then damaged."""
    async with open_origin(numbered) as ours, open_origin(numbered) as other:
        services = (service("plain", "plain.example", "http", ours.port),)
        egress = Egress(allow=("127.0.0.0/8",), ports=(other.port,))
        limits = Limits(linger_seconds=0.05, head_timeout=0.5, body_rate_grace=0.5)
        async with open_plane(services=services, egress=egress, limits=limits) as plane:
            hosts = (b"plain.example", other.authority, b"plain.example", other.authority)
            bodies = (None, b"abcde", [b"abc", b"de"], None)
            raw = b"".join(
                render(host, (b"POST" if body else b"GET", b"/%d" % at, [(b"X-A", b"b")], body))[0]
                for at, (host, body) in enumerate(zip(hosts, bodies, strict=True))
            )
            damaged = bytearray(raw)
            for at, what, removed in edits:
                at = at * 613 % len(damaged)
                damaged[at : at + removed] = what
            client = await plane.connect()
            await send_in_pieces(client, bytes(damaged), cuts)
            await client.send(
                b"GET http://plain.example/last HTTP/1.1\r\nHost: plain.example\r\nConnection: close\r\n\r\n"
            )
            answer = await client.rest()

            assert SECRET not in other.received
            assert SECRET not in answer
            # An answer is the answer to its own request: each origin's numbers come in order, none twice.
            for origin in (ours, other):
                mark = b"x-number: %d-" % origin.port
                numbers = [int(part.split(b"\r\n")[0]) for part in answer.split(mark)[1:]]
                assert numbers == list(range(1, len(numbers) + 1))
                assert len(origin.requests) - 1 <= len(numbers) <= len(origin.requests)
                for seen in origin.requests:
                    assert seen.first(b"host") in (b"plain.example", other.authority)
            for seen in ours.requests:
                assert [value for name, value in seen.headers if name == b"authorization"] == [b"Bearer " + SECRET]
            fresh = await plane.connect()
            assert (await fresh.get(b"http://plain.example/after")).status == 200
            assert ours.requests[-1].target == b"/after"


@given(cuts=CUTS)
@settings(max_examples=25, deadline=None)
async def test_any_chunking_of_connect_and_hello_is_intercepted(cuts: list[int]) -> None:
    async with open_origin(numbered, tls=server_context(HOST)) as origin:
        services = (service("tickets", HOST, "https", origin.port),)
        async with open_plane(services=services, leaves=(HOST,)) as plane:
            client = await plane.connect()
            tls = HandTls(client, HOST)
            connect = b"CONNECT %b:443 HTTP/1.1\r\nHost: %b:443\r\n\r\n" % (HOST.encode(), HOST.encode())
            await send_in_pieces(client, connect + tls.hello, cuts)
            assert (await client.reply(b"CONNECT")).status == 200
            await tls.handshake()
            request = b"POST / HTTP/1.1\r\nHost: %b\r\nContent-Length: 40000\r\n\r\n" % HOST.encode()
            assert (await tls.ask(request + bytes(40000), b"-1\r\n")).startswith(b"HTTP/1.1 200")
            assert origin.requests[0].body == bytes(40000)


@given(
    damage=st.lists(st.tuples(st.integers(0, 600), st.integers(0, 255)), min_size=1, max_size=4), together=st.booleans()
)
@settings(max_examples=40, deadline=None)
async def test_no_damaged_hello_crashes_or_reaches_the_origin(damage: list[tuple[int, int]], together: bool) -> None:
    async with open_origin(numbered, tls=server_context(HOST)) as origin:
        services = (service("tickets", HOST, "https", origin.port),)
        async with open_plane(services=services, leaves=(HOST,), limits=Limits(head_timeout=0.3)) as plane:
            client = await plane.connect()
            hello = bytearray(HandTls(client, HOST).hello)
            for at, byte in damage:
                hello[at % len(hello)] = byte
            connect = b"CONNECT %b:443 HTTP/1.1\r\nHost: x\r\n\r\n" % HOST.encode()
            await client.send(connect + (bytes(hello) if together else b""))
            assert (await client.reply(b"CONNECT")).status == 200
            if not together:
                await client.send(bytes(hello))
            await client.send(b"GET / HTTP/1.1\r\nHost: %b\r\n\r\n" % HOST.encode())
            await client.rest()
            assert origin.requests == []
            fresh = await plane.connect()
            assert (await fresh.get(b"http://%b/" % HOST.encode())).status == 200


ANSWER = (
    b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n"
    b"HTTP/1.1 200 OK\r\nx-a: b\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2;x\r\nde\r\n0\r\nx-sum: 1\r\n\r\n"
)


@given(edits=EDITS, whole=st.booleans())
@RELAXED
async def test_no_damaged_answer_crashes_or_makes_an_unreadable_one(
    edits: list[tuple[int, bytes, int]], whole: bool
) -> None:
    """Whatever the origin says, the client's parser is given a valid answer, or one that is visibly cut."""
    damaged = bytearray(ANSWER)
    for at, what, removed in edits:
        at = at * 613 % len(damaged)
        damaged[at : at + removed] = what

    async def answer(origin: Origin, wire: Wire) -> None:
        if await read_request(origin, wire) is not None:
            if origin.requests[-1].target == b"/after":
                await wire.send(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
            else:
                await wire.send(bytes(damaged), bytewise=not whole)

    async with open_origin(answer) as origin, open_plane() as plane:
        client = await plane.connect()
        head = [("host", "x"), ("connection", "close")]
        theirs = h11.Connection(h11.CLIENT)
        raw = theirs.send(h11.Request(method="GET", target=b"http://%b/" % origin.authority, headers=head))
        assert raw is not None
        theirs.send(h11.EndOfMessage())
        await client.send(raw)
        answered = await client.rest()
        theirs.receive_data(answered)
        if not client.was_reset:
            theirs.receive_data(b"")
        with contextlib.suppress(h11.RemoteProtocolError) if client.was_reset else contextlib.nullcontext():
            while not isinstance(event := theirs.next_event(), h11.EndOfMessage):
                if event is h11.NEED_DATA:
                    assert client.was_reset, answered
                    break
        fresh = await plane.connect()
        assert (await fresh.get(b"http://%b/after" % origin.authority)).status == 200
