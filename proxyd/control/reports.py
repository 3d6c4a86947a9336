"""What workers report: events to the access log and the daemon's log, statistics to the sums."""

from collections.abc import Callable
from typing import Final

import trio

from proxyd.core.events import ACCESS, NOTICE
from proxyd.core.messages import Events, Message, Stats
from proxyd.core.records import Batch, Intake, Values
from proxyd.core.settings import AccessLog as AccessLogSettings
from proxyd.telemetry.access_log import AccessLog
from proxyd.telemetry.aggregate import Aggregate
from proxyd.telemetry.exposition import Exposition, Processes, Reading
from proxyd.telemetry.log import Log
from proxyd.telemetry.recent import Recent

Tap = Callable[[Batch], None]
"""Looks at every batch of valid records, in control's loop: it must not wait, and it changes nothing in a record."""

NOTICES_PER_SECOND: Final = 50
"""Of all workers together; what is over is dropped and counted."""


class Reports:
    """Sorts reports and keeps count of what did not fit."""

    def __init__(self, log: Log, processes: Processes, clock: Callable[[], float] = trio.current_time) -> None:
        self.aggregate = Aggregate()
        self.access_log = AccessLog(self._report)
        self.recent = Recent()
        self._exposition = Exposition(self.aggregate, processes, self._readings)
        self.taps: list[Tap] = [self.recent.take]
        """Called with each batch, in order, before sinks get it."""
        self._intake = Intake()
        self._log = log
        self._clock = clock
        self._second = 0
        self._notices = 0
        self._dropped = 0

    def configure(self, settings: AccessLogSettings | None) -> None:
        """Write the access log where a configuration says. OSError: nothing has changed."""
        if settings is None:
            self.access_log.close()
        else:
            self.access_log.open(settings.path)

    def take(self, worker: int, message: Message) -> None:
        """Take in one report of a worker. ValueError: it is none."""
        match message:
            case Events(records):
                self._take_events(worker, records)
            case Stats():
                self.aggregate.add(worker, message)
            case other:
                raise ValueError(f"{type(other).__name__} is no report")

    def forget(self, worker: int) -> None:
        """Drop what counts only while the worker lives."""
        self.aggregate.forget(worker)

    async def page(self) -> bytes:
        """Return the metrics page."""
        return await self._exposition.page()

    def _take_events(self, worker: int, records: list[Values]) -> None:
        batch = self._intake.take(worker, records)
        for tap in self.taps:
            tap(batch)
        self.access_log.add(batch.of(ACCESS))
        for record in batch.of(NOTICE):
            self._notice(worker, record)

    def _notice(self, worker: int, record: Values) -> None:
        second = int(self._clock())
        if second != self._second:
            self._second, self._notices = second, 0
        self._notices += 1
        if self._notices > NOTICES_PER_SECOND:
            self._dropped += 1
        else:
            self._log.notice(f"worker-{worker}", record)

    def _report(self, event: str, detail: str) -> None:
        self._log.warning(event, detail=detail)

    def _readings(self) -> list[Reading]:
        malformed = self.access_log.malformed + self._intake.malformed
        return [
            Reading("proxyd_access_log_lost", "Lines that the access log had no room for.", self.access_log.lost),
            Reading("proxyd_events_malformed", "Workers' events that did not fit their schema.", malformed),
            Reading("proxyd_notices_dropped", "Workers' notices beyond the rate that is logged.", self._dropped),
        ]
