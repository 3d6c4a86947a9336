"""What controls ask of the supervisor, the serving one and those that were succeeded."""

import math
import time
from collections.abc import Callable
from typing import Final

from proxyd.core.messages import (
    Bind,
    BindAdmin,
    Failed,
    Message,
    Notify,
    Promoted,
    Pulse,
    Reload,
    Reloaded,
    Shutdown,
    Upgrade,
    Upgraded,
)
from proxyd.supervisor.children import Control
from proxyd.supervisor.current import DEFAULT_DRAIN, Current
from proxyd.supervisor.parent import Parent
from proxyd.supervisor.past import Pasts
from proxyd.supervisor.sockets import Sockets, refusal
from proxyd.supervisor.systemd import Systemd
from proxyd.supervisor.upgrades import Upgrades
from proxyd.wire import ipc

MAX_WORKERS: Final = 1024
MAX_DRAIN: Final = 24 * 3600.0


class Desk:
    """Acts on messages with the supervisor's parts; ``drain`` begins the end of all within so many seconds."""

    def __init__(
        self, current: Current, past: Pasts, sockets: Sockets, upgrades: Upgrades, drain: Callable[[float], None]
    ) -> None:
        self.parent: Parent | None = None
        """While this generation is on trial."""
        self.is_closed = False
        """Everything is about to end: nothing is bound any more."""
        self._current = current
        self._past = past
        self._sockets = sockets
        self._upgrades = upgrades
        self._drain = drain

    def take(self, control: Control, payload: bytes, systemd: Systemd) -> None:
        """Act on one message. ValueError: it is none."""
        message = ipc.decode(payload, ipc.CONTROL_TO_SUPERVISOR)
        if control is not self._current.control:
            self._on_word_of_the_past(control, message)
            return
        match message:
            case Bind() as bind:
                self._on_bind(control, bind)
            case BindAdmin() as bind_admin:
                control.tell(*self._sockets.bind_admin(bind_admin))
            case Notify(text):
                systemd.relay(text)
                if self.parent and "READY=1" in text.splitlines():
                    self.parent.ready()
            case Pulse():
                self._current.pulsed = time.monotonic()
            case Shutdown(seconds):
                self._drain(seconds)
            case Upgrade() as upgrade:
                self._upgrades.begin(upgrade, "this generation is still on trial" if self.parent else "")
            case Failed(why):
                if self.parent:
                    self.parent.failed(why)
            case Promoted():
                self._upgrades.answer()
            case Reloaded():
                self._past.tell_controls(Reload())
            case other:
                raise AssertionError(type(other).__name__)

    def _on_word_of_the_past(self, control: Control, message: Message) -> None:
        """A control that was succeeded changes nothing any more, but it may still end everything."""
        number = self._current.number
        why = f"generation {number} has taken over; call again"
        match message:
            case Bind(id=call) | BindAdmin(id=call):
                control.tell(*refusal(call, why))
            case Upgrade(id=call):
                control.tell(Upgraded(call, number, why))
            case Shutdown(seconds):
                self._drain(seconds)

    def _on_bind(self, control: Control, bind: Bind) -> None:
        problem = self._obstacle(bind)
        bound, fds = refusal(bind.id, problem) if problem else self._sockets.bind(bind)
        control.tell(bound, fds)
        if bound.error:
            return
        if self._current.bound(control, bind.workers, bounded(bind.drain_timeout)):
            self._past.introduce(control, self._current.number)
        self._current.resize()

    def _obstacle(self, bind: Bind) -> str:
        if self.is_closed:
            return "proxyd is shutting down"
        if self._upgrades.is_under_way:
            return "an upgrade is under way; try again when it is over"
        if not 1 <= bind.workers <= MAX_WORKERS:
            return f"workers: {bind.workers} is not within 1 and {MAX_WORKERS}"
        return ""


def bounded(seconds: float) -> float:
    """Bound a drain's deadline; what is not a number becomes the default."""
    return min(max(seconds, 0.0), MAX_DRAIN) if math.isfinite(seconds) else DEFAULT_DRAIN
