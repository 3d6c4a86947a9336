"""What the controller works with, made by the composition root."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from proxyd.certs.authority import Authority
from proxyd.control.compose import Instance
from proxyd.control.reports import Reports
from proxyd.core.settings import Settings
from proxyd.telemetry.log import Log
from proxyd.vault.store import Vault


@dataclass(slots=True)
class Tools:
    """What the controller works with, made by the composition root."""

    authority: Authority
    reports: Reports
    log: Log
    read: Callable[[], Awaitable[Settings]]
    """Read the configuration again. SettingsError."""
    kill: Callable[[int], None]
    """End a worker process by its pid."""
    instance: Instance
    gateway_token: bytes = field(default=b"", repr=False)
    """What callers of gateways on TCP must send; empty: there is none, and they are refused."""
    vault: Vault | None = None
    """Secrets at rest; None: there is none."""
