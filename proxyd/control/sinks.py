"""The sinks of one configuration: opened before it is brought in, replaced when it is."""

import contextlib
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field

import trio

from proxyd.control.read import SettingsError
from proxyd.control.runner import ACCESS_LOG, Runner, Services, words_of
from proxyd.core import metrics
from proxyd.core.records import Batch
from proxyd.core.settings import Settings, SinkSettings
from proxyd.sdk.loader import SHIPPED, LoadError, load_sink
from proxyd.sdk.options import OptionsError, read_options


class SinkError(Exception):
    """A sink cannot be had; the text says which, why, and what to do."""


@dataclass(slots=True)
class Prepared:
    """Sinks that are ready, and those of the former configuration that go on."""

    fresh: dict[str, Runner] = field(default_factory=dict)
    kept: dict[str, Runner] = field(default_factory=dict)


class Sinks:
    """Everyone who gets the events of workers."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._runners: dict[str, Runner] = {}
        self._nursery: trio.Nursery | None = None
        self._unstarted: list[Runner] = []

    def __repr__(self) -> str:
        return f"<Sinks {', '.join(map(repr, self._runners.values())) or 'none'}>"

    @property
    def names(self) -> list[str]:
        """Names of the sinks in use."""
        return list(self._runners)

    @property
    def problems(self) -> list[str]:
        """What is wrong with sinks, in sentences."""
        return [text for runner in self._runners.values() for text in runner.problems]

    def put(self, batch: Batch) -> None:
        """Give a batch to every sink; never waits."""
        for runner in self._runners.values():
            runner.put(batch)

    async def prepare(self, settings: Settings) -> Prepared:
        """Load and open what ``settings`` name and is not there yet. SinkError: nothing is left open."""
        prepared = Prepared()
        try:
            for wanted in sinks_of(settings):
                former = self._runners.get(wanted.name)
                if former is not None and former.settings.is_same(wanted):
                    prepared.kept[wanted.name] = former
                else:
                    prepared.fresh[wanted.name] = await self._open(wanted, settings.source)
        except BaseException:
            with trio.CancelScope(shield=True):
                await self.discard(prepared)
            raise
        return prepared

    async def discard(self, prepared: Prepared) -> None:
        """Close what was prepared; it is not used."""
        for runner in prepared.fresh.values():
            await runner.discard()

    def commit(self, prepared: Prepared) -> None:
        """Feed these sinks from now on, and no others; those that go on open their files again."""
        former, self._runners = self._runners, {**prepared.fresh, **prepared.kept}
        for runner in former.values():
            if runner not in prepared.kept.values():
                runner.scope.cancel()
        for runner in prepared.kept.values():
            runner.reopen()
        for runner in prepared.fresh.values():
            self._services.cells.cell(metrics.SINK_FAILURES, runner.settings.name)
            self._start(runner)

    def reopen(self) -> None:
        """Have every sink open its files again: logs are being rotated."""
        for runner in self._runners.values():
            runner.reopen()

    async def run(self) -> None:
        """Run sinks until cancelled; each gets a moment to bring out what waits."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            for runner in self._unstarted:
                nursery.start_soon(runner.run)
            self._unstarted = []
            await trio.sleep_forever()

    def _start(self, runner: Runner) -> None:
        if self._nursery is None:
            self._unstarted.append(runner)
        else:
            self._nursery.start_soon(runner.run)

    async def _open(self, wanted: SinkSettings, source: str) -> Runner:
        where = f"{source}: {_place(wanted)}"
        try:
            if wanted.plugin in SHIPPED:
                kind = load_sink(wanted.plugin)
            else:  # an import that takes its time holds nobody up
                kind = await trio.to_thread.run_sync(load_sink, wanted.plugin)
            options = read_options(kind.options_type, wanted.options)
            runner = Runner(wanted, kind, options, self._services, own_loop=wanted.plugin not in SHIPPED)
            await runner.open()
        except (LoadError, OptionsError) as error:
            raise SinkError(f"{where}: {error}") from error
        except OSError as error:
            raise SinkError(f"{where}: {error.filename or ''}: {error.strerror}") from error
        except trio.TooSlowError as error:
            raise SinkError(f"{where}: opening it takes too long") from error
        except Exception as error:
            raise SinkError(f"{where}: {words_of(error)}") from error
        return runner


def sinks_of(settings: Settings) -> Iterable[SinkSettings]:
    """Return what a configuration wants, the access log first."""
    if settings.access_log is not None:
        yield SinkSettings(ACCESS_LOG, ACCESS_LOG, {"path": settings.access_log.path})
    yield from settings.sinks


def _place(wanted: SinkSettings) -> str:
    """Return where a person finds a sink in the configuration."""
    if not wanted.line:
        return "telemetry.access_log.path"
    return f"line {wanted.line}: telemetry.sinks: {wanted.name}"


@contextlib.asynccontextmanager
async def opened(sinks: Sinks, settings: Settings) -> AsyncIterator[Prepared]:
    """Open the sinks that are new in ``settings``; close them again when the block fails. SettingsError."""
    try:
        prepared = await sinks.prepare(settings)
    except SinkError as error:
        raise SettingsError([str(error)]) from error
    try:
        yield prepared
    except BaseException:
        with trio.CancelScope(shield=True):
            await sinks.discard(prepared)
        raise
