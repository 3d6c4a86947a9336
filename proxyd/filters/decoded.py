"""A response body whose content codings are undone on its way, and what its head says then."""

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Final

from proxyd.core.errors import ProxyError, bad_response
from proxyd.core.headers import Headers
from proxyd.core.message import Body
from proxyd.wire.coding import CodingError, ContentDecoder

DIGESTS: Final = frozenset({b"content-digest", b"repr-digest", b"digest", b"content-md5"})
"""Fields, and trailers, that prove bytes which the client does not get (RFC 9530)."""
_OF_THE_CODED: Final = DIGESTS | {b"content-encoding", b"accept-ranges"}


class Decoded:
    """A body with its codings undone: each piece as soon as it can be, however the coded pieces were cut."""

    __slots__ = ("_body", "_decoder", "_ended", "_pieces", "length", "trailers")

    replayable = False

    def __init__(self, body: Body, codings: Sequence[bytes]) -> None:
        self._body = body
        self._decoder = ContentDecoder(codings)
        self._pieces: Iterator[bytes] = iter(())
        self._ended = False
        self.length: int | None = None
        self.trailers: Headers = body.trailers

    def start(self) -> None:
        """Decode a first piece of what is at hand: ProxyError 502 while there is still time to say it."""
        piece = self.take_pending()
        if piece:
            self._pieces = chain((piece,), self._pieces)

    async def read(self) -> bytes:
        """Return the next piece. ProxyError 502 when the body cannot be decoded."""
        while not self._ended:
            piece = self._next()
            if piece:
                return piece
            coded = await self._body.read()
            if coded:
                self._pieces = self._decoder.feed(coded)
                continue
            try:
                self._decoder.finish()
            except CodingError as error:
                raise self._undecodable(error) from None
            self._ended = True
            self.trailers = self._body.trailers
        return b""

    def take_ready(self) -> bytes | None:
        """Never: it is decoded as it is read."""
        return None

    def take_pending(self) -> bytes:
        """Return a piece of what is at hand."""
        piece = self._next()
        if not piece and not self._ended and (coded := self._body.take_pending()):
            self._pieces = self._decoder.feed(coded)
            piece = self._next()
        return piece

    def rewind(self) -> None:
        """Never: response bodies are read once."""
        raise AssertionError("a response body is read once")

    def abandon(self) -> None:
        """Pass it on."""
        self._body.abandon()

    def _next(self) -> bytes:
        try:
            return next(self._pieces, b"")
        except CodingError as error:
            raise self._undecodable(error) from None

    def _undecodable(self, error: CodingError) -> ProxyError:
        self._body.abandon()
        return undecodable(error)


def undecodable(error: CodingError) -> ProxyError:
    """Return the error of a response that must be read and cannot be (RFC 9209 §2.3.20)."""
    return bad_response(f"the response body must be searched for secrets, but {error}", "http_response_content_coding")


def decoded_headers(headers: Headers) -> Headers:
    """Return what a head says once its body's codings are undone: another representation, with no strong validator."""
    return [_weakened(field) for field in headers if field[0] not in _OF_THE_CODED]


def altered_headers(headers: Headers) -> Headers:
    """Return what a head says once bytes of its body were replaced."""
    return [_weakened(field) for field in headers if field[0] not in DIGESTS]


def _weakened(field: tuple[bytes, bytes]) -> tuple[bytes, bytes]:
    """RFC 9110 §8.8.1: bytes that differ must not share a strong entity tag."""
    name, value = field
    return (name, b"W/" + value) if name == b"etag" and value.startswith(b'"') else field
