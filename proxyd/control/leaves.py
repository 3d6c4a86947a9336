"""Leaves for workers: those of exact service hosts are made ahead, all but the first in the background, others when a
worker asks.

A worker's question is not trusted: only hosts within the CA's constraints are answered, and one caller can have a
bounded number minted in an hour.
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Final

import trio

from proxyd.certs.authority import Authority, Leaf
from proxyd.core.authority import normalise_host
from proxyd.core.limits import Limits
from proxyd.core.messages import InstallLeaf
from proxyd.core.service import HostPattern
from proxyd.core.units import HOUR

MAX_AHEAD: Final = 1024
"""Leaves made ahead; services beyond it get theirs when they are asked for."""
AT_ONCE: Final = 32
"""Of these, leaves that a worker has before it accepts; they take 8 ms."""
MAX_CACHED: Final = 4096
"""Leaves kept here, oldest use out first."""
MAX_CALLERS: Final = 4096
"""Callers counted within one hour; a further one is refused."""
RENEWAL_SECONDS: Final = 60.0
"""Between looks at the leaves' age."""


class CallerCap:
    """Counts what each caller had minted within a fixed window of an hour."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._began = clock()
        self._counts: dict[str, int] = {}

    def take(self, caller: str, limit: int) -> bool:
        """Count one more for ``caller``; False, and nothing counted, when that would be too many."""
        now = self._clock()
        if now - self._began >= HOUR:
            self._began = now
            self._counts.clear()
        count = self._counts.get(caller, 0)
        if count >= limit or (not count and len(self._counts) >= MAX_CALLERS):
            return False
        self._counts[caller] = count + 1
        return True


class Leaves:
    """Mints through an Authority, keeps what is fresh, and answers workers."""

    def __init__(self, authority: Authority, clock: Callable[[], float] = time.time) -> None:
        self._authority = authority
        self._clock = clock
        self._limits = Limits()
        self._ahead: list[str] = []
        self._coming: list[str] = []
        self._cache: OrderedDict[str, Leaf] = OrderedDict()
        self._cap = CallerCap()
        self._wanted = trio.Event()

    def configure(self, hosts: Iterable[HostPattern], unconstrained: bool, limits: Limits) -> None:
        """Allow the hosts of a new configuration; ``commit`` follows if it stays. ValueError: they cannot be
        constrained.
        """
        patterns = tuple(hosts)
        self._authority.constrain(patterns, unconstrained)
        self._limits = limits
        exact = dict.fromkeys(pattern.host for pattern in patterns if not pattern.wildcard)
        self._coming = list(exact)[:MAX_AHEAD]
        for host in [host for host in self._cache if not self._authority.constraints.allow(host)]:
            del self._cache[host]

    def commit(self) -> None:
        """Make leaves ahead for the hosts that were allowed last, from now on."""
        self._ahead = self._coming
        self._wanted.set()

    def ahead(self) -> list[InstallLeaf]:
        """Return a fresh leaf for each of the first exact service hosts, and for others where there is one."""
        for host in self._ahead[:AT_ONCE]:
            if self._is_due(host):
                self._mint(host)
        found = map(self._fresh, self._ahead)
        return [_message(leaf) for leaf in found if leaf is not None]

    async def keep(self, put: Callable[[InstallLeaf], None]) -> None:
        """Make a leaf for every exact service host that has no fresh one, for as long as it runs; ``put`` each.

        One takes a quarter of a millisecond, and everybody else has a turn after each: a start does not wait for them.
        """
        while True:
            self._wanted = trio.Event()
            for host in list(self._ahead):
                if host in self._ahead and self._is_due(host):
                    put(_message(self._mint(host)))
                    await trio.lowlevel.checkpoint()
            with trio.move_on_after(RENEWAL_SECONDS):
                await self._wanted.wait()

    def answer(self, host: str, caller: str) -> InstallLeaf:
        """Answer a worker's question, by a refusal in words where there is no leaf for it."""
        try:
            known = normalise_host(host)[0] == host and self._authority.constraints.allow(host)
        except ValueError:
            known = False
        if not known:
            return _refusal(host, "the host belongs to no service")
        leaf = self._fresh(host)
        if leaf is None:
            limit = self._limits.leaves_per_caller
            if not self._cap.take(caller, limit):
                return _refusal(
                    host, f"this caller had {limit} certificates within the hour (limits.leaves_per_caller)"
                )
            leaf = self._mint(host)
        return _message(leaf)

    def kept(self) -> list[Leaf]:
        """Return the leaves that are kept here, the oldest use first."""
        return list(self._cache.values())

    def _is_due(self, host: str) -> bool:
        """Whether a leaf is to be made; none is while a configuration without the host may still come to stay."""
        return self._fresh(host) is None and self._authority.constraints.allow(host)

    def _fresh(self, host: str) -> Leaf | None:
        leaf = self._cache.get(host)
        if leaf is None or self._clock() >= leaf.renewal:
            return None
        self._cache.move_to_end(host)
        return leaf

    def _mint(self, host: str) -> Leaf:
        leaf = self._cache[host] = self._authority.mint(host)
        self._cache.move_to_end(host)
        while len(self._cache) > MAX_CACHED:
            self._cache.popitem(last=False)
        return leaf


def _message(leaf: Leaf) -> InstallLeaf:
    return InstallLeaf(leaf.host, leaf.chain_pem, leaf.key_pem, leaf.expires)


def _refusal(host: str, why: str) -> InstallLeaf:
    return InstallLeaf(host, b"", b"", 0.0, why)
