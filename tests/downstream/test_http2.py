"""HTTP/2 through a live worker: at the gateway by prior knowledge, in intercepted tunnels by ALPN."""

import contextlib
import dataclasses
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import trio
from h2.events import PingAckReceived

from proxyd.core.access import Access
from proxyd.core.exchange import Exchange
from proxyd.core.limits import Http2Limits, Limits
from proxyd.core.messages import Drain
from proxyd.core.snapshot import GATEWAY_TOKEN, Listener, ListenerMode
from proxyd.downstream import http2
from proxyd.downstream.entry import Entry
from proxyd.net.reaper import SWEEP
from proxyd.wire.http2 import PREFACE
from tests.lab.http2 import Answer as Got
from tests.lab.http2 import Http2Client, open_h2, open_h2c
from tests.lab.plane import (
    SECRET,
    Answer,
    Origin,
    Plane,
    Wire,
    client_context,
    open_origin,
    open_plane,
    polite,
    read_request,
    scripted,
    server_context,
    service,
)

SETTINGS = 4
NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, REFUSED_STREAM, CANCEL = 0, 1, 2, 7, 8
HOST = "api.tickets.example"
LISTENERS = (
    Listener("local", ListenerMode.GATEWAY, "unix:/gateway.sock"),
    Listener("apps", ListenerMode.FORWARD, "127.0.0.1:0"),
)

Open = Callable[..., Awaitable[Http2Client]]


async def at_gateway(plane: Plane, **how: Any) -> Http2Client:
    return await open_h2c(plane, b"tickets", **how)


async def in_tunnel(plane: Plane, **how: Any) -> Http2Client:
    return await open_h2(plane, HOST, **how)


@pytest.fixture(params=[at_gateway, in_tunnel], ids=["gateway", "intercept"])
def connect(request: pytest.FixtureRequest) -> Open:
    return request.param  # type: ignore[no-any-return]


@contextlib.asynccontextmanager
async def open_both(answer: Answer = polite, **changes: Any) -> AsyncIterator[tuple[Origin, Plane]]:
    async with open_origin(answer, tls=server_context(HOST)) as origin:
        tickets = service("tickets", HOST, "https", origin.port)
        async with open_plane(**{"services": (tickets,), "listeners": LISTENERS, "leaves": (HOST,)} | changes) as plane:
            yield origin, plane


async def test_a_request_gets_the_credential_and_its_answer(connect: Open) -> None:
    async with open_both() as (origin, plane):
        client = await connect(plane)
        answer = await client.get(b"/v2/a%2Fb?c", (b"x-mine", b"1"))
        assert (answer.status, answer.body) == (200, b"ok")
        assert answer.first(b"via") == b"1.1 proxyd-lab"
        seen = origin.requests[0]
        assert (seen.method, seen.target, seen.first(b"host")) == (b"GET", b"/v2/a%2Fb?c", HOST.encode())
        assert seen.first(b"x-mine") == b"1"
        assert seen.first(b"authorization") == b"Bearer " + SECRET
        event = await plane.event()
        assert (event["status"], event["service"], event["version"]) == (200, "tickets", "2")


async def test_many_streams_share_a_connection(connect: Open) -> None:
    async with open_both() as (origin, plane):
        client = await connect(plane)
        streams = [await client.ask(b"/%d" % number) for number in range(60)]
        for stream in streams:
            assert (await client.answer(stream)).body == b"ok"
        assert sorted(seen.target for seen in origin.requests) == sorted(b"/%d" % number for number in range(60))


# --- listeners and their bounds -------------------------------------------------------------------


WITHOUT = tuple(dataclasses.replace(listener, http2=False) for listener in LISTENERS)


async def test_a_tunnel_of_a_listener_without_http2_speaks_http1() -> None:
    async with open_both(listeners=WITHOUT) as (_, plane):
        client = await plane.connect("apps")
        assert (await client.tunnel(HOST.encode() + b":443")).status == 200
        context = client_context()
        context.set_alpn_protocols(["h2", "http/1.1"])
        await client.start_tls(HOST, context)
        assert isinstance(client.stream, trio.SSLStream)
        assert client.stream.selected_alpn_protocol() != "h2"
        await client.send(b"GET / HTTP/1.1\r\nhost: %b\r\n\r\n" % HOST.encode())
        assert (await client.reply()).status == 200


