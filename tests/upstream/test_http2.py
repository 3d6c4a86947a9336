"""Exchanges on HTTP/2 connections to upstreams, through a live worker; origins play the h2 library, or misbehave."""

import dataclasses
from typing import Any

import h2.events
import pytest
import trio
import trio.lowlevel
from h2.settings import SettingCodes

from proxyd.core.limits import PoolLimits
from proxyd.core.resilience import Resilience, RetryPolicy
from proxyd.core.service import Service, Timeouts, Version
from proxyd.core.snapshot import Listener, ListenerMode
from proxyd.wire.http2 import Code
from tests.lab.http2 import open_h2c
from tests.lab.http2_origin import Asked, Session, http2_context, open_http2, polite
from tests.lab.plane import PATIENCE, SECRET, Client, Plane, Reply, open_origin, open_plane, server_context, service

HOST = "api.tickets.example"
ONCE = Resilience(retry=RetryPolicy(attempts=1))
QUICK = Resilience(retry=RetryPolicy(base=0.001))


def plain(*ports: int, **changes: Any) -> tuple[Service, ...]:
    made = service("plain", "plain.example", "http", *ports)
    return (dataclasses.replace(made, **({"protocol": Version.HTTP2} | changes)),)


def secure(port: int, **changes: Any) -> tuple[Service, ...]:
    made = dataclasses.replace(service("tickets", HOST, "https", port), protocol=Version.AUTO)
    return (dataclasses.replace(made, **changes),)


async def ask(client: Client, method: bytes = b"GET", body: bytes = b"", host: bytes = b"plain.example") -> Reply:
    length = b"Content-Length: %d\r\n" % len(body) if body else b""
    await client.send(b"%b http://%b/ HTTP/1.1\r\nHost: %b\r\n%b\r\n" % (method, host, host, length) + body)
    return await client.reply(method)


async def ask_at_once(plane: Plane, count: int, **how: Any) -> list[Reply]:
    """Ask on ``count`` connections of clients at a time."""
    replies = []

    async def one() -> None:
        client = await plane.connect()
        replies.append(await ask(client, **how))

    async with trio.open_nursery() as nursery:
        for _ in range(count):
            nursery.start_soon(one)
    return replies


# --- the bridge -----------------------------------------------------------------------------------


async def test_a_request_goes_to_an_upstream_of_http2_by_prior_knowledge() -> None:
    async with open_http2() as site, open_plane(services=plain(site.port)) as plane:
        client = await plane.connect()
        for _ in range(3):
            reply = await ask(client)
            assert (reply.status, reply.body) == (200, b"ok")
        assert reply.first(b"via") == b"2 proxyd-lab"
        assert len(site.sessions) == 1
        assert site.asked[0].headers == [
            (b":method", b"GET"),
            (b":scheme", b"http"),
            (b":authority", b"plain.example"),
            (b":path", b"/"),
            (b"authorization", b"Bearer " + SECRET),
            (b"via", b"1.1 proxyd-lab"),
        ]
        assert [(await plane.event(number))["reused"] for number in range(3)] == [False, True, True]


async def test_alpn_chooses_http2() -> None:
    async with open_http2(tls=http2_context(HOST)) as site, open_plane(services=secure(site.port)) as plane:
        client = await plane.connect()
        assert (await ask(client, host=HOST.encode())).body == b"ok"
        assert site.asked[0].first(b":scheme") == b"https"


