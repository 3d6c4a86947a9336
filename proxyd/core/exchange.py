"""One exchange, and who asked for it."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from proxyd.core.errors import ProxyError
from proxyd.core.message import Request, Response

if TYPE_CHECKING:
    from proxyd.core.service import Service
    from proxyd.core.snapshot import Snapshot


@dataclass(slots=True)
class Peer:
    """The other end of a downstream connection."""

    listener: str
    address: str
    """IP address, or ``unix``."""
    port: int = 0
    uid: int | None = None
    """Of a loopback or Unix caller; best effort on TCP (sock_diag)."""
    gid: int | None = None
    pid: int | None = None
    user: str | None = None
    """Name that passed proxy authentication."""
    looked_up: bool = False
    """Whether uid was asked for already."""

    @property
    def text(self) -> str:
        """``ip:port`` for logs."""
        if not self.port:
            return self.address
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"

    @property
    def caller(self) -> str:
        """The key that per-caller limits count by: the uid where it is known, else the address."""
        return f"uid:{self.uid}" if self.uid is not None else self.address


class Exchange:
    """One request and its response, owned by one task."""

    __slots__ = (
        "attempts",
        "connect_seconds",
        "credential",
        "deadline",
        "endpoint",
        "error",
        "first_byte_seconds",
        "flags",
        "id",
        "mode",
        "peer",
        "queue_seconds",
        "request",
        "request_bytes",
        "response",
        "response_bytes",
        "response_started",
        "reused",
        "route",
        "secrets",
        "service",
        "snapshot",
        "started",
    )

    def __init__(self, peer: Peer, snapshot: "Snapshot", request: Request, started: float, mode: str) -> None:
        self.peer = peer
        self.snapshot = snapshot
        self.request = request
        self.started = started
        """Monotonic seconds at the head's first byte."""
        self.mode = mode
        """``plain`` or ``intercept``: how the request came."""
        self.id = ""
        self.route: object = None
        """The compiled route (worker.assemble), opaque below it."""
        self.service: Service | None = None
        self.credential: object = None
        """The chosen credential's injector (auth), opaque here; None where none is due."""
        self.secrets: tuple[bytes, ...] = ()
        """Secret bytes that the last attempt carried, for masking. Never printed."""
        self.response: Response | None = None
        self.response_started = False
        """A response head is on its way: from here an error can only cut the stream."""
        self.error: ProxyError | None = None
        self.flags: list[str] | None = None
        self.deadline = 0.0
        """Monotonic seconds by which all must be over; 0: none."""
        self.endpoint: str | None = None
        self.attempts = 0
        self.reused = False
        self.request_bytes = 0
        self.response_bytes = 0
        self.queue_seconds: float | None = None
        self.connect_seconds: float | None = None
        self.first_byte_seconds: float | None = None

    def __repr__(self) -> str:
        return f"<Exchange {self.id or '-'} {self.request!r} attempts={self.attempts}>"
