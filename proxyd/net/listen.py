"""Accepting: a few connections per wake-up, then others run; a full descriptor table pauses and counts."""

import errno
import socket
from collections.abc import Callable
from typing import Any, Final

import trio
from trio.lowlevel import checkpoint, notify_closing, wait_readable

ACCEPT_BURST: Final = 8
"""Connections accepted before other tasks run."""

FULL_PAUSE: Final = 0.1
"""Seconds to wait when the process or the system has no descriptor left."""

_FULL: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


async def accept(
    listener: socket.socket,
    accepted: Callable[[socket.socket, Any], None],
    failed: Callable[[str], None],
) -> None:
    """Accept until the listener is closed by ``stop``. ``accepted`` owns the socket; ``failed`` gets errno's name."""
    while True:
        try:
            await wait_readable(listener)
            for _ in range(ACCEPT_BURST):
                sock, address = listener.accept()
                sock.setblocking(False)
                accepted(sock, address)
            await checkpoint()
        except BlockingIOError:
            continue
        except trio.ClosedResourceError:
            return
        except OSError as error:
            if error.errno == errno.EBADF:
                return
            failed(errno.errorcode.get(error.errno or 0, "unknown"))
            if error.errno in _FULL:
                await trio.sleep(FULL_PAUSE)


def stop(listener: socket.socket) -> None:
    """Stop accepting here; other processes that share the socket go on."""
    notify_closing(listener)
    listener.close()
