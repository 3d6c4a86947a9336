"""Limits that members share: what is left of one, who holds a part of it, and how a part is lent. Pure.

Members (workers, by way of their host's control) spend from leases. What is lent and not accounted for counts as if it
could be spent at any instant, so a limit is never exceeded, however late or never a member says what it did:

- a rate never refills above its burst less what is lent: in any t seconds at most burst + rate * t are spent;
- a window counts what is lent, and what was spent within its length: never more than its limit in any window;
- a quota counts what is lent as used; what comes back is not.

A lease that nobody settles before it expires counts as spent at its expiry.
"""

import math
from collections.abc import Iterable
from typing import Final, NamedTuple, Protocol

import msgpack

MAX_ENTRIES: Final = 256
"""Instants that a window keeps apart; more are merged into later ones, which errs on the safe side."""

MAX_MEMBERS: Final = 1024

PART: Final = 8
"""Of what is left of a quota no more than this part is lent at a time: what a member holds that is killed is lost."""

SHORT: Final = 60.0
"""Seconds of a window that is waited for where a store has forgotten it."""

DISTRUST: Final = 4.0
"""Times the even pace that others may have kept since a copy was made."""

AGAIN: Final = 0.05
"""Seconds until a member asks again where everything is lent."""


class Rate(NamedTuple):
    """A bucket of ``burst`` tokens that refills at ``rate`` a second."""

    rate: float
    burst: int


class Window(NamedTuple):
    """At most ``limit`` within any ``seconds``."""

    limit: int
    seconds: float


class Quota(NamedTuple):
    """At most ``limit`` within a period; ``start`` and ``end`` (Unix seconds) are those of the present one."""

    limit: int
    start: float
    end: float


class Grant(NamedTuple):
    """What a member was lent."""

    tokens: int
    wait: float
    """Seconds after which to ask again, where there are none."""
    left: int
    """Tokens that nobody holds, after this."""
    reset: float
    """Seconds until all of the limit is free again if nothing more is spent."""


class Spent(NamedTuple):
    """Tokens that a member spent, and how long ago."""

    tokens: int
    ago: float


class Bucket(Protocol):
    """The state of one limit for one key; ``encode`` and the rule's ``decode`` carry it through a store."""

    def take(self, member: str, want: int, now: float, lifetime: float) -> Grant:
        """Lend up to ``want`` tokens until ``now + lifetime``, which holds for all that the member has."""
        ...

    def settle(self, member: str, spent: Iterable[Spent], kept: int, now: float, lifetime: float) -> None:
        """Account for a lease: these were spent, ``kept`` are still held, the rest comes back."""
        ...

    def distrust(self, since: float, now: float) -> None:
        """The state is a copy of ``since``, and nobody knows what members did after it: err on the safe side."""
        ...

    def encode(self) -> bytes:
        """Return the state."""
        ...

    def lifetime(self, now: float) -> float:
        """Return the seconds after which the state is worth nothing."""
        ...


class Holders:
    """Who holds how many, until when."""

    __slots__ = ("held",)

    def __init__(self, held: dict[str, list[float]]) -> None:
        self.held = held

    @property
    def total(self) -> int:
        """Tokens that are lent."""
        return int(sum(tokens for tokens, _ in self.held.values()))

    def lend(self, member: str, tokens: int, until: float) -> None:
        """Lend more to a member; all that it holds is good until then."""
        if tokens:
            held = self.held.get(member)
            self.held[member] = [tokens + (held[0] if held else 0), until]

    def settle(self, member: str, spent: int, kept: int, until: float) -> tuple[int, int]:
        """Return how many tokens it spent beyond its lease, and how many of the lease come back.

        What was spent beyond it was so while nobody could be asked, or after the lease was over.
        """
        tokens = int(self.held.pop(member, (0, 0.0))[0])
        within = min(spent, tokens)
        kept = min(kept, tokens - within)
        self.lend(member, kept, until)
        return spent - within, tokens - within - kept

    def expire(self, now: float) -> list[tuple[int, float]]:
        """Remove what nobody settled; return tokens and times."""
        over = [(member, int(tokens), until) for member, (tokens, until) in self.held.items() if until <= now]
        for member, _, _ in over:
            del self.held[member]
        return [(tokens, until) for _, tokens, until in over]


