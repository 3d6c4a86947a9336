"""A vault that a plugin knows: each call in a thread and a loop of its own, within a time, whatever it raises."""

import math
import threading
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final, TypeVar

import trio

from proxyd.core.settings import Reference, VaultSource
from proxyd.sdk.loader import LoadError, load_vault
from proxyd.sdk.options import OptionsError, read_options, secret_names
from proxyd.sdk.text import printable
from proxyd.sdk.vault import Fetched, Vault, VaultPluginError
from proxyd.vault.outside.provider import Document, OutsideError

CALLS: Final = 4
"""Calls to one plugin at a time; what hangs keeps its place."""
SHARE: Final = 2 / 3
"""Of the time that a value has left, after which it is fetched again."""
MAX_VERSION: Final = 128

T = TypeVar("T")


class PluginVault:
    """Satisfies Provider by a plugin, and VaultHost for it."""

    def __init__(
        self,
        source: VaultSource,
        secret: Callable[[str], bytes | None],
        log: Callable[[str, str, str], None],
        wall: Callable[[], float] = time.time,
    ) -> None:
        """``log(level, event, detail)`` is called in control's loop."""
        self.name = source.name
        self._source = source
        self._secret = secret
        self._log = log
        self._wall = wall
        self._home = trio.lowlevel.current_trio_token()
        self._room = trio.CapacityLimiter(CALLS)
        self._making = threading.Lock()
        self._plugin: Vault | None = None
        self._names: frozenset[str] = frozenset()

    def __repr__(self) -> str:
        return f"<PluginVault {self.name} {self._source.kind}>"

    # --- for the plugin, from any thread ----------------------------------------------------------

    def secret(self, name: str) -> bytes | None:
        """Return the value of a secret that the options name."""
        if name not in self._names:
            raise KeyError(f"the options of {self.name} do not name the secret {name!r}")
        return self._secret(name)

    def log(self, level: str, event: str, detail: str) -> None:
        """Write to the daemon's log."""
        known = level if level in ("debug", "info", "warning", "error") else "info"
        words = known, printable(event[:64]), printable(f"vault {self.name}: {detail}"[:1000])
        self._home.run_sync_soon(self._log, *words)

    # --- for control ------------------------------------------------------------------------------

    @property
    def login_ends(self) -> float:
        """Return 0: what a plugin logs in by is its own affair."""
        return 0.0

    def group(self, reference: Reference) -> Reference:
        """Return the reference itself: every field is fetched for itself."""
        return reference

    async def read(self, reference: Reference) -> Document:
        """Return what the plugin fetches. OutsideError."""
        found = await self._call(lambda plugin: plugin.fetch(reference))
        wall = self._wall()
        if not isinstance(found, Fetched) or not isinstance(found.value, bytes):
            raise OutsideError("the plugin's fetch returns something else than Fetched with bytes")
        if not all(isinstance(each, int | float) and math.isfinite(each) for each in (found.created, found.expires)):
            raise OutsideError("the plugin's fetch returns a time that is none")
        if found.expires and found.expires <= wall:
            raise OutsideError("the plugin's fetch returns a value that is over")
        again = self._source.poll
        if found.expires:
            again = min(again, max(1.0, (found.expires - wall) * SHARE))
        version = printable(str(found.version)[:MAX_VERSION])
        return Document({reference.field: found.value}, again, version, float(found.created), float(found.expires))

    async def aclose(self) -> None:
        """Close the plugin, if it was made. OutsideError."""
        if self._plugin is not None:
            await self._call(lambda plugin: plugin.aclose())

    async def _call(self, act: Callable[[Vault], Awaitable[T]]) -> T:
        work = partial(trio.run, self._acting, act)
        result: Any = await trio.to_thread.run_sync(work, abandon_on_cancel=True, limiter=self._room)
        if isinstance(result, OutsideError):
            raise result
        return result  # type: ignore[no-any-return]

    async def _acting(self, act: Callable[[Vault], Awaitable[T]]) -> T | OutsideError:
        """Run in the plugin's thread; what it raises is returned in words."""
        try:
            return await act(self._made())
        except VaultPluginError as error:
            return OutsideError(printable(str(error)[:1000]), is_gone=error.is_gone)
        except (LoadError, OptionsError) as error:
            return OutsideError(printable(str(error)[:1000]))
        except (Exception, SystemExit) as error:  # noqa: BLE001 - what a stranger's code raises; its text may be a value
            return OutsideError(f"the plugin failed: {type(error).__name__}")

    def _made(self) -> Vault:
        with self._making:
            if self._plugin is None:
                kind = load_vault(self._source.kind)
                options = read_options(kind.options_type, self._source.options)
                self._names = secret_names(options)
                self._plugin = kind(options, self)
            return self._plugin