async def test_alpn_chooses_http_1_and_every_request_gets_a_connection_of_its_own() -> None:
    gate = trio.Event()

    async def answer(origin: Any, wire: Any) -> None:
        await wire.head()
        if len(origin.wires) == 3:
            gate.set()
        await gate.wait()
        await wire.send(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
        await wire.rest()

    context = http2_context(HOST, protocols=("http/1.1",))
    async with open_origin(answer, tls=context) as origin, open_plane(services=secure(origin.port)) as plane:
        replies = await ask_at_once(plane, 3, host=HOST.encode())
        assert [reply.body for reply in replies] == [b"ok"] * 3


async def test_an_upstream_that_must_speak_http2_and_does_not_is_an_error() -> None:
    async with open_origin(tls=server_context(HOST)) as origin:
        services = secure(origin.port, protocol=Version.HTTP2)
        async with open_plane(services=services) as plane:
            client = await plane.connect()
            reply = await ask(client, host=HOST.encode())
            assert reply.status == 502
            assert b"does not speak HTTP/2" in reply.body
            assert (await plane.event())["attempts"] == 1


@pytest.mark.parametrize("size", [0, 1, 16_384, 60_000])
async def test_a_body_in_memory_is_announced_and_sent(size: int) -> None:
    async with open_http2() as site, open_plane(services=plain(site.port)) as plane:
        client = await plane.connect()
        body = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
        assert (await ask(client, b"POST", body)).status == 200
        seen = site.asked[0]
        assert seen.body == body
        assert seen.first(b"content-length") == b"%d" % size


async def test_a_streaming_body_and_trailers_go_both_ways() -> None:
    async def answer(session: Session, asked: Asked) -> None:
        await asked.until(lambda: asked.body == b"first")
        await session.head(asked.stream, 200, (b"x-early", b"1"))
        await session.data(asked.stream, b"echo")
        await asked.ended.wait()
        await session.trailers(asked.stream, (b"x-sum", b"42"))

    async with open_http2(answer) as site, open_plane(services=plain(site.port)) as plane:
        client = await plane.connect()
        head = b"POST http://plain.example/ HTTP/1.1\r\nHost: plain.example\r\nTransfer-Encoding: chunked\r\n\r\n"
        await client.send(head + b"5\r\nfirst\r\n")
        await client.until(b"echo\r\n")  # while the request goes on
        await client.send(b"6\r\nsecond\r\n0\r\nx-check: 7\r\n\r\n")
        assert await client.until(b"\r\n\r\n") == b"0\r\nx-sum: 42\r\n\r\n"
        assert site.asked[0].body == b"firstsecond"
        assert site.asked[0].trailers == [(b"x-check", b"7")]
        assert site.asked[0].first(b"content-length") is None


async def test_a_response_to_head_has_no_body_and_keeps_its_length() -> None:
    async def answer(session: Session, asked: Asked) -> None:
        await session.head(asked.stream, 200, (b"content-length", b"5"), ended=True)

    async with open_http2(answer) as site, open_plane(services=plain(site.port)) as plane:
        client = await plane.connect()
        reply = await ask(client, b"HEAD")
        assert (reply.status, reply.first(b"content-length")) == (200, b"5")
        assert (await ask(client, b"HEAD")).status == 200


async def test_interim_responses_are_passed_on() -> None:
    async def answer(session: Session, asked: Asked) -> None:
        await session.head(asked.stream, 103, (b"link", b"</a>"))
        await session.answer(asked.stream)

    async with open_http2(answer) as site, open_plane(services=plain(site.port)) as plane:
        client = await plane.connect()
        early = await ask(client)
        assert (early.status, early.first(b"link")) == (103, b"</a>")
        assert (await client.reply()).body == b"ok"


async def test_cookies_are_split_towards_http2() -> None:
    async with open_http2() as site, open_plane(services=plain(site.port)) as plane:
        client = await plane.connect()
        assert (await client.get(b"http://plain.example/", b"Cookie: a=1; b=2")).status == 200
        assert [field for field in site.asked[0].headers if field[0] == b"cookie"] == [
            (b"cookie", b"a=1"),
            (b"cookie", b"b=2"),
        ]


async def test_an_upgrade_goes_by_http_1_whatever_the_service_says() -> None:
    fields = b"Upgrade: websocket", b"Connection: upgrade", b"Sec-WebSocket-Key: eA=="
    async with open_origin() as origin, open_plane(services=plain(origin.port)) as plane:
        client = await plane.connect()
        assert (await client.get(b"http://plain.example/", *fields)).status == 200
        assert origin.requests[0].first(b"upgrade") == b"websocket"


GATEWAY = (Listener("local", ListenerMode.GATEWAY, "unix:/gateway.sock"),)


async def test_grpc_goes_by_http2_whatever_the_service_says() -> None:
    async with open_http2() as site:
        services = plain(site.port, protocol=Version.HTTP1)
        async with open_plane(services=services, listeners=GATEWAY) as plane:
            client = await open_h2c(plane, b"plain")
            fields = (b"content-type", b"application/grpc+proto"), (b"te", b"trailers")
            answer = await client.get(b"/a.B/C", *fields, method=b"POST", body=b"x")
            assert (answer.status, answer.body) == (200, b"ok")
            assert site.asked[0].first(b"te") == b"trailers"
            assert site.asked[0].first(b"via") == b"2 proxyd-lab"


async def test_grpc_web_is_plain_http() -> None:
    async with open_origin() as origin:
        services = plain(origin.port, protocol=Version.HTTP1)
        async with open_plane(services=services, listeners=GATEWAY) as plane:
            client = await open_h2c(plane, b"plain")
            fields = (b"content-type", b"application/grpc-web"), (b"content-length", b"1")
            assert (await client.get(b"/a.B/C", *fields, method=b"POST", body=b"x")).status == 200


# --- connections and streams ----------------------------------------------------------------------


async def test_exchanges_share_a_connection() -> None:
    gate = trio.Event()

    async def answer(session: Session, asked: Asked) -> None:
        if len(session.asked) == 20:
            gate.set()
        await gate.wait()
        await session.answer(asked.stream)

    async with open_http2(answer) as site, open_plane(services=plain(site.port)) as plane:
        replies = await ask_at_once(plane, 20)
        assert [reply.status for reply in replies] == [200] * 20
        assert len(site.sessions) == 1


async def test_one_dial_serves_all_who_come_meanwhile_once_settings_are_there() -> None:
    async with open_http2(is_prompt=False) as site, open_plane(services=plain(site.port)) as plane:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask_at_once, plane, 10)
            await site.until(lambda: site.sessions)
            while (await plane.ask("pools"))[0]["waiting"] < 9:
                pass
            await site.sessions[0].flush()
        assert len(site.sessions) == 1


