"""Lends parts of what vendors leave of their own limits, from one estimate per account that all members share.

In a fleet the estimate stands in the store, else in memory: after a restart one request asks the vendor anew. A
worker's words are bounded here; what it says of an account that is not its service's changes that account's pace alone.
"""

import math
from collections.abc import Callable, Sequence
from typing import Final

from proxyd.core.messages import SetLease, WantLease
from proxyd.core.service import Service
from proxyd.core.vendor import ACCOUNT_LIMIT
from proxyd.limiting.buckets import Grant, Spent
from proxyd.limiting.estimate import Estimate, Seen
from proxyd.limiting.told import LONGEST, MAX_COUNT, MAX_NAME, MAX_WINDOWS
from proxyd.limiting.vendor import reserve
from proxyd.store.protocol import Change, Store, update

PREFIX: Final = "vendor/"
MAX_PAUSE: Final = LONGEST
MAX_AGO: Final = 3600.0
MAX_ACCOUNTS: Final = 4096
"""Accounts of which it is remembered who asked."""

MAX_ASKERS: Final = 256

Reply = Callable[[SetLease], None]


class Estimates:
    """Answers workers' questions about vendors' limits."""

    def __init__(self) -> None:
        self._services: dict[str, Service] = {}
        self._askers: dict[str, dict[tuple[str, str], Reply]] = {}
        """Who asked about an account: worker and service."""

    def configure(self, services: Sequence[Service]) -> None:
        """Bring in the services of a configuration."""
        self._services = {service.name: service for service in services if service.vendor_limits is not None}

    def knows(self, service: str) -> bool:
        """Whether a service keeps to its vendor's limits."""
        return service in self._services

    async def lend(
        self, message: WantLease, member: str, store: Store, lifetime: float, members: int, reply: Reply
    ) -> SetLease:
        """Take in what a worker tells, and lend it what it wants. StoreError."""
        service = self._services[message.service]
        policy = service.vendor_limits
        assert policy is not None, "only those that have one are known"
        share = reserve(service.priority_class, policy)
        spent = [Spent(max(0, tokens), max(0.0, ago)) for tokens, ago in message.spent]
        seen = [Seen(*one) for one in message.seen]

        def change(value: bytes, now: float) -> tuple[Change, tuple[Grant, float, bool]]:
            estimate = Estimate.decode(value)
            if message.pause:
                estimate.refused(None if message.pause < 0 else message.pause, policy.definition.pause, now)
            estimate.observe(seen, now)
            estimate.settle(member, spent, message.kept, now, lifetime, message.silent)
            grant = estimate.take(member, message.want, share, now, lifetime)
            state = Change(estimate.encode(), estimate.lifetime(now))
            return state, (grant, max(0.0, estimate.blocked_until - now), estimate.is_plain)

        grant, pause, is_free = await update(store, PREFIX + message.key, change)
        self._remember(message, member, reply)
        if message.pause:
            self._tell_others(message, member, lifetime, pause, members)
        return SetLease(
            message.service, ACCOUNT_LIMIT, message.key, grant.tokens, lifetime, grant.wait, grant.left, grant.reset,
            members, is_free=is_free, pause=pause,
        )  # fmt: skip

    def _remember(self, message: WantLease, member: str, reply: Reply) -> None:
        askers = self._askers.get(message.key)
        if askers is None:
            if len(self._askers) >= MAX_ACCOUNTS:
                self._askers.pop(next(iter(self._askers)))
            askers = self._askers[message.key] = {}
        if len(askers) >= MAX_ASKERS:
            askers.pop(next(iter(askers)))
        askers[member, message.service] = reply

    def _tell_others(self, message: WantLease, member: str, lifetime: float, pause: float, members: int) -> None:
        """A refusal concerns everybody: other workers do not wait until they ask the next time."""
        for (other, service), reply in self._askers.get(message.key, {}).items():
            if (other, service) != (member, message.service):
                reply(
                    SetLease(
                        service, ACCOUNT_LIMIT, message.key, 0, lifetime, pause, 0, pause, members, pause=pause
                    )
                )  # fmt: skip


def check(message: WantLease) -> None:
    """Refuse what no worker says. ValueError."""
    if len(message.seen) > MAX_WINDOWS or not 0 <= message.silent <= MAX_COUNT:
        raise ValueError("WantLease: too many words of a vendor's limits")
    if not -1.0 <= message.pause <= MAX_PAUSE:
        raise ValueError("WantLease: a pause that is out of range")
    for name, remaining, limit, reset, length, ago, low in message.seen:
        numbers = (reset, length, ago)
        if len(name) > MAX_NAME or not all(math.isfinite(one) and -1 <= one <= LONGEST for one in numbers):
            raise ValueError("WantLease: a vendor's window that is out of range")
        if ago > MAX_AGO or not all(-1 <= one <= MAX_COUNT for one in (remaining, limit, low)):
            raise ValueError("WantLease: a vendor's window that is out of range")
