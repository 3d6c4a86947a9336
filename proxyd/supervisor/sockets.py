"""All listening sockets: those of the listeners, and the admin side's, which outlive every control."""

from dataclasses import dataclass, field
from typing import Final

from proxyd.core.messages import Bind, BindAdmin, Bound
from proxyd.supervisor.listeners import BindError, Listeners, Listening
from proxyd.supervisor.state import SocketsState, sockets_state

ADMIN_HTTP: Final = "admin.http"
"""Name of the admin side's listening socket."""

Answer = tuple[Bound, tuple[int, ...]]
"""What control is told, and the descriptors beside it."""


@dataclass(slots=True)
class Sockets:
    """Both sets; ``listeners`` and ``admin`` are replaced as a whole by a takeover."""

    listeners: Listeners
    admin: Listeners = field(default_factory=Listeners)

    def bind(self, request: Bind) -> Answer:
        """Listen as a configuration wants it."""
        return _change(self.listeners, request.id, request.listeners)

    def bind_admin(self, request: BindAdmin) -> Answer:
        """Listen on the admin HTTP address."""
        return _change(self.admin, request.id, [(ADMIN_HTTP, request.address)])

    @property
    def state(self) -> SocketsState:
        """What another supervisor needs to go on with them."""
        return sockets_state(self.listeners, self.admin)

    def close(self) -> None:
        """Let go of all of them."""
        self.listeners.close()
        self.admin.close()

    def abandon(self) -> None:
        """Close this process's copies only, in a forked child."""
        self.listeners.abandon()
        self.admin.abandon()


def refusal(number: int, why: str) -> Answer:
    """Answer that nothing was bound."""
    return Bound(number, [], why), ()


def _change(listeners: Listeners, number: int, wanted: list[tuple[str, str]]) -> Answer:
    try:
        listening: list[Listening] = listeners.change(wanted)
    except BindError as error:
        return refusal(number, str(error))
    names = [(one.name, one.actual) for one in listening]
    return Bound(number, names), tuple(one.sock.fileno() for one in listening)