async def test_a_further_connection_is_made_when_one_is_full() -> None:
    gate = trio.Event()

    async def answer(session: Session, asked: Asked) -> None:
        assert sum(1 for one in session.asked.values() if not one.ended.is_set()) <= 2
        if len(site.asked) == 5:
            gate.set()
        await gate.wait()
        await session.answer(asked.stream)

    settings = {SettingCodes.MAX_CONCURRENT_STREAMS: 2}
    async with open_http2(answer, settings=settings) as site, open_plane(services=plain(site.port)) as plane:
        replies = await ask_at_once(plane, 5)
        assert [reply.status for reply in replies] == [200] * 5
        assert len(site.sessions) == 3
        assert sorted(len(session.asked) for session in site.sessions) == [1, 2, 2]


async def test_who_finds_no_room_waits_for_a_stream_to_end() -> None:
    running = most = 0

    async def answer(session: Session, asked: Asked) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await trio.sleep(0.002)
        running -= 1
        await session.answer(asked.stream)

    async with open_http2(answer) as site:
        services = plain(site.port, pool=PoolLimits(connections=1, streams=3))
        async with open_plane(services=services) as plane:
            replies = await ask_at_once(plane, 10)
            assert [reply.status for reply in replies] == [200] * 10
            assert len(site.sessions) == 1
            assert most == 3


