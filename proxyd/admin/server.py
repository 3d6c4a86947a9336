"""Both admin addresses of one daemon."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import msgpack
import trio

from proxyd.admin.bind import BindError, Tcp, UnixListener, bind_http, bind_unix, host_port
from proxyd.admin.methods import Methods
from proxyd.admin.service import Service
from proxyd.admin.unix import UnixServer

__all__ = ["Addresses", "BindError", "serve"]

PROBE_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where the admin side listens."""

    socket: str
    http: str = ""
    """``host:port``; empty: nowhere."""


async def serve(
    service: Service,
    socket: str,
    http: str,
    report: Callable[[str, str], None],
    *,
    task_status: trio.TaskStatus[Addresses] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Bind both addresses (BindError), tell ``task_status`` what they became, and serve until cancelled.

    ``socket`` is a path, ``http`` is ``host:port`` or empty; ``report`` takes an event's name and its detail for the
    daemon's log. The addresses stay as they are until the process ends: a reload that changes them takes effect at
    the next start.
    """
    listener = bind_unix(Path(socket))
    try:
        tcp = bind_http(http) if http else None
        try:
            await _serve(service, listener, tcp, report, task_status)
        finally:
            if tcp is not None:
                tcp.close()
    finally:
        listener.close()


async def _serve(
    service: Service,
    listener: UnixListener,
    tcp: Tcp | None,
    report: Callable[[str, str], None],
    task_status: trio.TaskStatus[Addresses],
) -> None:
    bound = Addresses(str(listener.path), host_port(tcp) if tcp is not None else "")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(UnixServer(Methods(service), report).serve, listener.sock)
        if tcp is not None:
            nursery.start_soon(_serve_http, service, tcp, partial(socket_answers, listener.path))
        task_status.started(bound)


async def _serve_http(service: Service, tcp: Tcp, answers: Callable[[], Awaitable[bool]]) -> None:
    """Load the web framework when somebody first connects: it costs a fifth of a second and some 10 MB."""
    await trio.lowlevel.wait_readable(tcp)
    from proxyd.admin import http as admin_http

    await admin_http.serve(service, tcp, answers)


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
