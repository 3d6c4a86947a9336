"""Attempts, timeouts, pools and upstream TLS, through a live worker."""

import dataclasses
import socket
import ssl
from collections.abc import Callable, Iterator

import pytest
import trio
import trustme

from proxyd.core.limits import Limits, PoolLimits
from proxyd.core.resilience import Balance, BreakerPolicy, HedgePolicy, Resilience, RetryPolicy, Thresholds
from proxyd.core.service import Endpoint, Service, Timeouts
from tests.lab.plane import (
    SECRET,
    Answer,
    Client,
    Origin,
    Plane,
    Reply,
    Wire,
    authority,
    open_origin,
    open_plane,
    parse_head,
    polite,
    read_request,
    scripted,
    server_context,
    service,
)

HOST = "api.tickets.example"
NAME = HOST.encode()
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


@pytest.fixture
def nobody() -> Iterator[int]:
    """A port that refuses connections, and that nobody else is given meanwhile."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield sock.getsockname()[1]


def plain(*ports: int, **changes: object) -> tuple[Service, ...]:
    return (dataclasses.replace(service("plain", "plain.example", "http", *ports), **changes),)  # type: ignore[arg-type]


def secure(port: int, **changes: object) -> tuple[Service, ...]:
    return (dataclasses.replace(service("tickets", HOST, "https", port), **changes),)  # type: ignore[arg-type]


def busy(seconds: bytes) -> bytes:
    return b"HTTP/1.1 503 Service Unavailable\r\nretry-after: %b\r\ncontent-length: 4\r\n\r\nbusy" % seconds


async def ask(client: Client, method: bytes = b"GET", body: bytes = b"", host: bytes = b"plain.example") -> Reply:
    length = b"Content-Length: %d\r\n" % len(body) if body else b""
    await client.send(b"%b http://%b/ HTTP/1.1\r\nHost: %b\r\n%b\r\n" % (method, host, host, length) + body)
    return await client.reply()


def dying(*deaths: int) -> Answer:
    """Connection n answers until its request number ``deaths[n]``, which it reads and then closes; later ones live."""

    async def answer(origin: Origin, wire: Wire) -> None:
        number = origin.wires.index(wire)
        last = deaths[number] if number < len(deaths) else 10**9
        served = 0
        while await read_request(origin, wire) is not None:
            served += 1
            if served == last:
                return
            await wire.send(OK)

    return answer


# --- stale connections and retries ----------------------------------------------------------------


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("method", [b"GET", b"POST"])
async def test_an_idle_connection_that_the_origin_closed_is_not_used(method: bytes, tls: bool) -> None:
    async def once(origin: Origin, wire: Wire) -> None:
        await read_request(origin, wire)
        await wire.send(OK)

    context = server_context(HOST) if tls else None
    async with open_origin(once, tls=context) as origin:
        services = secure(origin.port) if tls else plain(origin.port)
        host = NAME if tls else b"plain.example"
        async with open_plane(services=services) as plane:
            client = await plane.connect()
            assert (await ask(client, host=host)).status == 200
            await trio.sleep(0.05)  # the origin's FIN is there
            assert (await ask(client, method, b"body", host=host)).status == 200
            event = await plane.event(1)
            assert (event["attempts"], event["reused"]) == (1, False)
            assert len(origin.wires) == 2


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
async def test_a_response_that_nobody_asked_for_answers_no_later_request(tls: bool) -> None:
    late = trio.Event()

    async def twice(origin: Origin, wire: Wire) -> None:
        while await read_request(origin, wire) is not None:
            await wire.send(OK)
            if len(origin.requests) == 1:
                await trio.sleep(0.005)  # the connection is idle in its pool by then
                await wire.send(b"HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\npoisoned")
                late.set()

    async with open_origin(twice, tls=server_context(HOST) if tls else None) as origin:
        services = secure(origin.port) if tls else plain(origin.port)
        async with open_plane(services=services) as plane:
            client = await plane.connect()
            host = NAME if tls else b"plain.example"
            assert (await ask(client, host=host)).body == b"ok"
            await late.wait()
            assert [(await ask(client, host=host)).body for _ in range(3)] == [b"ok"] * 3


@pytest.mark.parametrize("method", [b"GET", b"PUT", b"DELETE"])
async def test_an_idempotent_request_on_a_connection_that_dies_is_tried_once_more(method: bytes) -> None:
    async with open_origin(dying(2)) as origin, open_plane(services=plain(origin.port)) as plane:
        client = await plane.connect()
        assert (await ask(client)).status == 200
        body = b"body" if method == b"PUT" else b""
        assert (await ask(client, method, body)).status == 200
        event = await plane.event(1)
        assert (event["attempts"], event["reused"], event["flags"]) == (2, False, "")
        assert [seen.method for seen in origin.requests] == [b"GET", method, method]
        assert origin.requests[2].body == body


async def test_a_post_that_was_handed_over_is_not_tried_again() -> None:
    async with open_origin(dying(2)) as origin, open_plane(services=plain(origin.port)) as plane:
        client = await plane.connect()
        assert (await ask(client)).status == 200
        assert (await ask(client, b"POST", b"body")).status == 502
        event = await plane.event(1)
        assert (event["attempts"], event["reused"], event["flags"]) == (1, True, "UC")
        assert [seen.method for seen in origin.requests] == [b"GET", b"POST"]


async def test_a_post_on_a_fresh_connection_that_dies_is_not_tried_again() -> None:
    async with open_origin(dying(1)) as origin, open_plane(services=plain(origin.port)) as plane:
        client = await plane.connect()
        assert (await ask(client, b"POST", b"order")).status == 502
        assert (await plane.event())["attempts"] == 1
        assert len(origin.requests) == 1
        assert (await ask(client)).status == 200, "the client's connection goes on"


async def test_a_get_on_a_fresh_connection_that_dies_is_tried_again() -> None:
    async with open_origin(dying(1)) as origin, open_plane(services=plain(origin.port)) as plane:
        reply = await ask(await plane.connect())
        assert reply.status == 200
        assert reply.first(b"proxy-status") == b'proxyd-lab; next-hop="127.0.0.1:%d"; error=connection_terminated' % (
            origin.port
        )
        assert (await plane.event())["attempts"] == 2


async def test_attempts_end_at_their_bound() -> None:
    async with open_origin(dying(*[1] * 9)) as origin:
        services = plain(origin.port, resilience=Resilience(retry=RetryPolicy(attempts=4, base=0.001)))
        async with open_plane(services=services) as plane:
            assert (await ask(await plane.connect())).status == 502
            assert (await plane.event())["attempts"] == 4
            assert len(origin.requests) == 4


@pytest.mark.parametrize(("method", "attempts"), [(b"GET", 2), (b"POST", 1)])
async def test_a_status_that_passes_over_is_tried_again_where_that_is_safe(method: bytes, attempts: int) -> None:
    async with open_origin(scripted(busy(b"0"), OK)) as origin, open_plane(services=plain(origin.port)) as plane:
        reply = await ask(await plane.connect(), method)
        assert reply.status == (200 if attempts == 2 else 503)
        assert (await plane.event())["attempts"] == attempts


async def test_a_retry_after_beyond_patience_goes_to_the_client() -> None:
    async with open_origin(scripted(busy(b"3600"), OK)) as origin, open_plane(services=plain(origin.port)) as plane:
        reply = await ask(await plane.connect())
        assert (reply.status, reply.first(b"retry-after")) == (503, b"3600")


async def test_attempts_of_a_post_carry_one_idempotency_key_where_the_vendor_takes_one() -> None:
    policy = Resilience(retry=RetryPolicy(key_header="idempotency-key", base=0.001))
    async with open_origin(scripted(busy(b"0"), OK)) as origin:
        async with open_plane(services=plain(origin.port, resilience=policy)) as plane:
            client = await plane.connect()
            assert [(await ask(client, b"POST", b"order")).status for _ in range(2)] == [200, 200]
            keys = [dict(seen.headers)[b"idempotency-key"] for seen in origin.requests]
            assert len(keys) == 3
            assert keys[0] == keys[1] != keys[2]


async def slow_then_quick(origin: Origin, wire: Wire) -> None:
    """The first connection is deaf, later ones answer."""
    while await read_request(origin, wire) is not None:
        if wire is origin.wires[0]:
            await trio.sleep_forever()
        await wire.send(OK)


def hedged(**changes: float) -> Resilience:
    return Resilience(hedge=HedgePolicy(quantile=0.0, seconds=0.05, **({"budget": 1.0} | changes)))


async def test_a_slow_attempt_is_overtaken_by_a_second_one() -> None:
    async with open_origin(slow_then_quick) as origin:
        async with open_plane(services=plain(origin.port, resilience=hedged())) as plane:
            reply = await ask(await plane.connect())
            assert reply.status == 200
            event = await plane.event()
            assert (event["attempts"], event["tries"]) == (2, f"127.0.0.1:{origin.port} hedged")
            assert len(origin.wires) == 2


async def test_a_quick_attempt_stays_alone() -> None:
    async with open_origin() as origin, open_plane(services=plain(origin.port, resilience=hedged())) as plane:
        client = await plane.connect()
        assert [(await ask(client)).status for _ in range(5)] == [200] * 5
        assert len(origin.requests) == 5


@pytest.mark.parametrize(("method", "budget"), [(b"POST", 1.0), (b"GET", 0.0)])
async def test_no_hedge_where_it_is_not_safe_or_not_in_the_budget(method: bytes, budget: float) -> None:
    async with open_origin(slow_then_quick) as origin:
        services = plain(
            origin.port, resilience=dataclasses.replace(hedged(budget=budget)), timeouts=Timeouts(first_byte=0.2)
        )
        async with open_plane(services=services) as plane:
            assert (await ask(await plane.connect(), method)).status == 504
            assert len(origin.wires) == 1


async def test_a_hedge_that_fails_leaves_the_first_attempt_its_time() -> None:
    async def first_slow(origin: Origin, wire: Wire) -> None:
        await read_request(origin, wire)
        if wire is origin.wires[0]:
            await trio.sleep(0.3)
            await wire.send(OK)

    async with open_origin(first_slow) as origin:
        async with open_plane(services=plain(origin.port, resilience=hedged())) as plane:
            assert (await ask(await plane.connect())).status == 200


async def test_a_body_that_streams_from_the_second_attempt_arrives_whole() -> None:
    async def long(origin: Origin, wire: Wire) -> None:
        await read_request(origin, wire)
        if wire is origin.wires[0]:
            await trio.sleep_forever()
        await wire.send(b"HTTP/1.1 200 OK\r\ncontent-length: 300000\r\n\r\n")
        for _ in range(3):
            await trio.sleep(0.01)
            await wire.send(b"x" * 100_000)

    async with open_origin(long) as origin:
        async with open_plane(services=plain(origin.port, resilience=hedged())) as plane:
            assert len((await ask(await plane.connect())).body) == 300_000


async def test_a_client_that_leaves_ends_both_attempts() -> None:
    async def deaf(origin: Origin, wire: Wire) -> None:
        await read_request(origin, wire)
        assert await wire.stream.receive_some(1) == b""

    async with open_origin(deaf) as origin:
        async with open_plane(services=plain(origin.port, resilience=hedged())) as plane:
            client = await plane.connect()
            await client.send(b"GET http://plain.example/ HTTP/1.1\r\nHost: plain.example\r\n\r\n")
            await plane.wait_for(lambda: len(origin.requests) == 2)
            await client.stream.aclose()
            assert (await plane.event())["status"] == 499


async def test_a_head_that_comes_slowly_takes_nothing_from_the_time_of_the_upstream() -> None:
    async with open_origin(scripted(OK, OK)) as origin:
        services = plain(origin.port, timeouts=Timeouts(first_byte=0.2, per_try=0.2))
        async with open_plane(services=services) as plane:
            client = await plane.connect()
            assert (await ask(client)).status == 200
            await client.send(b"GET http://plain.example/ HTTP/1.1\r\n")
            await trio.sleep(0.3)
            await client.send(b"Host: plain.example\r\n\r\n")
            assert (await client.reply()).status == 200


async def test_retries_stay_within_their_budget() -> None:
    policy = Resilience(retry=RetryPolicy(ratio=0.0, min_per_second=0.2, base=0.001), breaker=None)
    async with (
        open_origin(dying(*[1] * 20)) as origin,
        open_plane(services=plain(origin.port, resilience=policy)) as plane,
    ):
        client = await plane.connect()
        for _ in range(5):
            assert (await ask(client)).status == 502
        assert len(origin.requests) == 5 + 2


async def test_the_failure_that_opens_the_breaker_reaches_the_client_and_spends_no_retry() -> None:
    policy = Resilience(breaker=BreakerPolicy(consecutive_failures=1, open_for=60.0))
    async with (
        open_origin(scripted(b"HTTP/1.1 503 Busy\r\ncontent-length: 4\r\n\r\nbusy")) as origin,
        open_plane(services=plain(origin.port, resilience=policy)) as plane,
    ):
        reply = await ask(await plane.connect())
        assert (reply.status, reply.body) == (503, b"busy")
        assert (await plane.event())["attempts"] == 1


async def test_an_open_breaker_answers_at_once_and_closes_by_a_probe() -> None:
    policy = Resilience(retry=RetryPolicy(attempts=1), breaker=BreakerPolicy(consecutive_failures=2, open_for=0.05))
    async with open_origin(dying(1, 1)) as origin, open_plane(services=plain(origin.port, resilience=policy)) as plane:
        client = await plane.connect()
        assert [(await ask(client)).status for _ in range(2)] == [502, 502]
        refused = await ask(client)
        assert (refused.status, len(origin.requests)) == (503, 2)
        assert b"destination_unavailable" in (refused.first(b"proxy-status") or b"")
        await trio.sleep(0.06)
        assert (await ask(client)).status == 200
        assert (await ask(client)).status == 200


async def test_a_lower_priority_carries_what_a_higher_one_cannot(nobody: int) -> None:
    async with open_origin() as origin:
        endpoints = (Endpoint("127.0.0.1", nobody), Endpoint("127.0.0.1", origin.port, priority=1))
        policy = Resilience(retry=RetryPolicy(base=0.001))
        async with open_plane(services=plain(endpoints=endpoints, resilience=policy)) as plane:
            client = await plane.connect()
            for _ in range(4):
                assert (await ask(client)).status == 200


async def test_per_try_ends_an_attempt_and_the_next_one_may_do_better() -> None:
    slow = True

    async def once_deaf(origin: Origin, wire: Wire) -> None:
        nonlocal slow
        while await read_request(origin, wire) is not None:
            if slow:
                slow = False
                await trio.sleep_forever()
            await wire.send(OK)

    policy = Resilience(retry=RetryPolicy(on=("timeout",), base=0.001))
    async with open_origin(once_deaf) as origin:
        services = plain(origin.port, timeouts=Timeouts(per_try=0.1), resilience=policy)
        async with open_plane(services=services) as plane:
            assert (await ask(await plane.connect())).status == 200
            assert (await plane.event())["attempts"] == 2


@pytest.mark.parametrize(("method", "status", "attempts"), [(b"GET", 200, 2), (b"POST", 504, 1)])
async def test_what_hangs_at_one_endpoint_is_asked_of_another_by_default(
    method: bytes, status: int, attempts: int
) -> None:
    async def hangs(origin: Origin, wire: Wire) -> None:
        await read_request(origin, wire)
        await trio.sleep_forever()

    turns = Resilience(balance=Balance.ROUND_ROBIN)
    async with open_origin(hangs) as first, open_origin() as second:
        services = plain(first.port, second.port, timeouts=Timeouts(per_try=0.1), resilience=turns)
        async with open_plane(services=services) as plane:
            client = await plane.connect()
            replies = []
            while not first.requests:
                replies.append(await ask(client, method))
            assert replies[-1].status == status
            assert (await plane.event(len(replies) - 1))["attempts"] == attempts


async def test_a_body_that_streams_is_never_sent_twice() -> None:
    async with open_origin(dying(2)) as origin, open_plane(services=plain(origin.port)) as plane:
        client = await plane.connect()
        assert (await ask(client)).status == 200
        assert (await ask(client, b"PUT", b"x" * 300_000)).status == 502
        assert (await plane.event(1))["attempts"] == 1
        assert len(origin.requests) == 2


async def test_a_connection_that_got_bytes_unasked_is_not_used() -> None:
    async def timeout_words(origin: Origin, wire: Wire) -> None:
        await read_request(origin, wire)
        await wire.send(OK)
        await trio.sleep(0.03)
        await wire.send(b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\n\r\n")
        await wire.rest()

    for context in (None, server_context(HOST)):
        async with open_origin(timeout_words, tls=context) as origin:
            services = secure(origin.port) if context else plain(origin.port)
            async with open_plane(services=services) as plane:
                client = await plane.connect()
                for _ in range(2):
                    assert (await ask(client, host=NAME if context else b"plain.example")).status == 200
                    await trio.sleep(0.08)
                assert len(origin.wires) == 2


# --- endpoints ------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 4, 300_000])
async def test_an_endpoint_that_refuses_is_passed_over_whatever_the_method(size: int, nobody: int) -> None:
    turns = Resilience(balance=Balance.ROUND_ROBIN)
    async with open_origin() as origin, open_plane(services=plain(nobody, origin.port, resilience=turns)) as plane:
        client = await plane.connect()
        for _ in range(2):
            assert (await ask(client, b"POST", b"x" * size)).status == 200
        assert [len(seen.body) for seen in origin.requests] == [size, size]
        assert sorted([(await plane.event(n))["attempts"] for n in range(2)]) == [1, 2]


async def test_endpoints_take_turns() -> None:
    turns = Resilience(balance=Balance.ROUND_ROBIN)
    async with open_origin() as one, open_origin() as two:
        async with open_plane(services=plain(one.port, two.port, resilience=turns)) as plane:
            client = await plane.connect()
            for _ in range(6):
                assert (await ask(client)).status == 200
            assert (len(one.requests), len(two.requests)) == (3, 3)


async def test_an_origin_that_is_not_there_is_502(nobody: int) -> None:
    async with open_plane(services=plain(nobody)) as plane:
        client = await plane.connect()
        reply = await ask(client)
        assert reply.status == 502
        assert b"error=connection_refused" in (reply.first(b"proxy-status") or b"")
        event = await plane.event()
        assert (event["flags"], event["attempts"]) == ("UF", 3)


# --- timeouts -------------------------------------------------------------------------------------


@pytest.fixture
def deaf() -> Iterator[int]:
    """A port whose connections are never completed: its queue is full."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        fillers = []
        for _ in range(4):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
            fillers.append(filler)
        yield listener.getsockname()[1]
        for filler in fillers:
            filler.close()


