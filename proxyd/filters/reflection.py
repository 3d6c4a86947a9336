"""A service that echoes its credential does not hand it to the client: the echo is masked, best effort.

Headers and trailers always; bodies where they are text without a content coding and short, or for their first
``limit`` bytes where the length is unknown. Lengths never change, and a stream is never held back beyond a live prefix
of a secret.
"""

from collections.abc import Callable

from proxyd.core.exchange import Exchange
from proxyd.core.headers import Headers
from proxyd.core.message import Body, BytesBody
from proxyd.core.route import Filter
from proxyd.filters.mask import Masker, maskable, rarest


class Masking:
    """A body whose pieces pass a masker on their way."""

    __slots__ = ("_body", "_left", "_masked", "_masker", "_over", "length", "trailers")

    replayable = False

    def __init__(self, body: Body, masker: Masker, limit: int, masked: Callable[[int], None]) -> None:
        self._body = body
        self._masked = masked
        self._masker = masker
        self._left = limit
        self._over = False
        self.length = body.length
        self.trailers: Headers = body.trailers

    async def read(self) -> bytes:
        """Return the next piece, masked."""
        while not self._over:
            piece = await self._body.read()
            if not piece:
                return self._end()
            masked = self._mask(piece)
            if masked:
                return masked
        return b""

    def take_ready(self) -> bytes | None:
        """Never: what is ready was masked before this body was made."""
        return None

    def take_pending(self) -> bytes:
        """Return what is at hand, masked."""
        pending = self._body.take_pending()
        return self._mask(pending) if pending else b""

    def rewind(self) -> None:
        """Never: response bodies are read once."""
        raise AssertionError("a response body is read once")

    def abandon(self) -> None:
        """Pass it on."""
        self._body.abandon()

    def _mask(self, piece: bytes) -> bytes:
        if self._left <= 0:
            return piece
        self._left -= len(piece)
        masked = self._masker.feed(piece)
        return masked if self._left > 0 else masked + self._masker.flush()

    def _end(self) -> bytes:
        self._over = True
        rest = self._masker.flush()
        self.trailers, hits = self._masker.mask_headers(self._body.trailers)
        hits += self._masker.hits
        if hits:
            self._masked(hits)
        return rest


class ReflectionFilter(Filter):
    """Masks injected secrets in responses."""

    def __init__(self, limit: int, masked: Callable[[int], None]) -> None:
        self._limit = limit
        self._sought: tuple[tuple[bytes, ...], list[tuple[bytes, bytes]]] = ((), [])
        """The needles of the last response, each with its rarest byte."""
        self._masked = masked
        """Told how many echoes were masked, once per response that had some."""

    def response(self, exchange: Exchange) -> None:
        """Mask headers, then the body where it can be searched."""
        needles = exchange.secrets
        response = exchange.response
        if not needles or response is None:
            return
        body = response.body
        length = body.length
        if self._sought[0] is not needles:
            self._sought = (needles, [(rarest(needle), needle) for needle in needles])
        sought = self._sought[1]
        if type(body) is BytesBody and not _shows(sought, response.raw_head) and not _shows(sought, body.peek()):
            return
        masker = Masker(needles)
        response.headers, hits = masker.mask_headers(response.headers)
        if _shows(sought, response.reason):
            response.reason = b""
        searched = (length is None or 0 < length <= self._limit) and maskable(response.headers, response.status)
        ready = body.take_ready() if searched else None
        if ready is not None:
            response.body = BytesBody(masker.feed(ready) + masker.flush())
            hits += masker.hits
        elif searched or length is None:  # trailers may follow a body that is not searched
            response.body = Masking(body, masker, self._limit if searched else 0, self._masked)
        if hits:
            self._masked(hits)


def _shows(sought: list[tuple[bytes, bytes]], data: bytes) -> bool:
    """Whether one of the needles is in ``data``: the common answer, no, must cost next to nothing.

    One byte is looked for by memchr, ten times as fast as a string; where it is absent, so is its needle.
    """
    for byte, needle in sought:  # noqa: SIM110 - a generator costs more than the search
        if byte in data and needle in data:
            return True
    return False