@pytest.mark.parametrize("limits", [PoolLimits(requests=2), PoolLimits(age=0.0001), PoolLimits(idle=0.0001)])
async def test_a_connection_is_replaced_after_its_time(limits: PoolLimits) -> None:
    async with open_http2() as site, open_plane(services=plain(site.port, pool=limits)) as plane:
        client = await plane.connect()
        for _ in range(4):
            assert (await ask(client)).status == 200
            await trio.sleep(0.001)
        assert len(site.sessions) == (2 if limits.requests else 4)
        first = site.sessions[0]
        with trio.fail_after(PATIENCE):
            await first.wire.ended.wait()
        assert first.goodbyes == [(0, 0)], "a connection is not closed without GOAWAY"


async def test_a_connection_that_the_origin_closed_is_not_used() -> None:
    async with open_http2() as site, open_plane(services=plain(site.port)) as plane:
        client = await plane.connect()
        assert (await ask(client)).status == 200
        await site.sessions[0].wire.aclose()
        assert (await ask(client, b"POST", b"order")).status == 200
        assert (await plane.event(1))["attempts"] == 1


# --- ends before their time -----------------------------------------------------------------------


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
async def test_goaway_lets_earlier_streams_finish_and_later_ones_go_elsewhere(tls: bool) -> None:
    both = trio.Event()

    async def answer(session: Session, asked: Asked) -> None:
        if session is not site.sessions[0]:
            await polite(session, asked)
        elif asked.stream == 1:
            await both.wait()
            await session.goodbye(1)
            await session.answer(asked.stream, body=b"old")
        else:
            both.set()

    async with open_http2(answer, tls=http2_context(HOST) if tls else None) as site:
        services = secure(site.port) if tls else plain(site.port)
        host = HOST.encode() if tls else b"plain.example"
        async with open_plane(services=services) as plane:
            replies = await ask_at_once(plane, 2, method=b"POST", body=b"order", host=host)
            assert sorted(reply.body for reply in replies) == [b"ok", b"old"]
            assert [len(session.asked) for session in site.sessions] == [2, 1]
            with trio.fail_after(PATIENCE):
                await site.sessions[0].wire.ended.wait()


async def test_a_refused_stream_is_tried_again_whatever_its_method() -> None:
    async def answer(session: Session, asked: Asked) -> None:
        if len(site.asked) == 1:
            await session.reset(asked.stream, Code.REFUSED_STREAM)
        else:
            await polite(session, asked)

    async with open_http2(answer) as site, open_plane(services=plain(site.port, resilience=QUICK)) as plane:
        client = await plane.connect()
        assert (await ask(client, b"POST", b"order")).status == 200
        assert (await plane.event())["attempts"] == 2
        assert [asked.body for asked in site.asked][1] == b"order"


@pytest.mark.parametrize(("method", "attempts"), [(b"GET", 2), (b"POST", 1)])
async def test_a_reset_stream_is_tried_again_where_the_method_is_idempotent(method: bytes, attempts: int) -> None:
    async def answer(session: Session, asked: Asked) -> None:
        if len(site.asked) == 1:
            await session.reset(asked.stream, Code.INTERNAL_ERROR)
        else:
            await polite(session, asked)

    async with open_http2(answer) as site, open_plane(services=plain(site.port, resilience=QUICK)) as plane:
        client = await plane.connect()
        reply = await ask(client, method)
        assert reply.status == (200 if attempts == 2 else 502)
        event = await plane.event()
        assert (event["attempts"], event["flags"]) == (attempts, "" if attempts == 2 else "UR")
        assert len(site.sessions) == 1, "the connection goes on"


@pytest.mark.parametrize(("method", "status"), [(b"GET", 200), (b"POST", 502)])
async def test_a_connection_that_dies_fails_its_streams(method: bytes, status: int) -> None:
    async def answer(session: Session, asked: Asked) -> None:
        if session is not site.sessions[0]:
            await polite(session, asked)
        elif len(session.asked) == 3:
            await session.wire.aclose()

    async with open_http2(answer) as site, open_plane(services=plain(site.port, resilience=QUICK)) as plane:
        replies = await ask_at_once(plane, 3, method=method)
        assert [reply.status for reply in replies] == [status] * 3


