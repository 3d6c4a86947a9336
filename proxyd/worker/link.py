"""The worker's ends of its links: messages from control and the supervisor in, events and counters out.

Traffic never waits here. While control is stopped or dead, events queue up to their bound and counters add up; a new
control process is adopted with a fresh link and sends everything again.
"""

import contextlib
import os
import socket
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

import trio

from proxyd.core.messages import (
    Adopt,
    Announced,
    Answer,
    Applied,
    ApplySnapshot,
    CertificateSeen,
    CredentialApplied,
    CredentialEnds,
    CredentialRefused,
    Drain,
    InstallLeaf,
    KeySettled,
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
    WantKey,
    WantLeaf,
    WantLease,
    WantToken,
)
from proxyd.core.snapshot import Snapshot
from proxyd.net.frames import FrameLink
from proxyd.net.framing import LinkClosed
from proxyd.wire import ipc
from proxyd.worker.meter import Meter
from proxyd.worker.observe import Events as EventQueue

FROM_CONTROL: Final = frozenset(
    {
        ApplySnapshot,
        SetListener,
        SetCredential,
        SetCredentials,
        InstallLeaf,
        SetHealth,
        SetFaults,
        SetOverrides,
        SetLease,
        SetKey,
    }
    | {Drain, Query}
)
FROM_SUPERVISOR: Final = frozenset({Adopt, Drain})

EVENTS_SECONDS: Final = 0.1
STATS_SECONDS: Final = 1.0
MAX_WANTS: Final = 1024
"""Questions for control that wait to be sent."""


Want = (
    WantLeaf
    | WantLease
    | WantKey
    | KeySettled
    | CredentialRefused
    | WantToken
    | Announced
    | CredentialEnds
    | CertificateSeen
)


class Subject(Protocol):
    """What messages act upon: the worker."""

    def apply(self, snapshot: Snapshot) -> None:
        """Make this the snapshot; ValueError when it cannot be used."""
        ...

    def offer_listener(self, name: str, sock: socket.socket) -> None:
        """Take a listening socket for the snapshot that names it."""
        ...

    def set_credential(self, message: SetCredential) -> None:
        """Use this value from now on."""
        ...

    def set_credentials(self, message: SetCredentials) -> None:
        """Use these values, which belong together, from now on."""
        ...

    def install_leaf(self, leaf: InstallLeaf) -> None:
        """Take a leaf certificate."""
        ...

    def set_health(self, message: SetHealth) -> None:
        """Use an endpoint, or leave it alone, from the next attempt on."""
        ...

    def set_overrides(self, message: SetOverrides) -> None:
        """Hold endpoints and breakers as an operator wants them."""
        ...

    def set_faults(self, message: SetFaults) -> None:
        """Inject these faults and no others."""
        ...

    def set_lease(self, message: SetLease) -> None:
        """Spend from this lease of a limit."""
        ...

    def set_key(self, message: SetKey) -> None:
        """Go by what is known of an idempotency key."""
        ...

    def adopted(self) -> None:
        """Another control has come in the former one's place."""
        ...

    def drain(self, seconds: float, *, gentle: bool) -> None:
        """Stop accepting and end within ``seconds``; ``gentle`` leaves idle connections their next request."""
        ...

    def answer(self, what: str, about: list[str]) -> object:
        """Describe a part of the worker in plain values."""
        ...


