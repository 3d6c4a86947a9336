"""Control's link to the supervisor: it binds and starts what control asks for, and its end is control's end."""

import contextlib
import itertools
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import trio

from proxyd.core.messages import Bind, Bound, Message, Notify, Pulse, Shutdown, WorkerStarted
from proxyd.net.frames import FrameLink
from proxyd.net.framing import LinkClosed, close_fds
from proxyd.wire import ipc

BIND_SECONDS: Final = 10.0
PULSE_SECONDS: Final = 1.0


class BindFailed(Exception):
    """The listening addresses could not be had; nothing has changed. The text says which and why."""


@dataclass(frozen=True, slots=True)
class Socket:
    """One listening socket, control's copy."""

    address: str
    """As bound."""
    fd: int

    @property
    def inode(self) -> int:
        """What two descriptors of one socket have in common."""
        return os.fstat(self.fd).st_ino


class SupervisorLink:
    """Asks and tells. ``handle`` gets every message that is no answer, with its descriptors, which become its own."""

    def __init__(self, link: FrameLink, handle: Callable[[Message, list[int]], None]) -> None:
        self._link = link
        self._handle = handle
        self._ids = itertools.count(1)
        self._waiting: dict[int, tuple[trio.Event, list[tuple[Bound, list[int]]]]] = {}

    async def bind(
        self, listeners: Sequence[tuple[str, str]], workers: int, drain_timeout: float
    ) -> Mapping[str, Socket]:
        """Listen on exactly these (name, address); return the sockets by name, now the caller's. BindFailed."""
        number = next(self._ids)
        event, answers = self._waiting[number] = trio.Event(), []
        try:
            with trio.move_on_after(BIND_SECONDS):
                await self._link.send(ipc.encode(Bind(number, list(listeners), workers, drain_timeout)))
                await event.wait()
        except LinkClosed as error:
            raise BindFailed(f"the supervisor is gone: {error}") from error
        finally:
            del self._waiting[number]
        if not answers:
            raise BindFailed(f"the supervisor does not answer within {BIND_SECONDS:g} s")
        bound, fds = answers[0]
        if bound.error:
            raise BindFailed(bound.error)
        if [name for name, _ in bound.listeners] != [name for name, _ in listeners]:
            close_fds(fds)
            raise BindFailed("the supervisor has bound other listeners than it was told")
        return {name: Socket(address, fd) for (name, address), fd in zip(bound.listeners, fds, strict=True)}

    async def notify(self, text: str) -> None:
        """Pass a line on to systemd."""
        await self._send(Notify(text))

    async def shutdown(self, seconds: float) -> None:
        """Have everything drain within ``seconds`` and end."""
        await self._send(Shutdown(seconds))

    async def pulse(self) -> None:
        """Say each second that control is alive; returns when the link ends."""
        try:
            while True:
                await self._link.send(ipc.encode(Pulse()))
                await trio.sleep(PULSE_SECONDS)
        except LinkClosed:
            return

    async def run(self) -> str:
        """Serve the link until it ends and return why. ValueError: the supervisor broke a rule."""
        try:
            while True:
                self._on_message(ipc.decode(await self._link.receive(), ipc.SUPERVISOR_TO_CONTROL))
        except LinkClosed as error:
            return str(error)
        finally:
            self._link.close()

    def _on_message(self, message: Message) -> None:
        if isinstance(message, Bound):
            fds = self._link.take_fds(len(message.listeners))
            if message.id not in self._waiting:  # it came too late: the next Bind replaces it
                close_fds(fds)
                return
            event, answers = self._waiting[message.id]
            answers.append((message, fds))
            event.set()
            return
        self._handle(message, self._link.take_fds(1) if isinstance(message, WorkerStarted) else [])

    async def _send(self, message: Message) -> None:
        with contextlib.suppress(LinkClosed):  # ``run`` sees it too and ends the process
            await self._link.send(ipc.encode(message))
