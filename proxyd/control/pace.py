"""Background work in turn: so many begin at once, and so many a second from then on (aiolimiter).

The limiter is asyncio's, so one task serves it inside a loop of trio-asyncio; whoever waits for a turn stays in trio
and needs neither. Both are loaded when somebody first asks.
"""

from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final

import trio

Turn = Callable[[], Awaitable[None]]


class Pace:
    """A line that moves at a bounded rate; before ``run`` there is none, and nobody waits."""

    def __init__(self, rate: float, burst: int) -> None:
        """``burst`` turns at once, ``rate`` a second from then on."""
        self.rate = rate
        self.burst = burst
        self._line: deque[trio.Event] = deque()
        self._asked = trio.Event()
        self._is_running = False

    def __repr__(self) -> str:
        return f"<Pace {self.rate:g}/s burst={self.burst} waiting={len(self._line)}>"

    async def turn(self) -> None:
        """Wait for one's turn, first come, first served."""
        if not self._is_running:
            return
        mine = trio.Event()
        self._line.append(mine)
        self._asked.set()
        try:
            await mine.wait()
        except trio.Cancelled:
            if mine in self._line:
                self._line.remove(mine)
            raise

    async def run(self) -> None:
        """Give turns until cancelled."""
        self._is_running = True
        try:
            await self._asked.wait()
            await self._serve()
        finally:
            self._is_running = False
            for waiting in self._line:
                waiting.set()
            self._line.clear()

    async def _serve(self) -> None:
        import aiolimiter
        import trio_asyncio

        limiter = aiolimiter.AsyncLimiter(self.burst, self.burst / self.rate)
        async with trio_asyncio.open_loop():
            while True:
                while not self._line:
                    self._asked = trio.Event()
                    await self._asked.wait()
                if limiter.has_capacity():
                    await limiter.acquire()
                else:
                    await trio_asyncio.aio_as_trio(limiter.acquire)()
                if self._line:  # else they have given up meanwhile
                    self._line.popleft().set()


async def at_once() -> None:
    """Wait for nobody."""


PROBES: Final = (200.0, 20)
"""Health checks: connections that begin, by rate and burst."""
LOOKUPS: Final = (100.0, 50)
"""Discovery: questions to resolvers and files that are read."""
COMMANDS: Final = (30.0, 8)
"""Programs that are run for secrets, when a configuration comes in, too."""
OPENINGS: Final = (10.0, 10)
"""Sinks that are opened again after they failed."""