class Links:
    """Both links of one worker."""

    def __init__(self, subject: Subject, meter: Meter, events: EventQueue, control: socket.socket) -> None:
        self._subject = subject
        self._meter = meter
        self._events = events
        self._control = FrameLink(control, ipc.MAX_DOWN, max_send=ipc.MAX_UP)
        self._adopted = trio.Event()
        self._wants_out, self._wants_in = trio.open_memory_channel[Want](MAX_WANTS)

    def want_leaf(self, host: str, caller: str) -> None:
        """Ask control for a leaf; a full queue drops the question, and the handshake that waits times out."""
        try:
            self._wants_out.send_nowait(WantLeaf(host, caller))
        except trio.WouldBlock:
            self._events.notice("warning", "leaf_questions_full", f"no room to ask for {host}")

    def want_lease(self, question: WantLease) -> None:
        """Ask control for a part of a limit; where there is no room the question is lost, and asked again."""
        with contextlib.suppress(trio.WouldBlock):
            self._wants_out.send_nowait(question)

    def want_key(self, message: WantKey | KeySettled) -> None:
        """Ask control about an idempotency key, or tell it; where there is no room it is said again."""
        with contextlib.suppress(trio.WouldBlock):
            self._wants_out.send_nowait(message)

    def want_token(self, message: CredentialRefused | WantToken) -> None:
        """Ask control for another token; where there is no room it is asked again."""
        with contextlib.suppress(trio.WouldBlock):
            self._wants_out.send_nowait(message)

    def tell(self, message: Announced | CredentialEnds | CertificateSeen) -> bool:
        """Tell control what an upstream announced or showed; False: there was no room."""
        try:
            self._wants_out.send_nowait(message)
        except trio.WouldBlock:
            return False
        return True

    async def flush(self) -> None:
        """Send what waits, before the worker ends."""
        try:
            await self._send_waiting(self._control)
            await self._send(self._control, self._meter.collect())
        except LinkClosed:
            return

    async def run_control(self) -> None:
        """Serve control links, one after the other, for ever."""
        while True:
            link = self._control
            try:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._stop_on_close, nursery.cancel_scope, self._send_events, link)
                    nursery.start_soon(self._stop_on_close, nursery.cancel_scope, self._send_stats, link)
                    nursery.start_soon(self._stop_on_close, nursery.cancel_scope, self._send_wants, link)
                    await self._stop_on_close(nursery.cancel_scope, self._receive, link)
            finally:
                link.close()
            if self._control is link:
                await self._adopted.wait()
            self._adopted = trio.Event()
            self._subject.adopted()

    async def run_supervisor(self, sock: socket.socket) -> None:
        """Serve the lifeline; returns at its end, which is the order to exit."""
        link = FrameLink(sock, ipc.MAX_DOWN)
        try:
            while True:
                message = ipc.decode(await link.receive(), FROM_SUPERVISOR)
                if isinstance(message, Drain):
                    self._subject.drain(message.seconds, gentle=message.gentle)
                elif isinstance(message, Adopt):
                    fd = link.take_fds(1)[0]
                    former = self._control
                    self._control = FrameLink.from_fd(fd, ipc.MAX_DOWN, max_send=ipc.MAX_UP)
                    former.close()
                    self._adopted.set()
        except (LinkClosed, ValueError):
            return
        finally:
            link.close()

    @staticmethod
    async def _stop_on_close(
        scope: trio.CancelScope, run: Callable[[FrameLink], Awaitable[None]], link: FrameLink
    ) -> None:
        try:
            await run(link)
        except LinkClosed:
            scope.cancel()

    async def _receive(self, link: FrameLink) -> None:
        await self._send(link, Ready(os.getpid()))
        while True:
            try:
                message = ipc.decode(await link.receive(), FROM_CONTROL)
                reply = self._act(message, link)
            except ValueError as error:
                self._events.notice("error", "control_frame", str(error))
                raise LinkClosed("control broke a rule of the link") from error
            if reply is not None:
                await self._send(link, reply)

    def _act(self, message: Message, link: FrameLink) -> Message | None:
        subject = self._subject
        if isinstance(message, ApplySnapshot):
            version = message.snapshot.version
            try:
                subject.apply(message.snapshot)
            except ValueError as error:
                return Refused(version, str(error))
            return Applied(version)
        if isinstance(message, SetListener):
            subject.offer_listener(message.name, socket.socket(fileno=link.take_fds(1)[0]))
        elif isinstance(message, SetCredential):
            subject.set_credential(message)
            return CredentialApplied(message.name, message.serial)
        elif isinstance(message, SetCredentials):
            subject.set_credentials(message)
        elif isinstance(message, InstallLeaf):
            subject.install_leaf(message)
        elif isinstance(message, SetHealth):
            subject.set_health(message)
        elif isinstance(message, SetOverrides):
            subject.set_overrides(message)
        elif isinstance(message, SetFaults):
            subject.set_faults(message)
        elif isinstance(message, SetLease):
            subject.set_lease(message)
        elif isinstance(message, SetKey):
            subject.set_key(message)
        elif isinstance(message, Drain):
            subject.drain(message.seconds, gentle=message.gentle)
        elif isinstance(message, Query):
            return Answer(message.id, subject.answer(message.what, message.about))
        return None

    async def _send_events(self, link: FrameLink) -> None:
        while True:
            await trio.sleep(EVENTS_SECONDS)
            await self._send_waiting(link)

    async def _send_waiting(self, link: FrameLink) -> None:
        while (frame := self._events.take()) is not None:
            await link.send(ipc.encode_events(*frame))

    async def _send_stats(self, link: FrameLink) -> None:
        while True:
            await self._send(link, self._meter.collect())
            await trio.sleep(STATS_SECONDS)

    async def _send_wants(self, link: FrameLink) -> None:
        while True:
            await self._send(link, await self._wants_in.receive())

    @staticmethod
    async def _send(link: FrameLink, message: Message) -> None:
        await link.send(ipc.encode(message))
