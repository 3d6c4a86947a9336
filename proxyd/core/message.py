"""One request, one response, and the bodies they carry."""

import enum
from typing import Final, NamedTuple, Protocol

from proxyd.core.authority import Authority
from proxyd.core.headers import Headers

HTTP2: Final = 20
"""The version of a message that came by HTTP/2."""


class Body(Protocol):
    """A body that is pulled: each ``read`` returns the next piece, ``b""`` is the end."""

    length: int | None
    """Bytes in all where known before reading; None when only the end will tell."""

    @property
    def replayable(self) -> bool:
        """Whether the body can be read again from its start (``rewind``)."""
        ...

    trailers: Headers
    """Trailer fields; complete once ``read`` has returned ``b""``."""

    async def read(self) -> bytes:
        """Return the next piece, or ``b""`` at the end."""
        ...

    def take_ready(self) -> bytes | None:
        """Return the whole body if all of it is in memory already (once), else None."""
        ...

    def take_pending(self) -> bytes:
        """Return the bytes that ``read`` would return without waiting, possibly none."""
        ...

    def abandon(self) -> None:
        """Give up: what was not read will not be. Releases what the body holds; idempotent, never waits."""
        ...

    def rewind(self) -> None:
        """Start again from the first byte; only where ``replayable``."""
        ...


class BytesBody:
    """A body that is in memory: empty, a generated reply, or a short body that came with its head."""

    __slots__ = ("_data", "_taken", "length", "trailers")

    replayable = True

    def __init__(self, data: bytes = b"", trailers: Headers | None = None) -> None:
        self._data = data
        self._taken = False
        self.length: int | None = len(data)
        self.trailers: Headers = trailers if trailers is not None else []

    def peek(self) -> bytes:
        """Return all bytes and take none."""
        return self._data

    async def read(self) -> bytes:
        """Return all bytes, then ``b""``."""
        if self._taken:
            return b""
        self._taken = True
        return self._data

    def take_ready(self) -> bytes | None:
        """Return all bytes, or None once they were taken."""
        if self._taken:
            return None
        self._taken = True
        return self._data

    def take_pending(self) -> bytes:
        """Return all bytes that were not taken."""
        return b"" if self._taken else self.take_ready() or b""

    def abandon(self) -> None:
        """Drop the bytes."""
        self._taken = True

    def rewind(self) -> None:
        """Make the bytes readable again."""
        self._taken = False


class Request:
    """One request as the filters and the router see it; ``headers`` hold no hop-by-hop field."""

    __slots__ = (
        "authority",
        "body",
        "headers",
        "host",
        "method",
        "nominated",
        "path",
        "scheme",
        "upgrade",
        "version",
        "via",
    )

    def __init__(
        self,
        method: bytes,
        scheme: bytes,
        authority: Authority,
        path: bytes,
        headers: Headers,
        body: Body,
        version: int = 11,
        upgrade: bytes | None = None,
    ) -> None:
        self.method = method
        self.scheme = scheme
        """``b"http"`` or ``b"https"``: what the upstream is spoken to with."""
        self.authority = authority
        self.path = path
        """Path and query as sent, byte for byte: ``/a?b``, or ``*``."""
        self.headers = headers
        self.body = body
        self.version = version
        """10, 11 or 20."""
        self.upgrade = upgrade
        """The protocol asked for by Upgrade (only ``websocket``), or None."""
        self.nominated: frozenset[bytes] | None = None
        """Field names that Connection named; they ended at this hop."""
        self.via: list[bytes] | None = None
        """Values of Via, for loops."""
        self.host: bytes | None = None
        """Host as the client sent it, for binding."""

    def __repr__(self) -> str:
        path = self.path.partition(b"?")[0]
        return f"<Request {self.method!r} {self.scheme!r} {self.authority} {path!r}>"


class Origin(enum.Enum):
    """Who made a response."""

    UPSTREAM = "upstream"
    CACHE = "cache"
    PROXYD = "proxyd"


class Lines(NamedTuple):
    """Fields, and the same as they are sent by HTTP/1.1; neither is ever changed."""

    headers: Headers
    data: bytes
    """Each field with its CRLF."""


class Response:
    """One response; ``headers`` hold no hop-by-hop field, and are replaced and never changed in place."""

    __slots__ = ("announces", "body", "headers", "lines", "origin", "raw_head", "reason", "status", "version")

    def __init__(
        self,
        status: int,
        headers: Headers,
        body: Body,
        reason: bytes = b"",
        version: int = 11,
        origin: Origin = Origin.UPSTREAM,
    ) -> None:
        self.status = status
        self.headers = headers
        self.body = body
        self.reason = reason
        self.version = version
        self.origin = origin
        self.announces = False
        """Whether one of the fields may say that the endpoint ends (core.catalogue.ANNOUNCING)."""
        self.raw_head = b""
        """The head as it was received, for searches; empty where there was none."""
        self.lines: Lines | None = None
        """The fields in bytes, where they were made before; good while ``headers`` is the list that they name."""

    def __repr__(self) -> str:
        return f"<Response {self.status} {self.origin.value}>"