async def silent(origin: Origin, wire: Wire) -> None:
    await wire.rest()


async def outcome(plane: Plane, number: int = 0) -> tuple[int, str, str]:
    event = await plane.event(number)
    return event["status"], event["flags"], event["error"]


async def test_connect_is_bounded(deaf: int) -> None:
    async with open_plane(services=plain(deaf, timeouts=Timeouts(connect=0.3))) as plane:
        client = await plane.connect()
        assert (await ask(client)).status == 504
        assert await outcome(plane) == (504, "UF", "connection_timeout")


async def test_a_client_that_leaves_ends_the_dial(deaf: int) -> None:
    async with open_plane(services=plain(deaf)) as plane:
        client = await plane.connect()
        await client.send(b"GET http://plain.example/ HTTP/1.1\r\nHost: plain.example\r\n\r\n")
        tunnel = await plane.connect()
        await tunnel.send(b"CONNECT 127.0.0.1:%d HTTP/1.1\r\nHost: x\r\n\r\n" % deaf)
        await trio.sleep(0.1)
        await client.finish_writing()
        await tunnel.finish_writing()
        assert await client.is_closed()
        assert await tunnel.is_closed()
        assert {(await plane.event(n))["status"] for n in range(2)} == {499}


@pytest.mark.parametrize("seconds", [0.3, 1.1], ids=["exact", "by the reaper"])
async def test_the_first_byte_is_bounded(seconds: float) -> None:
    timeouts = Timeouts(first_byte=seconds)
    async with open_origin(silent) as origin, open_plane(services=plain(origin.port, timeouts=timeouts)) as plane:
        client = await plane.connect()
        assert (await ask(client)).status == 504
        assert await outcome(plane) == (504, "UT", "http_response_timeout")
        with trio.fail_after(1):
            await origin.wires[0].ended.wait()
        assert (await plane.event())["attempts"] == 1


