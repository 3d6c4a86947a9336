"""Frames without sense, after a good preface: the connection ends or goes on, and the worker serves others."""

import random

import pytest
import trio

from proxyd.core.snapshot import Listener, ListenerMode
from proxyd.wire.http2 import PREFACE
from tests.lab.http2 import open_h2c
from tests.lab.plane import Plane, open_origin, open_plane, service

LISTENERS = (Listener("local", ListenerMode.GATEWAY, "unix:/gateway.sock"),)
SETTINGS = b"\0\0\0\x04\0\0\0\0\0"
REQUEST = bytes.fromhex("83868441") + b"\x05plain"
"""POST, http, /, :authority plain."""


def frame(rng: random.Random) -> bytes:
    kind = rng.choice([0, 0, 0, 1, 1, 1, 1, 2, 3, 4, 5, 6, 7, 8, 8, 9, 10, 200])
    flags = rng.choice([0, 0, 1, 4, 5, 8, 0x0D, 0x25, 0xFF, rng.randrange(256)])
    stream = rng.choice([0, 1, 1, 3, 3, 5, 7, 2, rng.randrange(1, 50), 2**31 - 1])
    if kind == 1 and rng.random() < 0.7:
        payload, flags = REQUEST, flags & 5 | 4
    elif kind in (3, 8):
        payload = rng.choice([0, 1, 100, 2**31 - 1, rng.randrange(2**32)]).to_bytes(4, "big")
    elif kind == 4:
        payload = b"".join(
            rng.choice([1, 2, 3, 4, 5, 6, 99]).to_bytes(2, "big")
            + rng.choice([0, 1, 100, 20_000, 2**31]).to_bytes(4, "big")
            for _ in range(rng.randrange(4))
        )
    else:
        payload = rng.randbytes(rng.choice([0, 1, 4, 5, 8, 8, 30, 200]))
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


async def shower(plane: Plane, seed: int) -> None:
    rng = random.Random(seed)
    client = await plane.connect("local")
    data = PREFACE + SETTINGS + b"".join(frame(rng) for _ in range(rng.randrange(1, 30)))
    await client.send(data)
    with trio.move_on_after(0.02 if rng.random() < 0.5 else 0):
        await client.rest()
    await client.aclose()


@pytest.mark.parametrize("seed", range(4))
async def test_a_shower_of_frames_harms_nobody_else(seed: int) -> None:
    async with open_origin() as origin:
        plain = service("plain", "plain.example", "http", origin.port)
        async with open_plane(services=(plain,), listeners=LISTENERS) as plane:
            good = await open_h2c(plane, b"plain")
            for number in range(60):
                await shower(plane, seed * 1000 + number)
                if number % 10 == 0:
                    assert (await good.get(b"/")).body == b"ok"
            assert (await good.get(b"/")).body == b"ok"
            assert not [notice for notice in plane.notices if "connection_failed" in notice]
