"""One sink at work, and what keeps it from hurting anybody else.

A sink that raises is closed and made anew after a back-off; a call that does not return is ended by a deadline; a
thread that blocks is left alone, and its queue drops and counts. A shipped sink runs in control's own loop, any other
in a thread with a loop of its own, so that not even a blocking call delays control.
"""

import contextlib
import dataclasses
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

import trio

from proxyd.control.feed import Feed
from proxyd.control.pace import Turn, at_once
from proxyd.core import metrics
from proxyd.core.metrics import Metric
from proxyd.core.records import Batch
from proxyd.core.settings import SinkSettings
from proxyd.sdk.host import Severity
from proxyd.sdk.options import secret_names
from proxyd.sdk.sink import Sink
from proxyd.sdk.text import printable
from proxyd.telemetry.cells import Cell, Cells
from proxyd.telemetry.families import Families, Family, measured
from proxyd.telemetry.log import Level, Log

ACCESS_LOG: Final = "access_log"
"""Name of the sink that ``telemetry.access_log`` makes."""

FIRST_DELAY: Final = 1.0
LONGEST_DELAY: Final = 60.0
HEALTHY_SECONDS: Final = 60.0
"""A sink that worked this long begins its back-off anew."""
CALL_SECONDS: Final = 30.0
"""The longest call of a sink."""
FINAL_SECONDS: Final = 2.0
"""What the end of a sink grants to the events that wait, and to closing."""
THREAD_SECONDS: Final = 2 * FINAL_SECONDS + 0.5
"""What is waited for a thread that was told to end."""
TEXT_CHARACTERS: Final = 512
"""What is kept of a sink's own words."""


@dataclasses.dataclass(slots=True)
class Services:
    """What hosts hand out, made by the composition root."""

    log: Log
    cells: Cells
    families: Families
    state_dir: Path
    secret: Callable[[str], bytes | None] = lambda name: None
    """Return a secret's present value; set by who has the secrets."""
    turn: Turn = at_once
    """To be waited for before a sink that failed is opened again."""


class PluginHost:
    """Satisfies proxyd.sdk's Host for one sink."""

    def __init__(self, name: str, services: Services, secrets: frozenset[str] = frozenset()) -> None:
        self.name = name
        self.text = ""
        """The problem that stands in ``status``."""
        self._services = services
        self._secrets = secrets
        self._home = trio.lowlevel.current_trio_token()

    @property
    def state_dir(self) -> Path:
        """Where files go whose paths are relative."""
        return self._services.state_dir

    def log(self, level: Severity, event: str, detail: str) -> None:
        """Write to the daemon's log."""
        fields = {"sink": self.name, "detail": detail[:TEXT_CHARACTERS]}
        self._services.log.write(Level.__members__.get(level.upper(), Level.INFO), event, fields)

    def problem(self, text: str) -> None:
        """Have ``proxyd status`` show this."""
        self.text = printable(text[:TEXT_CHARACTERS])

    def lost(self, count: int, why: str) -> None:
        """Count events that do not arrive."""
        self.cell(metrics.SINK_LOST, self.name, why).value += count
        if self.name == ACCESS_LOG:  # which had a name of its own before there were sinks
            self.cell(metrics.ACCESS_LOG_LOST).value += count

    def cell(self, metric: Metric, *labels: str) -> Cell:
        """Return the cell of a metric."""
        return self._services.cells.cell(metric, *labels)

    def secret(self, name: str) -> bytes | None:
        """Return the value of a secret that the options name."""
        if name not in self._secrets:
            raise KeyError(f"the options of {self.name} do not name the secret {name!r}")
        return self._services.secret(name)

    async def metrics(self) -> list[Family]:
        """Return everything that the daemon counts; gathered in control's loop, whichever loop asks."""
        families = self._services.families
        here = trio.lowlevel.current_trio_token()
        if here is self._home:
            return await families.read()
        counted: list[Family] = []
        processes: list[tuple[str, int]] = []
        ready = trio.Event()

        def look() -> None:
            counted.extend(families.counted())
            processes.extend(families.processes())
            with contextlib.suppress(trio.RunFinishedError):
                here.run_sync_soon(ready.set)

        self._home.run_sync_soon(look)
        await ready.wait()
        return counted + await measured(processes)


