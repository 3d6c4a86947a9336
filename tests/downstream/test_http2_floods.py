"""Attacks on a live gateway: each ends its connection with the right code, holds no memory, and harms no neighbour."""

import tracemalloc
from collections.abc import Iterator

import pytest
import trio

from proxyd.core.snapshot import Listener, ListenerMode
from proxyd.core.units import KIB, MIB
from proxyd.wire.http2 import PREFACE
from tests.lab.http2 import open_h2c
from tests.lab.plane import Client, open_origin, open_plane, polite, service
from tests.wire.http2_frames import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    ENDS,
    HEADERS,
    PING,
    PRIORITY,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    block,
    frame,
    number,
    outcome_of,
    setting,
)

LISTENERS = (Listener("local", ListenerMode.GATEWAY, "unix:/gateway.sock"),)
BYTES = 4 * MIB
"""What each attack sends, where it is let."""
HELD = 4 * MIB
"""What it may make the worker hold at any time; most of it is one read and its frames."""

WHOLE = block((b":method", b"GET"), (b":scheme", b"http"), (b":authority", b"tickets"), (b":path", b"/"))
GET_1 = frame(HEADERS, END_HEADERS, 1, WHOLE)
BOMB = WHOLE + b"\x40\x01a\x7f\x81\x1e" + b"x" * 3968


def _resets() -> Iterator[bytes]:
    for stream in range(1, 2**31, 2):
        yield frame(HEADERS, ENDS, stream, WHOLE) + frame(RST_STREAM, 0, stream, number(8))


def _malformed() -> Iterator[bytes]:
    for stream in range(1, 2**31, 2):
        yield frame(HEADERS, ENDS, stream, WHOLE + block((b"Upper", b"case")))


def _above() -> Iterator[bytes]:
    for stream in range(1, 2**31, 2):
        yield frame(HEADERS, END_HEADERS, stream, WHOLE)


def _bombs() -> Iterator[bytes]:
    yield frame(HEADERS, ENDS, 1, BOMB)
    for stream in range(3, 2**31, 2):
        yield frame(HEADERS, ENDS, stream, WHOLE + b"\xbe" * 16_000)


def _again(first: bytes, then: bytes) -> Iterator[bytes]:
    yield first
    while True:
        yield then


FLOODS = {
    "rapid reset": _resets,
    "resets that the server is made to send": _malformed,
    "streams above the limit": _above,
    "HPACK bombs": _bombs,
    "CONTINUATION": lambda: _again(frame(HEADERS, END_STREAM, 1, WHOLE), frame(CONTINUATION, 0, 1, b"\0\1a\1b" * 99)),
    "empty CONTINUATION": lambda: _again(frame(HEADERS, END_STREAM, 1, WHOLE), frame(CONTINUATION, 0, 1)),
    "SETTINGS": lambda: _again(b"", frame(SETTINGS, 0, 0, setting(4, 1))),
    "settings": lambda: _again(b"", frame(SETTINGS, 0, 0, setting(4, 1) * 2000)),
    "PING": lambda: _again(b"", frame(PING, 0, 0, bytes(8))),
    "PRIORITY": lambda: _again(b"", frame(PRIORITY, 0, 1, bytes(5))),
    "WINDOW_UPDATE": lambda: _again(GET_1, frame(WINDOW_UPDATE, 0, 1, number(1))),
    "empty DATA": lambda: _again(GET_1, frame(DATA, 0, 1)),
    "padding": lambda: _again(GET_1, frame(DATA, 8, 1, b"\xff" + bytes(255))),
    "unknown frames": lambda: _again(b"", frame(0x77, 0, 0, b"x")),
    "DATA on a stream that is over": lambda: _again(
        frame(HEADERS, ENDS, 1, WHOLE) + frame(RST_STREAM, 0, 1, number(8)), frame(DATA, 0, 1, b"x")
    ),
}


def _burst(flood: Iterator[bytes]) -> Iterator[bytes]:
    """Up to 64 frames, fewer of large ones."""
    size = 0
    for _ in range(64):
        data = next(flood)
        size += len(data)
        yield data
        if size >= 64 * KIB:
            return


async def _attack(client: Client, flood: Iterator[bytes]) -> None:
    """Send until enough was sent or nobody takes it; nothing is read meanwhile."""
    await client.send(PREFACE + frame(SETTINGS, 0, 0))
    sent = 0
    while sent < BYTES:
        data = b"".join(_burst(flood))  # what the attacker holds itself counts, too
        with trio.move_on_after(0.3) as scope:
            await client.send(data)
        if scope.cancelled_caught:
            return
        sent += len(data)


@pytest.mark.parametrize("flood", FLOODS.values(), ids=FLOODS.keys())
async def test_an_attack_ends_calmly_and_harms_nobody(flood: object) -> None:
    async with open_origin(polite) as origin:
        tickets = service("tickets", "127.0.0.1", "http", origin.port, insecure=True)
        async with open_plane(services=(tickets,), listeners=LISTENERS) as plane:
            neighbour = await open_h2c(plane, b"tickets")
            assert (await neighbour.get(b"/")).status == 200
            attacker = await plane.connect("local")
            tracemalloc.start()
            try:
                before = tracemalloc.get_traced_memory()[0]
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(_attack, attacker, flood())  # type: ignore[operator]
                    for _ in range(20):
                        assert (await neighbour.get(b"/")).status == 200
                said = await attacker.rest()
                peak = tracemalloc.get_traced_memory()[1] - before
            finally:
                tracemalloc.stop()
            assert outcome_of(said) == "goaway:ENHANCE_YOUR_CALM"
            assert peak < HELD
            assert (await neighbour.get(b"/")).status == 200
