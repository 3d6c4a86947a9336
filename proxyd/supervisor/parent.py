"""A candidate's side of its trial: what it was lent, and what it says to the supervisor that tries it."""

import os
import selectors
import socket
from typing import Final

from proxyd.net.framing import LinkClosed
from proxyd.supervisor import succession
from proxyd.supervisor.link import BufferedLink
from proxyd.supervisor.state import (
    FORMAT,
    Estate,
    GenerationState,
    Household,
    Legacy,
    SocketsState,
    borrowed,
    descriptors,
    pack,
    unpack,
)
from proxyd.supervisor.succession import MAX_FRAME, Note, SuccessionError, Talk

ESTATE_SECONDS: Final = 10.0
YIELD_SECONDS: Final = 10.0

_STDERR: Final = 2


class Parent:
    """The link to the supervisor that tries us. ``number`` is the generation that we are to be."""

    def __init__(self, link: BufferedLink, estate: Estate) -> None:
        self.link = link
        self.number = estate.generation
        self.listeners, self.admin = borrowed(estate.sockets)
        self._is_ready = False

    @classmethod
    def meet(cls, fd: int) -> "Parent":
        """Take over what we are lent; from here on messages go where the daemon's go. SuccessionError."""
        talk = Talk(socket.socket(fileno=fd))
        data, fds = talk.hear("estate", ESTATE_SECONDS)
        try:
            estate = unpack(Estate, data, fds)
        except ValueError as error:
            raise SuccessionError(f"the running daemon's version cannot hand over to this one: {error}") from error
        os.dup2(estate.stderr, _STDERR)
        os.close(estate.stderr)
        sock, received = talk.detach()
        return cls(BufferedLink(sock, MAX_FRAME, received), estate)

    def ready(self) -> None:
        """Say, once, that every worker of ours serves."""
        if not self._is_ready:
            self._is_ready = True
            self._tell(Note("ready"))

    def failed(self, why: str) -> None:
        """Say why we cannot serve."""
        self._tell(Note("failed", why.encode()))

    def serve(self, events: int) -> bool:
        """Take and send what is there; True once we are to give up what we have. LinkClosed, ValueError."""
        if events & selectors.EVENT_WRITE:
            self.link.flush()
        payloads = self.link.receive() if events & selectors.EVENT_READ else []
        if payloads is None:
            raise LinkClosed("the supervisor that tries it is gone")
        notes = [succession.read(payload) for payload in payloads]
        for note in notes:
            if note.word == "review":
                self.review(note.data)
        return any(note.word == "yield" for note in notes)

    def review(self, data: bytes) -> None:
        """Look whether the program that we are would understand this legacy, and say so."""
        try:
            unpack(Legacy, data)
        except ValueError as error:
            self.failed(f"the running daemon's version cannot hand over to this one: {error}")
            return
        self._tell(Note("agreed"))

    def give_up(self, generation: GenerationState, sockets: SocketsState, drain_timeout: float) -> None:
        """Hand the generation over; when this returns it is in other hands. SuccessionError: it is not."""
        household = Household(FORMAT, generation, sockets, drain_timeout)
        try:
            succession.tell(self.link, Note("household", pack(household), tuple(descriptors(household))))
        except LinkClosed as error:
            raise SuccessionError(str(error)) from error
        succession.flush(self.link, YIELD_SECONDS)
        succession.wait_for_end(self.link, YIELD_SECONDS)

    def _tell(self, note: Note) -> None:
        try:
            succession.tell(self.link, note)
        except LinkClosed:
            self.link.close()
