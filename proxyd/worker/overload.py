"""Load shedding: a worker whose loop runs late refuses new requests, the lowest priority class first.

A task sleeps and sees how late it wakes: that is what every other task waits for its turn, whatever the reason. Late
for ``after`` seconds refuses class ``low``, as long again ``normal``, then ``high``; half as late for as long lets the
last one in again. While nothing is refused, requests pay nothing: what is refused has its route's chain exchanged.

Requests alone are refused. Tunnels and upgraded connections go on, and what is under way is finished.
"""

import math
from collections.abc import Callable
from typing import Final

import trio

from proxyd.core import metrics
from proxyd.core.errors import Flag, ProxyError
from proxyd.core.exchange import Exchange
from proxyd.core.limits import Overload
from proxyd.core.route import Chain, Route
from proxyd.core.service import PriorityClass
from proxyd.core.view import View
from proxyd.worker.meter import Counter, Meter

INTERVAL: Final = 0.1
"""Seconds between two looks: ten wake-ups a second, and a fifth of the default ``lag``."""
MEMORY: Final = 0.5
"""Seconds in which an old value fades to 1/e."""
WORST: Final = 4
"""A look counts as this many times ``lag`` at most: one long stall, once over, is forgotten within ``after``."""
CLASSES: Final = (PriorityClass.LOW, PriorityClass.NORMAL, PriorityClass.HIGH)
"""In the order in which they are refused."""

Told = Callable[[str, str, str], None]
"""Level, name and words of a notice."""


class LagMeter:
    """How late the loop runs, and how many classes are to be refused for it. Synchronous."""

    __slots__ = ("_since", "_stamp", "_wanted", "lag", "level", "policy")

    def __init__(self, policy: Overload, now: float) -> None:
        self.policy = policy
        self.lag = 0.0
        """Seconds, averaged."""
        self.level = 0
        """Classes that are refused."""
        self._stamp = now
        self._wanted = 0
        """The step that was due at the last look ..."""
        self._since = now
        """... and has been since then."""

    def __repr__(self) -> str:
        return f"<LagMeter lag={self.lag:.3f} level={self.level}>"

    def observe(self, late: float, now: float) -> bool:
        """Take in that the loop was ``late`` by so many seconds; True when ``level`` has changed."""
        policy = self.policy
        if policy.lag:
            late = min(late, WORST * policy.lag)
        old = math.exp(min(0.0, self._stamp - now) / MEMORY)
        self._stamp = now
        self.lag = self.lag * old + late * (1.0 - old)
        step = self._step()
        if step != self._wanted:
            self._wanted, self._since = step, now
        if not step or now - self._since < policy.after:
            return False
        self._since = now
        self.level += step
        return True

    def _step(self) -> int:
        """Return 1 where one more class should be refused, -1 where one should be let in again."""
        lag = self.policy.lag
        if lag and self.lag >= lag:
            return 1 if self.level < len(CLASSES) else 0
        return -1 if self.level and (self.lag <= lag / 2 or not lag) else 0


class Shedder:
    """Measures this worker's lag, and has routes refuse requests."""

    def __init__(self, meter: Meter, tell: Told) -> None:
        self._meter = meter
        self._tell = tell
        self._lag = LagMeter(Overload(), trio.current_time())
        self._view: View | None = None
        self._kept: list[tuple[Route, Chain]] = []
        """Routes that refuse, with the chains that they had."""
        meter.gauge(metrics.LOOP_LAG, lambda: round(self._lag.lag, 4))
        meter.gauge(metrics.SHED_CLASSES, lambda: self._lag.level)

    @property
    def level(self) -> int:
        """How many classes are refused."""
        return self._lag.level

    def apply(self, view: View) -> None:
        """Go by this view from now on."""
        self._restore()
        self._view = view
        self._lag.policy = view.snapshot.overload
        self._refuse()

    async def run(self) -> None:
        """Measure until cancelled."""
        while True:
            due = trio.current_time() + INTERVAL
            await trio.sleep_until(due)
            now = trio.current_time()
            self.observe(now - due, now)

    def observe(self, late: float, now: float) -> None:
        """Act on one measurement."""
        if self._lag.observe(late, now):
            self._restore()
            self._refuse()
            self._say()

    def _restore(self) -> None:
        for route, chain in self._kept:
            route.chain = chain
        self._kept = []

    def _refuse(self) -> None:
        if self._view is None or not self._lag.level:
            return
        refused = CLASSES[: self._lag.level]
        for route in (*self._view.named.values(), self._view.unknown):
            kind = route.service.priority_class if route.service is not None else PriorityClass.NORMAL
            if kind in refused:
                self._kept.append((route, route.chain))
                counter = self._meter.counter(metrics.SHED, route.name, kind.value)
                route.chain = _refusing(route.chain, counter, kind)

    def _say(self) -> None:
        names = ", ".join(kind.value for kind in CLASSES[: self._lag.level])
        if names:
            self._tell("warning", "overload", f"the loop is late by {self._lag.lag:.1f} s; refused: {names}")
        else:
            self._tell("info", "overload_over", "no request is refused any more")


def _refusing(chain: Chain, counter: Counter, kind: PriorityClass) -> Chain:
    """Return a chain that refuses; what is due at an exchange's end is that of ``chain``."""

    def refuse(exchange: Exchange) -> None:
        counter.value += 1
        raise ProxyError(
            503,
            Flag.OVERLOAD,
            "proxy_internal_response",
            f"proxyd cannot keep up: requests of class {kind.value} are refused for now",
        )

    made = Chain([])
    made.steps = [(refuse, 0)]
    made.done_hooks = chain.done_hooks
    return made
