"""A sink: it takes events, as they come, to where somebody wants them."""

from typing import Any, ClassVar, Protocol

from proxyd.core.events import ACCESS
from proxyd.core.records import Batch
from proxyd.sdk.host import Host
from proxyd.sdk.options import NoOptions


class Sink(Protocol):
    """Derive from it and write ``events``; everything else has a default.

    A sink lives in a thread and a trio loop of its own, so what it waits for, and even what it blocks, delays nobody
    else. One that raises, or that takes longer than half a minute for one batch, is closed and made anew, after a
    second at first and a minute at last; ``proxyd status`` says so. What comes meanwhile waits in a bounded queue; when
    that is full, events are dropped and counted.

    The calls come one after the other: ``open``, then ``events`` and ``reopen`` as it happens, at the end ``flush`` and
    ``aclose``. ``run`` goes on beside them.
    """

    api_version: ClassVar[int] = 1
    """The API_VERSION that it was written for."""
    options_type: ClassVar[type[Any]] = NoOptions
    """A dataclass: what may stand in the configuration beside ``plugin`` and ``name``; see proxyd.sdk.options."""
    schemas: ClassVar[frozenset[int]] = frozenset({ACCESS})
    """Which events it wants."""

    options: Any
    """An instance of ``options_type``."""
    host: Host
    """What it may ask of the daemon."""

    def __init__(self, options: Any, host: Host) -> None:
        """Remember both; what may fail or takes time belongs into ``open``."""
        self.options = options
        self.host = host

    async def open(self) -> None:
        """Get ready. An exception is shown to people, and tried again later."""
        return

    async def run(self) -> None:
        """Do what has to be done beside ``events``, such as sending every five seconds, until cancelled."""
        return

    async def events(self, batch: Batch) -> None:
        """Take what has come; iterate over it for records. Nothing in it may be changed: others look at it too."""
        ...

    async def flush(self) -> None:
        """Bring out what waits: the end is near, and there are two seconds left."""
        return

    async def reopen(self) -> None:
        """Open files and connections again: the configuration was read again, or logs are being rotated."""
        return

    async def aclose(self) -> None:
        """Let go of everything. Called also where ``open`` or ``events`` raised."""
        return