@pytest.mark.parametrize("timeouts", [Timeouts(first_byte=0.3), Timeouts(idle=0.3)], ids=["first_byte", "idle"])
async def test_a_request_that_moves_is_neither_idle_nor_waiting_for_its_answer(timeouts: Timeouts) -> None:
    async with open_origin() as origin, open_plane(services=plain(origin.port, timeouts=timeouts)) as plane:
        client = await plane.connect()
        await client.send(b"POST http://plain.example/ HTTP/1.1\r\nHost: plain.example\r\nContent-Length: 8\r\n\r\n")
        for _ in range(4):
            await trio.sleep(0.2)
            await client.send(b"ab")
        assert (await client.reply()).status == 200


async def test_total_bounds_a_silent_origin() -> None:
    timeouts = Timeouts(total=0.3)
    async with open_origin(silent) as origin, open_plane(services=plain(origin.port, timeouts=timeouts)) as plane:
        client = await plane.connect()
        assert (await ask(client)).status == 504
        assert await outcome(plane) == (504, "UMSDR", "http_response_timeout")


async def drip(origin: Origin, wire: Wire) -> None:
    await wire.head()
    await wire.send(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n")
    while True:
        await wire.stream.send_all(b"x")
        await trio.sleep(0.05)


async def test_total_bounds_a_body_that_drips() -> None:
    timeouts = Timeouts(total=0.5)
    async with open_origin(drip) as origin, open_plane(services=plain(origin.port, timeouts=timeouts)) as plane:
        client = await plane.connect()
        await client.send(b"GET http://plain.example/ HTTP/1.1\r\nHost: plain.example\r\n\r\n")
        assert parse_head(await client.head()).status == 200
        await client.rest()
        assert client.was_reset, "it must not look like the end"
        assert await outcome(plane) == (200, "UMSDR", "http_response_timeout")


async def test_idle_bounds_a_body_that_stops() -> None:
    async def stop(origin: Origin, wire: Wire) -> None:
        await wire.head()
        await wire.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n")
        await wire.rest()

    timeouts = Timeouts(idle=0.3)
    async with open_origin(stop) as origin, open_plane(services=plain(origin.port, timeouts=timeouts)) as plane:
        client = await plane.connect()
        await client.send(b"GET http://plain.example/ HTTP/1.1\r\nHost: plain.example\r\n\r\n")
        await client.until(b"1\r\na\r\n")
        await client.rest()
        assert client.was_reset
        assert await outcome(plane) == (200, "SI", "connection_read_timeout")


async def test_a_client_that_takes_nothing_is_cut() -> None:
    async def flood(origin: Origin, wire: Wire) -> None:
        await wire.head()
        await wire.send(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n")
        while True:
            await wire.stream.send_all(bytes(60_000))

    limits = Limits(idle_timeout=0.4)
    async with open_origin(flood) as origin, open_plane(services=plain(origin.port), limits=limits) as plane:
        client = await plane.connect()
        await client.send(b"GET http://plain.example/ HTTP/1.1\r\nHost: plain.example\r\n\r\n")
        with trio.fail_after(3):
            await plane.event()
            await origin.wires[0].ended.wait()
        assert (await plane.event())["response_bytes"] < 50_000_000


# --- pools ----------------------------------------------------------------------------------------


async def line_of(plane: Plane, count: int) -> None:
    """Wait until so many exchanges wait for a connection."""
    with trio.fail_after(5):
        while sum(pool["waiting"] for pool in await plane.ask("pools")) < count:
            pass


class Gate:
    """An origin that answers when told to, and counts what is open at once."""

    def __init__(self) -> None:
        self.open = trio.Event()
        self.now = self.most = 0

    async def __call__(self, origin: Origin, wire: Wire) -> None:
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            while await read_request(origin, wire) is not None:
                await self.open.wait()
                await wire.send(OK)
        finally:
            self.now -= 1


async def test_a_pool_never_has_more_connections_than_its_bound_and_serves_all() -> None:
    gate = Gate()
    async with open_origin(gate) as origin:
        async with open_plane(services=plain(origin.port, pool=PoolLimits(connections=2))) as plane:
            clients = [await plane.connect() for _ in range(6)]
            replies = []

            async def one(client: Client) -> None:
                replies.append((await ask(client)).status)

            async with trio.open_nursery() as nursery:
                for client in clients:
                    nursery.start_soon(one, client)
                await line_of(plane, 4)
                gate.open.set()
            assert replies == [200] * 6
            assert gate.most == 2
            [pool] = await plane.ask("pools")
            assert (pool["open"], pool["idle"], pool["waiting"], pool["limit"]) == (2, 2, 0, 2)


async def test_a_full_line_is_503_and_so_is_waiting_too_long() -> None:
    gate = Gate()
    async with open_origin(gate) as origin:
        services = plain(origin.port, pool=PoolLimits(connections=1, pending=1), timeouts=Timeouts(connect=0.6))
        async with open_plane(services=services) as plane:
            first, second, third = [await plane.connect() for _ in range(3)]
            async with trio.open_nursery() as nursery:
                nursery.start_soon(ask, first)
                await origin.saw(b"\r\n\r\n")

                async def waits() -> None:
                    assert (await ask(second)).status == 503

                nursery.start_soon(waits)
                await line_of(plane, 1)
                refused = await ask(third)
                assert refused.status == 503
                assert refused.first(b"retry-after") == b"1"
                while len(plane.events) < 2:
                    await plane.event(1)
                gate.open.set()
            assert [event["flags"] for event in plane.events[:2]] == ["UO", "UO"]
            assert len(origin.requests) == 1


async def test_a_waiter_whose_client_leaves_gives_its_place_on() -> None:
    gate = Gate()
    async with open_origin(gate) as origin:
        async with open_plane(services=plain(origin.port, pool=PoolLimits(connections=1))) as plane:
            first, second, third = [await plane.connect() for _ in range(3)]
            async with trio.open_nursery() as nursery:
                nursery.start_soon(ask, first)
                await origin.saw(b"\r\n\r\n")
                await second.send(b"GET http://plain.example/ HTTP/1.1\r\nHost: plain.example\r\n\r\n")
                await line_of(plane, 1)
                nursery.start_soon(ask, third)
                await line_of(plane, 2)
                await second.aclose()
                assert (await plane.event())["status"] == 499
                gate.open.set()
            assert len(origin.requests) == 2
            [pool] = await plane.ask("pools")
            assert (pool["open"], pool["idle"]) == (1, 1)


@pytest.mark.parametrize("bound", [PoolLimits(requests=1), PoolLimits(age=0.0), PoolLimits(idle=0.0)])
async def test_a_connection_beyond_its_bounds_takes_no_other_request(bound: PoolLimits) -> None:
    async with open_origin() as origin, open_plane(services=plain(origin.port, pool=bound)) as plane:
        client = await plane.connect()
        for _ in range(3):
            assert (await ask(client)).status == 200
        assert len(origin.wires) == 3


async def test_idle_connections_are_closed_in_time() -> None:
    async with open_origin() as origin:
        async with open_plane(services=plain(origin.port, pool=PoolLimits(idle=0.2))) as plane:
            client = await plane.connect()
            assert (await ask(client)).status == 200
            with trio.fail_after(3):
                await origin.wires[0].ended.wait()
            assert await plane.ask("pools") == [] or (await plane.ask("pools"))[0]["open"] == 0


async def test_other_roots_mean_other_connections() -> None:
    async with open_origin(tls=server_context(HOST)) as origin, open_plane(services=secure(origin.port)) as plane:
        client = await plane.connect()
        assert (await ask(client, host=NAME)).status == 200
        await plane.apply(extra_roots_pem=trustme.CA().cert_pem.bytes())
        assert (await ask(client, host=NAME)).status == 502
        assert (await plane.event(1))["error"] == "tls_certificate_error"


# --- upstream TLS ---------------------------------------------------------------------------------


def foreign() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert(HOST).configure_cert(context)
    return context


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (foreign, "tls_certificate_error"),
        (lambda: server_context("other.tickets.example"), "tls_certificate_error"),
        (lambda: server_context("*.api.tickets.example", "tickets.example"), "tls_certificate_error"),
    ],
    ids=["unknown authority", "another name", "near miss"],
)
async def test_a_certificate_that_does_not_fit_gets_no_secret(make: Callable[[], ssl.SSLContext], error: str) -> None:
    async with open_origin(tls=make()) as origin, open_plane(services=secure(origin.port)) as plane:
        client = await plane.connect()
        reply = await ask(client, host=NAME)
        assert reply.status == 502
        assert b"error=" + error.encode() in (reply.first(b"proxy-status") or b"")
        event = await plane.event()
        assert (event["flags"], event["attempts"]) == ("UF", 1)
        assert origin.requests == []
        assert SECRET not in origin.received