async def test_a_response_that_breaks_off_breaks_off_for_the_client() -> None:
    async def answer(session: Session, asked: Asked) -> None:
        await session.head(asked.stream)
        await session.data(asked.stream, b"part")
        await session.reset(asked.stream, Code.INTERNAL_ERROR)

    async with open_http2(answer) as site, open_plane(services=plain(site.port)) as plane:
        client = await plane.connect()
        await client.send(b"GET http://plain.example/ HTTP/1.1\r\nHost: plain.example\r\n\r\n")
        assert not (await client.rest()).endswith(b"0\r\n\r\n")
        assert (await plane.event())["flags"] == "UC"


async def test_a_client_that_leaves_ends_its_stream_and_no_other() -> None:
    async def answer(session: Session, asked: Asked) -> None:
        if asked.stream > 1:
            await polite(session, asked)

    async with open_http2(answer) as site, open_plane(services=plain(site.port)) as plane:
        leaver = await plane.connect()
        await leaver.send(b"GET http://plain.example/ HTTP/1.1\r\nHost: plain.example\r\n\r\n")
        await site.until(lambda: site.asked)
        await leaver.aclose()
        first = site.asked[0]
        await first.until(lambda: first.reset == Code.CANCEL)
        assert (await ask(await plane.connect())).status == 200
        assert len(site.sessions) == 1


@pytest.mark.parametrize("timeouts", [Timeouts(first_byte=0.05), Timeouts(total=0.05), Timeouts(per_try=0.05)])
async def test_a_late_response_is_cancelled_and_a_silent_connection_is_left(timeouts: Timeouts) -> None:
    async def answer(session: Session, asked: Asked) -> None:
        if asked.stream == 1:
            await polite(session, asked)

    async with open_http2(answer) as site:
        async with open_plane(services=plain(site.port, timeouts=timeouts, resilience=ONCE)) as plane:
            client = await plane.connect()
            assert [(await ask(client)).status for _ in range(3)] == [200, 504, 200]
            first = site.asked[1]
            await first.until(lambda: first.reset == Code.CANCEL)
            assert len(site.sessions) == 2


async def test_a_late_response_on_a_connection_that_is_heard_of_costs_its_stream_alone() -> None:
    async def answer(session: Session, asked: Asked) -> None:
        if asked.stream > 1:
            await polite(session, asked)
            return
        for _ in range(20):
            session.h2.ping(b"12345678")
            await session.flush()
            await trio.sleep(0.005)

    async with open_http2(answer) as site:
        services = plain(site.port, timeouts=Timeouts(first_byte=0.05), resilience=ONCE)
        async with open_plane(services=services) as plane:
            client = await plane.connect()
            assert (await ask(client)).status == 504
            assert (await ask(client)).status == 200
            assert len(site.sessions) == 1


async def test_a_response_that_ends_before_the_request_ends_the_upload() -> None:
    async def answer(session: Session, asked: Asked) -> None:
        await session.answer(asked.stream, 413, body=b"large")

    async with open_http2(answer, grants=False) as site, open_plane(services=plain(site.port)) as plane:
        client = await plane.connect()
        head = b"POST http://plain.example/ HTTP/1.1\r\nHost: plain.example\r\nContent-Length: 1000000\r\n\r\n"
        await client.send(head + b"x" * 1000)
        reply = await client.reply()
        assert (reply.status, reply.body) == (413, b"large")
        first = site.asked[0]
        await first.until(lambda: first.reset == Code.CANCEL)


async def test_an_early_answer_to_a_body_that_there_is_no_room_for_is_passed_on() -> None:
    async def answer(session: Session, asked: Asked) -> None:
        if asked.first(b":method") == b"POST":
            await asked.until(lambda: asked.body)
        await session.answer(asked.stream, 413, body=b"large")

    settings = {SettingCodes.INITIAL_WINDOW_SIZE: 1000}
    async with open_http2(answer, settings=settings, grants=False) as site:
        async with open_plane(services=plain(site.port)) as plane:
            client = await plane.connect()
            assert (await ask(client)).status == 413  # and SETTINGS were there
            assert (await ask(client, b"POST", b"x" * 5000)).status == 413
            assert len(site.asked[1].body) == 1000


