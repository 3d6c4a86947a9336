"""Notes when secrets of the vault were used, from the records of exchanges: best effort.

Each record names the credential that was added. Where neither an access log is written nor exchanges are kept
(``telemetry.recent: 0``) workers send no records, and nothing is known. Passwords of proxy users are not noted.
"""

import time
from collections.abc import Callable
from typing import Final

import trio

from proxyd.core.events import ACCESS, ACCESS_SCHEMA
from proxyd.core.records import Batch
from proxyd.core.service import Service
from proxyd.core.settings import Settings
from proxyd.telemetry.log import Log
from proxyd.vault.errors import VaultError
from proxyd.vault.usage import SAVE_SECONDS, Usage

_CREDENTIAL: Final = ACCESS_SCHEMA.place["credential"]


class LastUse:
    """A tap on records; ``settings`` returns the configuration in use."""

    def __init__(
        self, usage: Usage, settings: Callable[[], Settings | None], log: Log, clock: Callable[[], float] = time.time
    ) -> None:
        self._usage = usage
        self._settings = settings
        self._log = log
        self._clock = clock
        self._known: Settings | None = None
        self._vault: dict[str, str] = {}

    def take(self, batch: Batch) -> None:
        """Note the credentials of a batch."""
        settings = self._settings()
        if settings is not self._known:
            self._known = settings
            sources = settings.secrets if settings else ()
            self._vault = {source.name: source.vault for source in sources if source.vault}
        if not self._vault:
            return
        lists = {record[_CREDENTIAL] for record in batch.of(ACCESS)}
        names = {name for text in lists if text for name in text.split(",")}
        self._usage.note({self._vault[name] for name in names if name in self._vault}, self._clock())

    async def run(self) -> None:
        """Write the times down now and then, and at the end."""
        try:
            while True:
                await trio.sleep(SAVE_SECONDS)
                await trio.to_thread.run_sync(self._save)
        finally:
            self._save()

    def _save(self) -> None:
        try:
            self._usage.save()
        except VaultError as error:
            self._log.warning("last_use_lost", detail=str(error))


def secret_names(service: Service) -> set[str]:
    """Return the names of a service's secrets."""
    return {name for auth in service.auths for name in auth.secret_names}