async def test_an_origin_that_speaks_no_tls_gets_no_secret() -> None:
    async def banner(origin: Origin, wire: Wire) -> None:
        await wire.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await wire.rest()

    async with open_origin(banner) as origin, open_plane(services=secure(origin.port)) as plane:
        client = await plane.connect()
        assert (await ask(client, host=NAME)).status == 502
        assert (await plane.event())["error"] == "tls_protocol_error"
        assert SECRET not in origin.received


async def test_a_wildcard_certificate_covers_one_label() -> None:
    async with open_origin(tls=server_context("*.tickets.example")) as origin:
        async with open_plane(services=secure(origin.port)) as plane:
            assert (await ask(await plane.connect(), host=NAME)).status == 200


@pytest.mark.parametrize(("polite_end", "whole"), [(True, True), (False, False)], ids=["close_notify", "bare FIN"])
async def test_a_close_delimited_body_over_tls_ends_with_close_notify_alone(polite_end: bool, whole: bool) -> None:
    async def until_close(origin: Origin, wire: Wire) -> None:
        await wire.head()
        await wire.send(b"HTTP/1.1 200 OK\r\n\r\nhello")
        stream = wire.stream
        assert isinstance(stream, trio.SSLStream)
        if polite_end:
            await stream.aclose()
        else:
            assert isinstance(stream.transport_stream, trio.SocketStream)
            await stream.transport_stream.send_eof()
            await wire.rest()

    async with open_origin(until_close, tls=server_context(HOST)) as origin:
        async with open_plane(services=secure(origin.port)) as plane:
            client = await plane.connect()
            await client.send(b"GET http://%b/ HTTP/1.0\r\nHost: %b\r\n\r\n" % (NAME, NAME))
            raw = await client.rest()
            assert raw.endswith(b"hello")
            assert client.was_reset is not whole


