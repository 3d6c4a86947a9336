"""What vendors say of the end of endpoints and credentials: told to control once for each and what is said."""

import re
from collections.abc import Callable
from typing import Final

from proxyd.core.catalogue import ANNOUNCING, ENDS
from proxyd.core.exchange import Exchange
from proxyd.core.message import Response
from proxyd.core.messages import Announced, CredentialEnds

MOST: Final = 1024
"""Announcements that a worker remembers; when there are more, the oldest may be told again."""

MAX_FIELDS: Final = 8
MAX_VALUE: Final = 256
MAX_SEGMENTS: Final = 8
MAX_SEGMENT: Final = 40

_ENDS: Final = ENDS.encode("ascii")
_LINK: Final = re.compile(rb'rel="?(?:deprecation|sunset|successor-version)\b', re.IGNORECASE)
_NAMES: Final = frozenset(name.encode("ascii") for name in ANNOUNCING)
_IDENTIFIER: Final = re.compile(
    r"[0-9]+|[0-9a-fA-F]{8,}|[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}|(?=.*[0-9])[A-Za-z0-9_-]{16,}|.*[%@:].*"
)

Tell = Callable[[Announced | CredentialEnds], bool]
"""Says it to control; False: there was no room, and it is said again next time."""


class Endings:
    """Remembers what was told."""

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self._told: dict[tuple[object, ...], None] = {}

    def saw(self, exchange: Exchange, response: Response) -> bool:
        """Look at a response that has one of the fields; whether it announces the end of an endpoint."""
        service, method = exchange.route.name, exchange.request.method
        if not service:
            return False
        for name, value in response.headers:
            if name == _ENDS:
                self._credential(exchange, value)
        fields = tuple(item for item in response.headers if item[0] in _NAMES or _is_link(item))[:MAX_FIELDS]
        if not fields:
            return False  # a filter took it away
        path = template(exchange.request.path)
        said = [[_text(name), _text(value)] for name, value in fields]
        self._once((service, method, path, fields), Announced(service, _text(method), path, said))
        return True

    def forget(self) -> None:
        """Another control has come, who knows none of it."""
        self._told.clear()

    def _credential(self, exchange: Exchange, value: bytes) -> None:
        names = exchange.credential.secret_names if exchange.credential is not None else ()
        if len(names) == 1:
            self._once((names[0], value), CredentialEnds(names[0], _text(value)))

    def _once(self, key: tuple[object, ...], message: Announced | CredentialEnds) -> None:
        if key not in self._told and self._tell(message):
            if len(self._told) >= MOST:
                self._told.pop(next(iter(self._told)))
            self._told[key] = None


def template(path: bytes) -> str:
    """Return a path without its query, ``{id}`` in place of what looks like an identifier, and not longer than a few
    segments: all requests of one endpoint have one.
    """
    segments = path.partition(b"?")[0].decode("ascii", "replace").split("/")
    kept = ["{id}" if _is_identifier(segment) else segment for segment in segments[: MAX_SEGMENTS + 1]]
    return "/".join(kept) + ("/…" if len(segments) > MAX_SEGMENTS + 1 else "")


def _is_identifier(segment: str) -> bool:
    return len(segment) > MAX_SEGMENT or _IDENTIFIER.fullmatch(segment) is not None


def _is_link(item: tuple[bytes, bytes]) -> bool:
    return item[0] == b"link" and _LINK.search(item[1]) is not None


def _text(value: bytes) -> str:
    return value[:MAX_VALUE].decode("ascii", "replace")
