"""What processes say to each other. Imperatives go down, past tense and questions go up.

Each message is a frozen dataclass; ``wire.ipc`` turns it into one msgpack frame ``[kind, {field: value}]``. File
descriptors travel beside a frame (SCM_RIGHTS); ``FDS`` says how many belong to which message.
"""

from dataclasses import dataclass, field
from typing import Any, Final

from proxyd.core.described import Described
from proxyd.core.fault import Fault
from proxyd.core.headers import Headers
from proxyd.core.idempotency import KeyState, Outcome
from proxyd.core.resilience import Override
from proxyd.core.service import SCOPE
from proxyd.core.snapshot import Snapshot

# --- control -> worker ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ApplySnapshot:
    """Make this the snapshot of all new exchanges; answered by Applied or Refused."""

    snapshot: Snapshot


@dataclass(frozen=True, slots=True)
class SetListener:
    """The socket (one descriptor beside the frame) of the listener ``name``; used once a snapshot names it."""

    name: str


@dataclass(frozen=True, slots=True)
class SetCredential:
    """A secret's value, or None when it cannot be had (``why`` says so to the log and to the 500 answer).

    ``serial`` orders changes; answered by CredentialApplied.
    """

    name: str
    value: bytes | None = field(repr=False)
    why: str = ""
    serial: int = 0
    former: list[bytes] = field(default_factory=list, repr=False)
    """Values that callers may still prove themselves with, while a rotation's overlap lasts."""


@dataclass(frozen=True, slots=True)
class SetCredentials:
    """The values of one renewal that belong together, by name: all are used from the same instant on.

    A value of None cannot be had, and ``why`` says so. ``expires``: Unix time after which they are useless, 0: unknown.
    """

    values: dict[str, bytes | None] = field(repr=False)
    why: str = ""
    serial: int = 0
    expires: float = 0.0


@dataclass(frozen=True, slots=True)
class InstallLeaf:
    """A leaf for interception: PEM chain (leaf, intermediate) and PKCS#8 PEM key, or why there is none."""

    host: str
    chain_pem: bytes
    key_pem: bytes = field(repr=False)
    expires: float
    """Unix time; the worker asks again well before."""
    refused: str = ""


@dataclass(frozen=True, slots=True)
class Drain:
    """Stop accepting, finish what runs, exit by ``seconds`` from now.

    ``gentle``: others accept in the worker's place, so an idle connection stays open until its next response, which
    says ``Connection: close``, or until its idle timeout.
    """

    seconds: float
    gentle: bool = False


@dataclass(frozen=True, slots=True)
class SetHealth:
    """What active checks say of one endpoint of a service; kept for snapshots to come."""

    service: str
    host: str
    port: int
    is_healthy: bool


@dataclass(frozen=True, slots=True)
class SetOverrides:
    """All that an operator holds in a state, in place of what was held before; kept for snapshots to come."""

    overrides: list[Override]


@dataclass(frozen=True, slots=True)
class SetFaults:
    """Inject these faults and no others; a worker ends each by itself when it expires."""

    faults: list[Fault]


@dataclass(frozen=True, slots=True)
class SetLease:
    """What WantLease gets: ``tokens`` more, good for ``lifetime`` seconds from the question on."""

    service: str
    limit: str
    key: str
    tokens: int
    lifetime: float
    wait: float
    """Seconds until there may be some, where there are none."""
    left: int
    """Tokens that nobody holds."""
    reset: float
    """Seconds until all of the limit is free again."""
    members: int
    """Hosts that share it."""
    is_lost: bool = False
    """The store cannot be reached: ``on_loss`` decides."""
    is_free: bool = False
    """Of a vendor's own limits: its answers tell of none."""
    pause: float = 0.0
    """Seconds for which the vendor refuses everything; 0: it does not."""


@dataclass(frozen=True, slots=True)
class SetKey:
    """What WantKey and KeySettled get: what is known of an idempotency key, with the answer where there is one."""

    number: int
    state: KeyState
    status: int = 0
    headers: Headers = field(default_factory=list)
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Query:
    """Ask a worker for a view of itself: ``pools`` or ``connections``; answered by Answer."""

    id: int
    what: str
    about: list[str] = field(default_factory=list)
    """What the question goes on with."""


