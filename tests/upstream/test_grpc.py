"""What gRPC says of attempts: deadlines, statuses, pushback; through a live worker."""

import contextlib
import dataclasses
from typing import Any

import pytest
import trio
from h2.exceptions import ProtocolError

from proxyd.core.authority import Authority
from proxyd.core.exchange import Exchange, Peer
from proxyd.core.message import BytesBody, Request, Response
from proxyd.core.resilience import BreakerPolicy, Resilience, RetryPolicy
from proxyd.core.service import Service, Timeouts
from proxyd.core.snapshot import Listener, ListenerMode, Snapshot
from proxyd.upstream import grpc
from tests.lab.http2 import Answer as Got
from tests.lab.http2 import Http2Client, open_h2c
from tests.lab.http2_origin import Asked, Handler, Session, open_http2
from tests.lab.plane import Plane, open_plane, service

LISTENERS = (Listener("local", ListenerMode.GATEWAY, "unix:/gateway.sock"),)
GRPC = (b"content-type", b"application/grpc")
UNAVAILABLE = (GRPC, (b"grpc-status", b"14"))
MESSAGE = b"\0\0\0\0\2hi"


def calls(port: int, *on: str, listed: tuple[str, ...] = ("/a.B/Get",), **changes: Any) -> tuple[Service, ...]:
    policy = RetryPolicy(on=on, base=0.001, grpc_idempotent=listed)
    made = service("calls", "calls.example", "http", port, auth=False, resilience=Resilience(retry=policy))
    return (dataclasses.replace(made, **changes),)


