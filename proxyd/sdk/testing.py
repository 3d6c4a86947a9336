"""For the tests of plugins: events to feed to a sink, and a host that remembers what it was told.

::

    async with opened(MySink, {"path": "out"}, FakeHost(tmp_path)) as sink:
        await feed(sink, access(status=404), access(path=b"/v2"))
        assert ...
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

import trio

from proxyd.core.events import ACCESS, NOTICE, SCHEMAS
from proxyd.core.metrics import Metric
from proxyd.core.records import Batch, Intake, Values
from proxyd.sdk.host import Severity
from proxyd.sdk.options import read_options
from proxyd.sdk.sink import Sink
from proxyd.telemetry.cells import Cell, Cells
from proxyd.telemetry.families import Family

S = TypeVar("S", bound=Sink)

_ACCESS: Final = {
    "time": 1_790_000_000.1239, "id": "3f2a", "kind": "http", "listener": "apps", "caller": "127.0.0.1:50000",
    "uid": 1000, "user": None, "mode": "plain", "method": b"GET", "scheme": b"http",
    "authority": "api.tickets.example", "path": b"/v2/items?key=hidden", "service": "tickets",
    "credential": "tickets/token", "status": 200, "flags": "", "error": None, "detail": None, "origin": "upstream",
    "endpoint": "127.0.0.1:8443", "attempts": 1, "reused": True, "request_bytes": 0, "response_bytes": 1024,
    "queue_ms": 0.01234, "connect_ms": None, "first_byte_ms": 1.23456, "total_ms": 2,
}  # fmt: skip
_NOTICE: Final = {"time": 1_790_000_000.5, "level": "warning", "name": "something", "detail": "it happened"}
_EXAMPLES: Final[Mapping[int, Mapping[str, Any]]] = {ACCESS: _ACCESS, NOTICE: _NOTICE}


def record(schema: int, **changes: Any) -> Values:
    """Return a valid record with these values changed. KeyError: the schema has no such field."""
    known = SCHEMAS[schema]
    values: Values = [schema, *(_EXAMPLES[schema].get(name) for name in known.names)]
    for name, value in changes.items():
        values[known.place[name]] = value
    return values


def access(**changes: Any) -> Values:
    """Return an exchange; its query holds a secret, which a sink must not write."""
    return record(ACCESS, **changes)


def notice(**changes: Any) -> Values:
    """Return a notice."""
    return record(NOTICE, **changes)


def batch(*records: Values, worker: int = 0) -> Batch:
    """Return a batch as sinks get it. ValueError: a record does not fit its schema."""
    intake = Intake()
    taken = intake.take(worker, [list(one) for one in records])
    if intake.malformed:
        raise ValueError(f"{intake.malformed} of {len(records)} records do not fit their schema")
    return taken


async def feed(sink: Sink, *records: Values) -> None:
    """Give ``records`` to a sink as one batch, as far as it wants them, and have it bring them out."""
    await sink.events(batch(*records).only(sink.schemas))
    await sink.flush()


@dataclass(slots=True)
class FakeHost:
    """A daemon that remembers."""

    state_dir: Path = Path()
    name: str = "sink"
    secrets: dict[str, bytes] = field(default_factory=dict)
    families: Sequence[Family] = ()
    """What ``metrics`` returns."""
    logged: list[tuple[Severity, str, str]] = field(default_factory=list)
    """What was logged: level, event, detail."""
    text: str = ""
    """The problem that is shown."""
    losses: dict[str, int] = field(default_factory=dict)
    """Events that were lost, by reason."""
    cells: Cells = field(default_factory=Cells)

    @property
    def events(self) -> list[str]:
        """Names of what was logged."""
        return [event for _, event, _ in self.logged]

    def log(self, level: Severity, event: str, detail: str) -> None:
        """Remember."""
        self.logged.append((level, event, detail))

    def problem(self, text: str) -> None:
        """Remember."""
        self.text = text

    def lost(self, count: int, why: str) -> None:
        """Remember."""
        self.losses[why] = self.losses.get(why, 0) + count

    def cell(self, metric: Metric, *labels: str) -> Cell:
        """Return the cell of a metric."""
        return self.cells.cell(metric, *labels)

    def secret(self, name: str) -> bytes | None:
        """Return one of ``secrets``."""
        return self.secrets.get(name)

    async def metrics(self) -> list[Family]:
        """Return ``families``."""
        await trio.lowlevel.checkpoint()
        return list(self.families)


@asynccontextmanager
async def opened(
    kind: type[S], options: Mapping[str, Any] | None = None, host: FakeHost | None = None
) -> AsyncIterator[S]:
    """Make a sink from plain options, as the configuration does, open it, run it, and close it at the end.

    What it raises is raised here. OptionsError: the options are not valid.
    """
    sink = kind(read_options(kind.options_type, dict(options or {})), host or FakeHost())
    await sink.open()
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(sink.run)
            yield sink
            await sink.flush()
            nursery.cancel_scope.cancel()
    finally:
        with trio.CancelScope(shield=True):
            await sink.aclose()