async def test_an_upload_goes_on_as_windows_open() -> None:
    settings = {SettingCodes.INITIAL_WINDOW_SIZE: 1000}
    async with open_http2(settings=settings) as site, open_plane(services=plain(site.port)) as plane:
        client = await plane.connect()
        assert (await ask(client)).status == 200
        body = bytes(range(250)) * 240
        assert (await ask(client, b"PUT", body)).status == 200
        assert site.asked[1].body == body


async def test_what_the_client_does_not_read_is_not_asked_for() -> None:
    sent = 0

    async def answer(session: Session, asked: Asked) -> None:
        nonlocal sent
        if asked.stream > 1:
            await session.answer(asked.stream)
            return
        await session.head(asked.stream)
        for _ in range(4000):
            await session.data(asked.stream, b"x" * 16_000)
            sent += 16_000

    async with open_http2(answer) as site, open_plane(services=plain(site.port)) as plane:
        slow = await plane.connect()
        await slow.send(b"GET http://plain.example/ HTTP/1.1\r\nHost: plain.example\r\n\r\n")
        await slow.head()
        before = -1
        while sent != before:
            before = sent
            await trio.sleep(0.1)
        assert sent < 16_000_000
        assert (await ask(await plane.connect())).body == b"ok", "others are served meanwhile"
        assert len(site.sessions) == 1


# --- upstreams that misbehave ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "fields",
    [
        [(b"status", b"200")],
        [(b":status", b"abc")],
        [(b":status", b"200"), (b"connection", b"close")],
        [(b":status", b"200"), (b"X-Upper", b"1")],
        [(b":status", b"200"), (b"content-length", b"nan")],
        [(b":status", b"101")],
        [(b":status", b"200"), (b"x", b"a\r\nb: c")],
        [(b":status", b"200"), *((b"x-%d" % number, b"1") for number in range(200))],
    ],
)
async def test_a_malformed_head_is_a_bad_response_and_costs_its_stream_alone(fields: list[tuple[bytes, bytes]]) -> None:
    async def answer(session: Session, asked: Asked) -> None:
        if asked.stream > 1:
            await polite(session, asked)
            return
        session.h2.send_headers(asked.stream, fields)
        await session.flush()

    async with open_http2(answer) as site, open_plane(services=plain(site.port)) as plane:
        client = await plane.connect()
        assert (await ask(client)).status == 502
        assert (await plane.event())["flags"] == "UPE"
        assert (await ask(client)).status == 200
        first = site.asked[0]
        await first.until(lambda: first.reset is not None)
        assert len(site.sessions) == 1


@pytest.mark.parametrize(("length", "body"), [(b"3", b"four"), (b"5", b"four")])
@pytest.mark.parametrize("at_once", [True, False])
async def test_a_body_that_is_not_as_long_as_its_head_says_is_malformed(
    length: bytes, body: bytes, at_once: bool
) -> None:
    async def answer(session: Session, asked: Asked) -> None:
        if asked.stream > 1:
            await polite(session, asked)
            return
        session.h2.send_headers(asked.stream, [(b":status", b"200"), (b"content-length", length)])
        if not at_once:
            await session.flush()
            await trio.sleep(0.01)
        session.h2.send_data(asked.stream, body, end_stream=True)
        await session.flush()

    async with open_http2(answer) as site, open_plane(services=plain(site.port)) as plane:
        client = await plane.connect()
        await client.send(b"GET http://plain.example/ HTTP/1.1\r\nHost: plain.example\r\n\r\n")
        await client.rest() if not at_once else await client.head()
        assert (await plane.event())["flags"] == "UPE"
        assert (await ask(await plane.connect())).status == 200


