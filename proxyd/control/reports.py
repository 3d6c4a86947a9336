"""What workers report: events to taps, sinks and the daemon's log, statistics to the sums."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import trio

from proxyd.control.runner import PluginHost, Services
from proxyd.control.sinks import Prepared, Sinks
from proxyd.core import metrics
from proxyd.core.events import NOTICE
from proxyd.core.messages import Events, Message, Stats
from proxyd.core.records import Batch, Intake, Values
from proxyd.core.settings import Settings
from proxyd.sdk.exporter import Exporter
from proxyd.sdk.loader import load_exporter
from proxyd.telemetry.aggregate import Aggregate
from proxyd.telemetry.cells import Cells
from proxyd.telemetry.families import Families, Processes
from proxyd.telemetry.log import Log
from proxyd.telemetry.recent import Recent
from proxyd.telemetry.unknown import UnknownHosts

Tap = Callable[[Batch], None]
"""Looks at every batch of valid records, in control's loop: it must not wait, and it changes nothing in a record."""

CONTROL: Final = -1
"""Stands for control where reports name a worker."""

NOTICES_PER_SECOND: Final = 50
"""Of all workers together; what is over is dropped and counted."""


class Reports:
    """Sorts reports and keeps count of what did not fit. ``run`` runs the sinks."""

    def __init__(
        self,
        log: Log,
        processes: Processes,
        *,
        state_dir: Path,
        clock: Callable[[], float] = trio.current_time,
    ) -> None:
        self.aggregate = Aggregate()
        self.recent = Recent()
        self.unknown = UnknownHosts()
        """Hosts that are no service."""
        self.taps: list[Tap] = [self.recent.take, self.unknown.take]
        """Called with each batch, in order, before sinks get it."""
        self.cells = Cells()
        self.services = Services(log, self.cells, Families(self.aggregate, self.cells, processes), state_dir)
        """What plugins may ask for."""
        self.sinks = Sinks(self.services)
        self._exporter: Exporter | None = None
        self._intake = Intake()
        self._malformed = self.cells.cell(metrics.EVENTS_MALFORMED)
        self._dropped = self.cells.cell(metrics.NOTICES_DROPPED)
        self._log = log
        self._clock = clock
        self._second = 0
        self._notices = 0

    def commit(self, settings: Settings, sinks: Prepared) -> None:
        """Bring a configuration in whose sinks ``sinks.prepare`` has opened."""
        self.recent.resize(settings.recent)
        self.sinks.commit(sinks)

    def take(self, worker: int, message: Message) -> None:
        """Take in one report of a worker. ValueError: it is none."""
        match message:
            case Events(records):
                self._take_events(worker, records)
            case Stats():
                self.aggregate.add(worker, message)
            case other:
                raise ValueError(f"{type(other).__name__} is no report")

    def notice(self, level: str, name: str, detail: str) -> None:
        """Report something of control's own, as workers report theirs."""
        self._take_events(CONTROL, [[NOTICE, time.time(), level, name, detail]])

    def forget(self, worker: int) -> None:
        """Drop what counts only while the worker lives."""
        self.aggregate.forget(worker)

    async def page(self) -> bytes:
        """Return the metrics page."""
        if self._exporter is None:
            self._exporter = load_exporter(PluginHost("prometheus", self.services))
        return await self._exporter.page()

    async def run(self) -> None:
        """Run the sinks until cancelled."""
        await self.sinks.run()

    def _take_events(self, worker: int, records: list[Values]) -> None:
        batch = self._intake.take(worker, records)
        self._malformed.value = self._intake.malformed
        for tap in self.taps:
            tap(batch)
        self.sinks.put(batch)
        for record in batch.of(NOTICE):
            self._notice(worker, record)

    def _notice(self, worker: int, record: Values) -> None:
        second = int(self._clock())
        if second != self._second:
            self._second, self._notices = second, 0
        self._notices += 1
        if self._notices > NOTICES_PER_SECOND:
            self._dropped.value += 1
        else:
            self._log.notice("control" if worker == CONTROL else f"worker-{worker}", record)