# --- worker -> control ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Ready:
    """The worker's loop runs and takes messages."""

    pid: int


@dataclass(frozen=True, slots=True)
class Applied:
    """The snapshot is in use."""

    version: int


@dataclass(frozen=True, slots=True)
class Refused:
    """The snapshot is not usable; the former one goes on."""

    version: int
    why: str


@dataclass(frozen=True, slots=True)
class CredentialRefused:
    """A vendor refused what these secrets' values of ``serial`` made: is there a better one?

    Answered by SetCredentials, with a higher serial also where there is none.
    """

    names: list[str]
    serial: int


@dataclass(frozen=True, slots=True)
class WantToken:
    """A token for a scope that a challenge names; answered by SetCredentials with the name ``secret``.

    ``realm`` and ``audience`` are what the challenge said; control asks none but the source's own realms. ``serial`` is
    that of the value which was refused; 0: there was none.
    """

    name: str
    scope: str
    realm: str = ""
    audience: str = ""
    serial: int = 0

    @property
    def secret(self) -> str:
        """The name of the secret that it becomes."""
        return f"{self.name}{SCOPE}{self.realm} {self.audience} {self.scope}"


@dataclass(frozen=True, slots=True)
class Announced:
    """A response said that an endpoint ends (core.catalogue.ANNOUNCING); once per endpoint and what is said."""

    service: str
    method: str
    path: str
    """Without a query, identifiers replaced."""
    fields: list[list[str]]
    """Name and value of each field."""


@dataclass(frozen=True, slots=True)
class CredentialEnds:
    """A response said when the secret that was sent ends (core.catalogue.ENDS); once per secret and what is said."""

    name: str
    text: str


@dataclass(frozen=True, slots=True)
class CertificateSeen:
    """An upstream showed this certificate, and it was verified; once per host and certificate."""

    host: str
    what: Described


@dataclass(frozen=True, slots=True)
class CredentialApplied:
    """The credential is in use from the next attempt on."""

    name: str
    serial: int


@dataclass(frozen=True, slots=True)
class Events:
    """A batch of events, each a list ``[schema id, *values]`` (core.events); validated where they are read."""

    events: list[list[Any]]


@dataclass(frozen=True, slots=True)
class Stats:
    """Deltas since the last frame (core.metrics). Never dropped.

    counters ``[name, [label, ...], delta]``; gauges ``[name, [label, ...], value]``; histograms
    ``[name, [label, ...], [bucket delta, ...], sum delta]``.
    """

    counters: list[list[Any]]
    gauges: list[list[Any]]
    histograms: list[list[Any]]


@dataclass(frozen=True, slots=True)
class WantLeaf:
    """The worker needs a leaf for this host, on behalf of this caller (cap)."""

    host: str
    caller: str


@dataclass(frozen=True, slots=True)
class WantLease:
    """The worker accounts for its lease of a limit, and wants ``want`` tokens more; answered by SetLease."""

    service: str
    limit: str
    key: str
    want: int
    kept: int
    """Tokens that it still holds."""
    spent: list[tuple[int, float]]
    """Tokens, and how many seconds ago."""
    seen: list[tuple[str, int, int, float, float, float, int]] = field(default_factory=list)
    """What a vendor's answers told of its own limits (limiting.estimate.Seen)."""
    silent: int = 0
    """Of what was spent: attempts without an answer that tells anything."""
    pause: float = 0.0
    """Seconds for which the vendor refuses everything; 0: it does not; below: it did not say how long."""


@dataclass(frozen=True, slots=True)
class WantKey:
    """A request with an idempotency key came; answered by SetKey."""

    number: int
    service: str
    key: bytes
    """SHA-256 of the key and of all that it is scoped by."""
    fingerprint: bytes
    """SHA-256 of the request."""
    claim: bytes
    """Random; comes again with the outcome, and when the question is repeated."""


@dataclass(frozen=True, slots=True)
class KeySettled:
    """What came of a request with an idempotency key; answered by SetKey."""

    number: int
    service: str
    key: bytes
    fingerprint: bytes
    claim: bytes
    outcome: Outcome
    status: int = 0
    headers: Headers = field(default_factory=list)
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Answer:
    """A Query's answer."""

    id: int
    value: Any


