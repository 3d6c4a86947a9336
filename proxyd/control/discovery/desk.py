"""All services whose endpoints are looked for.

A configuration comes in by two steps, as everywhere in control: ``prime`` begins to look where nobody looked yet and
waits a little, so that a start or a reload does not begin with empty lists; ``commit`` ends what is no longer wanted.
"""

import random
from collections.abc import Iterable, Iterator
from typing import Final, assert_never

import trio

from proxyd.control.discovery import files, kubernetes, names
from proxyd.control.discovery.records import Records
from proxyd.control.discovery.watch import Watch
from proxyd.core.discovery import Discovery, Dns, ListFile, Slices, Srv
from proxyd.core.service import Endpoint
from proxyd.telemetry.log import Log

FIRST_SECONDS: Final = 3.0
"""How long a new configuration waits for the first lists."""
DEBOUNCE: Final = 0.1
"""Seconds between the first change and what is made of all that came by then; up to half of it more is jitter."""


class Discoveries:
    """The lists of the configuration in use, and of one that is about to be."""

    def __init__(self, log: Log, rng: random.Random | None = None, records: Records | None = None) -> None:
        self._log = log
        self._rng = rng or random.Random()  # noqa: S311 - jitter, not secrecy
        self._watches: dict[Discovery, Watch] = {}
        self._records = records if records is not None else Records()
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
            state = "no endpoint is known" if watch.endpoints is None else "the endpoints found before go on"
            problems = watch.problems if watch.heard.is_set() else ("no answer has come yet",)
            for text in problems:
                yield f"{watch.discovery.service}: discovery by {watch.discovery.finder}: {text} ({state})"

    def _watch(self, discovery: Discovery) -> Watch:
        watch = self._watches.get(discovery)
        if watch is None:
            watch = self._watches[discovery] = Watch(discovery, self._changed, self._rng)
            watch.told = self._tell
            if self._nursery is not None:
                self._nursery.start_soon(self._follow, watch)
        return watch

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
                await files.follow(finder, watch)
            case Slices():
                await kubernetes.follow(finder, watch)
            case _:
                assert_never(finder)


def _cause(error: Exception) -> Exception:
    """Return the first error of a group, which says more than the group does."""
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return error
