"""What is left of a vendor's windows for one credential, by what its answers tell, and who may spend it. Pure.

The vendor's word is ``remaining`` at the moment when it looked, which lies between the request that it answers and the
answer. Two things are certain, and the better one counts:

- the lowest word within a window counts all whose answers said more, so only what has not been answered is missing;
- the word on the request that was sent last counts all that was answered before that. It may be higher than a former
  one, since windows slide and buckets refill.

So what is lent is never more than what is left, and whoever else spends from the same credential is seen.

Where nothing is known (at first, once a reset has passed, after a refusal), one request goes first and the others
wait for what its answer tells: at the limit nobody believes that a sliding window is full again.
"""

import math
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

import msgpack

from proxyd.limiting.buckets import AGAIN, MAX_ENTRIES, MAX_MEMBERS, Grant, Holders, Spent
from proxyd.limiting.told import MAX_WINDOWS

SLACK: Final = 0.05
"""Seconds that times may be told late between members."""

GRAIN: Final = 0.01
"""Answers within so many seconds count as one, at the later time."""

PROBE: Final = 1.0
"""Seconds without an answer after which twice as many go first."""

MARGIN: Final = 1.0
"""Seconds after a reset, which vendors tell in whole seconds; a tenth of windows that are shorter than ten."""

MOST_PAUSE: Final = 3600.0
"""A vendor that asks for more is asked again after an hour, by one request."""

GUESS: Final = 1.0
MOST_GUESS: Final = 60.0
"""Seconds to stay away where the vendor does not say how long: at first, and after many refusals in a row."""

NO_RESET: Final = 5.0
"""Seconds until one request looks again where a window is used up and its reset was not told."""

PLAIN_SECONDS: Final = 600.0
"""How long it is remembered that a vendor tells nothing."""


class Seen(NamedTuple):
    """What one answer told of one window."""

    name: str
    remaining: int
    """Below 0: the answer told of no window at all."""
    limit: int
    reset: float
    """Seconds from now on; below 0: not told."""
    length: float
    ago: float
    """Seconds since the request was sent."""
    low: int
    """The lowest that was told since the window began."""


PLAIN: Final = Seen("", -1, 0, -1.0, 0.0, 0.0, -1)
"""An answer that told nothing."""


class Window:
    """What is known of one window."""

    __slots__ = ("ends", "length", "limit", "low", "remaining", "reset_at", "seen_at")

    def __init__(
        self, remaining: int, low: int, limit: int, ends: float, reset_at: float, length: float, seen_at: float
    ) -> None:
        self.remaining = remaining
        """The word on the request that was sent last ..."""
        self.seen_at = seen_at
        """... which was so then."""
        self.low = low
        """The lowest word, less what was spent since without any."""
        self.limit = limit
        self.ends = ends
        """As the vendor says it; infinity: it does not."""
        self.reset_at = reset_at
        """From then on nothing is known."""
        self.length = length

    def state(self) -> list[float]:
        """Return what ``__init__`` takes."""
        return [self.remaining, self.low, self.limit, self.ends, self.reset_at, self.length, self.seen_at]


