"""What a peer may do to one HTTP/2 connection that makes work and gets nothing done (RFC 9113 §10.5).

Every frame is counted before anything is made of it. Budgets are earned back by what messages need, and slowly by time,
so that a busy or an old connection has as much as a new one. Numbers are Envoy's where it has them (core.limits).
"""

from collections.abc import Callable
from typing import Final

from proxyd.core.limits import Http2Limits

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
"""Frame types (RFC 9113 §6)."""

END_STREAM: Final = 0x1
END_HEADERS: Final = 0x4
PADDED: Final = 0x8

_SETTING: Final = 6
_FREE_UPDATES: Final = 5
_UPDATES_PER_STREAM: Final = 2
_UPDATES_PER_DATA: Final = 2
"""For each DATA frame that comes, which our windows bound: of its stream, and of the connection."""


class FloodError(Exception):
    """The peer does too much of one thing: ENHANCE_YOUR_CALM."""


class _Budget:
    """So many, and so many more by the second; some are earned back."""

    __slots__ = ("_clock", "_full", "_rate", "_since", "left")

    def __init__(self, full: int, rate: int, clock: Callable[[], float]) -> None:
        self.left = self._full = full
        self._rate = rate
        self._clock = clock
        self._since = clock()

    def spend(self) -> bool:
        """Take one; False when none is left."""
        if not self.left:
            now = self._clock()
            self.left = min(self._full, int((now - self._since) * self._rate))
            self._since = now
            if not self.left:
                return False
        self.left -= 1
        return True

    def earn(self) -> None:
        """Give one back."""
        if self.left < self._full:
            self.left += 1


class Guard:
    """Counts for one connection."""

    __slots__ = (
        "_block",
        "_continuations",
        "_control",
        "_empty",
        "_heads",
        "_limits",
        "_priorities",
        "_resets",
        "_updates",
        "sent",
    )

    def __init__(self, limits: Http2Limits, clock: Callable[[], float]) -> None:
        self._limits = limits
        self._control = _Budget(limits.control_frames, limits.calm_rate, clock)
        self._resets = _Budget(limits.resets, limits.calm_rate, clock)
        self._block = 0
        """Bytes of the field section that is coming."""
        self._continuations = 0
        self._empty = 0
        self._heads = 0
        self._priorities = 0
        self._updates = 0
        self.sent = 0
        """DATA frames that went out."""

    def frame(self, kind: int, flags: int, length: int) -> None:
        """A frame comes. FloodError when there are too many of its kind."""
        if kind == DATA:
            if length:
                self._empty = 0
                self._updates -= _UPDATES_PER_DATA  # gRPC sends one along with each message, however few it gets
            elif not flags & END_STREAM:
                self.empty()
        elif kind == HEADERS:
            self._heads += 1
            self._block = length
            self._continuations = 0
        elif kind == WINDOW_UPDATE:
            self._updates += 1
            most = _FREE_UPDATES + _UPDATES_PER_STREAM * self._heads + self._limits.window_updates * self.sent
            if self._updates > most:
                raise FloodError("WINDOW_UPDATE frames")
        elif kind == CONTINUATION:
            self._continuation(length)
        elif kind == PRIORITY:
            self._priorities += 1
            if self._priorities > self._limits.priorities * (1 + self._heads):
                raise FloodError("PRIORITY frames")
        elif kind == SETTINGS and length > _SETTING * self._limits.settings:
            raise FloodError("a SETTINGS frame of too many entries")
        elif not self._control.spend():
            raise FloodError("PING, SETTINGS, RST_STREAM or unknown frames")

    def _continuation(self, length: int) -> None:
        self._continuations += 1
        self._block += length
        if self._continuations > self._limits.continuations:
            raise FloodError("CONTINUATION frames")
        if self._block > 2 * self._limits.head_bytes:
            raise FloodError("a field section beyond all bounds")

    def empty(self) -> None:
        """A DATA frame holds nothing, padding apart, and ends nothing. FloodError."""
        self._empty += 1
        if self._empty > self._limits.empty_frames:
            raise FloodError("empty DATA frames")

    def useful(self) -> None:
        """A frame carried some of a message."""
        self._control.earn()

    def late(self) -> None:
        """A frame came on a stream that is over. FloodError."""
        if not self._control.spend():
            raise FloodError("frames on streams that are over")

    def reset(self) -> None:
        """A stream came to nothing by the peer's doing. FloodError."""
        if not self._resets.spend():
            raise FloodError("streams that come to nothing")

    def done(self) -> None:
        """A stream ended as it should."""
        self._resets.earn()
