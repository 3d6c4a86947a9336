"""Sinks at work: fed, reopened, replaced, and kept from hurting anybody."""

import threading
from dataclasses import dataclass, replace
from functools import partial

import pytest
import trio
import trio.testing

from proxyd.control import runner as module
from proxyd.control.runner import Services
from proxyd.control.sinks import SinkError, Sinks
from proxyd.core import metrics
from proxyd.core.metrics import Kind, Metric
from proxyd.core.settings import AccessLog, SinkSettings
from proxyd.sdk import NOTICE, SecretName, Sink
from proxyd.sdk.testing import access, batch, notice
from proxyd.telemetry.aggregate import Aggregate
from proxyd.telemetry.cells import Cells
from proxyd.telemetry.families import Families
from proxyd.telemetry.log import Log
from tests.control.fakes import settings

BAD = threading.Event()
"""Set: Moody fails."""
HELD = threading.Event()
"""Set: Blocking goes on."""


class Remembers(Sink):
    """Keeps what it was told; one list for all that were made in a test."""

    told = []  # noqa: RUF012

    async def open(self):
        self.told.append("open")

    async def events(self, batch):
        self.told.append([record.id for record in batch])

    async def reopen(self):
        self.told.append("reopen")

    async def flush(self):
        self.told.append("flush")

    async def aclose(self):
        self.told.append("close")


class Notices(Remembers):
    schemas = frozenset({NOTICE})

    async def events(self, batch):
        self.told.append([record.name for record in batch])


class Moody(Remembers):
    async def events(self, batch):
        if BAD.is_set():
            raise RuntimeError("a bad \x1b day")
        await super().events(batch)


class Exits(Sink):
    async def events(self, batch):
        raise SystemExit(1)


class Blocking(Sink):
    async def events(self, batch):
        HELD.wait(30)


class Sleeping(Sink):
    async def events(self, batch):
        await trio.sleep_forever()


class Restless(Remembers):
    async def run(self):
        raise OSError(5, "Input/output error", "/dev/tape")


@dataclass(frozen=True)
class Options:
    key: SecretName


class Asks(Sink):
    options_type = Options
    told = []  # noqa: RUF012

    async def open(self):
        self.told.append(self.host.secret(self.options.key))
        with pytest.raises(KeyError):
            self.host.secret("other")
        self.host.cell(Metric("asks_opened", Kind.COUNTER, "Opened.")).value += 1
        self.told.append({family.metric.name: family.samples for family in await self.host.metrics()})
        self.host.problem("the tape is full")

    async def events(self, batch):
        return


def sink(kind, name="", **options):
    return SinkSettings(name or kind.__name__.lower(), f"{__name__}:{kind.__name__}", options, 7)


class Lab:
    def __init__(self, nursery, log, tmp_path):
        self.cells = Cells()
        families = Families(Aggregate(), self.cells, tuple)
        secret = {"key": b"hunter2"}.get
        self.sinks = Sinks(
            Services(Log("control", descriptor=log, human=False), self.cells, families, tmp_path, secret)
        )
        nursery.start_soon(self.sinks.run)

    async def use(self, *sinks, **options):
        self.sinks.commit(await self.sinks.prepare(settings(sinks=sinks, **options)))

    def put(self, *ids):
        self.sinks.put(batch(*(access(id=one) for one in ids)))

    def lost(self, name, why):
        return self.cells.cell(metrics.SINK_LOST, name, why).value

    async def until(self, condition):
        with trio.fail_after(20):
            while not condition():  # noqa: ASYNC110 - other threads change it
                await trio.sleep(0.005)


@pytest.fixture
def told():
    for kind in (Remembers, Asks):
        kind.told.clear()
    BAD.clear()
    HELD.clear()
    yield Remembers.told
    HELD.set()


@pytest.fixture
async def lab(told, log_file, tmp_path):
    async with trio.open_nursery() as nursery:
        yield Lab(nursery, log_file, tmp_path)
        nursery.cancel_scope.cancel()


async def test_a_sink_is_opened_fed_in_order_and_closed(lab, told):
    await lab.use(sink(Remembers))
    lab.put("1", "2")
    lab.put("3")
    await lab.until(lambda: ["3"] in told)
    await lab.use()
    await lab.until(lambda: "close" in told)
    assert told == ["open", ["1", "2"], ["3"], "flush", "close"]
    lab.put("4")
    assert lab.sinks.names == []


async def test_a_sink_gets_the_schemas_that_it_wants(lab, told):
    await lab.use(sink(Notices))
    lab.put("1")
    lab.sinks.put(batch(access(), notice(name="seen")))
    await lab.until(lambda: len(told) == 2)
    assert told == ["open", ["seen"]]


async def test_what_did_not_change_goes_on_and_is_opened_again(lab, told):
    await lab.use(sink(Remembers))
    lab.put("1")
    await lab.use(replace(sink(Remembers), line=99))
    lab.put("2")
    await lab.until(lambda: ["2"] in told)
    assert told.count("open") == 1
    assert "reopen" in told
    await lab.use(replace(sink(Remembers), name="renamed"))
    lab.put("3")
    await lab.until(lambda: ["3"] in told and "close" in told)
    assert told.count("open") == 2