class RateBucket:
    """A token bucket."""

    def __init__(self, rule: Rate, level: float, stamp: float, held: dict[str, list[float]]) -> None:
        self._rule = rule
        self._level = level
        self._stamp = stamp
        self._leases = Holders(held)

    @classmethod
    def decode(cls, rule: Rate, value: bytes, now: float) -> "RateBucket":
        """Read a state; a full bucket where there is none."""
        if not value:
            return cls(rule, float(rule.burst), now, {})
        level, stamp, held = msgpack.unpackb(value)
        return cls(rule, min(level, float(rule.burst)), stamp, held)

    def encode(self) -> bytes:
        """Return the state."""
        return _pack([self._level, self._stamp, self._leases.held])

    def lifetime(self, now: float) -> float:
        """Return the seconds after which it is full whatever happened."""
        last = max((until for _, until in self._leases.held.values()), default=now)
        return max(0.0, last - now) + self._rule.burst / self._rule.rate + 1

    def take(self, member: str, want: int, now: float, lifetime: float) -> Grant:
        """Lend what is there."""
        self._refill(now)
        tokens = max(0, min(want, int(self._level)))
        if member not in self._leases.held and len(self._leases.held) >= MAX_MEMBERS:
            tokens = 0
        self._level -= tokens
        self._leases.lend(member, tokens, now + lifetime)
        room = self._rule.burst - self._leases.total
        wait = AGAIN if room < 1 else max(0.001, (1 - self._level) / self._rule.rate)
        reset = (self._rule.burst - self._level) / self._rule.rate
        return Grant(tokens, 0.0 if tokens else wait, int(self._level), reset)

    def settle(self, member: str, spent: Iterable[Spent], kept: int, now: float, lifetime: float) -> None:
        """Put back what was not spent."""
        self._refill(now)
        beyond, back = self._leases.settle(member, sum(one.tokens for one in spent), kept, now + lifetime)
        level = min(self._level + back, float(self._rule.burst - self._leases.total))
        self._level = max(level - beyond, -float(self._rule.burst))

    def distrust(self, since: float, now: float) -> None:
        """Begin with an empty bucket."""
        self._level = min(self._level, 0.0)
        self._stamp = now

    def _refill(self, now: float) -> None:
        """Refill first up to what the leases left, then let those go that are over."""
        if now > self._stamp:
            most = float(self._rule.burst - self._leases.total)
            self._level = min(most, self._level + (now - self._stamp) * self._rule.rate)
            self._stamp = now
        self._leases.expire(now)


class WindowBucket:
    """A sliding window."""

    def __init__(self, rule: Window, entries: list[list[float]], held: dict[str, list[float]]) -> None:
        self._rule = rule
        self._entries = entries
        """[when, tokens], oldest first."""
        self._leases = Holders(held)

    @classmethod
    def decode(cls, rule: Window, value: bytes, now: float) -> "WindowBucket":
        """Read a state."""
        if not value:
            return cls(rule, [], {})
        entries, held = msgpack.unpackb(value)
        return cls(rule, entries, held)

    def encode(self) -> bytes:
        """Return the state."""
        return _pack([self._entries, self._leases.held])

    def lifetime(self, now: float) -> float:
        """Return the seconds after which nothing counts any more."""
        last = max((until for _, until in self._leases.held.values()), default=now)
        return max(0.0, last - now) + self._rule.seconds + 1

    def take(self, member: str, want: int, now: float, lifetime: float) -> Grant:
        """Lend what the window has room for."""
        self._forget(now)
        spent = int(sum(tokens for _, tokens in self._entries))
        free = self._rule.limit - spent - self._leases.total
        tokens = max(0, min(want, free))
        if member not in self._leases.held and len(self._leases.held) >= MAX_MEMBERS:
            tokens = 0
        self._leases.lend(member, tokens, now + lifetime)
        wait = self._entries[0][0] + self._rule.seconds - now if self._entries else AGAIN
        reset = self._entries[-1][0] + self._rule.seconds - now if self._entries else 0.0
        return Grant(tokens, 0.0 if tokens else max(0.001, wait), max(0, free - tokens), max(0.0, reset))

    def settle(self, member: str, spent: Iterable[Spent], kept: int, now: float, lifetime: float) -> None:
        """Note when tokens were spent."""
        self._forget(now)
        told = [(now - max(0.0, one.ago), min(one.tokens, self._rule.limit)) for one in spent if one.tokens > 0]
        self._leases.settle(member, sum(tokens for _, tokens in told), kept, now + lifetime)
        known = int(self._leases.held.get(member, (0, 0.0))[0])
        if kept > known:  # of a lease that is over, or that the store has forgotten: they are still on their way
            self._leases.lend(member, kept - known, now + lifetime)
        since = now - self._rule.seconds
        for when, tokens in told:
            if when > since:
                self._note(when, tokens)

    def distrust(self, since: float, now: float) -> None:
        """Take a short window for spent, and of a long one what could be since the copy, several times over."""
        limit, seconds = self._rule
        share = 1.0 if seconds <= SHORT else min(1.0, DISTRUST * (now - since + 1) / seconds)
        self._note(now, math.ceil(limit * share))

    def _forget(self, now: float) -> None:
        for tokens, until in self._leases.expire(now):
            self._note(until, tokens)
        since = now - self._rule.seconds
        self._entries = [entry for entry in self._entries if entry[0] > since]

    def _note(self, when: float, tokens: int) -> None:
        entries = self._entries
        entries.append([when, tokens])
        entries.sort()
        while len(entries) > MAX_ENTRIES:
            gaps = [(entries[at + 1][0] - entries[at][0], at) for at in range(len(entries) - 1)]
            _, at = min(gaps)
            entries[at + 1][1] += entries[at][1]
            del entries[at]


