"""Bodies in chunks that are signed one by one (STREAMING-AWS4-HMAC-SHA256-PAYLOAD, with trailers or without).

A signature covers the one before it, so a new seed means new signatures for all. The frames keep their sizes, and with
them the length of the body. One chunk is held at a time: its signature goes before its bytes.

https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming.html
"""

import hmac
import re
from hashlib import sha256
from typing import Final

from proxyd.core.errors import ProxyError, bad_request
from proxyd.core.headers import Headers
from proxyd.core.message import Body
from proxyd.core.units import KIB, MIB

MAX_CHUNK: Final = 8 * MIB
"""Bytes of one chunk; SDKs send 64 KiB to 1 MiB."""

MAX_LINE: Final = 256
MAX_TRAILERS: Final = 4 * KIB

_EMPTY: Final = sha256(b"").hexdigest().encode()
_HEAD: Final = re.compile(rb"([0-9A-Fa-f]{1,8});chunk-signature=[0-9a-f]{64}").fullmatch
_TRAILER: Final = re.compile(rb"([a-zA-Z0-9-]{1,64}):([!-~ ]{0,512})").fullmatch
_SIGNATURE: Final = b"x-amz-trailer-signature"


class Chain:
    """Signatures of one request, each made of the one before."""

    __slots__ = ("_key", "_moment", "_previous", "scope")

    def __init__(self, key: bytes, moment: str, scope: str) -> None:
        self._key = key
        self._moment = moment.encode("ascii")
        self.scope = f"{scope}/aws4_request".encode("ascii")
        self._previous = b""

    def begin(self, canonical: bytes) -> bytes:
        """Return the signature of the head."""
        digest = sha256(canonical).hexdigest().encode()
        return self._sign(b"\n".join((b"AWS4-HMAC-SHA256", self._moment, self.scope, digest)))

    def chunk(self, data: bytes) -> bytes:
        """Return the signature of the next chunk."""
        digest = sha256(data).hexdigest().encode()
        said = (b"AWS4-HMAC-SHA256-PAYLOAD", self._moment, self.scope, self._previous, _EMPTY, digest)
        return self._sign(b"\n".join(said))

    def trailer(self, lines: bytes) -> bytes:
        """Return the signature of the trailer lines, a name, a colon, a value and LF each."""
        digest = sha256(lines).hexdigest().encode()
        return self._sign(b"\n".join((b"AWS4-HMAC-SHA256-TRAILER", self._moment, self.scope, self._previous, digest)))

    def _sign(self, text: bytes) -> bytes:
        self._previous = hmac.digest(self._key, text, "sha256").hex().encode()
        return self._previous


class Resigned:
    """A chunked body with other signatures. It can be read once: what it reads is not kept."""

    replayable = False

    def __init__(self, body: Body) -> None:
        self._body = body
        self._buffer = bytearray()
        self._chain: Chain | None = None
        self._is_over = False
        self.length = body.length
        self.trailers: Headers = []

    def follow(self, chain: Chain) -> None:
        """Sign after this head."""
        self._chain = chain

    async def read(self) -> bytes:
        """Return the next chunk with its frame. ProxyError 400 for what is no such body."""
        if self._is_over:
            return b""
        assert self._chain is not None, "an attempt signs its head first"
        line = await self._line()
        match = _HEAD(line)
        size = int(match[1], 16) if match is not None else 0
        if match is None:
            raise _malformed("a chunk has no size and signature")
        if size > MAX_CHUNK:
            raise bad_request(f"a signed chunk is longer than {MAX_CHUNK} bytes", 413)
        data = await self._take(size)
        frame = b"%s;chunk-signature=%s\r\n" % (match[1], self._chain.chunk(data))
        if size:
            if await self._take(2) != b"\r\n":
                raise _malformed("a chunk does not end where it should")
            return frame + data + b"\r\n"
        self._is_over = True
        return frame + await self._end()

    async def _end(self) -> bytes:
        """Return what follows the last chunk: trailers with a signature of their own, or nothing."""
        assert self._chain is not None
        lines: list[bytes] = []
        size = 0
        signature = b""
        while line := await self._line():
            size += len(line)
            match = _TRAILER(line)
            if match is None or size > MAX_TRAILERS:
                raise _malformed("a trailer is malformed")
            if match[1].lower() == _SIGNATURE:
                signature = match[1]
            else:
                lines.append(line)
        if self._buffer or await self._more():
            raise _malformed("something follows the last chunk")
        if not lines:
            return b"\r\n"
        signed = b"".join(sorted(line.replace(b": ", b":", 1) + b"\n" for line in lines))
        said = b"".join(line + b"\r\n" for line in lines)
        name = signature or _SIGNATURE
        return said + name + b":" + self._chain.trailer(signed) + b"\r\n\r\n"

    def take_ready(self) -> bytes | None:
        """Never: it is read piece by piece."""
        return None

    def take_pending(self) -> bytes:
        """Nothing without waiting."""
        return b""

    def abandon(self) -> None:
        """Pass it on."""
        self._body.abandon()

    def rewind(self) -> None:
        """Never."""
        raise AssertionError("a body that is signed piece by piece is read once")

    async def _line(self) -> bytes:
        searched = 0
        while True:
            end = self._buffer.find(b"\r\n", searched)
            if end >= 0:
                line = bytes(self._buffer[:end])
                del self._buffer[: end + 2]
                return line
            if len(self._buffer) > MAX_LINE + MAX_TRAILERS:
                raise _malformed("a line is too long")
            searched = max(0, len(self._buffer) - 1)
            if not await self._more():
                raise _malformed("it ends too early")

    async def _take(self, size: int) -> bytes:
        while len(self._buffer) < size:
            if not await self._more():
                raise _malformed("it ends too early")
        data = bytes(self._buffer[:size])
        del self._buffer[:size]
        return data

    async def _more(self) -> bool:
        piece = await self._body.read()
        self._buffer += piece
        return bool(piece)


def _malformed(what: str) -> ProxyError:
    return bad_request(f"the body says that its chunks are signed, and is malformed: {what}")
