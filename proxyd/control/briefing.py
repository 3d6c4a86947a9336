"""What one worker is told, in the order of docs/architecture.md: what a snapshot refers to goes before it."""

from collections.abc import Iterable, Mapping

from proxyd.control.credentials import credential
from proxyd.control.health import HealthChecks
from proxyd.control.overrides import Overrides
from proxyd.control.supervisor import Socket
from proxyd.control.tools import Tools
from proxyd.control.workers import WorkerLink
from proxyd.core.messages import ApplySnapshot, InstallLeaf, SetCredential, SetListener
from proxyd.core.snapshot import GATEWAY_TOKEN, Snapshot
from proxyd.vault.state import SecretState


class Briefing:
    """Tells a worker what the caller says is new to it, and always what is held and which endpoints are healthy."""

    def __init__(self, tools: Tools, health: HealthChecks, overrides: Overrides) -> None:
        self._tools = tools
        self._health = health
        self._overrides = overrides

    def give(
        self,
        link: WorkerLink,
        snapshot: Snapshot | None,
        listeners: Mapping[str, Socket],
        credentials: Iterable[SecretState],
        leaves: Iterable[InstallLeaf],
    ) -> None:
        """Queue all of it; never waits."""
        for name, socket in listeners.items():
            link.put(SetListener(name), socket.fd)
        for state in credentials:
            link.put(credential(state))
        if self._tools.gateway_token:
            link.put(SetCredential(GATEWAY_TOKEN, self._tools.gateway_token))
        for leaf in leaves:
            link.put(leaf)
        for check in self._health:
            link.put(check.message)
        if self._overrides or link.applied == 0:  # an adopted worker may hold what a former control was told
            link.put(self._overrides.message)
        if snapshot is not None:
            link.put(ApplySnapshot(snapshot))
