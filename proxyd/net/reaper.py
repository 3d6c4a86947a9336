"""One reaper per worker: closes streams whose deadline passed, and notices clients that left.

Deadlines are numbers on the streams, so a request costs no cancel scope; the price is a granularity of SWEEP.
"""

import select
from typing import Final, Protocol, cast

import trio

from proxyd.net.stream import Stream

SWEEP: Final = 0.25
"""Seconds between two sweeps."""

_GONE: Final = select.POLLRDHUP | select.POLLHUP | select.POLLERR


class Reaped(Protocol):
    """What can be late: a stream, a lane of one (net.lane), or a whole connection of such."""

    deadline: float
    late: str
    busy_since: float
    """NEVER but for streams: who else waits for a hangup reads all the time."""

    @property
    def ended(self) -> str | None:
        """Why it is over, once it is."""
        ...

    def expire(self, reason: str) -> None:
        """The deadline passed."""
        ...


class Reaper:
    """The set of live streams, swept four times a second."""

    def __init__(self) -> None:
        self._streams: set[Reaped] = set()

    def __len__(self) -> int:
        return len(self._streams)

    def add(self, stream: Reaped) -> None:
        """Watch a stream until it is closed."""
        self._streams.add(stream)

    async def run(self) -> None:
        """Sweep for ever."""
        while True:
            await trio.sleep(SWEEP)
            self.sweep(trio.current_time())

    def sweep(self, now: float) -> None:
        """Close what is late; call ``hangup`` where a peer left in the middle of an exchange."""
        busy: list[Stream] = []
        before = now - SWEEP
        for stream in tuple(self._streams):
            if stream.ended is not None:
                self._streams.discard(stream)
            elif stream.deadline <= now:
                stream.expire(stream.late)
            elif stream.busy_since <= before:
                busy.append(cast("Stream", stream))
        if busy:
            _notice_hangups(busy)


def _notice_hangups(streams: list[Stream]) -> None:
    poll = select.poll()
    by_descriptor: dict[int, Stream] = {}
    for stream in streams:
        descriptor = stream.sock.fileno()
        by_descriptor[descriptor] = stream
        poll.register(descriptor, select.POLLRDHUP)
    for descriptor, events in poll.poll(0):
        stream = by_descriptor[descriptor]
        if events & _GONE and stream.hangup is not None:
            stream.hangup()
