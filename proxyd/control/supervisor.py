"""Control's link to the supervisor: it binds and starts what control asks for, and its end is control's end."""

import contextlib
import itertools
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import trio

from proxyd.core.messages import (
    FDS,
    Bind,
    BindAdmin,
    Bound,
    Failed,
    Message,
    Notify,
    Promoted,
    Pulse,
    Reloaded,
    Shutdown,
    Upgrade,
    Upgraded,
)
from proxyd.net.frames import FrameLink
from proxyd.net.framing import LinkClosed, close_fds
from proxyd.wire import ipc

BIND_SECONDS: Final = 10.0
PULSE_SECONDS: Final = 1.0
UPGRADE_GRACE: Final = 15.0
"""Beyond an upgrade's own deadline: the exec, and the admin addresses' change of hands."""


class BindFailed(Exception):
    """The listening addresses could not be had; nothing has changed. The text says which and why."""


@dataclass(frozen=True, slots=True)
class Socket:
    """One listening socket, control's copy."""

    address: str
    """As bound."""
    fd: int

    def is_same(self, other: "Socket | None") -> bool:
        """Whether the descriptors are one socket: those have their inode in common."""
        return other is not None and os.fstat(self.fd).st_ino == os.fstat(other.fd).st_ino


class UpgradeFailed(Exception):
    """The program on disk has not taken over; nothing has changed. The text says why."""


class SupervisorLink:
    """Asks and tells. ``handle`` gets every message that is no answer, with its descriptors, which become its own."""

    def __init__(self, link: FrameLink, handle: Callable[[Message, list[int]], None]) -> None:
        self._link = link
        self._handle = handle
        self._ids = itertools.count(1)
        self._waiting: dict[int, tuple[trio.Event, list[tuple[Message, list[int]]]]] = {}

    async def bind(
        self, listeners: Sequence[tuple[str, str]], workers: int, drain_timeout: float
    ) -> Mapping[str, Socket]:
        """Listen on exactly these (name, address); return the sockets by name, now the caller's. BindFailed."""
        return await self._bind(
            lambda number: Bind(number, list(listeners), workers, drain_timeout), [name for name, _ in listeners]
        )

    async def bind_admin(self, address: str) -> Socket:
        """Listen on an admin HTTP address; the socket is the caller's. BindFailed."""
        (socket,) = (await self._bind(lambda number: BindAdmin(number, address), None)).values()
        return socket

    async def upgrade(self, seconds: float, drain: float) -> int:
        """Have the program on disk take over; return its generation. UpgradeFailed."""
        try:
            answer, _ = await self._ask(lambda number: Upgrade(number, seconds, drain), seconds + UPGRADE_GRACE)
        except LinkClosed as error:
            raise UpgradeFailed(f"the supervisor is gone: {error}") from error
        if not isinstance(answer, Upgraded):
            raise UpgradeFailed(f"the supervisor does not answer within {seconds + UPGRADE_GRACE:g} s")
        if answer.error:
            raise UpgradeFailed(answer.error)
        return answer.generation

    async def promoted(self) -> None:
        """Say that the admin addresses are this control's."""
        await self._send(Promoted())

    async def reloaded(self) -> None:
        """Have former generations look whether what they still carry is allowed."""
        await self._send(Reloaded())

    async def failed(self, why: str) -> None:
        """Say why control cannot start."""
        await self._send(Failed(why))

    async def _bind(self, ask: Callable[[int], Message], names: Sequence[str] | None) -> Mapping[str, Socket]:
        try:
            bound, fds = await self._ask(ask, BIND_SECONDS)
        except LinkClosed as error:
            raise BindFailed(f"the supervisor is gone: {error}") from error
        if not isinstance(bound, Bound):
            raise BindFailed(f"the supervisor does not answer within {BIND_SECONDS:g} s")
        if bound.error:
            raise BindFailed(bound.error)
        if len(fds) != 1 if names is None else [name for name, _ in bound.listeners] != names:
            close_fds(fds)
            raise BindFailed("the supervisor has bound other listeners than it was told")
        return {name: Socket(address, fd) for (name, address), fd in zip(bound.listeners, fds, strict=True)}

    async def _ask(self, ask: Callable[[int], Message], seconds: float) -> tuple[Message | None, list[int]]:
        """Send what ``ask`` makes of a number; return its answer and descriptors, or None. LinkClosed."""
        number = next(self._ids)
        event, answers = self._waiting[number] = trio.Event(), []
        try:
            with trio.move_on_after(seconds):
                await self._link.send(ipc.encode(ask(number)))
                await event.wait()
        finally:
            del self._waiting[number]
        return answers[0] if answers else (None, [])

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
        count = len(message.listeners) if isinstance(message, Bound) else FDS.get(type(message), 0)
        fds = self._link.take_fds(count) if count else []
        if not isinstance(message, Bound | Upgraded):
            self._handle(message, fds)
        elif message.id in self._waiting:
            event, answers = self._waiting[message.id]
            answers.append((message, fds))
            event.set()
        else:  # it came too late: the next Bind replaces it
            close_fds(fds)

    async def _send(self, message: Message) -> None:
        with contextlib.suppress(LinkClosed):  # ``run`` sees it too and ends the process
            await self._link.send(ipc.encode(message))
