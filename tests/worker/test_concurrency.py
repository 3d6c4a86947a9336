"""Adaptive concurrency in a live worker."""

import dataclasses

import trio

from proxyd.core.resilience import AdaptiveConcurrency, Resilience
from proxyd.core.service import Service
from tests.lab.plane import Client, Origin, Reply, Wire, open_origin, open_plane, read_request, service

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
POLICY = AdaptiveConcurrency(min_limit=1)


def plain(port: int, policy: AdaptiveConcurrency | None = POLICY) -> tuple[Service, ...]:
    made = service("plain", "plain.example", "http", port, auth=False)
    return (dataclasses.replace(made, resilience=Resilience(adaptive_concurrency=policy)),)


async def ask(client: Client) -> Reply:
    await client.send(b"GET http://plain.example/ HTTP/1.1\r\nHost: plain.example\r\n\r\n")
    return await client.reply()


async def test_a_request_beyond_the_limit_is_503_with_retry_after_and_a_flag_of_its_own() -> None:
    opened = trio.Event()

    async def slow(origin: Origin, wire: Wire) -> None:
        while await read_request(origin, wire) is not None:
            await opened.wait()
            await wire.send(OK)

    async with open_origin(slow) as origin, open_plane(services=plain(origin.port)) as plane:
        first, second = [await plane.connect() for _ in range(2)]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask, first)
            await origin.saw(b"\r\n\r\n")
            refused = await ask(second)
            assert (refused.status, refused.first(b"retry-after")) == (503, b"1")
            assert b"adaptive_concurrency" in (refused.first(b"proxy-status") or b"")
            assert (await plane.event())["flags"] == "CL"
            opened.set()
        assert (await ask(second)).status == 200
        await plane.wait_for(lambda: plane.counters.get(("proxyd_overflows", "plain", "adaptive_concurrency")) == 1)


async def test_what_was_learned_is_kept_over_a_reload_and_shown_and_gone_with_the_policy() -> None:
    async with open_origin() as origin, open_plane(services=plain(origin.port)) as plane:
        client = await plane.connect()
        for _ in range(POLICY.min_rtt_requests):
            assert (await ask(client)).status == 200
        row = (await plane.ask("endpoints"))[0]
        assert row["concurrency_limit"] >= 1
        assert row["min_rtt_ms"] > 0
        await plane.apply(services=plain(origin.port))
        assert (await plane.ask("endpoints"))[0]["min_rtt_ms"] == row["min_rtt_ms"]
        await plane.apply(services=plain(origin.port, None))
        assert "concurrency_limit" not in (await plane.ask("endpoints"))[0]
        assert (await ask(client)).status == 200


async def test_a_service_without_the_policy_has_no_filter_for_it() -> None:
    async with open_origin() as origin, open_plane(services=plain(origin.port, None)) as plane:
        hooks = plane.worker.view.named["plain"].chain.steps
        assert not any("Concurrency" in type(hook.__self__).__name__ for hook, _ in hooks)  # type: ignore[attr-defined]