async def call(client: Http2Client, path: bytes = b"/a.B/Get", *fields: tuple[bytes, bytes]) -> Got:
    """Call as clients of gRPC do: head and message leave together."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(client, "flush", trio.lowlevel.checkpoint)
        stream = await client.ask(path, GRPC, (b"te", b"trailers"), *fields, method=b"POST", body=MESSAGE)
    await client.flush()
    return await client.answer(stream)


async def connect(plane: Plane) -> Http2Client:
    return await open_h2c(plane, b"calls")


async def reply(session: Session, asked: Asked) -> None:
    await asked.ended.wait()
    await session.head(asked.stream, 200, GRPC)
    await session.data(asked.stream, asked.body)
    await session.trailers(asked.stream, (b"grpc-status", b"0"))


def failing_once(*fields: tuple[bytes, bytes]) -> Handler:
    """Answer the first call by ``fields`` alone, later ones as they should be."""

    async def answer(session: Session, asked: Asked) -> None:
        if len(session.site.asked) == 1:
            await session.head(asked.stream, 200, *fields, ended=True)
        else:
            await reply(session, asked)

    return answer


async def test_messages_and_trailers_come_back() -> None:
    async with open_http2(reply) as site, open_plane(services=calls(site.port), listeners=LISTENERS) as plane:
        got = await call(await connect(plane))
        assert (got.status, got.body, got.trailers) == (200, MESSAGE, [(b"grpc-status", b"0")])
        assert site.asked[0].body == MESSAGE
        assert (await plane.event())["status"] == 200


@pytest.mark.parametrize(
    ("on", "path", "status", "attempts"),
    [
        ("unavailable", b"/a.B/Get", b"0", 2),
        ("unavailable", b"/a.B/Put", b"14", 1),
        ("internal", b"/a.B/Get", b"14", 1),
        ("503", b"/a.B/Get", b"14", 1),
    ],
)
async def test_a_call_is_repeated_where_its_status_and_its_method_are_named(
    on: str, path: bytes, status: bytes, attempts: int
) -> None:
    async with open_http2(failing_once(*UNAVAILABLE)) as site:
        async with open_plane(services=calls(site.port, on), listeners=LISTENERS) as plane:
            got = await call(await connect(plane), path)
            assert (got.first(b"grpc-status") or dict(got.trailers)[b"grpc-status"]) == status
            assert (await plane.event())["attempts"] == attempts


async def test_a_status_in_trailers_without_a_message_before_them_counts_too() -> None:
    async def answer(session: Session, asked: Asked) -> None:
        if len(session.site.asked) > 1:
            await reply(session, asked)
            return
        session.h2.send_headers(asked.stream, [(b":status", b"200"), GRPC])
        await session.trailers(asked.stream, (b"grpc-status", b"14"))

    async with open_http2(answer) as site:
        async with open_plane(services=calls(site.port, "unavailable"), listeners=LISTENERS) as plane:
            assert (await call(await connect(plane))).trailers == [(b"grpc-status", b"0")]


@pytest.mark.parametrize(("value", "attempts"), [(b"1", 2), (b"-1", 1), (b"soon", 1), (b"99999999", 1)])
async def test_the_servers_pushback_is_obeyed(value: bytes, attempts: int) -> None:
    handler = failing_once(*UNAVAILABLE, (b"grpc-retry-pushback-ms", value))
    async with open_http2(handler) as site:
        async with open_plane(services=calls(site.port, "unavailable"), listeners=LISTENERS) as plane:
            await call(await connect(plane))
            assert (await plane.event())["attempts"] == attempts


async def test_a_call_ends_at_its_deadline_and_the_server_is_told_what_is_left() -> None:
    async def never(session: Session, asked: Asked) -> None:
        await trio.sleep_forever()

    async with open_http2(never) as site:
        async with open_plane(services=calls(site.port), listeners=LISTENERS) as plane:
            got = await call(await connect(plane), b"/a.B/Get", (b"grpc-timeout", b"80m"))
            assert got.first(b"grpc-status") == b"4"
            told = site.asked[0].first(b"grpc-timeout")
            assert told is not None
            assert 0 < int(told.removesuffix(b"m")) <= 80
            assert (await plane.event())["flags"] == "DT"


async def test_deadlines_that_clients_chose_open_no_breaker() -> None:
    async def never(session: Session, asked: Asked) -> None:
        await trio.sleep_forever()

    async def late(session: Session, asked: Asked) -> None:
        await session.head(asked.stream, 200, GRPC, (b"grpc-status", b"4"), ended=True)

    async def reset(session: Session, asked: Asked) -> None:
        await trio.sleep(0.005)
        with contextlib.suppress(ProtocolError):  # the deadline may be over first, and the connection with it
            await session.reset(asked.stream, 8)

    for handler in (never, late, reset):
        async with open_http2(handler) as site:
            async with open_plane(services=calls(site.port), listeners=LISTENERS) as plane:
                client = await connect(plane)
                for _ in range(8):
                    got = await call(client, b"/a.B/Get", (b"grpc-timeout", b"10m"))
                    assert got.first(b"grpc-status") == b"4"


async def test_total_bounds_what_a_call_may_ask_for() -> None:
    async with open_http2(reply) as site:
        services = calls(site.port, timeouts=Timeouts(total=2.0))
        async with open_plane(services=services, listeners=LISTENERS) as plane:
            await call(await connect(plane), b"/a.B/Get", (b"grpc-timeout", b"1H"))
            told = site.asked[0].first(b"grpc-timeout")
            assert told is not None
            assert int(told.removesuffix(b"m")) <= 2000


async def test_unavailable_opens_the_breaker() -> None:
    async def answer(session: Session, asked: Asked) -> None:
        await session.head(asked.stream, 200, *UNAVAILABLE, ended=True)

    policy = Resilience(retry=RetryPolicy(attempts=1), breaker=BreakerPolicy(consecutive_failures=3, open_for=60.0))
    async with open_http2(answer) as site:
        services = calls(site.port, resilience=policy)
        async with open_plane(services=services, listeners=LISTENERS) as plane:
            client = await connect(plane)
            for _ in range(4):
                assert (await call(client)).first(b"grpc-status") == b"14"
            assert len(site.asked) == 3
            assert (await plane.event(3))["flags"] == "UO"


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (b"2H", 7200.0),
        (b"3M", 180.0),
        (b"4S", 4.0),
        (b"250m", 0.25),
        (b"5u", 5e-6),
        (b"6n", 6e-9),
        (b"123456789S", None),
        (b"-1S", None),
        (b"1s", None),
        (b"", None),
    ],
)
def test_timeouts(value: bytes, seconds: float | None) -> None:
    assert grpc.timeout([(b"grpc-timeout", value)]) == (seconds if seconds is None else pytest.approx(seconds))


def _call(*fields: tuple[bytes, bytes]) -> Exchange:
    request = Request(b"POST", b"https", Authority("a.example", 443, False), b"/", [GRPC, *fields], BytesBody(), 20)
    return Exchange(Peer("apps", "127.0.0.1"), Snapshot(1, "p", 0), request, 0.0, "gateway")


@pytest.mark.parametrize(
    ("code", "status", "condition"),
    [
        (b"0", 200, ""),
        (b"14", 503, "unavailable"),
        (b"4", 504, "deadline-exceeded"),
        (b"77", 500, ""),
        (b"x", 200, "200"),
    ],
)
def test_statuses(code: bytes, status: int, condition: str) -> None:
    response = Response(200, [GRPC, (b"grpc-status", code)], BytesBody())
    assert (grpc.http_status(_call(), response), grpc.condition(response)) == (status, condition)


def test_a_response_that_is_not_of_grpc_has_its_own_status() -> None:
    response = Response(502, [(b"content-type", b"text/html"), (b"grpc-status", b"14")], BytesBody())
    assert (grpc.http_status(_call(), response), grpc.condition(response)) == (502, "502")


def test_a_deadline_that_the_client_chose_is_no_failure_of_the_server() -> None:
    response = Response(200, [GRPC, (b"grpc-status", b"4")], BytesBody())
    assert grpc.http_status(_call((b"grpc-timeout", b"80m")), response) == 499
