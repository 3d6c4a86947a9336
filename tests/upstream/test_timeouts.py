"""The bounds of a phase of their own, through a live worker and real sockets."""

import dataclasses

import pytest
import trio

from proxyd.core.resilience import Resilience, RetryPolicy
from proxyd.core.service import Service, Timeouts
from tests.lab.plane import Answer, Client, Origin, Plane, Wire, open_origin, open_plane, parse_head, polite, service

HEAD = b"HTTP/1.1 200 OK\r\nx-slow: 1\r\ncontent-length: 2\r\n\r\n"
GET = b"GET http://plain.example/ HTTP/1.1\r\nHost: plain.example\r\n"
UPGRADE = b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
ONCE = Resilience(retry=RetryPolicy(attempts=1))


def plain(port: int, timeouts: Timeouts, resilience: Resilience = ONCE) -> tuple[Service, ...]:
    made = service("plain", "plain.example", "http", port)
    return (dataclasses.replace(made, timeouts=timeouts, resilience=resilience),)


async def outcome(plane: Plane) -> tuple[object, ...]:
    event = await plane.event()
    return event["status"], event["flags"], event["detail"]


async def ask(client: Client, fields: bytes = b"") -> int:
    await client.send(GET + fields + b"\r\n")
    return (await client.reply()).status


def pausing(seconds: float, *pieces: bytes) -> Answer:
    """Answer with a pause before each piece."""

    async def answer(origin: Origin, wire: Wire) -> None:
        await wire.head()
        for piece in pieces:
            await trio.sleep(seconds)
            await wire.send(piece)
        await wire.rest()

    return answer


# --- head -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("seconds", [0.2, 1.1], ids=["exact", "by the reaper"])
async def test_a_head_that_begins_and_does_not_end_is_given_up_on(seconds: float) -> None:
    async with open_origin(pausing(0.01, HEAD[:20])) as origin:
        async with open_plane(services=plain(origin.port, Timeouts(head=seconds))) as plane:
            assert await ask(await plane.connect()) == 504
            assert await outcome(plane) == (504, "UT", "the response head was not complete within `head`")


async def test_what_comes_before_the_heads_first_byte_does_not_count_as_head() -> None:
    async with open_origin(pausing(0.3, HEAD[:20], HEAD[20:] + b"ok")) as origin:
        timeouts = Timeouts(head=0.5)  # 0.6 s in all, 0.3 s of them within the head
        async with open_plane(services=plain(origin.port, timeouts)) as plane:
            assert await ask(await plane.connect()) == 200


async def test_with_head_the_wait_for_the_first_byte_ends_with_it() -> None:
    async with open_origin(pausing(0.3, HEAD[:20], HEAD[20:] + b"ok")) as origin:
        async with open_plane(services=plain(origin.port, Timeouts(first_byte=0.5, head=2.0))) as plane:
            assert await ask(await plane.connect()) == 200
        async with open_plane(services=plain(origin.port, Timeouts(first_byte=0.5))) as plane:
            assert await ask(await plane.connect()) == 504
            assert await outcome(plane) == (504, "UT", "no response within `first_byte`")


async def test_after_an_interim_response_the_wait_for_the_first_byte_goes_on() -> None:
    hints = b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n"
    async with open_origin(pausing(0.01, hints[:12], hints[12:])) as origin:
        async with open_plane(services=plain(origin.port, Timeouts(first_byte=0.4, head=0.2))) as plane:
            client = await plane.connect()
            assert await ask(client) == 103
            assert (await client.reply()).status == 504
            assert await outcome(plane) == (504, "UT", "no response within `first_byte`")


async def test_per_try_still_bounds_a_head() -> None:
    async with open_origin(pausing(0.01, HEAD[:20])) as origin:
        async with open_plane(services=plain(origin.port, Timeouts(per_try=0.2, head=5.0))) as plane:
            assert await ask(await plane.connect()) == 504
            assert await outcome(plane) == (504, "UT", "no response within `per_try`")


# --- stream ---------------------------------------------------------------------------------------


