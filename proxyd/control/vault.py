"""What the admin side can do with the vault: plain values in and out, secrets by name only.

A change is answered when it is on the disk and every live worker uses it; a worker that does not take it within
APPLY_SECONDS is named in the answer and gets it when it goes on.
"""

import base64
import binascii
import time
from collections.abc import Callable
from functools import partial
from typing import Any, Final, TypeVar

import trio

from proxyd.control.controller import Controller
from proxyd.control.last_use import secret_names
from proxyd.core.refusal import Refusal
from proxyd.core.settings import SecretSource
from proxyd.vault import backup as backups
from proxyd.vault.compartment import Compartment
from proxyd.vault.errors import NoSuchSecret, VaultError
from proxyd.vault.forms import fault
from proxyd.vault.keys import NewKey, parse_key
from proxyd.vault.listing import row
from proxyd.vault.store import DEFAULT_OVERLAP, Vault
from proxyd.vault.usage import Usage

APPLY_SECONDS: Final = 5.0

T = TypeVar("T")


class VaultDesk:
    """The vault of a running daemon; satisfies proxyd.admin's Vault. Every method raises Refusal."""

    def __init__(self, controller: Controller, vault: Vault, usage: Usage) -> None:
        self._controller = controller
        self._vault = vault
        self._usage = usage

    @property
    def variables(self) -> list[str]:
        """Names of the environment variables that the vault's key was read from."""
        return self._vault.keyring.variables

    async def secrets(self) -> list[dict[str, Any]]:
        """Return a row for every secret of the vault and of the configuration."""
        listing = await _in_thread(self._vault.listing)
        settings = self._controller.settings
        sources = list(settings.secrets) if settings else []
        now = time.time()
        rows: list[dict[str, Any]] = []
        for name, versions in listing.items():
            names = {source.name for source in sources if source.vault == name}
            used_by = self._used_by(names)
            rows.append({**row(name, versions, self._usage.last(name), now), **self._age(names), "used_by": used_by})
        for source in sources:
            if source.vault not in listing:
                used_by = self._used_by({source.name})
                told = {"source": kind(source), **self._age({source.name}), "used_by": used_by}
                rows.append({**row(source.name, [], None, now), **told})
        return rows

    def _age(self, names: set[str]) -> dict[str, Any]:
        """Return age, end and state of a secret by the first of its names in the configuration."""
        state = next(filter(None, map(self._controller.secrets.get, sorted(names))), None)
        if state is None:
            return {"ends_seconds": None, "state": "not used"}
        return {**self._controller.ages.row(state), **({"version": state.version} if state.version else {})}

    async def store(self, name: str, value: bytes) -> dict[str, Any]:
        """Make ``value`` a secret's only version."""
        self._refuse_unusable(name, value)
        number = await _in_thread(partial(self._vault.set, name, value))
        answer = await self._applied(name)
        return {"name": name, "version": number, **answer, "problems": [*answer["problems"], *self._doubts(name)]}

    async def rotate(self, name: str, value: bytes, overlap: float | None = None) -> dict[str, Any]:
        """Make ``value`` the current version and let the former one count for ``overlap`` seconds."""
        self._refuse_unusable(name, value)
        seconds = DEFAULT_OVERLAP if overlap is None else overlap
        number = await _in_thread(partial(self._vault.rotate, name, value, seconds))
        answer = await self._applied(name)
        problems = [*answer["problems"], *self._doubts(name)]
        return {"name": name, "version": number, "overlap_seconds": seconds, **answer, "problems": problems}

    async def remove(self, name: str) -> dict[str, Any]:
        """Forget a secret; what uses it ends within ``drain_old``."""
        await _in_thread(partial(self._vault.remove, name))
        self._usage.forget(name)
        return {"name": name, **await self._applied(name)}

    async def rekey(
        self, kind: str | None = None, place: str = "", material: str = "", accept: bool = False
    ) -> dict[str, Any]:
        """Seal the vault anew; a new key has a ``kind`` and a ``place``, and ``material`` in base64."""
        key = NewKey(kind, place, _decoded(material, "the new key")) if kind else None
        info = await _in_thread(partial(self._vault.rekey, key, accept=accept))
        return {"key": info.title, **await self._applied("")}

    async def backup(self, passphrase: bytes | None = None) -> dict[str, Any]:
        """Return ``{data}``, a backup in base64."""
        data = await _in_thread(partial(backups.backup, self._vault, passphrase))
        return {"data": base64.b64encode(data).decode("ascii")}

    async def restore(
        self, data: str, passphrase: bytes | None = None, key: bytes | None = None, replacing: bool = False
    ) -> dict[str, Any]:
        """Put a backup (base64) in the place of what the vault holds."""
        image = _decoded(data, "the backup")

        def act() -> tuple[int, bytes | None]:
            material = parse_key(key, "the backup's key") if key is not None else None
            count = backups.restore(self._vault, image, passphrase=passphrase, key=material, replacing=replacing)
            return count, Compartment(self._vault).load()

        count, root = await _in_thread(act)
        changed = root is not None and self._controller.tools.authority.root_pem not in root
        return {"secrets": count, "ca_changed": changed, **await self._applied("")}

    def _refuse_unusable(self, name: str, value: bytes) -> None:
        """Refuse what the configuration in use could do nothing with, before it takes a good value's place."""
        for source in self._sources(name):
            if source.form is not None and (why := fault(source.name, value, source.form)):
                raise Refusal("invalid_params", f"{why}; nothing was stored")

    def _doubts(self, name: str) -> list[str]:
        """Say what looks wrong with the value that has come."""
        states = (self._controller.secrets.get(source.name) for source in self._sources(name))
        return [state.warning for state in states if state is not None and state.warning]

    def _sources(self, name: str) -> list[SecretSource]:
        """Return what the configuration reads from the vault's ``name``; empty: from any."""
        settings = self._controller.settings
        sources = settings.secrets if settings else ()
        return [source for source in sources if source.vault and name in ("", source.vault)]

    async def _applied(self, name: str) -> dict[str, Any]:
        """Wait for the workers; ``name`` empty: for everything that comes from the vault."""
        late = await self._controller.apply_secret(name, APPLY_SECONDS)
        names = {source.name for source in self._sources(name)}
        self._controller.tools.log.info("vault_changed", secret=name or None, late=[link.index for link in late])
        return {
            "ok": True,
            "workers": len(self._controller.links) - len(late),
            "used_by": self._used_by(names),
            "problems": [
                f"{link.title} has not taken the change within {APPLY_SECONDS:g} s; it does when it goes on"
                for link in late
            ],
        }

    def _used_by(self, names: set[str]) -> list[str]:
        """Return the services and listeners that name one of these secrets."""
        settings = self._controller.settings
        if settings is None:
            return []
        by_token = {token.service for token in settings.tokens if names & {secret for _, secret in token.secrets}}
        services = [
            service.name for service in settings.services if service.name in by_token or secret_names(service) & names
        ]
        listeners = [
            listener.name for listener in settings.listeners if any(user.secret in names for user in listener.users)
        ]
        return services + listeners


def kind(source: SecretSource) -> str:
    """Return the kind of a secret's source, or the name of the vault elsewhere."""
    if source.outside is not None:
        return source.outside.vault
    return next(name for name in ("env", "file", "vault", "command") if getattr(source, name))


def _decoded(text: str, what: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        raise Refusal("invalid_params", f"{what} is not base64") from None


async def _in_thread(function: Callable[[], T]) -> T:
    """Run what may block; a caller who gives up leaves nothing half done, since the vault's writes are whole."""
    try:
        return await trio.to_thread.run_sync(function)
    except NoSuchSecret as error:
        raise Refusal("not_found", str(error)) from None
    except VaultError as error:
        raise Refusal("vault", str(error)) from None