async def test_what_waits_is_handed_over_at_the_end(told, log_file, tmp_path):
    async with trio.open_nursery() as nursery:
        lab = Lab(nursery, log_file, tmp_path)
        await lab.use(sink(Remembers), access_log=AccessLog(str(tmp_path / "log")))
        await trio.testing.wait_all_tasks_blocked()
        lab.put("last")
        nursery.cancel_scope.cancel()
    assert told[-3:] == [["last"], "flush", "close"]
    assert b'"last"' in (tmp_path / "log").read_bytes()


async def test_a_sink_that_raises_is_made_anew_and_told_of_until_it_works(lab, told, monkeypatch):
    monkeypatch.setattr(module, "FIRST_DELAY", 0.01)
    await lab.use(sink(Moody), sink(Notices))
    BAD.set()
    lab.put("1", "2")
    await lab.until(lambda: lab.sinks.problems)
    assert lab.sinks.problems == ["sink moody: RuntimeError: a bad \\x1b day"]
    assert lab.lost("moody", "failed") == 2
    BAD.clear()
    lab.put("3")
    await lab.until(lambda: ["3"] in told)
    await lab.until(lambda: not lab.sinks.problems)
    assert lab.cells.cell(metrics.SINK_FAILURES, "moody").value == 1
    lab.sinks.put(batch(notice(name="neighbour")))
    await lab.until(lambda: ["neighbour"] in told)


@pytest.mark.parametrize(
    ("kind", "words"),
    [(Exits, "sink exits: SystemExit: 1"), (Restless, "sink restless: /dev/tape: Input/output error")],
)
async def test_no_way_to_fail_ends_anything_else(lab, told, kind, words):
    await lab.use(sink(kind), sink(Remembers))
    lab.put("1")
    await lab.until(lambda: lab.sinks.problems == [words] and ["1"] in told)


async def test_a_sink_that_blocks_delays_nobody_and_its_queue_is_bounded(lab, told, monkeypatch):
    monkeypatch.setattr(module, "Feed", partial(module.Feed, max_records=2))
    monkeypatch.setattr(module, "THREAD_SECONDS", 0.05)
    await lab.use(sink(Blocking), sink(Remembers))
    for number in range(6):
        lab.put(str(number))
        await lab.until(lambda number=number: [str(number)] in told)
    assert lab.lost("blocking", "queue_full") >= 3
    assert any("blocking takes too little" in text for text in lab.sinks.problems)
    await lab.use()  # and it does not hold up the end


async def test_a_call_that_does_not_return_is_ended(lab, monkeypatch):
    monkeypatch.setattr(module, "CALL_SECONDS", 0.01)
    await lab.use(sink(Sleeping))
    lab.put("1")
    await lab.until(lambda: lab.sinks.problems)
    assert lab.sinks.problems == ["sink sleeping: a call took longer than 0.01 s"]
    assert lab.lost("sleeping", "failed") == 1


async def test_what_a_plugin_may_ask_for(lab):
    await lab.use(sink(Asks, key="key"))
    await lab.until(lambda: lab.sinks.problems)
    assert lab.sinks.problems == ["sink asks: the tape is full"]
    secret, families = Asks.told
    assert secret == b"hunter2"
    assert families["asks_opened"] == [((), 1)]
    assert families["proxyd_sink_failures"] == [(("asks",), 0)]


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        (sink(Asks), "line 7: telemetry.sinks: asks: key: the key is missing"),
        (SinkSettings("x", "absent_module:X", {}, 7), "line 7: telemetry.sinks: x: absent_module:X cannot be loaded"),
    ],
)
async def test_a_sink_that_cannot_be_had_is_refused_and_nothing_is_left_open(lab, told, wanted, words, tmp_path):
    await lab.use(sink(Remembers))
    with pytest.raises(SinkError, match=words):
        await lab.use(wanted, access_log=AccessLog(str(tmp_path / "log")))
    assert lab.sinks.names == ["remembers"]


async def test_lines_that_the_access_log_loses_are_counted_under_their_own_name_too(lab):
    await lab.use(access_log=AccessLog("/dev/full"))
    lab.put("1")
    await lab.until(lambda: lab.sinks.problems)
    assert lab.sinks.problems == [
        "sink access_log: /dev/full: No space left on device; lines are lost until it is writable"
    ]
    assert lab.lost("access_log", "failed") == lab.cells.cell(metrics.ACCESS_LOG_LOST).value == 1


async def test_whatever_a_shipped_sink_says_at_its_opening_refuses_the_configuration(lab):
    with pytest.raises(SinkError, match=r"odd: ValueError: .*embedded null"):
        await lab.use(SinkSettings("odd", "access_log", {"path": "a\0b"}, 7))
