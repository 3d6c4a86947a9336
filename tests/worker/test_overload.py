import trio
import trio.lowlevel
import trio.testing

from proxyd.core.limits import Overload
from proxyd.core.service import PriorityClass
from proxyd.worker.meter import Meter
from proxyd.worker.overload import INTERVAL, LagMeter, Shedder
from tests.lab.plane import Plane, Reply, open_origin, open_plane, service

PATIENT = Overload(lag=0.5, after=3600.0)
"""Steps are an hour apart: only the test's own measurements make any."""


def stalled(meter: LagMeter, late: float, seconds: float, now: float) -> tuple[list[int], float]:
    """Run a loop that is always ``late``; return the levels that it went through, and the time."""
    levels = [meter.level]
    ends = now + seconds
    while now < ends:
        now += INTERVAL + late
        if meter.observe(late, now):
            levels.append(meter.level)
    return levels, now


class TestLagMeter:
    def test_a_loop_that_keeps_up_refuses_nobody(self) -> None:
        assert stalled(LagMeter(Overload(), 0.0), 0.02, 60.0, 0.0)[0] == [0]

    def test_classes_are_refused_one_after_the_other_while_it_stays_late(self) -> None:
        meter = LagMeter(Overload(lag=0.5, after=1.0), 0.0)
        levels, _ = stalled(meter, 0.7, 30.0, 0.0)
        assert levels == [0, 1, 2, 3]

    def test_nothing_is_refused_before_its_time(self) -> None:
        meter = LagMeter(Overload(lag=0.5, after=5.0), 0.0)
        assert stalled(meter, 1.0, 4.0, 0.0)[0] == [0]

    def test_one_long_stall_is_forgotten(self) -> None:
        meter = LagMeter(Overload(), 0.0)
        meter.observe(60.0, 60.1)
        assert meter.lag <= 2.0
        assert stalled(meter, 0.001, 10.0, 60.1)[0] == [0]

    def test_classes_are_let_in_again_one_after_the_other(self) -> None:
        meter = LagMeter(Overload(), 0.0)
        _, now = stalled(meter, 0.7, 30.0, 0.0)
        assert stalled(meter, 0.001, 30.0, now)[0] == [3, 2, 1, 0]

    def test_between_half_of_the_bound_and_the_bound_all_stays_as_it_is(self) -> None:
        meter = LagMeter(Overload(), 0.0)
        _, now = stalled(meter, 0.7, 4.0, 0.0)
        level = meter.level
        assert 0 < level < 3
        assert stalled(meter, 0.35, 30.0, now)[0] == [level]

    def test_zero_switches_it_off_and_ends_what_is_refused(self) -> None:
        meter = LagMeter(Overload(), 0.0)
        _, now = stalled(meter, 0.7, 30.0, 0.0)
        meter.policy = Overload(lag=0.0)
        assert stalled(meter, 0.7, 30.0, now)[0] == [3, 2, 1, 0]


async def test_the_loop_measures_itself(autojump_clock: trio.testing.MockClock) -> None:
    told: list[str] = []
    shedder = Shedder(Meter(), lambda level, name, detail: told.append(f"{level} {name}"))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(shedder.run)
        await trio.sleep(10.0)
        assert shedder.level == 0
        for _ in range(10):
            autojump_clock.jump(INTERVAL + 0.7)  # somebody kept the loop for so long
            await trio.lowlevel.checkpoint()
            await trio.testing.wait_all_tasks_blocked()
        assert shedder.level > 0
        await trio.sleep(60.0)
        assert shedder.level == 0
        nursery.cancel_scope.cancel()
    assert told[0] == "warning overload"
    assert told[-1] == "info overload_over"


def late(plane: Plane, classes: int) -> None:
    """Have the plane's worker refuse so many classes."""
    shedder = plane.worker._shedder
    now = trio.current_time()
    while shedder.level < classes:
        now += PATIENT.after / 2
        shedder.observe(0.7, now)


async def ask(plane: Plane, host: bytes, body: bytes = b"") -> Reply:
    client = await plane.connect()
    await client.send(
        b"POST http://%b/ HTTP/1.1\r\nHost: %b\r\nContent-Length: %d\r\n\r\n" % (host, host, len(body)) + body
    )
    return await client.reply()


async def test_the_lowest_class_is_refused_first() -> None:
    async with open_origin() as origin:
        services = tuple(
            service(kind.value, f"{kind.value}.example", "http", origin.port, auth=False, priority_class=kind)
            for kind in PriorityClass
        )
        async with open_plane(services=services, overload=PATIENT) as plane:
            seen = []
            for classes in range(4):
                late(plane, classes)
                seen.append([(await ask(plane, b"%b.example" % name)).status for name in (b"low", b"normal", b"high")])
            assert seen == [[200, 200, 200], [503, 200, 200], [503, 503, 200], [503, 503, 503]]


async def test_a_refusal_says_why_and_is_counted_and_a_reload_keeps_it() -> None:
    async with open_origin() as origin:
        services = (service("plain", "plain.example", "http", origin.port, priority_class=PriorityClass.LOW),)
        async with open_plane(services=services, overload=PATIENT) as plane:
            late(plane, 1)
            await plane.apply()
            reply = await ask(plane, b"plain.example", b"x" * 100_000)
            assert (reply.status, reply.first(b"retry-after")) == (503, b"1")
            assert b"error=proxy_internal_response" in (reply.first(b"proxy-status") or b"")
            assert (await plane.event())["flags"] == "OM"
            await plane.wait_for(lambda: plane.counters.get(("proxyd_shed_requests", "plain", "low")) == 1)
            assert origin.requests == []
            await plane.apply(overload=Overload(lag=0.0, after=0.0))
            plane.worker._shedder.observe(0.0, trio.current_time())
            plane.worker._shedder.observe(0.0, trio.current_time())
            assert (await ask(plane, b"plain.example")).status == 200
