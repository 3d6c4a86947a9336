"""A body that is kept while it passes."""

from collections.abc import Callable

import trio

from proxyd.core.headers import Headers
from proxyd.core.message import Body

Ending = Callable[[bytes | None], trio.Event | None]
"""Gets the whole body, or None where it is not kept; returns what a body's end may wait for."""


class Recording:
    """A body that is kept while it passes, if it is not longer than allowed and comes to its end without trailers."""

    __slots__ = ("_body", "_largest", "_pieces", "_recorded", "_size", "length", "trailers")

    replayable = False

    def __init__(self, body: Body, largest: int, recorded: Ending) -> None:
        self._body = body
        self._largest = largest
        self._pieces: list[bytes] | None = []
        self._size = 0
        self._recorded = recorded
        self.length = body.length
        self.trailers: Headers = body.trailers

    async def read(self) -> bytes:
        """Return the next piece."""
        piece = await self._body.read()
        if piece:
            self._note(piece)
        else:
            self._finish()
        return piece

    def take_ready(self) -> bytes | None:
        """Return the whole body if it is there."""
        data = self._body.take_ready()
        if data is not None:
            self._note(data)
            self._end(whole=True)
        return data

    def take_pending(self) -> bytes:
        """Return what is at hand."""
        piece = self._body.take_pending()
        self._note(piece)
        return piece

    def rewind(self) -> None:
        """Never: response bodies are read once."""
        raise AssertionError("a response body is read once")

    def abandon(self) -> None:
        """Pass it on; what was not read is not kept."""
        self._end(whole=False)
        self._body.abandon()

    def _finish(self) -> trio.Event | None:
        """The body has ended as it should."""
        self.trailers = self._body.trailers
        return self._end(whole=not self.trailers)

    def _note(self, piece: bytes) -> None:
        if self._pieces is None:
            return
        self._size += len(piece)
        self._pieces.append(piece)
        if self._size > self._largest:
            self._end(whole=False)

    def _end(self, *, whole: bool) -> trio.Event | None:
        pieces, self._pieces = self._pieces, None
        if pieces is None:
            return None
        return self._recorded(b"".join(pieces) if whole else None)
