"""What an answer says beside its status: that the vendor's limit is reached, that a token is over.

A body is looked into only where the service's vendor is known to say it there, only under the statuses that it is
known for, and only if it is short; what was read of it goes on to the client as it was.
"""

from typing import Final

from proxyd.core.exchange import Exchange
from proxyd.core.headers import Headers
from proxyd.core.message import Body, BytesBody, Response
from proxyd.core.service import TokenRefusal
from proxyd.core.units import KIB
from proxyd.limiting.vendor import VendorGate
from proxyd.wire.coding import CodingError, ContentDecoder, read_codings

_UNAUTHORIZED: Final = 401

MOST: Final = 16 * KIB
"""Bytes of a body that are looked at; a longer one is no message of this kind."""


async def heard(vendor: VendorGate, exchange: Exchange, response: Response, sent: float) -> Response:
    """Have ``vendor`` read the answer of an attempt that began at ``sent``; return the answer."""
    definition = vendor.policy.definition
    is_refusal = False
    if response.status in definition.statuses and definition.codes:
        data = await short_body(response)
        is_refusal = any(code.encode("utf-8") in data for code in definition.codes)
    vendor.heard(exchange, response, sent, is_refusal=is_refusal)
    return response


async def says_token_is_over(refusal: TokenRefusal | None, response: Response) -> bool:
    """Whether the answer says that the vendor accepts the request's token no longer."""
    if response.status == _UNAUTHORIZED:
        return True
    if refusal is None or response.status not in refusal.statuses:
        return False
    if not refusal.codes:
        return True
    data = await short_body(response)
    return any(code.encode("utf-8") in data for code in refusal.codes)


async def short_body(response: Response) -> bytes:
    """Return what a body of at most MOST bytes says, decoded, and leave it in the response; ``b""``: it is longer."""
    body = response.body
    if body.length is not None and body.length > MOST:
        return b""
    pieces: list[bytes] = []
    size = 0
    while size <= MOST:
        piece = await body.read()
        if not piece:
            data = b"".join(pieces)
            response.body = BytesBody(data, body.trailers)
            return _decoded(response.headers, data)
        pieces.append(piece)
        size += len(piece)
    response.body = _Begun(b"".join(pieces), body)
    return b""


def _decoded(headers: Headers, data: bytes) -> bytes:
    try:
        codings = read_codings(headers)
        if not codings:
            return data
        decoder = ContentDecoder(codings)
        found = bytearray()
        for piece in decoder.feed(data):
            found += piece
            if len(found) > MOST:
                break
        return bytes(found)
    except CodingError:
        return b""


class _Begun:
    """A body whose beginning was read already."""

    replayable = False

    def __init__(self, start: bytes, body: Body) -> None:
        self._start = start
        self._body = body
        self.length = body.length
        self.trailers: Headers = body.trailers

    async def read(self) -> bytes:
        """Return the beginning, then the rest."""
        if self._start:
            start, self._start = self._start, b""
            return start
        piece = await self._body.read()
        if not piece:
            self.trailers = self._body.trailers
        return piece

    def take_ready(self) -> bytes | None:
        """Never: there is more to come."""
        return None

    def take_pending(self) -> bytes:
        """Return the beginning."""
        start, self._start = self._start, b""
        return start or self._body.take_pending()

    def abandon(self) -> None:
        """Give up."""
        self._start = b""
        self._body.abandon()

    def rewind(self) -> None:
        """It cannot be read again."""
        raise AssertionError("a response is read once")
