"""One exchange, and who asked for it."""

import enum
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from proxyd.core.errors import ProxyError
from proxyd.core.headers import Headers
from proxyd.core.message import Body, Request, Response

if TYPE_CHECKING:
    from proxyd.core.facade import Facade
    from proxyd.core.messages import WantToken
    from proxyd.core.route import Route
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
    """Of a Unix caller (SO_PEERCRED), or of a loopback caller: best effort there (sock_diag)."""
    gid: int | None = None
    pid: int | None = None
    user: str | None = None
    """Name that passed proxy authentication."""
    looked_up: bool = False
    """Whether the kernel was asked already."""
    executable: str | None = None
    """Of a Unix caller, where an access log asks for it; best effort, a hint and never a proof."""

    text: str = field(init=False)
    """``ip:port`` for logs."""

    def __post_init__(self) -> None:
        self.rename(self.address, self.port)

    def rename(self, address: str, port: int) -> None:
        """Take the address that a trusted proxy has told."""
        self.address, self.port = address, port
        host = f"[{address}]" if ":" in address else address
        self.text = f"{host}:{port}" if port else address

    @property
    def caller(self) -> str:
        """The key that per-caller limits count by: the uid where it is known, else the address."""
        return f"uid:{self.uid}" if self.uid is not None else self.address


class Closable(Protocol):
    """A stream as an exchange sees it."""

    def expire(self, reason: str) -> None:
        """Close now; the waiter is told ``reason``."""
        ...


class Cancellable(Protocol):
    """A cancel scope as an exchange sees it."""

    def cancel(self) -> None:
        """End the wait."""
        ...


class Held(Protocol):
    """What counts exchanges that are under way (proxyd.upstream.load)."""

    def leave(self, exchange: "Exchange") -> None:
        """The exchange is over."""
        ...


class Injector(Protocol):
    """A compiled credential scheme (proxyd.auth)."""

    fields: frozenset[bytes]
    """Header fields that it owns, lower case."""
    query_names: tuple[bytes, ...]
    """Query parameters that it owns, not encoded."""
    secret_names: tuple[str, ...]
    signs: bool
    """Whether it is a Signer, whose ``sign`` is called in place of ``apply``."""

    def apply(self, headers: Headers, path: bytes, values: Mapping[str, bytes]) -> tuple[Headers, bytes]:
        """Return headers and path with the credential in its place and the client's own removed."""
        ...

    def client_supplied(self, headers: Headers, path: bytes) -> bool:
        """Whether the client sent a credential of its own in the same place."""
        ...

    def masks(self, values: Mapping[str, bytes]) -> tuple[bytes, ...]:
        """Return the byte strings that would give the secret away in a response."""
        ...


class BodyUse(enum.Enum):
    """What a scheme needs of a request's body."""

    NONE = "none"
    """It goes as it comes."""
    WHOLE = "whole"
    """All of it, in memory, before the first attempt: to sign its hash, or to put something into it."""
    CODED = "coded"
    """It is wrapped, and goes piece by piece (``Signer.wrap``)."""


@dataclass(slots=True)
class Outgoing:
    """One attempt's request as a scheme that signs or places sees and changes it."""

    method: bytes
    scheme: bytes
    host: bytes
    """The Host field as it will be sent."""
    headers: Headers
    """Never changed in place: other attempts have the same list."""
    path: bytes
    """Path and query."""
    body: bytes | None
    """The whole body where the scheme asked for it, else None. A changed one goes out in its place."""
    length: int | None
    """Bytes of a body that is not in ``body``; None: the end will tell."""
    now: float
    """Unix time."""
    coded: Any = None
    """What ``Signer.wrap`` made; None where the body goes as it comes."""
    used: bytes = b""
    """A token that the scheme chose for this attempt, beside its secrets: it is masked in answers, too."""


class Signer(Injector, Protocol):
    """A scheme that needs more of a request than its fields. Errors of ``sign`` are those of ``apply``."""

    def is_due(self, request: Request) -> bool:
        """Whether the request takes the credential at all; one that does not goes as it comes."""
        ...

    def use_of_body(self, request: Request) -> BodyUse:
        """Say what is needed of this request's body."""
        ...

    def wrap(self, request: Request) -> Body:
        """Return the body that goes in the client's place; asked for where the use is CODED, once per exchange."""
        ...

    def is_presigned(self, request: Request) -> bool:
        """Whether the URL carries a signature of its own."""
        ...

    def sign(self, outgoing: Outgoing, values: Mapping[str, bytes]) -> None:
        """Put the credential into one attempt; what the client's own tools signed is removed."""
        ...

    def heard(self, response: Response, now: float) -> bool:
        """Learn from an answer (the vendor's clock); whether the same request would be signed better now."""
        ...

    def question(self, request: Request, response: Response) -> "WantToken | None":
        """Return what to ask control where the answer is a challenge for a token of its own (RFC 6750 §3)."""
        ...


