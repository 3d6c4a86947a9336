"""What a worker spends from: leases of limits that it shares with others, asked for ahead of need.

A token that is there costs a subtraction. Who finds none learns how long to wait, or that control was asked and has
not answered yet. Time of a lease counts from the question, so a worker never believes in one for longer than control.
While control or the store is away, ``on_loss`` decides: everything, nothing, or a share of what the limit was.
"""

import math
from collections.abc import Callable
from typing import Final, NamedTuple

from proxyd.core.limiting import Limit, OnLoss
from proxyd.limiting.buckets import AGAIN
from proxyd.limiting.share import Share

UNKNOWN: Final = -1.0
"""Control was asked for this key and has not answered yet."""

AHEAD: Final = 0.25
"""Seconds of demand that a lease is to cover."""

REPORT: Final = 0.1
"""Seconds until what was spent is told, where nothing is asked for meanwhile."""

IDLE: Final = 0.25
"""Seconds without a take after which unspent tokens go back."""

PATIENCE: Final = 1.0
"""Seconds without an answer after which control counts as lost."""

FORGET: Final = 60.0
"""Seconds after which a key without tokens is forgotten."""

RENEW: Final = 2.0
"""Seconds before its end at which a lease is renewed whose tokens attempts still hold."""

RECHECK: Final = 1.0
"""Seconds after which control is asked again even where there should be none: somebody may have granted more."""

GRAIN: Final = 0.01
"""Seconds within which spending is one entry of a report."""

MAX_ENTRIES: Final = 64

MAX_KEYS: Final = 100_000
"""Keys of one limit; beyond, those without tokens are forgotten early: control knows what became of theirs."""


class Question(NamedTuple):
    """What control is told and asked."""

    key: str
    want: int
    kept: int
    """Tokens of former leases that are still here."""
    spent: list[tuple[int, float]]
    """Tokens, and how many seconds ago."""


class Reply(NamedTuple):
    """What control answers."""

    key: str
    tokens: int
    lifetime: float
    wait: float
    left: int
    reset: float
    members: int
    is_lost: bool
    """The store cannot be reached."""


class _Lease:
    """What is held of one key."""

    __slots__ = (
        "asked",
        "asked_for",
        "flying",
        "is_lent",
        "left",
        "more_at",
        "next_ask",
        "reset_at",
        "share",
        "spent",
        "taken",
        "tokens",
        "until",
        "used",
        "wanted",
    )

    def __init__(self, now: float) -> None:
        self.tokens = 0
        self.until = 0.0
        self.asked = 0.0
        """When control was asked and has not answered; 0: it has."""
        self.asked_for = 0
        """Tokens that the last question wanted."""
        self.next_ask = 0.0
        """No question before that: there are none."""
        self.more_at = 0.0
        """When there will be some."""
        self.spent: list[tuple[float, int]] = []
        self.used = now
        self.flying = 0
        """Taken by attempts that are not over."""
        self.taken = 0
        """Since the last question."""
        self.wanted = 0
        """By those who found none since the last question."""
        self.is_lent = False
        """There are some, and others hold them: they may come back any time."""
        self.left = 0
        self.reset_at = now
        self.share: Share | None = None
        """What it keeps to while nobody answers."""