async def test_tls_sessions_are_resumed() -> None:
    reused = []

    async def note(origin: Origin, wire: Wire) -> None:
        assert isinstance(wire.stream, trio.SSLStream)
        reused.append(wire.stream._ssl_object.session_reused)  # type: ignore[attr-defined]
        await polite(origin, wire)

    async with open_origin(note, tls=server_context(HOST)) as origin:
        async with open_plane(services=secure(origin.port, pool=PoolLimits(requests=1))) as plane:
            client = await plane.connect()
            for _ in range(3):
                assert (await ask(client, host=NAME)).status == 200
            assert reused == [False, True, True]


async def test_sni_and_alpn_are_sent() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority().issue_cert(HOST).configure_cert(context)
    context.set_alpn_protocols(["h2", "http/1.1"])
    names = []
    context.sni_callback = lambda _, name, __: names.append(name)

    async def note(origin: Origin, wire: Wire) -> None:
        assert isinstance(wire.stream, trio.SSLStream)
        assert wire.stream.selected_alpn_protocol() == "http/1.1"
        await polite(origin, wire)

    async with open_origin(note, tls=context) as origin, open_plane(services=secure(origin.port)) as plane:
        assert (await ask(await plane.connect(), host=NAME)).status == 200
        assert names == [HOST]