async def drip(origin: Origin, wire: Wire) -> None:
    await wire.head()
    await wire.send(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n")
    while not wire.ended.is_set():
        await wire.send(b"x")
        await trio.sleep(0.05)


@pytest.mark.parametrize("total", [0.0, 60.0], ids=["no total", "within total"])
async def test_a_body_that_goes_on_too_long_is_cut(total: float) -> None:
    async with open_origin(drip) as origin:
        async with open_plane(services=plain(origin.port, Timeouts(stream=0.4, total=total))) as plane:
            client = await plane.connect()
            await client.send(GET + b"\r\n")
            assert parse_head(await client.head()).status == 200
            await client.rest()
            assert client.was_reset, "it must not look like the end"
            assert await outcome(plane) == (200, "UMSDR", "the response lasted longer than `stream`")


async def test_a_total_that_ends_first_is_named() -> None:
    async with open_origin(drip) as origin:
        async with open_plane(services=plain(origin.port, Timeouts(stream=60.0, total=0.4))) as plane:
            client = await plane.connect()
            await client.send(GET + b"\r\n")
            await client.rest()
            assert await outcome(plane) == (200, "UMSDR", "the exchange took longer than `total`")


async def test_the_wait_for_a_response_is_not_part_of_its_stream() -> None:
    async with open_origin(pausing(0.4, HEAD + b"ok")) as origin:
        async with open_plane(services=plain(origin.port, Timeouts(stream=0.2))) as plane:
            assert await ask(await plane.connect()) == 200


async def test_an_upgraded_connection_that_goes_on_too_long_is_closed() -> None:
    switching = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\nhello"
    async with open_origin(pausing(0.0, switching)) as origin:
        async with open_plane(services=plain(origin.port, Timeouts(stream=0.3))) as plane:
            client = await plane.connect()
            await client.send(GET + UPGRADE + b"\r\n")
            await client.until(b"hello")
            await client.send(b"frame")
            assert await client.rest() == b""
            assert await outcome(plane) == (101, "UMSDR", "the response lasted longer than `stream`")
            with trio.fail_after(5):
                await origin.wires[0].ended.wait()


# --- idle, where both directions stream -----------------------------------------------------------


async def test_a_response_that_goes_on_keeps_a_silent_upload_alive_and_is_no_first_byte_afterwards() -> None:
    async def talk(origin: Origin, wire: Wire) -> None:
        await wire.until(b"go on\r\n")
        await wire.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        for _ in range(10):
            await trio.sleep(0.2)
            await wire.send(b"1\r\n.\r\n")
        await wire.until(b"0\r\n\r\n")
        await trio.sleep(0.6)
        await wire.send(b"4\r\nlast\r\n0\r\n\r\n")

    async with open_origin(talk) as origin:
        async with open_plane(services=plain(origin.port, Timeouts(idle=1.6, first_byte=0.2))) as plane:
            client = await plane.connect()
            await client.send(GET.replace(b"GET", b"POST") + b"Transfer-Encoding: chunked\r\n\r\n5\r\ngo on\r\n")
            assert parse_head(await client.head()).status == 200
            await client.until(b"1\r\n.\r\n" * 10)
            await client.send(b"0\r\n\r\n")
            await client.until(b"4\r\nlast\r\n0\r\n\r\n")


# --- propagate ------------------------------------------------------------------------------------


def told(origin: Origin, field: bytes = b"x-left-ms") -> list[int]:
    return [int(value) for seen in origin.requests for name, value in seen.headers if name == field]


@pytest.mark.parametrize(
    ("timeouts", "most"),
    [
        (Timeouts(first_byte=9.0), 9000),
        (Timeouts(first_byte=9.0, per_try=7.0), 7000),
        (Timeouts(first_byte=9.0, per_try=7.0, total=5.0), 5000),
        (Timeouts(first_byte=0.0, total=5.0), 5000),
    ],
)
async def test_the_upstream_is_told_the_nearest_end_in_place_of_the_clients_word(timeouts: Timeouts, most: int) -> None:
    timeouts = dataclasses.replace(timeouts, propagate="x-left-ms")
    async with open_origin() as origin, open_plane(services=plain(origin.port, timeouts)) as plane:
        client = await plane.connect()
        assert await ask(client, b"X-Left-Ms: 123456\r\nX-LEFT-MS: 1\r\n") == 200
        (left,) = told(origin)
        assert most - 2000 < left <= most


async def test_where_nothing_ends_an_attempt_the_clients_word_is_taken_away_all_the_same() -> None:
    timeouts = Timeouts(first_byte=0.0, propagate="x-left-ms")
    async with open_origin() as origin, open_plane(services=plain(origin.port, timeouts)) as plane:
        assert await ask(await plane.connect(), b"X-Left-Ms: 123456\r\n") == 200
        assert told(origin) == []


async def test_each_attempt_is_told_what_is_left_of_the_total() -> None:
    async def second(origin: Origin, wire: Wire) -> None:
        if len(origin.wires) == 1:
            await wire.head()
            origin.received_first = bytes(wire.received)  # type: ignore[attr-defined]
            await trio.sleep(0.3)
            await wire.send(b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
            return
        await polite(origin, wire)

    async with open_origin(second) as origin:
        services = plain(origin.port, Timeouts(total=5.0, propagate="x-left-ms"), Resilience())
        async with open_plane(services=services) as plane:
            assert await ask(await plane.connect()) == 200
            before = int(origin.received_first.split(b"x-left-ms: ")[1].split(b"\r\n")[0])  # type: ignore[attr-defined]
            (after,) = told(origin)
            assert before - after >= 300


async def test_without_propagate_a_clients_field_passes() -> None:
    async with open_origin() as origin, open_plane(services=plain(origin.port, Timeouts())) as plane:
        assert await ask(await plane.connect(), b"X-Left-Ms: 123456\r\n") == 200
        assert told(origin) == [123456]