async def test_a_gateway_without_http2_refuses_the_preface() -> None:
    async with open_both(listeners=WITHOUT) as (_, plane):
        client = await plane.connect("local")
        await client.send(PREFACE)
        assert (await client.reply()).status == 505


async def test_bounds_of_the_configuration_are_told_to_clients(connect: Open) -> None:
    bounds = Http2Limits(streams=7, stream_window=100_000, connection_window=200_000)
    async with open_both(limits=Limits(http2=bounds)) as (_, plane):
        client = await connect(plane)
        await client.get(b"/")
        assert client.h2.remote_settings.max_concurrent_streams == 7
        assert client.h2.remote_settings.initial_window_size == 100_000
        stream = await client.ask(b"/", method=b"POST", ended=False)
        await client.until(lambda: client.h2.outbound_flow_control_window >= 200_000)
        await client.upload(stream, bytes(300_000))
        assert (await client.answer(stream)).status == 200


async def test_who_asks_for_much_at_a_time_gives_way_to_others(monkeypatch: pytest.MonkeyPatch) -> None:
    turns, begun = 0, Counter[int]()
    original = Entry.exchange

    def counted(*how: Any) -> Exchange:
        begun[turns] += 1
        return original(*how)

    async def neighbour() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    async with open_both() as (_, plane), trio.open_nursery() as nursery:
        client = await in_tunnel(plane)
        await client.get(b"/")
        monkeypatch.setattr(Entry, "exchange", counted)
        nursery.start_soon(neighbour)
        pseudo = [(b":method", b"GET"), (b":scheme", b"https"), (b":authority", client.authority), (b":path", b"/")]
        streams = []
        for _ in range(100):
            streams.append(client.h2.get_next_available_stream_id())
            client.answers[streams[-1]] = Got()
            client.h2.send_headers(streams[-1], pseudo, end_stream=True)
        await client.flush()
        for stream in streams:
            assert (await client.answer(stream)).status == 200
        nursery.cancel_scope.cancel()
    assert begun.total() == 100
    assert len(begun) > 100 // http2.BATCH * 3 // 2, "the loop shuffles tasks: two batches may fall into one turn"


# --- bodies ---------------------------------------------------------------------------------------


async def echo(origin: Origin, wire: Wire) -> None:
    """Answer with the request's body and trailers, chunked."""
    while (seen := await read_request(origin, wire)) is not None:
        await wire.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        if seen.body:
            await wire.send(b"%x\r\n%b\r\n" % (len(seen.body), seen.body))
        await wire.send(b"0\r\n" + b"".join(b"%b: %b\r\n" % field for field in seen.trailers) + b"\r\n")


@pytest.mark.parametrize("size", [0, 1, 1000, 70_000, 3_000_000])
@pytest.mark.parametrize("told", [False, True], ids=["length unknown", "content-length"])
async def test_bodies_pass_both_ways(connect: Open, size: int, told: bool) -> None:
    async with open_both(echo) as (origin, plane):
        client = await connect(plane)
        body = random.Random(size).randbytes(size)
        fields = [(b"content-length", b"%d" % size)] if told else []
        stream = await client.ask(b"/", *fields, method=b"POST", ended=False)
        await client.upload(stream, body, ended=False)
        await client.finish(stream)
        answer = await client.answer(stream)
        assert answer.status == 200
        assert answer.body == body
        assert origin.requests[0].body == body
        event = await plane.event()
        assert (event["request_bytes"], event["response_bytes"]) == (size, size)


async def test_a_short_body_that_is_there_goes_on_with_its_length(connect: Open) -> None:
    async with open_both() as (origin, plane):
        client = await connect(plane)
        stream = client.h2.get_next_available_stream_id()
        client.answers[stream] = Got()
        pseudo = [(b":method", b"POST"), (b":scheme", client.scheme), (b":authority", client.authority)]
        client.h2.send_headers(stream, [*pseudo, (b":path", b"/")])
        client.h2.send_data(stream, b"abc", end_stream=True)
        await client.flush()
        assert (await client.answer(stream)).status == 200
        assert origin.requests[0].body == b"abc"
        assert origin.requests[0].first(b"content-length") == b"3"