async def test_an_endpoint_may_be_a_name() -> None:
    async with open_origin() as origin:
        services = plain(origin.port, endpoints=(Endpoint("localhost", origin.port),))
        async with open_plane(services=services) as plane:
            assert (await ask(await plane.connect())).status == 200


async def test_an_exchange_whose_endpoint_leaves_the_list_is_tried_again_at_the_new_one() -> None:
    planes: list[Plane] = []

    async def leave(origin: Origin, wire: Wire) -> None:
        await read_request(origin, wire)
        await planes[0].apply(services=plain(new.port, source="dns x"))

    async with open_origin(leave) as old, open_origin() as new:
        async with open_plane(services=plain(old.port, source="dns x")) as plane:
            planes.append(plane)
            assert (await ask(await plane.connect())).status == 200
            assert len(old.wires) == len(new.wires) == 1


async def test_a_request_beyond_the_threshold_is_503_until_another_one_is_over() -> None:
    gate = Gate()
    async with open_origin(gate) as origin:
        services = plain(origin.port, resilience=Resilience(thresholds=Thresholds(requests=1)))
        async with open_plane(services=services) as plane:
            first, second = [await plane.connect() for _ in range(2)]
            async with trio.open_nursery() as nursery:
                nursery.start_soon(ask, first)
                await origin.saw(b"\r\n\r\n")
                refused = await ask(second)
                assert refused.status == 503
                assert b"error=connection_limit_reached" in (refused.first(b"proxy-status") or b"")
                assert (await plane.event())["flags"] == "UO"
                gate.open.set()
            assert (await ask(second)).status == 200
            await plane.wait_for(lambda: plane.counters.get(("proxyd_overflows", "plain", "max_requests")) == 1)


