"""Whether the store that a configuration names can be had from here, without a password or a client library."""

import importlib.util
import socket
import ssl
from typing import Final
from urllib.parse import urlsplit

from proxyd.core.settings import StoreSettings

PATIENCE: Final = 2.0
"""Seconds for each step."""


def store_warnings(store: StoreSettings, source: str) -> list[str]:
    """Return what keeps the store from being used, with the line that names it; SQLite is not looked at."""
    if store.url.startswith("sqlite:"):
        return []
    found = []
    if importlib.util.find_spec("coredis") is None:
        found.append("the client for Redis is not installed: pip install 'proxyd[redis]'")
    why = _why_silent(store)
    if why:
        found.append(
            f"the store {store.url} does not answer ({why}); until it does, limits go on as on_store_loss says"
        )
    return [f"{source}:{store.line}: {text}" for text in found]


def _why_silent(store: StoreSettings) -> str:
    parts = urlsplit(store.url)
    try:
        with _connected(parts.scheme, parts.path, parts.hostname or "127.0.0.1", parts.port or 6379) as plain:
            if parts.scheme != "rediss":
                return _ping(plain)
            context = ssl.create_default_context(cadata=store.roots_pem or None)
            with context.wrap_socket(plain, server_hostname=parts.hostname) as secure:
                return _ping(secure)
    except (OSError, ValueError) as error:
        return str(error) or type(error).__name__


def _connected(scheme: str, path: str, host: str, port: int) -> socket.socket:
    if scheme != "unix":
        return socket.create_connection((host, port), PATIENCE)
    plain = socket.socket(socket.AF_UNIX)
    plain.settimeout(PATIENCE)
    try:
        plain.connect(path)
    except BaseException:
        plain.close()
        raise
    return plain


def _ping(connection: socket.socket) -> str:
    """Ask; a server that wants a password first is there, too."""
    connection.settimeout(PATIENCE)
    connection.sendall(b"PING\r\n")
    answer = connection.recv(64)
    return "" if answer[:1] in (b"+", b"-") and answer else "what answers is no Redis"
