"""Both admin addresses of one daemon."""

from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from socket import IPPROTO_TCP, TCP_NODELAY
from typing import Final

import msgpack
import trio

from proxyd.admin.bind import BindError, Tcp, UnixListener, bind_beside, bind_unix, host_port
from proxyd.admin.service import Service
from proxyd.admin.unix import UnixServer

__all__ = ["Addresses", "BindError", "serve"]

PROBE_SECONDS: Final = 1.0


class Addresses:
    """Where the admin side listens, and the change of hands between two generations of the daemon."""

    def __init__(self, listener: UnixListener, tcp: Tcp | None) -> None:
        self.socket = str(listener.place or listener.path)
        self.http = host_port(tcp) if tcp is not None else ""
        """``host:port``; empty: nowhere."""
        self.serves_http = trio.Event()
        self.until_retired = trio.CancelScope()
        self._listener = listener

    def promote(self) -> None:
        """Take the socket's place from a former generation, and serve HTTP from now on."""
        self._listener.promote()
        self.serves_http.set()

    def retire(self) -> None:
        """Leave HTTP to the next generation; on the socket its clients find that one by themselves."""
        self.until_retired.cancel()


async def serve(
    service: Service,
    socket: str,
    http: Tcp | None,
    report: Callable[[str, str], None],
    takeover: str = "",
    *,
    task_status: trio.TaskStatus[Addresses] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Bind the socket (BindError), tell ``task_status`` where all is, and serve until cancelled.

    ``socket`` is a path, ``http`` a listening socket or None, closed at the end; ``report`` takes an event's name and
    its detail for the daemon's log. ``takeover`` ``later`` and ``now`` allow that another generation of this daemon
    serves at the path: its place is taken by ``promote``, or at once. The addresses, and the socket's mode, which
    follows the service's readers, stay as they are until the process ends: a reload that changes them takes effect at
    the next start.
    """
    try:
        bind = bind_beside if takeover else bind_unix
        listener = bind(Path(socket), service.readers())
        try:
            addresses = Addresses(listener, http)
            if takeover != "later":
                addresses.promote()
            await _serve(service, listener, http, report, addresses, task_status)
        finally:
            listener.close()
    finally:
        if http is not None:
            http.close()


async def _serve(
    service: Service,
    listener: UnixListener,
    tcp: Tcp | None,
    report: Callable[[str, str], None],
    addresses: Addresses,
    task_status: trio.TaskStatus[Addresses],
) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(UnixServer(service, report).serve, listener.sock)
        if tcp is not None:
            answers = partial(socket_answers, Path(addresses.socket))
            nursery.start_soon(_serve_http_while_ours, service, tcp, answers, addresses)
        task_status.started(addresses)


async def _serve_http_while_ours(
    service: Service, tcp: Tcp, answers: Callable[[], Awaitable[bool]], addresses: Addresses
) -> None:
    with addresses.until_retired:
        await addresses.serves_http.wait()
        tcp.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)
        await _serve_http(service, tcp, answers)


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