class QuotaBucket:
    """So many in a period."""

    def __init__(self, rule: Quota, start: float, used: int, extra: int, held: dict[str, list[float]]) -> None:
        self._rule = rule
        self.start = start
        """Unix seconds at which its period began."""
        self.used = used
        """What is lent included."""
        self.extra = extra
        """Granted by an operator on top, for this period."""
        self._leases = Holders(held)

    @classmethod
    def decode(cls, rule: Quota, value: bytes, now: float) -> "QuotaBucket":
        """Read a state; a new period begins with nothing used."""
        if not value:
            return cls(rule, rule.start, 0, 0, {})
        start, used, extra, held = msgpack.unpackb(value)
        if start != rule.start:
            return cls(rule, rule.start, 0, 0, {})
        return cls(rule, start, used, extra, held)

    def encode(self) -> bytes:
        """Return the state."""
        return _pack([self.start, self.used, self.extra, self._leases.held])

    def lifetime(self, now: float) -> float:
        """Return the seconds until the period is over, and a day for those who look back."""
        return max(0.0, self._rule.end - now) + 86_400

    @property
    def lent(self) -> int:
        """Tokens that members hold."""
        return self._leases.total

    @property
    def left(self) -> int:
        """Tokens that are neither spent nor lent."""
        return max(0, self._rule.limit + self.extra - self.used)

    def take(self, member: str, want: int, now: float, lifetime: float) -> Grant:
        """Lend what is left."""
        self._leases.expire(now)
        tokens = min(want, self.left, max(1, self.left // PART))
        if member not in self._leases.held and len(self._leases.held) >= MAX_MEMBERS:
            tokens = 0
        self.used += tokens
        self._leases.lend(member, tokens, now + lifetime)
        until = max(0.0, self._rule.end - now)
        return Grant(tokens, 0.0 if tokens else (AGAIN if self._leases.held else until), self.left, until)

    def distrust(self, since: float, now: float) -> None:
        """What others spent since is told by them, as far as they live."""

    def settle(self, member: str, spent: Iterable[Spent], kept: int, now: float, lifetime: float) -> None:
        """Put back what was not spent."""
        self._leases.expire(now)
        beyond, back = self._leases.settle(member, sum(one.tokens for one in spent), kept, now + lifetime)
        self.used += min(beyond, self._rule.limit) - back


def _pack(state: list[object]) -> bytes:
    packed: bytes = msgpack.packb(state)
    return packed


def whole(seconds: float) -> int:
    """Round a wait up, for Retry-After and RateLimit fields."""
    return max(1, math.ceil(seconds))
