"""What two supervisors say to each other while one succeeds the other.

One frame is ``[word, bytes, [descriptor, ...]]``: the descriptors' numbers in the sender, in the order in which they
come beside it; what one frame cannot carry follows in frames with the word ``more``. A word and its bytes belong to
``state``: both sides have it, in versions that may differ, so both check it.

| word | from | carries |
|---|---|---|
| ``estate`` | the one who tries the candidate | Estate |
| ``ready`` | candidate | |
| ``failed`` | candidate | why, as text |
| ``review`` | the one | Legacy, as it would be |
| ``agreed`` | candidate | |
| ``yield`` | the successor, who has executed the candidate's own program | |
| ``household`` | candidate | Household; it ends when the link does |
"""

import os
import select
import socket
import time
from collections.abc import Iterator, MutableMapping
from dataclasses import dataclass
from typing import Any, Final

import msgpack

from proxyd.core.units import MIB
from proxyd.net.framing import MAX_FDS, FrameReader, LinkClosed, close_fds, frame_header, receive_chunk
from proxyd.supervisor.link import BufferedLink

ROLE: Final = "PROXYD_ROLE"
"""Environment variable: ``candidate:FD`` with the link to whom tries it, ``successor:FD`` with a Legacy."""

MAX_FRAME: Final = 1 * MIB
MORE: Final = "more"
WORDS: Final = frozenset({"estate", "ready", "failed", "review", "agreed", "yield", "household", MORE})

_MOST_FDS: Final = 4096


class SuccessionError(Exception):
    """The other supervisor does not answer as it should; the text says how."""


@dataclass(frozen=True, slots=True)
class Note:
    """One word and what came with it."""

    word: str
    data: bytes = b""
    fds: tuple[int, ...] = ()
    """The sender's numbers."""


def take_role(environ: MutableMapping[str, str]) -> tuple[str, int]:
    """Return what this process was started as (``candidate``, ``successor`` or nothing) and its descriptor."""
    role, _, number = environ.pop(ROLE, "").partition(":")
    if role not in ("candidate", "successor") or not number.isdigit():
        return "", -1
    return role, int(number)


def frames(note: Note) -> Iterator[tuple[bytes, tuple[int, ...]]]:
    """Cut a note into payloads and the descriptors that go beside each."""
    first, rest = note.fds[:MAX_FDS], note.fds[MAX_FDS:]
    yield msgpack.packb([note.word, note.data, list(note.fds)]), first
    while rest:
        first, rest = rest[:MAX_FDS], rest[MAX_FDS:]
        yield msgpack.packb([MORE, b"", list(first)]), first


def read(payload: bytes) -> Note:
    """Read one frame. ValueError: it is none of ours."""
    try:
        plain: Any = msgpack.unpackb(payload, max_bin_len=MAX_FRAME, max_array_len=_MOST_FDS)
    except (ValueError, TypeError, msgpack.UnpackException) as error:
        raise ValueError("a note that is not readable") from error
    match plain:
        case [str(word), bytes(data), list(fds)] if word in WORDS and all(type(fd) is int for fd in fds):
            return Note(word, data, tuple(fds))
        case _:
            raise ValueError("a note of an unknown kind")


def tell(link: BufferedLink, note: Note) -> None:
    """Send a note on a link that queues. LinkClosed."""
    for payload, fds in frames(note):
        link.send(payload, fds)


def flush(link: BufferedLink, seconds: float) -> None:
    """Wait until all that is queued has gone. SuccessionError."""
    deadline = time.monotonic() + seconds
    try:
        while link.pending[1]:
            if not select.select([], [link], [], max(0.0, deadline - time.monotonic()))[1]:
                raise SuccessionError(f"it takes nothing for {seconds:g} s")
            link.flush()
    except LinkClosed as error:
        raise SuccessionError(str(error)) from error


class Talk:
    """The same link for one who has nothing else to do: waits, and accepts descriptors. It owns the socket."""

    def __init__(self, sock: socket.socket, received: bytes = b"") -> None:
        sock.setblocking(False)
        self._sock = sock
        self._reader = FrameReader(MAX_FRAME)
        self._ready = self._reader.feed(received)

    def detach(self) -> tuple[socket.socket, bytes]:
        """Give the socket up, with the beginning of a frame that may have come."""
        return self._sock, self._reader.buffered

    def say(self, note: Note) -> None:
        """Send a note without descriptors. SuccessionError."""
        payload = next(frames(note))[0]
        try:
            self._sock.setblocking(True)
            self._sock.sendall(frame_header(payload, (), MAX_FRAME) + payload)
        except OSError as error:
            raise SuccessionError(f"the link has ended ({error.strerror})") from error
        finally:
            self._sock.setblocking(False)

    def hear(self, word: str, seconds: float) -> tuple[bytes, dict[int, int]]:
        """Wait for ``word``; return what it carries, and the descriptors by the sender's numbers. SuccessionError."""
        deadline = time.monotonic() + seconds
        try:
            note = self._next(deadline)
            if note.word != word:
                raise ValueError(f"{note.word} came where {word} was due")
            fds = self._reader.take_fds(min(len(note.fds), MAX_FDS))
            while len(fds) < len(note.fds):
                fds += self._reader.take_fds(len(self._next(deadline).fds))
        except (ValueError, OSError, LinkClosed) as error:
            raise SuccessionError(str(error) or "the link has failed") from error
        return note.data, dict(zip(note.fds, fds, strict=True))

    def close(self) -> None:
        """End the link."""
        self._reader.close()
        self._sock.close()

    def _next(self, deadline: float) -> Note:
        while not self._ready:
            if self._reader.violation:
                raise SuccessionError(self._reader.violation)
            if not select.select([self._sock], [], [], max(0.0, deadline - time.monotonic()))[0]:
                raise SuccessionError("it says nothing for too long")
            data, fds = receive_chunk(self._sock, accepts_fds=True)
            if not data:
                close_fds(fds)
                raise SuccessionError("it has ended the link")
            self._ready += self._reader.feed(data, fds)
        return read(self._ready.pop(0))


def wait_for_end(link: BufferedLink, seconds: float) -> None:
    """Wait until the peer has closed the link, ``seconds`` at most."""
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0 and select.select([link], [], [], left)[0]:
        if link.receive() is None:
            return


def to_memory(data: bytes) -> int:
    """Return a descriptor that a later program reads ``data`` from."""
    fd = os.memfd_create("proxyd-legacy", 0)
    with open(fd, "wb", closefd=False) as file:
        file.write(data)
    os.lseek(fd, 0, os.SEEK_SET)
    return fd


def from_memory(fd: int) -> bytes:
    """Read all of it and close it."""
    with open(fd, "rb") as file:
        return file.read()