class Estimate:
    """The windows of one account at a vendor, and the leases on them."""

    def __init__(self) -> None:
        self.windows: dict[str, Window] = {}
        self.is_plain = False
        """Its answers tell nothing of limits."""
        self.turns = 0
        """Windows that began anew."""
        self.blocked_until = 0.0
        self._holders = Holders({})
        self._spent: list[list[float]] = []
        """[when, tokens], oldest first, of what the last words may not count."""
        self._is_unsure = False
        """One request goes first."""
        self._probes = 1
        self._probe_until = 0.0
        self._strikes = 0

    @classmethod
    def decode(cls, value: bytes) -> "Estimate":
        """Read a state."""
        found = cls()
        if value:
            windows, held, found._spent, *rest = msgpack.unpackb(value)
            found.windows = {name: Window(*row) for name, row in windows.items()}
            found._holders = Holders(held)
            found.is_plain, found.blocked_until, found._is_unsure = rest[:3]
            found._probes, found._probe_until, found._strikes = rest[3:]
        return found

    def encode(self) -> bytes:
        """Return the state."""
        windows = {name: one.state() for name, one in self.windows.items()}
        state: bytes = msgpack.packb([
            windows, self._holders.held, self._spent, self.is_plain, self.blocked_until, self._is_unsure,
            self._probes, self._probe_until, self._strikes,
        ])  # fmt: skip
        return state

    def lifetime(self, now: float) -> float:
        """Return the seconds after which it is worth nothing."""
        last = max((one.reset_at for one in self.windows.values()), default=now)
        last = max(last, self.blocked_until, *(until for _, until in self._holders.held.values()), now)
        return last - now + PLAIN_SECONDS

    # --- spending ---------------------------------------------------------------------------------

    def take(self, member: str, want: int, reserve: float, now: float, lifetime: float) -> Grant:
        """Lend as ``lend`` does; tell also what is left."""
        tokens, wait = self.lend(member, want, reserve, now, lifetime)
        return Grant(tokens, wait, self.left(now), self.reset(now))

    def lend(
        self, member: str, want: int, reserve: float, now: float, lifetime: float, parts: int = 1, besides: int = 0
    ) -> tuple[int, float]:
        """Lend up to ``want`` tokens until ``now + lifetime``; return how many, and where none how long to wait.

        ``reserve`` is the share that is left to others. ``parts``: so many members decide alone, since nobody can be
        asked, and each keeps to its part. ``besides``: what the member holds that is not told of here.
        """
        self._forget(now)
        if now < self.blocked_until:
            return 0, self.blocked_until - now
        if self.is_plain:
            return want, 0.0
        free, wait = self._room(reserve, now)
        free = (free - besides) // parts
        if free < 1:
            return 0, max(0.001, wait or AGAIN)
        if member not in self._holders.held and len(self._holders.held) >= MAX_MEMBERS:
            return 0, AGAIN
        if self._is_unsure or not self.windows or any(now >= one.reset_at for one in self.windows.values()):
            if now < self._probe_until:
                return 0, min(AGAIN, max(0.001, self._probe_until - now))
            tokens = self._first(min(want, free), now)
        else:
            tokens = min(want, max(1, (free + 1) // 2))
        self._holders.lend(member, tokens, now + lifetime)
        return tokens, 0.0

    def settle(
        self, member: str, spent: Iterable[Spent], kept: int, now: float, lifetime: float, silent: int = 0
    ) -> None:
        """Account for a lease: these were answered so long ago, ``kept`` are held, the rest comes back.

        ``silent`` of them were spent without an answer that tells anything.
        """
        told = [(now - max(0.0, one.ago), one.tokens) for one in spent if one.tokens > 0]
        self._holders.settle(member, sum(tokens for _, tokens in told), kept, now + lifetime)
        for when, tokens in told:
            self._note(when, tokens)
        self.lower(silent)

    def _first(self, want: int, now: float) -> int:
        """Let a few go ahead of the others: one, and while nothing comes back twice as many each time."""
        tokens = max(1, min(want, self._probes))
        self._probes = min(2**20, self._probes * 2)
        self._probe_until = now + PROBE
        return tokens

    def _room(self, reserve: float, now: float) -> tuple[int, float]:
        """Return the tokens that all windows have room for, and where there are none when to look again."""
        held = self._holders.total
        free, wait = 2**31, 0.0
        for one in self.windows.values():
            if now >= one.reset_at:
                continue
            room = max(one.low, self._newest(one)) - int(one.limit * reserve)
            free = min(free, room - held)
            if room < 1:
                wait = max(wait, one.reset_at - now)
            elif room - held < 1:
                wait = max(wait, AGAIN)
        return free, wait

    def _newest(self, window: Window) -> int:
        """Return what the last word leaves of a window; the request that it answered is counted in it already."""
        since = int(sum(tokens for when, tokens in self._spent if when >= window.seen_at - SLACK))
        return window.remaining - max(0, since - 1)

    def lower(self, tokens: int) -> None:
        """So many were spent without an answer that tells anything."""
        if tokens > 0:
            self._probe_until = 0.0
            for one in self.windows.values():
                one.low = max(0, one.low - tokens)

    # --- what the vendor says ---------------------------------------------------------------------

    def observe(self, seen: Sequence[Seen], now: float) -> None:
        """Take in what answers told."""
        told: set[str] = set()
        for one in seen:
            if one.remaining >= 0 and self._hear(one, now):
                told.add(one.name)
        if not seen:
            return
        self._is_unsure = False
        self._probes, self._probe_until = 1, 0.0
        for name in [name for name, one in self.windows.items() if now >= one.reset_at and name not in told]:
            del self.windows[name]  # answers do not tell of it any more
        self.is_plain = not self.windows
        if now >= self.blocked_until:
            self._strikes = 0
        self._trim()

    def report(self, now: float) -> list[Seen]:
        """Return what was told, for another estimate of the same account."""
        if self.is_plain:
            return [PLAIN]
        return [
            Seen(name, one.remaining, one.limit, max(0.0, one.ends - now) if one.ends < math.inf else -1.0, one.length,
                 max(0.0, now - one.seen_at), one.low)
            for name, one in self.windows.items()
            if now < one.reset_at
        ]  # fmt: skip

    def refused(self, seconds: float | None, pause: float, now: float) -> None:
        """The vendor refused a request and named ``seconds``, or nothing: then ``pause``, or a guess, which grows."""
        if seconds is None:
            empty = [one.reset_at - now for one in self.windows.values() if not one.remaining and one.reset_at > now]
            seconds = max(empty, default=max(pause, min(MOST_GUESS, GUESS * 2.0**self._strikes)))
        if now >= self.blocked_until:  # else it is one more answer to what went out before
            self._strikes = min(16, self._strikes + 1)
        self.blocked_until = max(self.blocked_until, now + min(seconds, MOST_PAUSE))
        self._is_unsure, self.is_plain = True, False
        self._probes, self._probe_until = 1, 0.0

    def held(self, member: str) -> int:
        """Return the tokens that a member has."""
        return int(self._holders.held.get(member, (0, 0.0))[0])

    def left(self, now: float) -> int:
        """Return the tokens that nobody holds, as far as is known."""
        return max(0, min((self.remaining(name, now) for name in self.windows), default=0))

    def remaining(self, name: str, now: float) -> int:
        """Return what is left of one window, without what is lent."""
        one = self.windows[name]
        if now >= one.reset_at:
            return one.limit
        return max(0, max(one.low, self._newest(one)) - self._holders.total)

    def reset(self, now: float) -> float:
        """Return the seconds until the window that has least left is over."""
        if now < self.blocked_until:
            return self.blocked_until - now
        tightest = min(self.windows, key=lambda name: self.remaining(name, now), default=None)
        return 0.0 if tightest is None else max(0.0, self.windows[tightest].reset_at - now)

    def _hear(self, seen: Seen, now: float) -> bool:
        """Take in one word; False where a later one is known."""
        seen_at = now - max(0.0, seen.ago)
        former = self.windows.get(seen.name)
        is_new = former is None or seen_at >= min(former.ends, former.reset_at)
        self.turns += is_new
        low = min(seen.low, seen.remaining) if former is None or is_new else min(former.low, seen.low)
        if former is not None and not is_new and seen_at <= former.seen_at:
            former.low, former.remaining = low, min(former.remaining, seen.remaining)
            return False
        if former is None and len(self.windows) >= MAX_WINDOWS:
            del self.windows[min(self.windows, key=lambda name: self.windows[name].seen_at)]
        limit = seen.limit or (former.limit if former is not None else 0)
        length = seen.length or (former.length if former is not None else 0.0)
        ends = now + seen.reset if seen.reset >= 0 else math.inf
        if seen.reset >= 0:
            reset = seen.reset + (min(MARGIN, length / 10) if length else MARGIN)
        else:
            reset = length / limit if length and limit else NO_RESET
        self.windows[seen.name] = Window(seen.remaining, low, limit, ends, now + reset, length, seen_at)
        return True

    # --- bookkeeping ------------------------------------------------------------------------------

    def _forget(self, now: float) -> None:
        for tokens, until in self._holders.expire(now):
            self._note(until, tokens)
            self.lower(tokens)
        self._trim()

    def _trim(self) -> None:
        """Forget what every word counts already."""
        if not self.windows:
            self._spent.clear()
            return
        since = min(one.seen_at for one in self.windows.values()) - SLACK
        if self._spent and self._spent[0][0] < since:
            self._spent = [entry for entry in self._spent if entry[0] >= since]

    def _note(self, when: float, tokens: int) -> None:
        entries = self._spent
        if entries and 0 <= when - entries[-1][0] < GRAIN:
            entries[-1] = [when, entries[-1][1] + tokens]
            return
        entries.append([when, tokens])
        if len(entries) > 1 and entries[-2][0] > when:
            entries.sort()
        if len(entries) > MAX_ENTRIES:
            entries[1][1] += entries[0][1]
            del entries[0]
