"""A service that echoes its credential does not hand it to the client: the echo is masked, best effort.

Headers and trailers always; bodies where they are text and short, or for their first ``limit`` bytes where the length
is unknown. Lengths never change, and a stream is never held back beyond a live prefix of a secret.

A text body in a content coding must be decoded to be searched. One whose end is known is passed on as it came, in its
coding, when it holds no echo, for which a short one is waited for; with an echo, and for every stream, the client gets
the decoded body. One that cannot be decoded is refused: what cannot be searched could hold anything.
"""

from collections.abc import Awaitable, Callable
from typing import Final

from proxyd.core.exchange import Exchange
from proxyd.core.headers import Headers, without
from proxyd.core.message import HTTP2, Body, BytesBody, Response
from proxyd.core.route import Filter
from proxyd.filters.decoded import DIGESTS, Decoded, altered_headers, decoded_headers, undecodable
from proxyd.filters.mask import Masker, is_text, rarest
from proxyd.wire.coding import CodingError, ContentDecoder, read_codings

_PARTIAL: Final = 206

_Bytes = tuple[bytes, ...]


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
        trailers = self._body.trailers
        if trailers and (self._masker.hits or type(self._body) is Decoded):
            trailers = without(trailers, DIGESTS)
        self.trailers, hits = self._masker.mask_headers(trailers)
        hits += self._masker.hits
        if hits:
            self._masked(hits)
        return rest


class ReflectionFilter(Filter):
    """Masks injected secrets in responses."""

    def __init__(self, limit: int, masked: Callable[[int], None], room: int) -> None:
        self._limit = limit
        self._room = room
        """Bytes that bodies which are waited for may come to together; more of them are decoded as they come."""
        self._sought: tuple[tuple[bytes, ...], list[tuple[bytes, bytes]]] = ((), [])
        """The needles of the last response, each with its rarest byte."""
        self._masked = masked
        """Told how many echoes were masked, in a head and in a body."""

    def response(self, exchange: Exchange) -> Awaitable[None] | None:
        """Mask headers, then the body where it can be searched. ProxyError 502 for one that cannot be decoded."""
        needles = exchange.secrets
        response = exchange.response
        if not needles or response is None:
            return None
        body = response.body
        if self._sought[0] is not needles:
            self._sought = (needles, [(rarest(needle), needle) for needle in needles])
        sought = self._sought[1]
        is_coded = _is_coded(response.headers)
        if (
            not is_coded
            and type(body) is BytesBody
            and not _shows(sought, response.raw_head or _joined(response.headers))
            and not _shows(sought, body.peek())
        ):
            return None
        masker = Masker(needles)
        response.headers, hits = masker.mask_headers(response.headers)
        if hits:
            self._masked(hits)
        if _shows(sought, response.reason):
            response.reason = b""
        is_searched = self._is_searched(response)
        if is_coded and is_searched:
            codings = _codings(response)
            if codings:
                return self._mask_coded(response, codings, needles)
        self._mask_plain(response, masker, is_searched=is_searched)
        return None

    def _is_searched(self, response: Response) -> bool:
        """Whether the body is: a part (206) of a coded one cannot be, and parts can cut a secret in two anyway."""
        if response.status == _PARTIAL and _is_coded(response.headers):
            return False
        length = response.body.length
        return (length is None or 0 < length <= self._limit) and is_text(response.headers, response.status)

    def _mask_plain(self, response: Response, masker: Masker, *, is_searched: bool) -> None:
        body = response.body
        ready = body.take_ready() if is_searched else None
        if ready is not None:
            response.body = BytesBody(masker.feed(ready) + masker.flush())
            if masker.hits:
                response.headers = altered_headers(response.headers)
                self._masked(masker.hits)
        elif is_searched or body.length is None or response.version == HTTP2:  # trailers may follow all the same
            response.body = Masking(body, masker, self._limit if is_searched else 0, self._masked)

    def _mask_coded(self, response: Response, codings: _Bytes, needles: _Bytes) -> Awaitable[None] | None:
        body = response.body
        coded = body.take_ready()
        if coded is not None:
            self._mask_whole(response, coded, codings, needles)
            return None
        if body.length is not None and body.length <= self._room:
            self._room -= body.length
            return self._gather(response, codings, needles, body.length)
        decoded = Decoded(body, codings)
        decoded.start()
        self._send_decoded(response, decoded, needles)
        return None

    async def _gather(self, response: Response, codings: _Bytes, needles: _Bytes, length: int) -> None:
        """Wait for a short body whose length is known: most hold no echo, and stay as they are."""
        body = response.body
        pieces: list[bytes] = []
        try:
            while piece := await body.read():
                pieces.append(piece)
        finally:
            self._room += length
        self._mask_whole(response, b"".join(pieces), codings, needles)

    def _mask_whole(self, response: Response, coded: bytes, codings: _Bytes, needles: _Bytes) -> None:
        trailers = response.body.trailers
        masker = Masker(needles)
        decoder = ContentDecoder(codings)
        pieces: list[bytes] = []
        left = self._limit
        try:
            for piece in decoder.feed(coded):
                pieces.append(masker.feed(piece))
                left -= len(piece)
                if left <= 0:
                    break
            else:
                decoder.finish()
        except CodingError as error:
            raise undecodable(error) from None
        if masker.hits and left <= 0:
            self._send_decoded(response, Decoded(BytesBody(coded, trailers), codings), needles)
            return
        data = coded
        if masker.hits:
            data = b"".join(pieces) + masker.flush()
            response.headers = decoded_headers(response.headers)
            trailers = without(trailers, DIGESTS)
            self._masked(masker.hits)
        response.body = BytesBody(data, trailers)
        if trailers:
            response.body = Masking(response.body, Masker(needles), 0, self._masked)

    def _send_decoded(self, response: Response, decoded: Decoded, needles: _Bytes) -> None:
        response.headers = decoded_headers(response.headers)
        response.body = Masking(decoded, Masker(needles), self._limit, self._masked)


def _is_coded(headers: Headers) -> bool:
    for name, _ in headers:  # noqa: SIM110 - a generator costs more than the search
        if name == b"content-encoding":
            return True
    return False


def _codings(response: Response) -> _Bytes:
    """Return the codings to be undone, possibly none. ProxyError 502 where one is unknown."""
    try:
        return read_codings(response.headers)
    except CodingError as error:
        response.body.abandon()
        raise undecodable(error) from None


def _joined(headers: Headers) -> bytes:
    return b"\n".join([value for _, value in headers])


def _shows(sought: list[tuple[bytes, bytes]], data: bytes) -> bool:
    """Whether one of the needles is in ``data``: the common answer, no, must cost next to nothing.

    One byte is looked for by memchr, ten times as fast as a string; where it is absent, so is its needle.
    """
    for byte, needle in sought:  # noqa: SIM110 - a generator costs more than the search
        if byte in data and needle in data:
            return True
    return False
