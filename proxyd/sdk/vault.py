"""A vault elsewhere: it has secrets that others keep."""

from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

from proxyd.core.settings import Reference
from proxyd.sdk.options import NoOptions


class VaultPluginError(Exception):
    """Raise it where a secret cannot be had. The text is shown to people: what is wrong and what to do, no value."""

    def __init__(self, why: str, *, is_gone: bool = False) -> None:
        """``is_gone``: the secret was removed on purpose, and a value that is in use is withdrawn."""
        super().__init__(why)
        self.is_gone = is_gone


@dataclass(frozen=True, slots=True)
class Fetched:
    """A secret as it is now."""

    value: bytes = field(repr=False)
    version: str = ""
    """What the vault calls it; shown in ``proxyd secret list``."""
    created: float = 0.0
    """Unix time at which it was made; 0: unknown."""
    expires: float = 0.0
    """Unix time at which it ends by itself; 0: it does not. It is fetched again after two thirds of its time."""


class VaultHost(Protocol):
    """The daemon, as a vault sees it. Its methods may be called from any thread."""

    @property
    def name(self) -> str:
        """The vault's name in the configuration."""
        ...

    def secret(self, name: str) -> bytes | None:
        """Return the present value of a secret that the options name, by which the plugin logs in. KeyError."""
        ...

    def log(self, level: str, event: str, detail: str) -> None:
        """Write to the daemon's log: ``event`` is one word, ``detail`` a sentence without secrets."""
        ...


class Vault(Protocol):
    """Derive from it and write ``fetch``; everything else has a default.

    Each call has a thread and a trio loop of its own, so it may block or use any library; what belongs to a loop (a
    connection of httpx, a lock of trio) cannot be kept for the next call. A call that takes longer than ten seconds is
    left alone and counts as failed, as does one that raises: the value that is in use goes on serving, and the vault
    is asked again after a second, then ever more rarely. Calls may go on side by side, four at a time.
    """

    api_version: ClassVar[int] = 1
    """The API_VERSION that it was written for."""
    options_type: ClassVar[type[Any]] = NoOptions
    """A dataclass: what may stand under ``options``; see proxyd.sdk.options."""

    options: Any
    """An instance of ``options_type``."""
    host: VaultHost
    """What it may ask of the daemon."""

    def __init__(self, options: Any, host: VaultHost) -> None:
        """Remember both; what may fail or takes time belongs into ``fetch``."""
        self.options = options
        self.host = host

    async def fetch(self, reference: Reference) -> Fetched:
        """Return the secret of ``path``, ``field``, ``mount`` and ``version`` as the configuration says them."""
        ...

    async def aclose(self) -> None:
        """Give back what was lent; three seconds are left."""
        return