class Runner:
    """Feeds one sink until it is cancelled."""

    def __init__(
        self, settings: SinkSettings, kind: type[Sink], options: Any, services: Services, *, own_loop: bool
    ) -> None:
        self.settings = settings
        self.host = PluginHost(settings.name, services, secret_names(options))
        self.scope = trio.CancelScope()
        """Cancelled to end the sink."""
        self.failure = ""
        """Why it was closed last, until it works again."""
        self.feed = Feed()
        self._make = partial(kind, options, self.host)
        self._schemas = frozenset(kind.schemas)
        self._own_loop = own_loop
        self._turn = services.turn
        self.sink: Sink | None = None
        """The one at work; None: it is being made."""
        self._opened: Sink | None = None
        self._reopen = False
        self._dropped = 0
        """Events that were dropped since the queue was full; 0: it is not."""
        self._error: BaseException | None = None

    def __repr__(self) -> str:
        return f"<Runner {self.settings.name} waiting={self.feed.waiting}{' failed' if self.failure else ''}>"

    async def open(self) -> None:
        """Open a sink of control's own loop before anything is fed to it, so that a mistake is told at once."""
        if self._own_loop:
            return
        sink = self._make()
        with trio.fail_after(CALL_SECONDS):
            await sink.open()
        self._opened = sink

    async def discard(self) -> None:
        """Close what ``open`` opened; it is not used."""
        sink, self._opened = self._opened, None
        if sink is not None:
            await self._close(sink, work=False)

    def put(self, batch: Batch) -> None:
        """Queue what the sink wants of a batch; never waits."""
        mine = batch.only(self._schemas)
        if not mine.records or self.feed.put(mine):
            return
        self._dropped += len(mine)
        self.host.lost(len(mine), "queue_full")

    def reopen(self) -> None:
        """Have the sink open its files and connections again."""
        self._reopen = True
        self.feed.ring()

    @property
    def problems(self) -> list[str]:
        """What is wrong with it, in sentences."""
        name = self.settings.name
        if self._dropped and not self.feed.waiting:
            self._dropped = 0
        found = [f"sink {name}: {text}" for text in (self.failure, self.host.text) if text]
        if self._dropped:
            found.append(f"sink {name} takes too little: {self._dropped} events found its queue full")
        return found

    async def run(self) -> None:
        """Be the sink until ``scope`` or the caller cancels."""
        with self.scope:
            if self._own_loop:
                await self._run_elsewhere()
            else:
                await self._serve()

    async def _run_elsewhere(self) -> None:
        """Serve in a thread; cancelled, tell it to end, and leave it alone when it does not."""
        inner, stopping, token = trio.CancelScope(), False, None
        patience = trio.CancelScope(shield=True)

        async def main() -> None:
            nonlocal token
            token = trio.lowlevel.current_trio_token()
            with inner:
                if stopping:
                    inner.cancel()
                await self._serve()

        async def wait(scope: trio.CancelScope) -> None:
            with patience:
                await trio.to_thread.run_sync(trio.run, main, abandon_on_cancel=True, limiter=trio.CapacityLimiter(1))
            if patience.cancelled_caught:
                self.host.log("warning", "sink_abandoned", "it blocks, so its thread cannot be ended")
            scope.cancel()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait, nursery.cancel_scope)
            try:
                await trio.sleep_forever()
            finally:
                stopping = True
                if token is not None:
                    with contextlib.suppress(trio.RunFinishedError):
                        token.run_sync_soon(inner.cancel)
                patience.deadline = trio.current_time() + THREAD_SECONDS

    async def _serve(self) -> None:
        delay = FIRST_DELAY
        while True:
            began = trio.current_time()
            self.feed.attach(elsewhere=self._own_loop)
            error = await self._live()
            self.failure = words_of(error)
            self.host.log("error", "sink_failed", self.failure)
            self.host.cell(metrics.SINK_FAILURES, self.settings.name).value += 1
            if trio.current_time() - began >= HEALTHY_SECONDS:
                delay = FIRST_DELAY
            await trio.sleep(delay)
            if not self._own_loop:  # a plugin in a loop of its own keeps nobody waiting
                await self._turn()
            delay = min(2 * delay, LONGEST_DELAY)

    async def _live(self) -> BaseException:
        """Open a sink and feed it; return what ended it. Cancelled, it hands over what waits first."""
        self._error = None
        sink, self._opened = self._opened, None
        try:
            if sink is None:
                sink = self._make()
                with trio.fail_after(CALL_SECONDS):
                    await sink.open()
            self.sink = sink
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._guard, sink.run, nursery.cancel_scope)
                await self._guard(partial(self._pump, sink), nursery.cancel_scope)
                nursery.cancel_scope.cancel()
        except (Exception, SystemExit) as error:  # noqa: BLE001 - what a stranger's code raises when it is opened
            self._error = error
        finally:
            self.sink = None
            if sink is not None:
                await self._close(sink, work=self._error is None)
        return self._error or RuntimeError("it ended by itself")

    async def _guard(self, run: Callable[[], Awaitable[None]], scope: trio.CancelScope) -> None:
        try:
            await run()
        except (Exception, SystemExit) as error:  # noqa: BLE001 - what a stranger's code raises at work
            self._error = self._error or error
            scope.cancel()

    async def _pump(self, sink: Sink) -> None:
        while True:
            if self._reopen:
                self._reopen = False
                with trio.fail_after(CALL_SECONDS):
                    await sink.reopen()
            batch = self.feed.take()
            if batch is None:
                await self.feed.wait()
                continue
            await self._hand_over(sink, batch)
            self.failure = ""

    async def _hand_over(self, sink: Sink, batch: Batch) -> None:
        taken = False
        try:
            with trio.fail_after(CALL_SECONDS):
                await sink.events(batch)
            taken = True
        finally:
            if not taken:
                self.host.lost(len(batch), "failed")

    async def _close(self, sink: Sink, *, work: bool) -> None:
        """Close a sink within ``FINAL_SECONDS``; one that works gets what waits first."""
        with trio.move_on_after(FINAL_SECONDS, shield=True) as scope:
            try:
                while work and (batch := self.feed.take()) is not None:
                    await self._hand_over(sink, batch)
                if work:
                    await sink.flush()
            except (Exception, SystemExit) as error:  # noqa: BLE001 - a stranger's last words; it is closed all the same
                self.host.log("error", "sink_failed", words_of(error))
        while work and (batch := self.feed.take()) is not None:
            self.host.lost(len(batch), "closed")
        with trio.move_on_after(FINAL_SECONDS, shield=True) as closing:
            try:
                await sink.aclose()
            except (Exception, SystemExit) as error:  # noqa: BLE001 - as above
                self.host.log("error", "sink_failed", words_of(error))
        if scope.cancelled_caught or closing.cancelled_caught:
            self.host.log("warning", "sink_abandoned", f"it did not end within {FINAL_SECONDS:g} s")


def words_of(error: BaseException) -> str:
    """Return what a stranger's exception says, for one line."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, trio.TooSlowError):
        return f"a call took longer than {CALL_SECONDS:g} s"
    if isinstance(error, OSError) and error.strerror:
        where = f"{error.filename}: " if error.filename else ""
        return printable(f"{where}{error.strerror}"[:TEXT_CHARACTERS])
    return printable(f"{type(error).__name__}: {error}"[:TEXT_CHARACTERS])
