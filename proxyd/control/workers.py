"""Control's end of the links to workers: what a worker is to know goes down, what it reports comes up.

Messages down are state, so the outbox holds one of each kind and name: what is newer takes the older one's place, and
a worker that was stopped for an hour finds the latest of everything, in an outbox that cannot grow. The snapshot alone
moves to the end, behind all that it may refer to.

Nothing that comes up is trusted. A worker that breaks a rule loses its link and is killed; the supervisor forks
another.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NoReturn

import trio

from proxyd.core.messages import (
    Answer,
    Applied,
    ApplySnapshot,
    CredentialApplied,
    InstallLeaf,
    Message,
    Query,
    Ready,
    Refused,
    SetCredential,
    SetCredentials,
    SetFaults,
    SetHealth,
    SetKey,
    SetLease,
    SetListener,
    SetOverrides,
)
from proxyd.net.frames import FrameLink
from proxyd.net.framing import LinkClosed, close_fds
from proxyd.wire import ipc

MAX_QUERIES: Final = 8
"""Questions that one worker may owe an answer to."""
WHY_CHARACTERS: Final = 1024
"""What is kept of a worker's own words."""

Down = (
    ApplySnapshot
    | SetListener
    | SetCredential
    | SetCredentials
    | InstallLeaf
    | SetHealth
    | SetFaults
    | SetOverrides
    | SetLease
    | SetKey
    | Query
)
Key = tuple[str, str]


class Outbox:
    """Messages that wait to be sent, each with the descriptor that it carries, in order."""

    def __init__(self) -> None:
        self._waiting: dict[Key, tuple[Down, int | None]] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, message: Down, fd: int | None = None) -> None:
        """Queue ``message``; ``fd`` is duplicated and stays the caller's."""
        key = _key(message)
        if isinstance(message, ApplySnapshot):
            self._waiting.pop(key, None)
        copy = os.dup(fd) if fd is not None else None
        former = self._waiting.get(key)
        self._waiting[key] = (message, copy)
        if former is not None:
            close_fds(_fds(former[1]))

    def take(self) -> tuple[Down, list[int]]:
        """Remove and return the oldest message and its descriptors, now the caller's to close."""
        key = next(iter(self._waiting))
        message, fd = self._waiting.pop(key)
        return message, _fds(fd)

    def close(self) -> None:
        """Drop everything."""
        for _, fd in self._waiting.values():
            close_fds(_fds(fd))
        self._waiting.clear()