# --- control -> supervisor ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Bind:
    """Make these the listening addresses (name, address): bind new ones, close absent ones. Answered by Bound.

    All or nothing: when one address cannot be bound, nothing changes.
    """

    id: int
    listeners: list[tuple[str, str]]
    workers: int
    drain_timeout: float


@dataclass(frozen=True, slots=True)
class BindAdmin:
    """Listen on this admin HTTP address; answered by Bound with one entry. The socket outlives control."""

    id: int
    address: str


@dataclass(frozen=True, slots=True)
class Upgrade:
    """Start the program anew from disk and let it take over; answered by Upgraded, by then or at the deadline."""

    id: int
    seconds: float
    """What the new generation may take until it is ready."""
    drain: float
    """What the tunnels of this generation may take to end."""


@dataclass(frozen=True, slots=True)
class Failed:
    """Control cannot start, and ends: it has said why on standard error, and says it here."""

    why: str


@dataclass(frozen=True, slots=True)
class Reloaded:
    """Another configuration is in use: former generations are to end what it forbids."""


@dataclass(frozen=True, slots=True)
class Promoted:
    """The admin addresses are this control's now."""


@dataclass(frozen=True, slots=True)
class Notify:
    """Tell systemd: ``READY=1``, ``RELOADING=1`` (the supervisor adds MONOTONIC_USEC), ``STATUS=…``."""

    text: str


@dataclass(frozen=True, slots=True)
class Shutdown:
    """Drain everything and exit; ``seconds`` is the deadline."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Pulse:
    """Control is alive; the supervisor restarts a control that stays silent and pets systemd's watchdog."""


# --- supervisor -> control ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Bound:
    """Answer to Bind: actual addresses by name, one descriptor per entry beside the frame, or ``error``."""

    id: int
    listeners: list[tuple[str, str]]
    error: str = ""


@dataclass(frozen=True, slots=True)
class WorkerStarted:
    """A worker was forked; its control link is the one descriptor beside the frame."""

    worker: int
    pid: int


@dataclass(frozen=True, slots=True)
class WorkerExited:
    """A worker is gone."""

    worker: int
    pid: int
    why: str


@dataclass(frozen=True, slots=True)
class Reload:
    """SIGHUP arrived."""


@dataclass(frozen=True, slots=True)
class Reopen:
    """SIGUSR1 arrived: logs are being rotated."""


@dataclass(frozen=True, slots=True)
class Upgraded:
    """Answer to Upgrade: ``generation`` serves now; with ``error`` it is the old one, untouched."""

    id: int
    generation: int
    error: str = ""


@dataclass(frozen=True, slots=True)
class Generations:
    """Which generation this control belongs to, and (generation, workers left) of each that drains."""

    number: int
    draining: list[tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Promote:
    """Take the admin addresses over: no other generation is asked from now on. Answered by Promoted."""


@dataclass(frozen=True, slots=True)
class Retire:
    """Another generation serves from now on; look after your workers until they are gone.

    The one descriptor beside the frame is a link to the new control: statistics go up there, too.
    """


@dataclass(frozen=True, slots=True)
class Predecessor:
    """A retired control: its statistics come by the one descriptor beside the frame."""

    generation: int


# --- supervisor -> worker -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Adopt:
    """A new control process: its link is the one descriptor beside the frame; the former link is dead."""


FDS: Final[dict[type, int]] = {SetListener: 1, WorkerStarted: 1, Adopt: 1, Retire: 1, Predecessor: 1}
"""Messages with a fixed number of descriptors; Bound carries one per listener."""

Message = (
    ApplySnapshot | SetListener | SetCredential | SetCredentials | InstallLeaf | SetHealth | SetFaults | SetOverrides
    | SetLease | SetKey | Drain | Query
    | Ready | Applied | Refused | CredentialApplied | CredentialRefused | WantToken | Announced | CredentialEnds
    | CertificateSeen
    | Events | Stats | WantLeaf | WantLease | WantKey | KeySettled | Answer
    | Bind | BindAdmin | Upgrade | Failed | Reloaded | Promoted | Notify | Shutdown | Pulse
    | Bound | WorkerStarted | WorkerExited | Reload | Reopen | Upgraded | Generations | Promote | Retire | Predecessor
    | Adopt
)  # fmt: skip
