"""The accounts of vendors that a worker knows, and what an attempt takes from one: its estimate, or a lease.

A worker that is alone spends from its own estimate; several spend from leases of a shared one, and keep their own for
the time when nobody can be asked.
"""

import math
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from proxyd.core.limiting import Limit
from proxyd.limiting.buckets import AGAIN, Spent
from proxyd.limiting.estimate import Estimate
from proxyd.limiting.ledger import PATIENCE, UNKNOWN, Ledger, Question, note

MAX_ACCOUNTS: Final = 1024
"""Of one service in one worker; those that nobody uses are forgotten beyond."""

_ME: Final = ""


class Account:
    """What one service knows of one account."""

    __slots__ = ("alone", "callers", "estimate", "is_free", "is_news", "key", "pause", "silent", "turns", "untracked")

    def __init__(self, key: str, estimate: Estimate) -> None:
        self.key = key
        self.estimate = estimate
        self.is_free = False
        """Nobody counts: answers tell nothing."""
        self.untracked = 0
        """Attempts that left while it was free."""
        self.alone = 0
        """Attempts under way that were decided without control."""
        self.silent = 0
        """Attempts without an answer, which control has not been told of."""
        self.is_news = False
        """Something was told that control has not."""
        self.pause: tuple[float, float] | None = None
        """When a refusal came that control has not been told of, and how many seconds it named (below 0: none)."""
        self.callers: dict[str, int] = {}
        """Attempts by caller since a window began anew ..."""
        self.turns = 0
        """... for so many times."""


class Standing(Protocol):
    """A gate before the accounts (limiting.vendor), as others see it."""

    rank: int
    """0 is the highest class."""

    def is_waited_for(self, key: str) -> bool:
        """Whether somebody waits there for an account."""
        ...

    def notice(self, key: str) -> None:
        """Something changed for an account: whoever waits looks again."""
        ...


class Accounts:
    """The estimates of a worker, and who waits for them."""

    def __init__(self) -> None:
        self._estimates: dict[str, Estimate] = {}
        self.gates: list[Standing] = []

    def estimate(self, key: str) -> Estimate:
        """Return the estimate of an account, a new one where there is none."""
        found = self._estimates.get(key)
        if found is None:
            if len(self._estimates) >= MAX_ACCOUNTS:
                self._estimates.pop(next(iter(self._estimates)))
            found = self._estimates[key] = Estimate()
        return found

    def enlist(self, gates: Sequence[Standing]) -> None:
        """These are the gates of the present snapshot."""
        self.gates = sorted(gates, key=lambda gate: gate.rank)

    def notice(self, key: str) -> None:
        """Something changed for an account: whoever waits looks again, the higher class first."""
        for gate in self.gates:
            gate.notice(key)

    def is_outranked(self, gate: Standing, key: str) -> bool:
        """Whether a higher class waits for the account."""
        return any(other.rank < gate.rank and other.is_waited_for(key) for other in self.gates)


class OwnEstimate:
    """An account's tokens in a worker that is alone (an Allowance)."""

    def __init__(self, accounts: Accounts, reserve: float) -> None:
        self._accounts = accounts
        self._reserve = reserve

    def try_take(self, key: str, cost: int, now: float) -> float:
        """Take and return 0; else the seconds to wait, or UNKNOWN: an answer will tell."""
        tokens, wait = self._accounts.estimate(key).lend(_ME, cost, self._reserve, now, math.inf)
        if tokens:
            return 0.0
        return wait if wait > AGAIN else UNKNOWN

    def give_back(self, key: str, cost: int) -> None:
        """Undo a take."""
        estimate = self._accounts.estimate(key)
        estimate.settle(_ME, (), max(0, estimate.held(_ME) - cost), 0.0, math.inf)

    def expect(self, key: str, tokens: int) -> None:
        """They come with answers, or after the reset."""

    def answered(self, key: str, cost: int, now: float) -> None:
        """An attempt is over."""
        settle(self._accounts.estimate(key), now)

    def left(self, key: str, now: float) -> int:
        """Return the tokens that are free."""
        return self._accounts.estimate(key).left(now)

    def reset(self, key: str, now: float) -> float:
        """Return the seconds until there are more."""
        return self._accounts.estimate(key).reset(now)


class VendorLedger(Ledger):
    """Leases of accounts; while nobody answers, a part of what this worker knows by itself."""

    patience = 3.0
    """Its own knowledge is worse than control's word, so a control that is slow is waited for longer."""

    def __init__(
        self,
        limit: Limit,
        workers: int,
        ask: Callable[[Question], None],
        arrived: Callable[[str], None],
        reserve: float,
    ) -> None:
        super().__init__(limit, workers, ask, arrived)
        self._reserve = reserve
        self.account: Callable[[str], Account | None] = lambda key: None
        """Finds an account by its key."""

    def hold(self, key: str, seconds: float, now: float) -> None:
        """The vendor is to be left alone: what is lent goes back."""
        lease = self._leases.get(key)
        if lease is not None:
            lease.tokens = 0
            lease.more_at = now + seconds
            lease.next_ask = max(lease.next_ask, now + min(seconds, PATIENCE))
            lease.is_lent = False

    def tell(self, key: str, now: float) -> None:
        """Tell control what is new, without wanting anything."""
        lease = self._open(key, now)
        if not lease.asked:
            self._ask(key, lease, now, want=0)

    def _alone(self, key: str, cost: int, now: float) -> float:
        lease, account = self._leases[key], self.account(key)
        if not lease.asked and now >= lease.next_ask:
            self._ask(key, lease, now)  # is somebody there again?
        if account is None:
            return PATIENCE
        parts = self._members * self._workers
        if account.estimate.windows and lease.left < account.alone * parts and now < lease.reset_at:
            return max(AGAIN, lease.reset_at - now)  # its part of what control left at its last word
        tokens, wait = account.estimate.lend(_ME, cost, self._reserve, now, math.inf, parts, lease.flying)
        if not tokens:
            return wait
        account.alone += 1
        note(lease.spent, now, cost)  # to be told when somebody is there again
        return 0.0


def settle(estimate: Estimate, now: float, *, is_silent: bool = False) -> None:
    """An attempt that this worker counts itself is over; ``is_silent``: without an answer."""
    left = max(0, estimate.held(_ME) - 1)
    estimate.settle(_ME, (Spent(1, 0.0),), left, now, math.inf, 1 if is_silent else 0)