class WorkerLink:
    """One worker as control sees it.

    ``handle`` gets what the worker reports beyond what is kept here (events, statistics, questions); it raises
    ValueError for what breaks a rule.
    """

    def __init__(self, index: int, pid: int, link: FrameLink, handle: Callable[["WorkerLink", Message], None]) -> None:
        self.index = index
        self.pid = pid
        self.is_ready = False
        self.applied = 0
        """Version of the snapshot in use; 0: none yet."""
        self.refused = 0
        """Version of the snapshot that was refused last."""
        self.why = ""
        self.credentials: dict[str, int] = {}
        """Serial of each credential in use."""
        self.changed = trio.Event()
        """Set, and replaced, when one of the above changes or the link ends."""
        self.is_open = True
        self._link = link
        self._handle = handle
        self._outbox = Outbox()
        self._wake = trio.Event()
        self._sent_version = 0
        self._serials: dict[str, int] = {}
        self._answers: dict[int, tuple[trio.Event, list[Any]]] = {}
        self._next_query = 0

    def __repr__(self) -> str:
        state = "open" if self.is_open else "closed"
        return f"<WorkerLink {self.index} pid={self.pid} {state} applied={self.applied} waiting={len(self._outbox)}>"

    @property
    def waiting(self) -> int:
        """Messages that the worker has not taken yet."""
        return len(self._outbox)

    @property
    def title(self) -> str:
        """How people are told of it."""
        return f"worker {self.index} (pid {self.pid})"

    def put(self, message: Down, fd: int | None = None) -> None:
        """Queue a message; never waits. After the link has ended nothing happens."""
        if not self.is_open:
            return
        if isinstance(message, ApplySnapshot):
            self._sent_version = message.snapshot.version
        elif isinstance(message, SetCredential):
            self._serials[message.name] = message.serial
        self._outbox.put(message, fd)
        self._wake.set()

    async def ask(self, what: str, seconds: float, about: Sequence[str] = ()) -> Any:
        """Return the worker's answer, None when it does not come within ``seconds``. The answer is not validated."""
        if not self.is_open or len(self._answers) >= MAX_QUERIES:
            return None
        self._next_query += 1
        number = self._next_query
        event, answer = self._answers[number] = trio.Event(), []
        self.put(Query(number, what, list(about)))
        try:
            with trio.move_on_after(seconds):
                await event.wait()
        finally:
            del self._answers[number]
        return answer[0] if answer else None

    async def run(self) -> str:
        """Serve the link until it ends and return why; ValueError: the worker broke a rule."""
        why, problem = "", None
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._send)
                try:
                    await self._receive()
                except LinkClosed as error:
                    why = str(error)
                except ValueError as error:
                    problem = error
                nursery.cancel_scope.cancel()
        finally:
            self.close()
        if problem is not None:
            raise problem
        return why

    def close(self) -> None:
        """End the link."""
        self._link.close()
        self._outbox.close()
        self.is_open = False
        for event, _ in self._answers.values():
            event.set()
        self._tell()

    async def _send(self) -> None:
        try:
            while True:
                await self._wake.wait()
                self._wake = trio.Event()
                while len(self._outbox):
                    message, fds = self._outbox.take()
                    try:
                        await self._link.send(ipc.encode(message), fds)
                    finally:
                        close_fds(fds)
        except LinkClosed:
            return  # receiving ends as well and says why

    async def _receive(self) -> NoReturn:
        while True:
            self._on_message(ipc.decode(await self._link.receive(), ipc.WORKER_TO_CONTROL))

    def _on_message(self, message: Message) -> None:
        match message:
            case Ready(pid):
                if pid != self.pid:
                    raise ValueError("Ready names another process")
                self.is_ready = True
            case Applied(version):
                self._check(version)
                self.applied = version
                self.why = ""
            case Refused(version, why):
                self._check(version)
                self.refused = version
                self.why = why[:WHY_CHARACTERS]
            case CredentialApplied(name, serial):
                if serial > self._serials.get(name, 0):
                    raise ValueError("CredentialApplied names a credential that was not sent")
                self.credentials[name] = serial
            case Answer(number, value):
                if number in self._answers:  # else nobody waits any more
                    event, answer = self._answers[number]
                    answer.append(value)
                    event.set()
                return
            case other:
                self._handle(self, other)
                return
        self._tell()

    def _check(self, version: int) -> None:
        if not 0 < version <= self._sent_version:
            raise ValueError("a version that was not sent")

    def _tell(self) -> None:
        self.changed.set()
        self.changed = trio.Event()


async def settled(links: Sequence[WorkerLink], version: int, seconds: float) -> list[WorkerLink]:
    """Wait until every link has applied or refused ``version``, or ended; return those that took too long."""
    late: list[WorkerLink] = []
    with trio.move_on_after(seconds) as scope:
        for link in links:
            while _is_open_question(link, version):
                await link.changed.wait()
    if scope.cancelled_caught:
        late = [link for link in links if _is_open_question(link, version)]
    return late


async def credentials_settled(
    links: Sequence[WorkerLink], serials: Mapping[str, int], seconds: float
) -> list[WorkerLink]:
    """Wait until every link uses these credentials (name to serial), or ended; return those that took too long."""

    def is_behind(link: WorkerLink) -> bool:
        return link.is_open and any(link.credentials.get(name, 0) < serial for name, serial in serials.items())

    with trio.move_on_after(seconds):
        for link in links:
            while is_behind(link):
                await link.changed.wait()
    return [link for link in links if is_behind(link)]


def _is_open_question(link: WorkerLink, version: int) -> bool:
    return link.is_open and link.applied < version and link.refused < version


def _key(message: Down) -> Key:
    match message:
        case SetListener(name) | SetCredential(name=name) | InstallLeaf(host=name):
            return type(message).__name__, name
        case SetHealth(service, host, port):
            return "SetHealth", f"{service} {host} {port}"
        case Query(number) | SetKey(number):
            return type(message).__name__, str(number)
        case SetLease(service, limit, name):
            return "SetLease", f"{service} {limit} {name}"
        case SetCredentials(values):
            return "SetCredentials", " ".join(values)
        case ApplySnapshot() | SetFaults() | SetOverrides():
            return type(message).__name__, ""


def _fds(fd: int | None) -> list[int]:
    return [] if fd is None else [fd]
