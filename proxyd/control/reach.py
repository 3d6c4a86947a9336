"""How programs on this machine reach the listeners: what ``proxyd env`` and ``proxyd exec`` are made of."""

from collections.abc import Mapping
from typing import Any, Final

from proxyd.control.supervisor import Socket
from proxyd.core.service import UNIX
from proxyd.core.settings import Settings
from proxyd.core.snapshot import Listener, ListenerMode

_EVERY: Final = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}  # noqa: S104
"""Addresses that stand for all of them, and the one among them to ask."""


def reach(settings: Settings | None, sockets: Mapping[str, Socket], token_file: str) -> dict[str, Any]:
    """Return the first listener of each kind that takes clients without a password; None where there is none.

    ``proxy`` is a forward listener's URL, ``proxy_socket`` the path of one on a Unix socket; ``gateway_socket`` and
    ``gateway_url`` the gateway's, and ``gateway_token_file`` where the latter demands a token.
    """
    bound = [
        (listener, sockets[listener.name].address)
        for listener in (settings.listeners if settings else ())
        if listener.name in sockets and not listener.users
    ]
    forward = [item for item in bound if item[0].mode is ListenerMode.FORWARD]
    gateways = [item for item in bound if item[0].mode is ListenerMode.GATEWAY]
    tcp = next((listener for listener, address in gateways if not address.startswith(UNIX)), None)
    return {
        "proxy": _url(forward),
        "proxy_socket": _path(forward),
        "gateway_socket": _path(gateways),
        "gateway_url": _url(gateways),
        "gateway_token_file": token_file if tcp is not None and not tcp.open else None,
    }


def _url(listeners: list[tuple[Listener, str]]) -> str | None:
    for _, address in listeners:
        if not address.startswith(UNIX):
            host, _, port = address.rpartition(":")
            return f"http://{_EVERY.get(host, host)}:{port}"
    return None


def _path(listeners: list[tuple[Listener, str]]) -> str | None:
    return next((address.removeprefix(UNIX) for _, address in listeners if address.startswith(UNIX)), None)
