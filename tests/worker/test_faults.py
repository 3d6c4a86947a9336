"""Injected faults in a live worker: what stands on the wire, on the connection afterwards, and in the events."""

import time

import pytest

from proxyd.core import metrics
from proxyd.core.access import Rule
from proxyd.core.fault import Fault, FaultAnswer, FaultKind, FaultPlace
from proxyd.core.messages import SetFaults
from proxyd.core.resilience import BreakerPolicy, Resilience
from proxyd.core.service import Timeouts
from tests.lab.plane import open_origin, open_plane, service

HOST = "api.example"
URL = b"http://api.example/a"
ANSWER = FaultAnswer(503, (("content-type", "text/plain"),), "no")


def fault(kind=FaultKind.STATUS, name="f1", **changes):
    answer = ANSWER if kind is FaultKind.STATUS else None
    return Fault(name, kind, Rule(True, ("api",)), time.time() + 60, answer=answer, **changes)


async def inject(plane, *faults):
    """Have the worker know of these faults, and of no others."""
    await plane.send(SetFaults(list(faults)))
    assert await plane.ask("faults") == {one.id: 0 for one in faults}


async def test_the_connection_goes_on_after_an_injected_answer():
    async with open_origin() as origin, open_plane(services=(service("api", HOST, "http", origin.port),)) as plane:
        client = await plane.connect()
        await inject(plane, fault())
        answered = await client.get(URL)
        assert (answered.status, answered.body) == (503, b"no")
        assert not origin.requests
        await inject(plane)
        assert (await client.get(URL)).status == 200
        first, second = await plane.event(0), await plane.event(1)
        assert (first["flags"], first["origin"], first["attempts"]) == ("FI", "proxyd", 0)
        assert (second["flags"], second["origin"]) == ("", "upstream")
        counted = (metrics.FAULTS.name, "api", "status")
        await plane.wait_for(lambda: plane.counters.get(counted) == 1)


async def test_a_request_whose_body_is_on_its_way_is_answered_too():
    async with open_origin() as origin, open_plane(services=(service("api", HOST, "http", origin.port),)) as plane:
        await inject(plane, fault())
        client = await plane.connect()
        await client.send(b"POST %b HTTP/1.1\r\nHost: api.example\r\nContent-Length: 100000\r\n\r\nabc" % URL)
        assert (await client.reply()).status == 503
        assert await client.is_closed()


async def test_a_reset_closes_the_connection_without_an_answer():
    async with open_origin() as origin, open_plane(services=(service("api", HOST, "http", origin.port),)) as plane:
        await inject(plane, fault(FaultKind.RESET))
        client = await plane.connect()
        await client.send(b"GET %b HTTP/1.1\r\nHost: api.example\r\n\r\n" % URL)
        assert await client.is_closed()
        assert not client.waiting
        event = await plane.event()
        assert (event["status"], event["flags"], event["error"]) == (499, "FI", "connection_terminated")


@pytest.mark.parametrize("kind", [FaultKind.STATUS, FaultKind.RESET])
async def test_at_the_upstreams_side_a_retry_gets_around_it(kind):
    # of the draws of this seed the first is below the share, the second is not
    wanted = fault(kind, place=FaultPlace.UPSTREAM, share=0.5, seed=1)
    async with open_origin() as origin, open_plane(services=(service("api", HOST, "http", origin.port),)) as plane:
        await inject(plane, wanted)
        client = await plane.connect()
        assert (await client.get(URL)).status == 200
        event = await plane.event()
        assert (event["attempts"], event["flags"]) == (2, "FI")
        assert event["tries"].endswith("503" if kind is FaultKind.STATUS else "connection_terminated")
        assert len(origin.requests) == 1


async def test_at_the_upstreams_side_failures_open_the_breaker():
    patient = Resilience(breaker=BreakerPolicy(open_for=60.0))
    async with (
        open_origin() as origin,
        open_plane(services=(service("api", HOST, "http", origin.port, resilience=patient),)) as plane,
    ):
        await inject(plane, fault(place=FaultPlace.UPSTREAM))
        client = await plane.connect()
        for _ in range(3):
            assert (await client.get(URL)).status == 503
        events = [await plane.event(number) for number in range(3)]
        assert events[-1]["attempts"] == 0
        assert not origin.requests


async def test_at_the_upstreams_side_a_delay_is_a_timeout_of_the_attempt():
    quick = service("api", HOST, "http", 1, timeouts=Timeouts(first_byte=0.05))
    async with open_plane(services=(quick,)) as plane:
        await inject(plane, fault(FaultKind.DELAY, place=FaultPlace.UPSTREAM, seconds=60.0))
        client = await plane.connect()
        assert (await client.get(URL)).status == 504
        assert (await plane.event())["flags"] == "DI,UT"


async def test_only_the_service_that_is_named_is_concerned():
    async with open_origin() as origin:
        services = (
            service("api", HOST, "http", origin.port),
            service("other", "other.example", "http", origin.port),
        )
        async with open_plane(services=services) as plane:
            await inject(plane, fault())
            client = await plane.connect()
            assert (await client.get(b"http://other.example/a")).status == 200
            assert (await client.get(URL)).status == 503