async def test_a_client_that_leaves_gives_its_place_back() -> None:
    gate = Gate()
    async with open_origin(gate) as origin:
        services = plain(origin.port, resilience=Resilience(thresholds=Thresholds(requests=1)))
        async with open_plane(services=services) as plane:
            first, second = [await plane.connect() for _ in range(2)]
            await first.send(b"GET http://plain.example/ HTTP/1.1\r\nHost: plain.example\r\n\r\n")
            await origin.saw(b"\r\n\r\n")
            await first.aclose()
            assert (await plane.event())["status"] == 499
            gate.open.set()
            assert (await ask(second)).status == 200


async def test_no_further_attempt_begins_beyond_the_threshold_of_retries() -> None:
    async with open_origin(scripted(busy(b"0"), OK)) as origin:
        services = plain(origin.port, resilience=Resilience(thresholds=Thresholds(retries=0)))
        async with open_plane(services=services) as plane:
            client = await plane.connect()
            assert (await ask(client)).status == 503
            assert (await plane.event())["attempts"] == 1
            assert (await ask(client)).status == 200


async def test_an_endpoint_that_leaves_is_let_go_of_at_once() -> None:
    async with open_origin() as leaving, open_origin() as staying:
        async with open_plane(services=plain(leaving.port)) as plane:
            client = await plane.connect()
            assert (await ask(client)).status == 200
            await plane.apply(services=plain(staying.port))
            with trio.fail_after(5):
                await leaving.wires[0].ended.wait()
            assert (await ask(client)).status == 200
            assert len(staying.requests) == 1