class Ledger:
    """The leases of one limit in one worker."""

    patience = PATIENCE

    def __init__(
        self, limit: Limit, workers: int, ask: Callable[[Question], None], arrived: Callable[[str], None]
    ) -> None:
        self.limit = limit
        self._ask_control = ask
        self._workers = workers
        """Of this host: while nobody answers each keeps to its share."""
        self._counts_answers = limit.window > 0 and not limit.names_caller
        """Whether what was taken is spent when its attempt is over; what is taken once per exchange is so at once."""
        self._arrived = arrived
        """Told of a key that control answered for."""
        self._leases: dict[str, _Lease] = {}
        self._idle: dict[str, _Lease] = {}
        """Of those, what needs no tending: nothing is held, untold or asked for. Longest so first."""
        self._busy: dict[str, _Lease] = {}
        """The others."""
        self._lost_since = math.inf
        self._asked_last = -math.inf
        self._members = 1

    def __len__(self) -> int:
        return len(self._leases)

    def try_take(self, key: str, cost: int, now: float) -> float:
        """Take and return 0; else return the seconds to wait, or UNKNOWN."""
        lease = self._leases.get(key) or self._open(key, now)
        lease.used = now
        if lease.tokens >= cost and now < lease.until:
            lease.tokens -= cost
            lease.taken += cost
            if self._counts_answers:
                lease.flying += cost
            else:
                note(lease.spent, now, cost)
            if lease.tokens * 4 < lease.taken and not lease.asked and now >= lease.next_ask:
                self._ask(key, lease, now)
            return 0.0
        lease.wanted = max(lease.wanted, cost)
        self._wake(key, lease)
        if self._is_lost(lease, now):
            return self._alone(key, cost, now)
        if not lease.asked and now >= lease.next_ask:
            self._ask(key, lease, now)
        return UNKNOWN if lease.asked or lease.is_lent else max(0.001, lease.more_at - now)

    def expect(self, key: str, tokens: int) -> None:
        """So many are waited for."""
        lease = self._leases.get(key)
        if lease is not None:
            lease.wanted = max(lease.wanted, tokens)

    def answered(self, key: str, cost: int, now: float) -> None:
        """A vendor's window counts when a request arrives there, which is by now at the latest."""
        lease = self._leases.get(key)
        if lease is not None and lease.flying >= cost:
            lease.flying -= cost
            note(lease.spent, now, cost)

    def give_back(self, key: str, cost: int) -> None:
        """Undo a take."""
        lease = self._leases.get(key)
        if lease is not None and self._counts_answers:
            cost = min(cost, lease.flying)
            lease.flying -= cost
            lease.tokens += cost
        elif lease is not None and lease.spent and lease.spent[-1][1] >= cost:
            when, tokens = lease.spent.pop()
            if tokens > cost:
                lease.spent.append((when, tokens - cost))
            lease.tokens += cost

    def left(self, key: str, now: float) -> int:
        """Return the tokens that are free, as far as is known."""
        lease = self._leases.get(key)
        return lease.left + lease.tokens if lease is not None else 0

    def reset(self, key: str, now: float) -> float:
        """Return the seconds until all of the limit is free again."""
        lease = self._leases.get(key)
        return max(0.0, lease.reset_at - now) if lease is not None else 0.0

    def answer(self, reply: Reply, now: float) -> None:
        """Take what control says of a key."""
        lease = self._leases.get(reply.key)
        if lease is None:
            return  # its time is over at control, too, before long
        began, lease.asked = lease.asked or now, 0.0
        self._wake(reply.key, lease)
        if reply.is_lost:
            self._lost_since = min(self._lost_since, now)
            lease.next_ask = now + PATIENCE
        else:
            self._lost_since = math.inf
            self._members = max(1, reply.members)
            lease.share = None
            lease.tokens = (lease.tokens if now < lease.until else 0) + reply.tokens
            lease.until = began + reply.lifetime
            is_out = lease.asked_for > 0 and not reply.tokens
            lease.more_at = now + reply.wait if is_out else 0.0
            lease.next_ask = now + min(reply.wait, RECHECK) if is_out else 0.0
            lease.is_lent = is_out and reply.wait <= AGAIN
            lease.left, lease.reset_at = reply.left, now + reply.reset
        self._arrived(reply.key)

    def tend(self, now: float) -> None:
        """Tell control what was spent, give back what is idle, forget what is over; several times a second."""
        for key, lease in list(self._busy.items()):
            if now >= lease.until:
                lease.tokens = 0
            if lease.asked:
                if now - lease.asked >= self.patience:  # the question or its answer is lost
                    lease.asked = 0.0
                    lease.next_ask = now + PATIENCE
                    self._lost_since = min(self._lost_since, now)
                    self._arrived(key)
                continue
            if lease.wanted and now >= lease.next_ask:
                self._ask(key, lease, now)
                continue
            is_idle = lease.tokens and now - lease.used >= IDLE
            is_due = lease.spent and now - lease.spent[0][0] >= REPORT
            is_late = lease.flying and lease.until - now < RENEW
            if is_idle or is_due or is_late:
                self._ask(key, lease, now, want=0, keep=not is_idle)
            elif not lease.tokens and not lease.spent and not lease.flying and not lease.wanted:
                self._idle[key] = self._busy.pop(key)
        while self._idle:
            key = next(iter(self._idle))
            if now - self._idle[key].used < FORGET:
                break
            del self._idle[key], self._leases[key]

    def reconnect(self) -> None:
        """Control is another process now: what the former one was asked and did not answer is asked again."""
        self._lost_since = math.inf
        for key, lease in list(self._busy.items()):
            lease.asked = lease.next_ask = 0.0
            self._arrived(key)

    def surrender(self, now: float) -> None:
        """Give everything back: the worker ends."""
        for key, lease in self._busy.items():
            if lease.tokens or lease.spent:
                self._ask(key, lease, now, want=0, keep=False)

    def _ask(self, key: str, lease: _Lease, now: float, want: int | None = None, *, keep: bool = True) -> None:
        if want is None:
            seconds = max(0.05, now - self._asked_last) if self._asked_last > 0 else AHEAD
            want = max(1, lease.wanted, math.ceil(min(1.0, AHEAD / seconds) * lease.taken))
        kept = (lease.tokens if keep and now < lease.until else 0) + lease.flying
        if not keep:
            lease.tokens = 0
        spent = [(tokens, now - when) for when, tokens in lease.spent]
        lease.spent.clear()
        lease.taken = lease.wanted = 0
        lease.asked = self._asked_last = now
        lease.asked_for = want
        self._ask_control(Question(key, want, kept, spent))

    def _open(self, key: str, now: float) -> _Lease:
        """Return the lease of a key, an empty one where there is none."""
        lease = self._leases.get(key)
        if lease is None:
            if len(self._leases) >= MAX_KEYS and self._idle:
                oldest = next(iter(self._idle))
                del self._idle[oldest], self._leases[oldest]
            lease = self._leases[key] = self._busy[key] = _Lease(now)
        return lease

    def _wake(self, key: str, lease: _Lease) -> None:
        if self._idle.pop(key, None) is not None:
            self._busy[key] = lease

    def _is_lost(self, lease: _Lease, now: float) -> bool:
        return self._lost_since <= now

    def _alone(self, key: str, cost: int, now: float) -> float:
        """Decide without anybody."""
        lease = self._leases[key]
        if not lease.asked and now >= lease.next_ask:
            self._ask(key, lease, now)  # is somebody there again?
        if self.limit.on_loss is OnLoss.OPEN:
            return 0.0
        if self.limit.on_loss is OnLoss.CLOSED:
            return PATIENCE
        if lease.share is None:
            lease.share = Share(self.limit, self._members * self._workers, lease.left, now)
        wait = lease.share.try_take(cost, now)
        if not wait:
            note(lease.spent, now, cost)  # to be told when somebody is there again
        return wait


def note(spent: list[tuple[float, int]], now: float, cost: int) -> None:
    """Add to what is to be told; spending at nearly the same time is one entry, counted at its later end."""
    if spent and (now - spent[-1][0] < GRAIN or len(spent) >= MAX_ENTRIES):
        spent[-1] = (now, spent[-1][1] + cost)
    else:
        spent.append((now, cost))
