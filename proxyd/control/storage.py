"""Keeps the store open that the configuration names, and opens it again when it cannot be had."""

from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Final

import trio

from proxyd.control.leases import Leases
from proxyd.core.secret import Secret
from proxyd.core.settings import Settings, StoreSettings
from proxyd.store.protocol import Store, StoreError
from proxyd.telemetry.log import Log

AGAIN_SECONDS: Final = 5.0
"""Between two tries to open a store."""

SQLITE: Final = "sqlite:"


class Storage:
    """One store at a time."""

    def __init__(self, leases: Leases, state_dir: Path, log: Log, secret: Callable[[str], bytes | None]) -> None:
        self._leases = leases
        self._state_dir = state_dir
        self._log = log
        self._secret = secret
        self._wanted: StoreSettings | None = None
        self._changed = trio.Event()
        self.failure = ""
        """Why it is not open."""

    def configure(self, settings: Settings) -> None:
        """Open what these settings need; nothing where no limit needs any."""
        is_fleet = not settings.store.url.startswith(SQLITE)
        limits = [limit for service in settings.services for limit in service.limits]
        needed = any(limit.quota or limit.window or (is_fleet and limit.rate) for limit in limits)
        needed = needed or (is_fleet and any(service.vendor_limits is not None for service in settings.services))
        needed = needed or any(service.idempotency is not None for service in settings.services)
        needed = needed or bool(settings.tokens)
        wanted = settings.store if needed else None
        if not needed:
            self._leases.tried.set()
        self._leases.is_fleet = is_fleet and needed
        if wanted != self._wanted:
            self._wanted = wanted
            self._changed.set()
            self._changed = trio.Event()

    @property
    def problems(self) -> Iterator[str]:
        """Say what stands in ``status`` while the store is away."""
        why = self.failure or self._leases.failure
        if why and self._wanted is not None:
            yield f"shared limits go on without the store, each as its on_store_loss says: {why}"

    async def run(self) -> None:
        """Hold it open for ever."""
        while True:
            wanted, changed = self._wanted, self._changed
            if wanted is not None:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._hold, wanted)
                    await changed.wait()
                    nursery.cancel_scope.cancel()
            else:
                await changed.wait()

    async def _hold(self, wanted: StoreSettings) -> None:
        while True:
            try:
                async with self._open(wanted) as store:
                    self._leases.store = store
                    self._leases.tried.set()
                    self.failure = ""
                    try:
                        await trio.sleep_forever()
                    finally:
                        self._leases.store = None
            except StoreError as error:
                if not self.failure:
                    self._log.error("store_not_open", detail=str(error))
                self.failure = str(error)
                self._leases.tried.set()
            await trio.sleep(AGAIN_SECONDS)

    def _open(self, wanted: StoreSettings) -> AbstractAsyncContextManager[Store]:
        if wanted.url.startswith(SQLITE):
            from proxyd.store.sqlite import open_sqlite  # where no limit needs a store, none is loaded

            return open_sqlite(self._state_dir / wanted.url.removeprefix(SQLITE))
        try:
            from proxyd.store.redis import open_redis
        except ImportError:
            raise StoreError("the client for Redis is not installed: pip install 'proxyd[redis]'") from None
        value = self._secret(wanted.password) if wanted.password else None
        if wanted.password and value is None:
            raise StoreError(f"the secret {wanted.password} has no value")
        password = Secret(wanted.password, value) if value is not None else None
        return open_redis(wanted.url, password, wanted.roots_pem or None)
