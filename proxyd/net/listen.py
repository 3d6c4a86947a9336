"""Accepting: a few connections per wake-up, then others run; a full descriptor table pauses and counts."""

import errno
import socket
from collections.abc import Callable
from typing import Any, Final

import trio
from trio import current_time
from trio.lowlevel import checkpoint, notify_closing, wait_readable

ACCEPT_BURST: Final = 8
"""Connections accepted before other tasks run."""

FULL_PAUSE: Final = 0.1
"""Seconds to wait when the process or the system has no descriptor left."""

_FULL: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


DEFERRAL: Final = 0.005
"""Seconds that a process which is ahead leaves new connections to others that share the socket."""

IN_VAIN: Final = 0.1
"""Seconds without a deferral after nobody else came: the others are stalled, and nothing is stranded for them."""


def never() -> bool:
    """Nobody shares the socket."""
    return False


async def accept(
    listener: socket.socket,
    accepted: Callable[[socket.socket, Any], None],
    failed: Callable[[str], None],
    is_ahead: Callable[[], bool] = never,
) -> None:
    """Accept until the listener is closed by ``stop``. ``accepted`` owns the socket; ``failed`` gets errno's name.

    While ``is_ahead``, others that share the socket go first, if they come within DEFERRAL.
    """
    eager_until = 0.0
    while True:
        try:
            await wait_readable(listener)
            if is_ahead() and current_time() >= eager_until:
                await trio.sleep(DEFERRAL)
                sock, address = listener.accept()
                eager_until = current_time() + IN_VAIN
                sock.setblocking(False)
                accepted(sock, address)
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
