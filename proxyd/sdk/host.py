"""What a plugin may ask of the daemon."""

from pathlib import Path
from typing import Literal, Protocol

from proxyd.core.metrics import Metric
from proxyd.telemetry.cells import Cell
from proxyd.telemetry.families import Family

Severity = Literal["debug", "info", "warning", "error"]


class Host(Protocol):
    """The daemon, as one plugin sees it. Every method may be called from the plugin's own loop and from its threads,
    ``metrics`` from its loop alone.
    """

    @property
    def name(self) -> str:
        """The plugin's name in the configuration."""
        ...

    @property
    def state_dir(self) -> Path:
        """Where files go whose paths are relative."""
        ...

    def log(self, level: Severity, event: str, detail: str) -> None:
        """Write to the daemon's log: ``event`` is one word, ``detail`` a sentence."""
        ...

    def problem(self, text: str) -> None:
        """Have ``proxyd status`` show this until another text replaces it; the empty one takes it back."""
        ...

    def lost(self, count: int, why: str) -> None:
        """Count events that do not arrive; ``why`` is one word and becomes a label of ``proxyd_sink_events_lost``."""
        ...

    def cell(self, metric: Metric, *labels: str) -> Cell:
        """Return the cell of a metric of the plugin's own; it outlives the plugin."""
        ...

    def secret(self, name: str) -> bytes | None:
        """Return the present value of a secret that the plugin's options name, None where it cannot be had.

        Ask each time: values rotate. KeyError: the options do not name it.
        """
        ...

    async def metrics(self) -> list[Family]:
        """Return everything that the daemon counts, as of now."""
        ...
