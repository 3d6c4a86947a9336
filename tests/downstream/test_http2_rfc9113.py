"""RFC 9113 frame by frame on live listeners: the server's table at a gateway, and in an intercepted tunnel."""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import trio

from proxyd.core.snapshot import Listener, ListenerMode
from proxyd.wire.http2 import PREFACE
from tests.lab.http2 import open_h2
from tests.lab.plane import Client, Plane, open_origin, open_plane, polite, server_context, service
from tests.wire.http2_frames import ACK, HEADERS, PING, SETTINGS, Case, frame, frames, outcome_of
from tests.wire.http2_server_table import server_table

HOST = "api.tickets.example"
LISTENERS = (
    Listener("local", ListenerMode.GATEWAY, "unix:/gateway.sock"),
    Listener("apps", ListenerMode.FORWARD, "127.0.0.1:0"),
)
QUESTION = b"are you "
SECONDS = 5.0
"""For a case to come to what it should."""

Connect = Callable[[Plane], Awaitable[Client]]


async def at_gateway(plane: Plane) -> Client:
    return await plane.connect("local")


async def in_tunnel(plane: Plane) -> Client:
    opened = await open_h2(plane, HOST, start=False)
    return opened.client


TABLES: dict[str, tuple[Connect, list[Case]]] = {
    "gateway": (at_gateway, [case for case in server_table(b"http", b"tickets") if case.sockets]),
    "intercept": (in_tunnel, [case for case in server_table(b"https", HOST.encode()) if case.sockets]),
}
GROUPS = [
    pytest.param(connect, [case for case in table if case.section == section], id=f"{name} §{section}")
    for name, (connect, table) in TABLES.items()
    for section in dict.fromkeys(case.section for case in table)
]


@contextlib.asynccontextmanager
async def open_both() -> AsyncIterator[Plane]:
    async with open_origin(polite, tls=server_context(HOST)) as origin:
        tickets = service("tickets", HOST, "https", origin.port)
        async with open_plane(services=(tickets,), listeners=LISTENERS, leaves=(HOST,)) as plane:
            yield plane


async def _what_comes_of(client: Client, case: Case) -> str:
    """Send a case's writes and return what was said by the time that it is what it should be, or that time is up."""
    if not case.raw:
        await client.send(PREFACE + frame(SETTINGS, 0, 0))
    for number, data in enumerate(case.writes):
        await client.send(data)
        if number < len(case.answered):
            while not any(kind == HEADERS and flags for kind, flags, *_ in frames(bytes(client.received))):
                assert await client.fill()
    await client.send(frame(PING, 0, 0, QUESTION))
    with trio.move_on_after(SECONDS):
        while True:
            said = outcome_of(bytes(client.received))
            heard = any(
                (kind, flags, payload) == (PING, ACK, QUESTION)
                for kind, flags, _, payload in frames(bytes(client.received))
            )
            if said in case.outcomes and (said != "ok" or heard):
                break
            if not await client.fill():
                break
    return outcome_of(bytes(client.received))


@pytest.mark.parametrize(("connect", "cases"), GROUPS)
async def test_a_listener_is_asked(connect: Connect, cases: list[Case]) -> None:
    wrong = []
    async with open_both() as plane:
        for case in cases:
            client = await connect(plane)
            start = len(client.received) - len(client.waiting)
            client.received = client.received[start:]
            outcome = await _what_comes_of(client, case)
            if outcome not in case.outcomes:
                wrong.append(f"{case}: {outcome}, not {sorted(case.outcomes)}")
            await client.aclose()
    assert not wrong


def test_each_listener_is_asked_at_least_120_cases() -> None:
    for _, table in TABLES.values():
        assert len(table) >= 120
