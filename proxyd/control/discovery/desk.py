"""All services whose endpoints are looked for.

A configuration comes in by two steps, as everywhere in control: ``prime`` begins to look where nobody looked yet and
waits a little, so that a start or a reload does not begin with empty lists; ``commit`` ends what is no longer wanted.
"""

import random
from collections.abc import Iterable, Iterator
from typing import Final, assert_never

import trio

from proxyd.control.discovery import files, kubernetes, names
from proxyd.control.discovery.memory import REFRESH_SECONDS, Memory
from proxyd.control.discovery.records import Records
from proxyd.control.discovery.watch import Watch, age_words
from proxyd.control.pace import Turn, at_once
from proxyd.core.discovery import Discovery, Dns, ListFile, Slices, Srv
from proxyd.core.service import Endpoint
from proxyd.telemetry.log import Log

FIRST_SECONDS: Final = 3.0
"""How long a new configuration waits for the first lists."""
_LOOK_SECONDS: Final = 1.0
"""Between two looks at whether there is something to write down."""
DEBOUNCE: Final = 0.1
"""Seconds between the first change and what is made of all that came by then; up to half of it more is jitter."""


class Discoveries:
    """The lists of the configuration in use, and of one that is about to be."""

    def __init__(
        self,
        log: Log,
        rng: random.Random | None = None,
        records: Records | None = None,
        memory: Memory | None = None,
        turn: Turn = at_once,
    ) -> None:
        """``memory`` keeps lists beyond this process; None: nothing does. ``turn`` is waited for before each look."""
        self._turn = turn
        self._log = log
        self._rng = rng or random.Random()  # noqa: S311 - jitter, not secrecy
        self._watches: dict[Discovery, Watch] = {}
        self._records = records if records is not None else Records()
        self._memory = memory
        self._written: dict[Discovery, tuple[tuple[Endpoint, ...] | None, float]] = {}
        """What stands on the disk."""
        self._changed = trio.Event()
        self._nursery: trio.Nursery | None = None

    def __iter__(self) -> Iterator[Watch]:
        return iter(self._watches.values())

    async def run(self) -> None:
        """Look until cancelled."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            for watch in self:
                nursery.start_soon(self._follow, watch)
            if self._memory is not None:
                await self._keep_writing(self._memory)
            await trio.sleep_forever()

    async def prime(self, discoveries: Iterable[Discovery]) -> None:
        """Look where nobody looks yet; return when each of these has been heard of, after three seconds at most."""
        wanted = [self._watch(discovery) for discovery in discoveries]
        with trio.move_on_after(FIRST_SECONDS):
            for watch in wanted:
                await watch.heard.wait()

    def commit(self, discoveries: Iterable[Discovery]) -> None:
        """Look for these alone."""
        wanted = set(discoveries)
        for discovery in [*self._watches]:
            if discovery not in wanted:
                self._watches.pop(discovery).scope.cancel()

    def found(self, discoveries: Iterable[Discovery]) -> dict[str, tuple[Endpoint, ...]]:
        """Return what was found for these, by service; one of which nothing was found is missing."""
        lists = {}
        for discovery in discoveries:
            watch = self._watches.get(discovery)
            if watch is not None and watch.endpoints is not None:
                lists[discovery.service] = watch.endpoints
        return lists

    async def change(self) -> None:
        """Wait until a list has changed, and a moment longer for others that change with it."""
        await self._changed.wait()
        await trio.sleep(DEBOUNCE + self._rng.uniform(0.0, DEBOUNCE / 2))
        self._changed = trio.Event()
        for watch in self:
            watch.changed = self._changed

    @property
    def problems(self) -> Iterator[str]:
        """Say what is wrong, for ``status``."""
        for watch in self:
            state = "no endpoint is known"
            if watch.endpoints is not None:
                state = f"the endpoints found {age_words(watch.age)} ago go on"
            problems = watch.problems if watch.heard.is_set() else ("no answer has come yet",)
            for text in problems:
                yield f"{watch.discovery.service}: discovery by {watch.discovery.finder}: {text} ({state})"

    def _watch(self, discovery: Discovery) -> Watch:
        watch = self._watches.get(discovery)
        if watch is None:
            watch = self._watches[discovery] = Watch(discovery, self._changed, self._rng)
            watch.told = self._tell
            watch.turn = self._turn
            self._recall(watch)
            if self._nursery is not None:
                self._nursery.start_soon(self._follow, watch)
        return watch

    def _recall(self, watch: Watch) -> None:
        """Begin with what a former process found."""
        if self._memory is None:
            return
        kept = self._memory.recall(watch.discovery)
        if self._memory.problem:
            self._log.warning("discovery_memory", detail=self._memory.problem)
            self._memory.problem = ""
        if kept is not None:
            watch.endpoints, watch.found_at = kept

    async def _keep_writing(self, memory: Memory) -> None:
        """Have the disk follow: what changed at once, what was merely confirmed now and then."""
        while True:
            wanted = {watch.discovery: (watch.endpoints, watch.found_at) for watch in self}
            if self._is_due(wanted):
                try:
                    await trio.to_thread.run_sync(memory.keep, [*self])
                except OSError as error:
                    self._log.warning("discovery_memory", detail=f"the lists cannot be kept: {error}")
                self._written = wanted  # after a failure too: the next change, or REFRESH_SECONDS, tries again
            await trio.sleep(_LOOK_SECONDS)

    def _is_due(self, wanted: dict[Discovery, tuple[tuple[Endpoint, ...] | None, float]]) -> bool:
        written = self._written
        if not wanted and not written:
            return False
        return wanted.keys() != written.keys() or any(
            endpoints != written[discovery][0] or moment - written[discovery][1] >= REFRESH_SECONDS
            for discovery, (endpoints, moment) in wanted.items()
        )

    def _tell(self, watch: Watch) -> None:
        service, finder = watch.discovery.service, str(watch.discovery.finder)
        if watch.problems:
            self._log.warning("discovery_failed", service=service, source=finder, detail="; ".join(watch.problems))
        else:
            self._log.info("discovery_recovered", service=service, source=finder)

    async def _follow(self, watch: Watch) -> None:
        """Keep one finder running: one that fails in a way nobody foresaw is told and begun again."""
        with watch.scope:
            while True:
                try:
                    await self._find(watch)
                except Exception as error:  # noqa: BLE001 - a supervising loop: answers come from outside
                    cause = _cause(error)
                    detail = f"{type(cause).__name__}: {cause}"
                    self._log.error("discovery_crashed", service=watch.discovery.service, detail=detail)
                    watch.failed(detail)
                await trio.sleep(watch.pause())

    async def _find(self, watch: Watch) -> None:
        finder = watch.discovery.finder
        match finder:
            case Dns() | Srv():
                await names.follow(finder, watch, self._records)
            case ListFile():
                await watch.turn()
                await files.follow(finder, watch)
            case Slices():
                await watch.turn()
                await kubernetes.follow(finder, watch)
            case _:
                assert_never(finder)


def _cause(error: Exception) -> Exception:
    """Return the first error of a group, which says more than the group does."""
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return error
