"""TCP ports of the loopback address: free ones, and whether one answers."""

import socket
from contextlib import ExitStack

LOOPBACK = "127.0.0.1"
OTHER_LOOPBACK = "127.0.0.2"
"""An address that no service is named by."""


def free_ports(count: int) -> list[int]:
    """Return ``count`` different ports that nothing listens on now (the kernel chooses them)."""
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind((LOOPBACK, 0))
        return [each.getsockname()[1] for each in sockets]


def answers(port: int, address: str = LOOPBACK) -> bool:
    """Whether something accepts a connection on ``port`` of ``address``."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((address, port)) == 0
