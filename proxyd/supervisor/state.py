"""What one supervisor hands to the next: plain values around numbers of descriptors.

The values are checked field by field when they are read (core.plain): whatever does not fit is a ValueError, and the
next supervisor is asked whether all fits before anything depends on it. Descriptors stand as numbers: those of the
process that wrote the state, translated by ``translated`` where they came as others.
"""

import math
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

import msgpack

from proxyd.core.counts import SharedCounts
from proxyd.core.plain import from_plain, to_plain
from proxyd.core.units import MIB
from proxyd.supervisor.activation import Inherited
from proxyd.supervisor.address import address_of
from proxyd.supervisor.children import Child, Control, Worker
from proxyd.supervisor.fleet import Fleet
from proxyd.supervisor.link import BufferedLink, Outgoing
from proxyd.supervisor.listeners import Listeners, Listening
from proxyd.wire import ipc

FORMAT: Final = 1
"""Rises when a field changes its meaning; fields may be added with a default."""
MAX_STATE: Final = 16 * MIB


@dataclass(frozen=True, slots=True)
class LinkState:
    """A link: its descriptor, the beginning of a frame that came, and frames that wait to go."""

    fd: int
    received: bytes = b""
    queue: list[tuple[bytes, list[int]]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class ChildState:
    """A process and its link. Times are monotonic seconds, None for never."""

    pid: int
    link: LinkState
    started: float
    kill_at: float | None = None
    index: int = 0
    """Of a worker."""
    is_retiring: bool = False
    """Of a worker."""
    is_bound: bool = False
    """Of a control."""


@dataclass(frozen=True, slots=True)
class CountsState:
    """The memory of the counts that workers share."""

    fd: int


@dataclass(frozen=True, slots=True)
class GenerationState:
    """A control and the workers that it looks after."""

    number: int
    control: ChildState | None
    workers: list[ChildState]
    size: int = 0
    """How many workers it is to have."""
    counts: CountsState | None = None


@dataclass(frozen=True, slots=True)
class ListeningState:
    """A listening socket."""

    name: str
    configured: str
    fd: int
    inode: tuple[int, int] | None = None
    inherited: str | None = None
    """The name under which systemd passed it; None: it was bound here."""


@dataclass(frozen=True, slots=True)
class SocketsState:
    """All listening sockets."""

    listening: list[ListeningState]
    admin: list[ListeningState]
    unclaimed: list[tuple[str, int]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Estate:
    """What a candidate gets: the number that it will bear, and copies of every listening socket."""

    format: int
    generation: int
    sockets: SocketsState
    stderr: int
    """Where its messages go; until it has read this they go to the one who tries it."""


@dataclass(frozen=True, slots=True)
class Household:
    """What a candidate has made of it: one generation, ready, and the sockets that it wants."""

    format: int
    generation: GenerationState
    sockets: SocketsState
    drain_timeout: float


@dataclass(frozen=True, slots=True)
class Legacy:
    """What goes through the exec: the generation that served until now, those that drain, and who succeeds."""

    format: int
    generation: GenerationState
    past: list[GenerationState]
    sockets: SocketsState
    drain_timeout: float
    candidate: ChildState
    upgrade: int
    """Of the Upgrade message that is to be answered."""
    upgrade_drain: float


State = Estate | Household | Legacy
S = TypeVar("S", Estate, Household, Legacy)


def pack(state: State) -> bytes:
    """Return ``state`` as bytes."""
    packed: bytes = msgpack.packb(to_plain(state))
    return packed


def unpack(kind: type[S], data: bytes, fds: Mapping[int, int] | None = None) -> S:
    """Read a state; ``fds`` translates the writer's descriptors. ValueError: it is of another format."""
    try:
        plain: Any = msgpack.unpackb(data, strict_map_key=False, max_bin_len=MAX_STATE)
    except (ValueError, TypeError, msgpack.UnpackException) as error:
        raise ValueError("the state is not readable") from error
    if not isinstance(plain, dict) or plain.get("format") != FORMAT:
        raise ValueError(f"the state is of another format than {FORMAT}")
    return from_plain(kind, plain if fds is None else translated(plain, fds))


def translated(plain: Any, fds: Mapping[int, int]) -> Any:
    """Return plain values in which every descriptor has its number in this process."""
    if isinstance(plain, list):
        return [translated(item, fds) for item in plain]
    if not isinstance(plain, dict):
        return plain
    values = {name: translated(value, fds) for name, value in plain.items()}
    for name in ("fd", "stderr"):
        if name in values:
            values[name] = fds[values[name]]
    if "queue" in values:
        values["queue"] = [[rest, [fds[fd] for fd in numbers]] for rest, numbers in values["queue"]]
    if "unclaimed" in values:
        values["unclaimed"] = [[name, fds[fd]] for name, fd in values["unclaimed"]]
    return values


def descriptors(state: object) -> list[int]:
    """Return the numbers of all descriptors that stand in ``state``, each once."""
    found: list[int] = []
    _collect(to_plain(state), found)
    return list(dict.fromkeys(found))


def _collect(plain: Any, found: list[int]) -> None:
    if isinstance(plain, list):
        for item in plain:
            _collect(item, found)
    elif isinstance(plain, dict):
        for name, value in plain.items():
            if name in ("fd", "stderr"):
                found.append(value)
            elif name == "queue":
                found.extend(fd for _, numbers in value for fd in numbers)
            elif name == "unclaimed":
                found.extend(fd for _, fd in value)
            else:
                _collect(value, found)


# --- objects to states and back ---------------------------------------------------------------------


def child_state(child: Child) -> ChildState:
    """Describe a process whose link is open."""
    return ChildState(
        child.pid,
        link_state(child.link),
        child.started,
        child.kill_at if math.isfinite(child.kill_at) else None,
        index=child.index if isinstance(child, Worker) else 0,
        is_retiring=isinstance(child, Worker) and child.is_retiring,
        is_bound=isinstance(child, Control) and child.is_bound,
    )


def link_state(link: BufferedLink) -> LinkState:
    """Describe an open link."""
    received, queue = link.pending
    return LinkState(link.fileno(), received, [(outgoing.rest, outgoing.fds) for outgoing in queue])


def generation_state(number: int, control: Control | None, fleet: Fleet, size: int = 0) -> GenerationState:
    """Describe a generation. Who has ended its link is left out: it is about to exit, and will be reaped."""
    living = [child_state(worker) for worker in fleet if worker.link.is_open]
    bound = child_state(control) if control and control.link.is_open else None
    return GenerationState(number, bound, living, size, CountsState(fleet.counts.fd))


def sockets_state(listeners: Listeners, admin: Listeners) -> SocketsState:
    """Describe all listening sockets."""
    return SocketsState(
        [_listening_state(one) for one in listeners.listening],
        [_listening_state(one) for one in admin.listening],
        [(one.name, one.sock.fileno()) for one in listeners.unclaimed],
    )


def revive_control(state: ChildState, silent_at: float) -> Control:
    """Make a control of its state."""
    control = Control("control", state.pid, _revive_link(state.link), state.started, _never(state.kill_at))
    control.is_bound = state.is_bound
    control.silent_at = silent_at
    return control


def revive_counts(state: CountsState) -> SharedCounts | None:
    """Map the counts again; None where another version of the program has made them."""
    try:
        return SharedCounts(state.fd)
    except ValueError:
        os.close(state.fd)
        return None


def revive_worker(state: ChildState) -> Worker:
    """Make a worker of its state."""
    worker = Worker(f"worker {state.index}", state.pid, _revive_link(state.link), state.started, _never(state.kill_at))
    worker.index, worker.is_retiring = state.index, state.is_retiring
    return worker


def borrowed(sockets: SocketsState) -> tuple[Listeners, Listeners]:
    """Make a candidate's listeners: nothing that it was lent is ever closed or removed for being wanted no more."""
    return (
        Listeners(
            [_inherited(name, fd) for name, fd in sockets.unclaimed], [_borrow(one) for one in sockets.listening]
        ),
        Listeners((), [_borrow(one) for one in sockets.admin]),
    )


def owned(wanted: SocketsState, former: SocketsState) -> tuple[Listeners, Listeners]:
    """Make the listeners of a candidate's ``wanted`` sockets, with what ``former`` knows of their origin.

    The former copies are closed, and what is wanted no more ends, its path included.
    """
    origins = {os.fstat(one.fd).st_ino: one for one in (*former.listening, *former.admin)}
    kept = [_own(one, origins) for one in wanted.listening]
    admin = [_own(one, origins) for one in wanted.admin]
    still = {os.fstat(one.sock.fileno()).st_ino for one in (*kept, *admin)}
    for one in (*former.listening, *former.admin):
        if os.fstat(one.fd).st_ino in still or one.inherited is not None:
            os.close(one.fd)
        else:
            _revive_listening(one).close()
    unclaimed = []
    for name, fd in wanted.unclaimed:
        origin = origins.get(os.fstat(fd).st_ino)
        if origin is not None and origin.inherited is None:
            os.close(fd)
        else:
            unclaimed.append(_inherited(name if origin is None else origin.inherited or name, fd))
    for _, fd in former.unclaimed:
        os.close(fd)
    return Listeners(unclaimed, kept), Listeners((), admin)


def kept(sockets: SocketsState) -> tuple[Listeners, Listeners]:
    """Make the listeners as they were."""
    return (
        Listeners(
            [_inherited(name, fd) for name, fd in sockets.unclaimed],
            [_revive_listening(one) for one in sockets.listening],
        ),
        Listeners((), [_revive_listening(one) for one in sockets.admin]),
    )


def _never(moment: float | None) -> float:
    return math.inf if moment is None else moment


def _revive_link(state: LinkState) -> BufferedLink:
    queue = [Outgoing(rest, fds) for rest, fds in state.queue]
    return BufferedLink(socket.socket(fileno=state.fd), ipc.MAX_UP, state.received, queue)


def _listening_state(one: Listening) -> ListeningState:
    name = one.inherited.name if one.inherited is not None else None
    return ListeningState(one.name, one.configured, one.sock.fileno(), one.inode, name)


def _socket(fd: int) -> socket.socket:
    sock = socket.socket(fileno=fd)
    sock.setblocking(False)
    return sock


def _inherited(name: str, fd: int) -> Inherited:
    sock = _socket(fd)
    return Inherited(name, address_of(sock), sock)


def _borrow(one: ListeningState) -> Listening:
    inherited = _inherited(one.inherited if one.inherited is not None else one.name, one.fd)
    return Listening(one.name, one.configured, inherited.sock, inherited)


def _own(one: ListeningState, origins: Mapping[int, ListeningState]) -> Listening:
    origin = origins.get(os.fstat(one.fd).st_ino, one)
    return _revive_listening(ListeningState(one.name, one.configured, one.fd, origin.inode, origin.inherited))


def _revive_listening(one: ListeningState) -> Listening:
    if one.inherited is not None:
        inherited = _inherited(one.inherited, one.fd)
        return Listening(one.name, one.configured, inherited.sock, inherited, one.inode)
    return Listening(one.name, one.configured, _socket(one.fd), inode=one.inode)
