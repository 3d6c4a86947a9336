"""Both admin addresses of one daemon."""

import socket
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import msgpack
import trio

from proxyd.admin.bind import BindError, UnixListener, bind_http, bind_unix, host_port
from proxyd.admin.methods import Methods
from proxyd.admin.service import Service
from proxyd.admin.unix import UnixServer

__all__ = ["Addresses", "BindError", "serve"]

PROBE_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where the admin side is to listen, or listens."""

    socket: str
    http: str = ""
    """``host:port``; empty: nowhere."""


async def serve(
    service: Service,
    addresses: Addresses,
    report: Callable[[str, str], None],
    *,
    task_status: trio.TaskStatus[Addresses] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Bind both addresses (BindError), tell ``task_status`` what they became, and serve until cancelled.

    ``report`` takes an event's name and its detail for the daemon's log. The addresses stay as they are until the
    process ends: a reload that changes them takes effect at the next start.
    """
    listener = bind_unix(Path(addresses.socket))
    try:
        http = bind_http(addresses.http) if addresses.http else None
        try:
            await _serve(service, listener, http, report, task_status)
        finally:
            if http is not None:
                http.close()
    finally:
        listener.close()


async def _serve(
    service: Service,
    listener: UnixListener,
    http: socket.socket | None,
    report: Callable[[str, str], None],
    task_status: trio.TaskStatus[Addresses],
) -> None:
    bound = Addresses(str(listener.path), host_port(http) if http is not None else "")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(UnixServer(Methods(service), report).serve, listener.sock)
        if http is not None:
            from proxyd.admin import http as admin_http

            await nursery.start(partial(admin_http.serve, service, http, partial(socket_answers, listener.path)))
        task_status.started(bound)


async def socket_answers(path: Path) -> bool:
    """Whether the admin socket at ``path`` answers a call within a second, asked as any client would."""
    with trio.move_on_after(PROBE_SECONDS):
        try:
            async with await trio.open_unix_socket(path) as stream:
                await stream.send_all(msgpack.packb([0, 0, "version", []]))
                return bool(await stream.receive_some(4096))
        except (OSError, trio.BrokenResourceError):
            return False
    return False