class Try(NamedTuple):
    """An attempt that was not the last."""

    endpoint: str
    """``ip:port``, or ``-`` where no connection was had."""
    outcome: str
    """A status, or an error type of RFC 9209."""
    state: Any
    """The router's state of the endpoint; None for unknown hosts."""


class Exchange:
    """One request and its response, owned by one task."""

    __slots__ = (
        "alternate",
        "attempts",
        "claim",
        "connect_seconds",
        "connect_steps",
        "credential",
        "deadline",
        "ended",
        "endpoint",
        "error",
        "facade",
        "first_byte_seconds",
        "flags",
        "gone",
        "held",
        "id",
        "interim",
        "is_renewed",
        "lookup",
        "mode",
        "nursery",
        "payload",
        "peer",
        "permits",
        "queue_seconds",
        "ready",
        "request",
        "request_bytes",
        "response",
        "response_bytes",
        "response_started",
        "retrying",
        "reused",
        "route",
        "scope",
        "secrets",
        "service",
        "snapshot",
        "started",
        "stream",
        "tries",
        "try_deadline",
    )

    def __init__(self, peer: Peer, snapshot: "Snapshot", request: Request, started: float, mode: str) -> None:
        self.peer = peer
        self.snapshot = snapshot
        self.request = request
        self.started = started
        """Monotonic seconds at the head's first byte."""
        self.ready = started
        """Since when the upstream's time counts: after ``started`` where the head came slowly, or a filter waits."""
        self.ended = started
        """Monotonic seconds when all was over; set before the ``done`` hooks run."""
        self.mode = mode
        """``plain``, ``intercept`` or ``gateway``: how the request came."""
        self.id = ""
        self.route: Route = None  # type: ignore[assignment]
        """The compiled route; set before the first filter."""
        self.service: Service | None = None
        self.facade: Facade | None = None
        """Set where the client knows the resource under another URL than the upstream."""
        self.credential: Injector | None = None
        """The chosen credential; None where none is due."""
        self.secrets: tuple[bytes, ...] = ()
        """Secret bytes that the last attempt carried, for masking. Never printed."""
        self.payload: bytes | None = None
        """The client's whole request body, where the credential needs it; each attempt makes its own of it."""
        self.response: Response | None = None
        self.response_started = False
        """A response head is on its way: from here an error can only cut the stream."""
        self.error: ProxyError | None = None
        self.flags = ""
        """Response flags besides the error's, comma separated: faults that were injected."""
        self.deadline = 0.0
        """Monotonic seconds by which all must be over; 0: none."""
        self.try_deadline = 0.0
        """Monotonic seconds by which the attempt must have its response head; 0: none."""
        self.endpoint: str | None = None
        self.attempts = 0
        self.is_renewed = False
        """It is made again since a credential was refused; once."""
        self.tries: list[Try] = []
        """Attempts that were not the last."""
        self.reused = False
        self.request_bytes = 0
        self.response_bytes = 0
        self.queue_seconds: float | None = None
        self.connect_seconds: float | None = None
        self.connect_steps: tuple[float, float | None] | None = None
        """Seconds of the name's resolution and of TLS, as far as the latest dial came; None: nothing was dialled."""
        self.first_byte_seconds: float | None = None
        self.nursery: Any = None
        """Where a streaming request body is sent from; None for bodies that are in memory."""
        self.interim: Callable[[int, Headers], Awaitable[None]] | None = None
        """Passes a 1xx response on; None for HTTP/1.0 clients."""
        self.stream: Closable | None = None
        """The upstream stream that is waited on."""
        self.scope: Cancellable | None = None
        """The wait that is no socket (pool, dial), if any."""
        self.gone = False
        """The client left."""
        self.held: Held | None = None
        """Counts the exchange among those that are under way."""
        self.permits: Sequence[Any] = ()
        """What is held of limits on how many at a time, until the end (limiting.gate)."""
        self.lookup: Any = None
        """What the cache found (filters.cache)."""
        self.claim: Any = None
        """The idempotency key that it holds: it goes on to its end though the client leaves (filters.idempotency)."""
        self.alternate: Exchange | None = None
        """The exchange with another service that answers in this one's place (upstream.fallback)."""
        self.retrying = False
        """``held`` counts it among those in a further attempt, too."""

    def abandon(self) -> None:
        """The client left: end whatever the exchange waits for, unless the answer is for whoever asks again."""
        if self.claim is None:
            self.cut()

    def cut(self) -> None:
        """End whatever the exchange waits for."""
        self.gone = True
        if self.stream is not None:
            self.stream.expire("abandoned")
        elif self.scope is not None:
            self.scope.cancel()
        elif self.alternate is not None:
            self.alternate.cut()

    def __repr__(self) -> str:
        return f"<Exchange {self.id or '-'} {self.request!r} attempts={self.attempts}>"