async def test_more_interim_responses_than_are_passed_on_are_an_error() -> None:
    async def answer(session: Session, asked: Asked) -> None:
        for _ in range(100):
            await session.head(asked.stream, 102)

    async with open_http2(answer) as site, open_plane(services=plain(site.port)) as plane:
        client = await plane.connect()
        reply = await ask(client)
        while reply.status == 102:
            reply = await client.reply()
        assert reply.status == 502


async def test_what_is_no_http2_is_a_bad_response() -> None:
    async def answer(origin: Any, wire: Any) -> None:
        await wire.fill()
        await wire.send(b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n")
        await wire.rest()

    async with open_origin(answer) as origin, open_plane(services=plain(origin.port, resilience=ONCE)) as plane:
        client = await plane.connect()
        assert (await ask(client)).status == 502
        assert (await plane.event())["flags"] == "UPE"


async def test_a_violation_ends_the_connection_with_its_code() -> None:
    async def answer(session: Session, asked: Asked) -> None:
        await session.flush(b"\0\0\x04\x08\0\0\0\0\0\0\0\0\0")  # WINDOW_UPDATE of nothing

    async with open_http2(answer) as site, open_plane(services=plain(site.port, resilience=ONCE)) as plane:
        client = await plane.connect()
        assert (await ask(client)).status == 502
        session = site.sessions[0]
        with trio.fail_after(PATIENCE):
            await session.wire.ended.wait()
        assert session.goodbyes[0][1] == Code.PROTOCOL_ERROR


async def test_a_silent_upstream_is_asked_by_ping_and_left_when_it_does_not_answer() -> None:
    async def answer(session: Session, asked: Asked) -> None:
        if session is not site.sessions[0]:
            await polite(session, asked)
            return
        session.wire.fill = forever  # type: ignore[method-assign]

    async def forever() -> bool:
        await trio.sleep_forever()
        raise AssertionError

    async with open_http2(answer) as site:
        pool = PoolLimits(ping=0.5, ping_timeout=0.5)
        async with open_plane(services=plain(site.port, pool=pool)) as plane:
            client = await plane.connect()
            with trio.fail_after(PATIENCE):
                assert (await ask(client)).status == 200
            assert len(site.sessions) == 2
            assert (await plane.event())["attempts"] == 2


async def test_an_upstream_that_answers_pings_is_waited_for() -> None:
    async def answer(session: Session, asked: Asked) -> None:
        await session.until(lambda: any(isinstance(event, h2.events.PingReceived) for event in session.events))
        await trio.sleep(1.5)
        await session.answer(asked.stream)

    async with open_http2(answer) as site:
        pool = PoolLimits(ping=0.5, ping_timeout=0.5)
        async with open_plane(services=plain(site.port, pool=pool, resilience=ONCE)) as plane:
            assert (await ask(await plane.connect())).status == 200


async def test_a_refused_request_whose_body_has_not_come_yet_is_tried_again() -> None:
    async def answer(session: Session, asked: Asked) -> None:
        if len(site.asked) == 1:
            await session.reset(asked.stream, Code.REFUSED_STREAM)
        else:
            await polite(session, asked)

    async with open_http2(answer) as site, open_plane(services=plain(site.port, resilience=QUICK)) as plane:
        client = await plane.connect()
        await client.send(b"POST http://plain.example/ HTTP/1.1\r\nHost: plain.example\r\nContent-Length: 5\r\n\r\n")
        await site.until(lambda: len(site.asked) == 2)
        await client.send(b"order")
        assert (await client.reply()).status == 200
        assert site.asked[1].body == b"order"


async def test_goaway_to_many_streams_says_nothing_against_the_upstream() -> None:
    async def answer(session: Session, asked: Asked) -> None:
        if session is not site.sessions[0]:
            await polite(session, asked)
        elif len(session.asked) == 12:
            await session.goodbye(0)

    async with open_http2(answer) as site, open_plane(services=plain(site.port)) as plane:
        replies = await ask_at_once(plane, 12, method=b"POST", body=b"order")
        assert [reply.status for reply in replies] == [200] * 12


async def test_an_upstream_that_wants_calm_is_asked_again_after_a_wait() -> None:
    async def answer(session: Session, asked: Asked) -> None:
        if asked.stream == 1 and session is site.sessions[0]:
            await polite(session, asked)
        elif session is site.sessions[0]:
            await session.goodbye(1, Code.ENHANCE_YOUR_CALM)
        else:
            await polite(session, asked)

    async with open_http2(answer) as site, open_plane(services=plain(site.port)) as plane:
        client = await plane.connect()
        assert [(await ask(client, b"POST", b"x")).status for _ in range(2)] == [200, 200]
        assert (await plane.event(1))["attempts"] == 2


async def test_responses_that_came_whole_outlive_their_connection() -> None:
    async def answer(session: Session, asked: Asked) -> None:
        if asked.stream < 9:
            return
        for stream in session.asked:
            session.h2.send_headers(stream, [(b":status", b"200"), (b"content-length", b"2")])
            session.h2.send_data(stream, b"ok", end_stream=True)
        await session.goodbye(asked.stream)
        await session.wire.aclose()

    async with open_http2(answer) as site, open_plane(services=plain(site.port, resilience=ONCE)) as plane:
        replies = await ask_at_once(plane, 5, method=b"POST")
        assert [(reply.status, reply.body) for reply in replies] == [(200, b"ok")] * 5


# --- floods ---------------------------------------------------------------------------------------


def frame(kind: int, stream: int = 0, payload: bytes = b"", flags: int = 0) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload


@pytest.mark.parametrize(
    "flood",
    [
        frame(6, payload=b"12345678"),
        frame(4),
        frame(0, 1),
        frame(2, 3, b"\0\0\0\0\1"),
        frame(8, 0, b"\0\0\0\1"),
    ],
    ids=["ping", "settings", "empty data", "priority", "window update"],
)
async def test_a_flood_ends_its_connection_calmly(flood: bytes) -> None:
    async def answer(session: Session, asked: Asked) -> None:
        if session is not site.sessions[0]:
            await polite(session, asked)
            return
        await session.head(asked.stream)
        while not session.goodbyes and not session.wire.ended.is_set():
            await session.wire.send(flood * 1000)
            await trio.lowlevel.checkpoint()

    async with open_http2(answer) as site, open_plane(services=plain(site.port, resilience=ONCE)) as plane:
        client = await plane.connect()
        await client.send(b"GET http://plain.example/ HTTP/1.1\r\nHost: plain.example\r\nConnection: close\r\n\r\n")
        await client.rest()
        await site.sessions[0].until(lambda: site.sessions[0].goodbyes)
        assert site.sessions[0].goodbyes[0][1] == Code.ENHANCE_YOUR_CALM
        assert (await ask(await plane.connect())).status == 200


async def test_a_head_without_end_ends_its_connection() -> None:
    async def answer(session: Session, asked: Asked) -> None:
        await session.flush(frame(1, asked.stream, b"\x88", flags=0))
        while not session.goodbyes and not session.wire.ended.is_set():
            await session.wire.send(frame(9, asked.stream, b"\x00\x01x" + b"\x7f\x80\x01" + b"y" * 255) * 50)
            await trio.lowlevel.checkpoint()

    async with open_http2(answer) as site, open_plane(services=plain(site.port, resilience=ONCE)) as plane:
        assert (await ask(await plane.connect())).status == 502


async def test_a_server_that_pushes_ends_its_connection() -> None:
    async def answer(session: Session, asked: Asked) -> None:
        await session.flush(frame(5, asked.stream, b"\0\0\0\2\x82", flags=4))

    async with open_http2(answer) as site, open_plane(services=plain(site.port, resilience=ONCE)) as plane:
        assert (await ask(await plane.connect())).status == 502
        with trio.fail_after(PATIENCE):
            await site.sessions[0].wire.ended.wait()
        assert site.sessions[0].goodbyes[0][1] == Code.PROTOCOL_ERROR
