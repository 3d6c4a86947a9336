"""The admin socket: MessagePack-RPC, one call after the other per connection.

Root and the daemon's own user may do everything, readers that the configuration names may look, others are refused.
"""

import math
import os
import socket
import struct
from collections.abc import Callable
from typing import Final

import trio

from proxyd.admin.methods import answer_call
from proxyd.admin.role import Role
from proxyd.admin.rpc import Call, Decoder, ProtocolError, answer, failure
from proxyd.admin.service import Service
from proxyd.admin.session import Session
from proxyd.core.place import place_of
from proxyd.core.refusal import Refusal

CONNECTIONS: Final = 64
READER_CONNECTIONS: Final = 32
"""Of those, what readers may have."""
IDLE_SECONDS: Final = 300.0
"""A connection without a call or a subscription is closed after this."""
WRITE_SECONDS: Final = 10.0
"""A client that does not read its answer is closed after this."""
STALL_SECONDS: Final = 600.0
"""A subscriber that reads nothing is closed after this; until then what does not fit its buffer is dropped."""
REFUSALS_SECONDS: Final = 10.0
"""Refused connections are reported once within this, with the number of those before."""
READ_BYTES: Final = 64 * 1024
ROOT: Final = 0

_UCRED: Final = struct.Struct("3i")
_GID: Final = struct.Struct("I")
_SO_PEERGROUPS: Final = 59
"""Linux 4.13; the socket module does not name it."""
_GROUPS_BYTES: Final = 1024
"""The most that Python's getsockopt takes: 256 groups."""

Report = Callable[[str, str], None]
"""Takes an event's name and its detail, for the daemon's log."""


class UnixServer:
    """Answers for ``service`` everyone whom the kernel names as root, as ``uid``, or as a reader."""

    def __init__(
        self, service: Service, report: Report, *, uid: int | None = None, connections: int = CONNECTIONS
    ) -> None:
        self._service = service
        self._report = report
        self._uid = os.geteuid() if uid is None else uid
        self._limits = {Role.FULL: connections, Role.READER: min(READER_CONNECTIONS, connections)}
        self._open = dict.fromkeys(Role, 0)
        self._next_report = -math.inf
        self._unreported = 0

    async def serve(self, sock: socket.socket) -> None:
        """Accept on ``sock`` until cancelled; closes it."""
        listener = trio.SocketListener(trio.socket.from_stdlib_socket(sock))
        await trio.serve_listeners(self.handle, [listener])

    async def handle(self, stream: trio.SocketStream) -> None:
        """Serve one connection to its end."""
        async with stream:
            uid = peer_uid(stream.socket)
            role = self._role(uid, stream.socket)
            if role is None:
                self._refused(f"uid {uid} is neither root, nor the daemon's, nor one of admin.readers")
                return
            if self._open[role] >= self._limits[role] or sum(self._open.values()) >= self._limits[Role.FULL]:
                self._refused(f"uid {uid}: {self._limits[role]} connections are open")
                return
            self._open[role] += 1
            connection = _Connection(stream, Session(self._service, role, uid), self._report)
            try:
                await connection.run()
            finally:
                self._open[role] -= 1

    def _refused(self, why: str) -> None:
        """Report a refusal; with readers anybody may connect, and must not fill the log."""
        now = trio.current_time()
        if now < self._next_report:
            self._unreported += 1
            return
        others = f"; {self._unreported} more before" if self._unreported else ""
        self._next_report, self._unreported = now + REFUSALS_SECONDS, 0
        self._report("admin_refused", why + others)

    def _role(self, uid: int, sock: trio.socket.SocketType) -> Role | None:
        if uid in (ROOT, self._uid):
            return Role.FULL
        readers = self._service.readers()
        if uid in readers.uids or (readers.gids and not peer_gids(sock).isdisjoint(readers.gids)):
            return Role.READER
        return None


class _Connection:
    """One client's conversation."""

    def __init__(self, stream: trio.SocketStream, session: Session, report: Report) -> None:
        self._stream = stream
        self._session = session
        self._report = report
        self._writing = trio.Lock()
        self._scope = trio.CancelScope()

    async def run(self) -> None:
        """Serve until the client leaves, breaks a rule or takes too long."""
        try:
            async with trio.open_nursery() as nursery:
                self._scope = nursery.cancel_scope
                await self._converse(nursery)
                nursery.cancel_scope.cancel()
        finally:
            self._session.close()

    async def _converse(self, nursery: trio.Nursery) -> None:
        decoder = Decoder()
        while True:
            with trio.CancelScope(deadline=self._deadline()) as idle:
                data = await self._receive()
            if idle.cancelled_caught or not data:
                return
            try:
                calls = decoder.feed(data)
            except ProtocolError:  # there is nobody who would understand why
                return
            for call in calls:
                await self._send(await self._reply(call))
                for number, subscription in self._session.started:
                    nursery.start_soon(self._session.pass_on, number, subscription, self._notify)
                self._session.started.clear()

    async def _receive(self) -> bytes:
        try:
            return bytes(await self._stream.receive_some(READ_BYTES))
        except trio.BrokenResourceError:
            return b""

    async def _notify(self, data: bytes) -> None:
        await self._send(data, STALL_SECONDS)

    async def _send(self, data: bytes, seconds: float = WRITE_SECONDS) -> None:
        """Send whole messages; a client that takes too long, or is gone, ends the connection."""
        async with self._writing:
            with trio.move_on_after(seconds) as writing:
                try:
                    await self._stream.send_all(data)
                except trio.BrokenResourceError:
                    self._scope.cancel()
            if writing.cancelled_caught:
                self._scope.cancel()

    def _deadline(self) -> float:
        return float("inf") if self._session.listens else trio.current_time() + IDLE_SECONDS

    async def _reply(self, call: Call) -> bytes:
        try:
            return answer(call, await answer_call(call, self._session))
        except Refusal as error:
            return failure(call, error)
        except Exception as error:  # noqa: BLE001 - one call's bug must not end the admin socket
            self._report("admin_call_failed", f"{call.method}: {place_of(error)}")
            return failure(
                call, Refusal("internal", f"{call.method} failed inside proxyd; the daemon's log says where")
            )


def peer_uid(sock: trio.socket.SocketType) -> int:
    """Return the uid that the kernel recorded for the other end of a Unix socket."""
    return _credentials(sock)[0]


def peer_gids(sock: trio.socket.SocketType) -> frozenset[int]:
    """Return the groups that the kernel recorded for the other end, its first and its supplementary ones."""
    gids = {_credentials(sock)[1]}
    try:
        packed = sock.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, _GROUPS_BYTES)
        gids.update(gid for (gid,) in _GID.iter_unpack(packed))
    except OSError:  # more groups than fit, or a kernel that does not tell: the first one alone
        pass
    return frozenset(gids)


def _credentials(sock: trio.socket.SocketType) -> tuple[int, int]:
    _, uid, gid = _UCRED.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))
    return int(uid), int(gid)
