"""The admin socket: MessagePack-RPC for the daemon's own user and root, one call after the other per connection."""

import os
import socket
import struct
import traceback
from collections.abc import Callable
from typing import Final

import trio

from proxyd.admin.methods import Methods
from proxyd.admin.rpc import Call, Decoder, ProtocolError, RpcError, answer, failure

CONNECTIONS: Final = 64
IDLE_SECONDS: Final = 300.0
"""A connection without a call is closed after this."""
WRITE_SECONDS: Final = 10.0
"""A client that does not read its answer is closed after this."""
READ_BYTES: Final = 64 * 1024

_UCRED: Final = struct.Struct("3i")

Report = Callable[[str, str], None]
"""Takes an event's name and its detail, for the daemon's log."""


class UnixServer:
    """Serves ``methods`` to everyone whom the kernel names as root or as ``uid``."""

    def __init__(
        self, methods: Methods, report: Report, *, uid: int | None = None, connections: int = CONNECTIONS
    ) -> None:
        self._methods = methods
        self._report = report
        self._uid = os.geteuid() if uid is None else uid
        self._limit = connections
        self._open = 0

    async def serve(self, sock: socket.socket) -> None:
        """Accept on ``sock`` until cancelled; closes it."""
        listener = trio.SocketListener(trio.socket.from_stdlib_socket(sock))
        await trio.serve_listeners(self.handle, [listener])

    async def handle(self, stream: trio.SocketStream) -> None:
        """Serve one connection to its end."""
        async with stream:
            uid = peer_uid(stream.socket)
            if uid not in (0, self._uid):
                self._report("admin_refused", f"uid {uid} is neither root nor the daemon's")
                return
            if self._open >= self._limit:
                self._report("admin_refused", f"{self._limit} connections are open")
                return
            self._open += 1
            try:
                await self._converse(stream)
            except (trio.BrokenResourceError, ProtocolError):
                return  # the other side is gone, or does not speak the protocol: there is nobody to tell
            finally:
                self._open -= 1

    async def _converse(self, stream: trio.SocketStream) -> None:
        decoder = Decoder()
        while True:
            with trio.move_on_after(IDLE_SECONDS) as idle:
                data = await stream.receive_some(READ_BYTES)
            if idle.cancelled_caught or not data:
                return
            for call in decoder.feed(data):
                reply = await self._reply(call)
                with trio.move_on_after(WRITE_SECONDS) as writing:
                    await stream.send_all(reply)
                if writing.cancelled_caught:
                    return

    async def _reply(self, call: Call) -> bytes:
        try:
            return answer(call, await self._methods.call(call))
        except RpcError as error:
            return failure(call, error)
        except Exception as error:  # noqa: BLE001 - one call's bug must not end the admin socket
            frame = traceback.extract_tb(error.__traceback__)[-1]
            place = f"{frame.filename}:{frame.lineno}"
            self._report("admin_call_failed", f"{call.method}: {type(error).__name__} at {place}")
            return failure(
                call, RpcError("internal", f"{call.method} failed inside proxyd; the daemon's log says where")
            )


def peer_uid(sock: trio.socket.SocketType) -> int:
    """Return the uid that the kernel recorded for the other end of a Unix socket."""
    _, uid, _ = _UCRED.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))
    return int(uid)