async def test_trailers_pass_both_ways(connect: Open) -> None:
    async with open_both(echo) as (origin, plane):
        client = await connect(plane)
        stream = await client.ask(b"/", method=b"POST", ended=False)
        await client.upload(stream, b"x", ended=False)
        await client.finish(stream, [(b"x-sum", b"7")])
        answer = await client.answer(stream)
        assert (answer.body, answer.trailers, answer.ended) == (b"x", [(b"x-sum", b"7")], True)
        assert origin.requests[0].trailers == [(b"x-sum", b"7")]


async def test_an_interim_response_is_passed_on(connect: Open) -> None:
    hints = b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n"
    async with open_both(scripted(hints + b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")) as (_, plane):
        answer = await (await connect(plane)).get(b"/")
        assert answer.status == 200
        assert dict(answer.interim[0])[b":status"] == b"103"
        assert b"link" in dict(answer.interim[0])


async def test_head_and_304_have_no_body(connect: Open) -> None:
    answers = (
        b"HTTP/1.1 200 OK\r\ncontent-length: 70\r\n\r\n",
        b"HTTP/1.1 304 Not Modified\r\netag: a\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\n\r\n",
    )
    async with open_both(scripted(*answers)) as (_, plane):
        client = await connect(plane)
        for method, length in ((b"HEAD", b"70"), (b"GET", None), (b"DELETE", None)):
            answer = await client.get(b"/", method=method)
            assert (answer.body, answer.first(b"content-length"), answer.ended) == (b"", length, True)


async def test_an_answer_may_come_before_the_request_has_ended(connect: Open) -> None:
    async def early(origin: Origin, wire: Wire) -> None:
        await wire.head()
        await wire.send(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno")
        await wire.rest()

    async with open_both(early) as (_, plane):
        client = await connect(plane)
        stream = await client.ask(b"/", method=b"POST", ended=False)
        await client.upload(stream, bytes(100), ended=False)
        answer = client.answers[stream]
        await client.until(lambda: answer.reset is not None)
        assert (answer.status, answer.body, answer.ended, answer.reset) == (403, b"no", True, NO_ERROR)
        assert (await client.get(b"/")).status == 403


async def test_both_directions_stream_at_once(connect: Open) -> None:
    async def duplex(origin: Origin, wire: Wire) -> None:
        await wire.head()
        await wire.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        while (size := int(await wire.until(b"\r\n"), 16)) > 0:
            piece = await wire.exactly(size + 2)
            await wire.send(b"%x\r\n%b" % (size, piece))
        await wire.send(b"0\r\n\r\n")
        await wire.rest()

    async with open_both(duplex) as (_, plane):
        client = await connect(plane)
        stream = await client.ask(b"/", method=b"POST", ended=False)
        answer = client.answers[stream]
        said = b""
        for number in range(5):
            said += b"%d" % number * 10
            await client.upload(stream, b"%d" % number * 10, ended=False)
            await client.until(lambda: answer.body == said)  # noqa: B023
        await client.finish(stream)
        assert (await client.answer(stream)).ended


async def test_a_large_answer_leaves_room_for_small_ones(connect: Open) -> None:
    async def answer(origin: Origin, wire: Wire) -> None:
        while (seen := await read_request(origin, wire)) is not None:
            size = 5_000_000 if seen.target == b"/large" else 10
            await wire.send(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % size + bytes(size))

    async with open_both(answer) as (_, plane):
        client = await connect(plane)
        large = await client.ask(b"/large")
        await client.until(lambda: client.answers[large].body)
        for _ in range(3):
            assert len((await client.get(b"/small")).body) == 10
        assert not client.answers[large].ended
        assert len((await client.answer(large)).body) == 5_000_000


# --- what is refused ------------------------------------------------------------------------------


async def test_connect_is_refused(connect: Open) -> None:
    async with open_both() as (_, plane):
        client = await connect(plane)
        stream = client.h2.get_next_available_stream_id()
        client.answers[stream] = Got()
        client.h2.send_headers(stream, [(b":method", b"CONNECT"), (b":authority", b"a.test:443")])
        await client.flush()
        assert (await client.answer(stream)).status in (405, 501)
        assert (await client.get(b"/")).status == 200


async def test_every_stream_is_bound_to_the_tunnel() -> None:
    async with open_both() as (origin, plane):
        client = await in_tunnel(plane)
        for authority, status in (
            (b"other.example", 421),
            (HOST.encode() + b":8443", 421),
            (HOST.encode() + b":443", 200),
            (HOST.upper().encode(), 200),
            (b"", 400),
        ):
            answer = await client.get(b"/", authority=authority)
            assert answer.reset == PROTOCOL_ERROR if status == 400 else answer.status == status, authority
        assert len(origin.requests) == 2


async def test_the_gateway_knows_services_by_authority_and_by_path() -> None:
    async with open_both() as (origin, plane):
        for authority, path, status in (
            (b"tickets", b"/a", 200),
            (b"tickets.localhost", b"/a", 200),
            (b"localhost", b"/tickets/a", 200),
            (b"localhost", b"/other/a", 404),
            (b"nothing", b"/a", 404),
            (b"api.tickets.example", b"/a", 421),
        ):
            client = await open_h2c(plane, authority)
            answer = await client.get(path)
            assert answer.status == status, authority
            if status != 200:
                assert answer.first(b"content-type") == b"application/problem+json"
        assert {seen.target for seen in origin.requests} == {b"/a"}


async def test_the_gateways_token_is_asked_of_every_stream() -> None:
    tcp = (Listener("local", ListenerMode.GATEWAY, "127.0.0.1:0"),)
    async with open_both(listeners=tcp, leaves=()) as (_, plane):
        await plane.set_secret(GATEWAY_TOKEN, b"t0ken")
        client = await open_h2c(plane, b"tickets.localhost")
        assert (await client.get(b"/")).status == 401
        assert (await client.get(b"/", (b"proxyd-token", b"t0ken"))).status == 200
        assert (await client.get(b"/")).status == 401


async def test_what_proxyd_answers_to_grpc_is_no_document() -> None:
    kind = (b"content-type", b"application/grpc+proto")
    async with open_both(access=Access()) as (_, plane):
        client = await at_gateway(plane)
        answer = await client.get(b"/a.B/C", kind, method=b"POST", body=b"\0\0\0\0\0")
        assert (answer.status, answer.body, answer.first(b"content-type")) == (200, b"", b"application/grpc")
        assert answer.first(b"grpc-status") == b"7"
        assert answer.first(b"grpc-message")
        client = await open_h2c(plane, b"nothing")
        answer = await client.get(b"/a.B/C", kind, method=b"POST", body=b"\0\0\0\0\0")
        assert (answer.status, answer.first(b"grpc-status")) == (200, b"12")


async def test_the_preface_is_no_request_where_http2_is_not_spoken() -> None:
    async with open_both() as (_, plane):
        client = await plane.connect("apps")
        await client.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        assert (await client.reply()).status == 505


# --- ends -----------------------------------------------------------------------------------------


async def hang(origin: Origin, wire: Wire) -> None:
    """Take requests and never answer."""
    await wire.rest()


async def test_a_client_that_resets_a_stream_ends_its_attempt_alone(connect: Open) -> None:
    async def answer(origin: Origin, wire: Wire) -> None:
        if b"/slow" in await wire.head():
            await wire.rest()
        else:
            await wire.send(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")

    async with open_both(answer) as (origin, plane):
        client = await connect(plane)
        stream = await client.ask(b"/slow")
        await origin.saw(b"/slow")
        client.h2.reset_stream(stream, CANCEL)
        await client.flush()
        with trio.fail_after(5):
            await origin.wires[0].ended.wait()
        assert (await client.get(b"/other")).status == 200
        event = await plane.event()
        assert (event["status"], event["flags"]) == (499, "DC")
        assert "CANCEL" in event["detail"]


async def test_a_client_that_leaves_ends_all_its_attempts(connect: Open) -> None:
    async with open_both(hang) as (origin, plane):
        client = await connect(plane)
        for number in range(3):
            await client.ask(b"/%d" % number)
            await origin.saw(b"/%d" % number)
        await client.client.aclose()
        for number in range(3):
            assert (await plane.event(number))["status"] == 499
        for wire in origin.wires:
            with trio.fail_after(5):
                await wire.ended.wait()


async def test_an_answer_that_breaks_off_resets_its_stream(connect: Open) -> None:
    broken = b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\nonly this"
    async with open_both(scripted(broken, close=True)) as (_, plane):
        client = await connect(plane)
        answer = await client.get(b"/")
        assert (answer.status, answer.ended, answer.reset) == (200, False, INTERNAL_ERROR)
        event = await plane.event()
        assert (event["status"], event["flags"]) == (200, "UC")


async def test_an_answer_that_breaks_off_while_the_request_is_on_its_way_resets_its_stream(connect: Open) -> None:
    async def broken(origin: Origin, wire: Wire) -> None:
        await wire.head()
        await wire.send(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\nonly this")

    async with open_both(broken) as (_, plane):
        client = await connect(plane)
        answer = await client.answer(await client.ask(b"/", method=b"POST", ended=False))
        assert (answer.status, answer.reset) == (200, INTERNAL_ERROR)
        assert (await client.get(b"/")).reset == INTERNAL_ERROR


async def test_an_unreachable_upstream_is_an_error_on_its_stream(connect: Open) -> None:
    async with open_both() as (origin, plane):
        origin.answer = lambda _, wire: wire.aclose()
        client = await connect(plane)
        answer = await client.get(b"/")
        assert answer.status == 502
        assert answer.first(b"content-type") == b"application/problem+json"
        assert answer.first(b"connection") is None


async def test_an_idle_connection_is_told_goodbye(connect: Open) -> None:
    async with open_both(limits=Limits(idle_timeout=0.3)) as (_, plane):
        client = await connect(plane)
        assert (await client.get(b"/")).status == 200
        await client.rest()
        assert client.goodbyes == [(1, NO_ERROR)]


async def test_a_connection_without_a_stream_is_left_open(connect: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http2, "REST_SECONDS", 0.0)
    async with open_both() as (_, plane):
        client = await connect(plane)
        for _ in range(2):
            with trio.move_on_after(3 * SWEEP):
                await client.rest()
            assert client.goodbyes == []
            assert (await client.get(b"/")).status == 200


async def test_a_client_that_does_not_get_further_than_its_preface_is_ended() -> None:
    async with open_both(limits=Limits(head_timeout=0.3)) as (_, plane):
        client = await plane.connect("local")
        await client.send(b"PRI * HTTP/2.0\r\n\r\nSM")
        with trio.fail_after(5):
            assert (await client.rest())[3] == SETTINGS


async def test_a_frame_that_does_not_come_to_its_end_has_as_long_as_a_head(connect: Open) -> None:
    async with open_both(limits=Limits(head_timeout=0.3)) as (_, plane):
        client = await connect(plane)
        assert (await client.get(b"/")).status == 200
        await client.client.send(b"\0\0\x08\x06\0\0\0\0\0half")
        with trio.fail_after(5):
            await client.rest()
        assert client.goodbyes == [(1, NO_ERROR)]


async def test_many_uploads_that_stand_still_hold_no_more_than_their_share(connect: Open) -> None:
    async with open_both(hang, limits=Limits(buffered_bytes=2_200_000)) as (_, plane):
        windows = []
        for _ in range(4):
            client = await connect(plane)
            await client.ask(b"/", method=b"POST", ended=False)
            client.h2.ping(b"01234567")
            await client.flush()
            await client.until(lambda: any(isinstance(one, PingAckReceived) for one in client.events))  # noqa: B023
            windows.append(client.h2.outbound_flow_control_window)
        assert windows == [1 << 20, 1 << 20, 65535, 65535]


async def test_a_stalled_body_is_a_408() -> None:
    limits = Limits(body_rate=1000, body_rate_grace=0.2)
    async with open_both(hang, limits=limits) as (_, plane):
        client = await at_gateway(plane)
        stream = await client.ask(b"/", method=b"POST", ended=False)
        answer = await client.answer(stream)
        assert answer.status == 408


async def test_a_window_that_stays_shut_ends_its_stream(connect: Open) -> None:
    async def answer(origin: Origin, wire: Wire) -> None:
        await wire.head()
        await wire.send(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n" + bytes(1_000_000))
        await wire.rest()

    async with open_both(answer, limits=Limits(idle_timeout=0.5)) as (_, plane):
        client = await connect(plane, grants=False)
        answer_ = await client.get(b"/")
        assert answer_.reset == CANCEL
        assert len(answer_.body) == 65535
        assert "stall" in (await plane.event())["detail"]


async def test_a_drain_says_goodbye_in_two_steps(connect: Open) -> None:
    release = trio.Event()

    async def answer(origin: Origin, wire: Wire) -> None:
        while await read_request(origin, wire) is not None:
            await release.wait()
            await wire.send(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")

    async with open_both(answer) as (origin, plane):
        client = await connect(plane)
        slow = await client.ask(b"/1")
        await origin.saw(b"/1")
        await plane.send(Drain(30.0))
        await client.until(lambda: client.goodbyes)
        assert client.goodbyes == [(2**31 - 1, NO_ERROR)]
        late = await client.ask(b"/2")
        await client.until(lambda: len(client.goodbyes) == 2)
        refused = None
        if client.goodbyes[1][0] >= late:
            release.set()
            assert (await client.answer(late)).body == b"ok"
        else:
            refused = (await client.answer(late)).reset
            release.set()
        assert refused in (None, REFUSED_STREAM)
        assert (await client.answer(slow)).body == b"ok"
        await client.rest()
        with trio.fail_after(5):
            await plane.exited.wait()


async def test_an_idle_connection_is_drained_at_once(connect: Open) -> None:
    async with open_both() as (_, plane):
        client = await connect(plane)
        await client.get(b"/")
        await plane.send(Drain(30.0))
        await client.rest()
        assert [last for last, _ in client.goodbyes] == [2**31 - 1, 1]


async def test_a_stream_that_a_reload_forbids_is_ended() -> None:
    async with open_both(hang, drain_old=0.0) as (origin, plane):
        client = await at_gateway(plane)
        stream = await client.ask(b"/1")
        await origin.saw(b"/1")
        await plane.apply(access=Access())
        assert (await client.answer(stream)).reset == CANCEL
        assert (await client.get(b"/2")).status == 403


async def test_a_listener_that_went_ends_its_connections() -> None:
    async with open_both(hang, drain_old=0.0) as (origin, plane):
        client = await at_gateway(plane)
        stream = await client.ask(b"/1")
        await origin.saw(b"/1")
        await plane.apply(listeners=LISTENERS[1:])
        assert (await client.answer(stream)).reset == CANCEL
        await client.rest()


async def test_an_intercepted_connection_without_a_stream_is_reported() -> None:
    async with open_both() as (_, plane):
        client = await in_tunnel(plane)
        await client.client.aclose()
        event = await plane.event()
        assert (event["kind"], event["status"]) == ("tunnel", 499)
        assert "ca export" in event["detail"]


async def reset_without_answer(client: Http2Client, stream: int) -> int | None:
    answer = client.answers[stream]
    await client.until(lambda: answer.reset is not None or answer.ended)
    assert answer.headers == []
    return answer.reset


@pytest.mark.parametrize(("told", "sent"), [(200_000, 100_000), (90_000, 100_000)], ids=["short", "long"])
async def test_a_wrong_length_that_is_noticed_on_the_way_is_malformed_as_well(
    connect: Open, told: int, sent: int
) -> None:
    begun = trio.Event()

    async def watched(origin: Origin, wire: Wire) -> None:
        await wire.head()
        begun.set()
        await wire.rest()

    async with open_both(watched) as (_, plane):
        client = await connect(plane)
        stream = await client.ask(b"/", (b"content-length", b"%d" % told), method=b"POST", ended=False)
        await client.upload(stream, bytes(sent // 2), ended=False)
        await begun.wait()
        await client.upload(stream, bytes(sent - sent // 2))
        assert await reset_without_answer(client, stream) == PROTOCOL_ERROR
        event = await plane.event()
        assert event["status"] == 400
        assert "not as long as content-length says" in event["detail"]


async def test_a_wrong_length_is_malformed(connect: Open) -> None:
    async with open_both() as (_, plane):
        client = await connect(plane)
        for told, size in ((5, 3), (3, 5), (200_000, 100_000)):
            stream = await client.ask(b"/", (b"content-length", b"%d" % told), method=b"POST", ended=False)
            await client.upload(stream, bytes(size))
            assert await reset_without_answer(client, stream) == PROTOCOL_ERROR
        assert (await client.get(b"/")).status == 200


# --- clients that read slowly, or not at all ------------------------------------------------------


async def test_a_client_that_reads_nothing_is_ended_and_holds_little(connect: Open) -> None:
    """Its windows are wide open: what it does not take must stay with the origins."""

    async def endless(origin: Origin, wire: Wire) -> None:
        await wire.head()
        await wire.send(b"HTTP/1.1 200 OK\r\ncontent-length: 100000000\r\n\r\n")
        while not wire.ended.is_set():
            try:
                await wire.stream.send_all(bytes(65536))
            except trio.BrokenResourceError:
                return

    async with open_both(endless, limits=Limits(idle_timeout=1.0)) as (_, plane):
        client = await connect(plane)
        client.h2.increment_flow_control_window(1_000_000_000)
        for _ in range(20):
            stream = await client.ask(b"/")
            client.h2.increment_flow_control_window(1_000_000_000, stream)
        await client.flush()
        events = [await plane.event(number) for number in range(20)]
        assert {event["status"] for event in events} == {200}
        assert all(event["error"] for event in events)
        held = sum(event["response_bytes"] for event in events)
        assert held < 8_000_000, "what the kernel's buffers and ours took"
        assert (await (await connect(plane)).get(b"/", method=b"HEAD")).status == 200


async def test_a_stream_that_nobody_reads_does_not_hold_up_the_others(connect: Open) -> None:
    async def answer(origin: Origin, wire: Wire) -> None:
        while (seen := await read_request(origin, wire)) is not None:
            size = 1_000_000 if seen.target == b"/large" else 10
            await wire.send(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % size + bytes(size))

    async with open_both(answer) as (_, plane):
        client = await connect(plane, grants=False)
        client.h2.increment_flow_control_window(10_000_000)
        large = [await client.ask(b"/large") for _ in range(5)]
        await client.until(lambda: all(len(client.answers[one].body) == 65535 for one in large))
        for _ in range(5):
            assert len((await client.get(b"/small")).body) == 10
        for one in large:
            client.h2.increment_flow_control_window(1_000_000, one)
        await client.flush()
        for one in large:
            assert len((await client.answer(one)).body) == 1_000_000


async def test_an_upload_that_its_upstream_does_not_take_does_not_hold_up_the_others(connect: Open) -> None:
    release = trio.Event()

    async def answer(origin: Origin, wire: Wire) -> None:
        if b"/slow" in await wire.until(b" HTTP/1.1\r\n"):
            await release.wait()
            await wire.rest()
        else:
            await wire.head()
            await wire.send(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok")

    async with open_both(answer) as (_, plane):
        client = await connect(plane)
        slow = await client.ask(b"/slow", method=b"POST", ended=False)
        conn = client.h2
        sent = 0
        with trio.move_on_after(0.5):
            while True:
                await client.until(lambda: conn.local_flow_control_window(slow) > 0)
                size = min(conn.local_flow_control_window(slow), 16_384)
                conn.send_data(slow, bytes(size))
                sent += size
                await client.flush()
        assert sent < 20_000_000
        for _ in range(5):
            assert (await client.get(b"/other")).body == b"ok"
        release.set()


async def test_bytes_may_come_one_by_one(connect: Open) -> None:
    async with open_both() as (_, plane):
        client = await connect(plane)
        stream = client.h2.get_next_available_stream_id()
        client.answers[stream] = Got()
        pseudo = [(b":method", b"POST"), (b":scheme", client.scheme), (b":authority", client.authority)]
        client.h2.send_headers(stream, [*pseudo, (b":path", b"/")])
        client.h2.send_data(stream, b"abc", end_stream=True)
        await client.client.send(client.h2.data_to_send(), bytewise=True)
        assert (await client.answer(stream)).body == b"ok"


async def test_a_preface_may_come_byte_by_byte() -> None:
    async with open_both() as (_, plane):
        client = Http2Client(await plane.connect("local"), b"tickets", b"http")
        client.h2.initiate_connection()
        await client.client.send(client.h2.data_to_send(), bytewise=True)
        assert (await client.get(b"/")).body == b"ok"
