"""Bodies in chunks that are signed one by one (STREAMING-AWS4-HMAC-SHA256-PAYLOAD, with trailers or without).

A signature covers the one before it, so a new seed means new signatures for all. The frames keep their sizes, and with
them the length of the body. One chunk is held at a time: its signature goes before its bytes.

https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming.html and sigv4-streaming-trailers.html
"""

import enum
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

JOINED: Final = 256 * KIB
"""Bytes that are worth a copy to be written at once."""

MAX_LINE: Final = 1 * KIB
MAX_TRAILERS: Final = 4 * KIB

_EMPTY: Final = sha256(b"").hexdigest().encode()
_HEAD: Final = re.compile(rb"([0-9A-Fa-f]{1,8});chunk-signature=[0-9a-f]{64}").fullmatch
_TRAILER: Final = re.compile(rb"([a-zA-Z0-9-]{1,64}):([!-~ ]{0,512})").fullmatch
_SIGNATURE: Final = re.compile(rb"(x-amz-trailer-signature):[0-9a-f]{64}", re.IGNORECASE).fullmatch


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


class _Awaits(enum.Enum):
    HEAD = "a chunk's size and signature"
    DATA = "a chunk's bytes"
    TRAILERS = "trailers, or the last line"
    NOTHING = "nothing more"


class Frames:
    """Reads such a body in pieces of any size, and writes it with the signatures of another chain."""

    __slots__ = ("_awaits", "_buffer", "_chain", "_lines", "_size", "_written")

    def __init__(self, chain: Chain) -> None:
        self._chain = chain
        self._awaits = _Awaits.HEAD
        self._buffer = bytearray()
        self._size = 0
        """Bytes of the chunk that is awaited."""
        self._written = b""
        """Its size, as the client wrote it."""
        self._lines: list[bytes] = []

    def feed(self, piece: bytes) -> list[bytes]:
        """Return what can be sent by now, possibly nothing. ProxyError 400 for what is no such body, 413."""
        self._buffer += piece
        made: list[bytes] = []
        if self._awaits is _Awaits.DATA and len(self._buffer) < self._size + 2:
            return made
        while self._step(made):
            pass
        return made

    def finish(self) -> None:
        """Say that there is no more. ProxyError 400 if there should be."""
        if self._awaits is not _Awaits.NOTHING:
            raise _malformed(f"it ends where {self._awaits.value} should follow")

    def _step(self, made: list[bytes]) -> bool:
        """Take one line or one chunk; whether there was one."""
        if self._awaits is _Awaits.NOTHING:
            if self._buffer:
                raise _malformed("something follows the last chunk")
            return False
        if self._awaits is _Awaits.DATA:
            return self._chunk(made)
        line = self._line()
        if line is None:
            return False
        if self._awaits is _Awaits.TRAILERS:
            self._trailer(line, made)
            return True
        match = _HEAD(line)
        if match is None:
            raise _malformed("a chunk has no size and signature")
        self._written, self._size = match[1], int(match[1], 16)
        if self._size > MAX_CHUNK:
            raise bad_request(f"a signed chunk is longer than {MAX_CHUNK} bytes", 413)
        if self._size:
            self._awaits = _Awaits.DATA
        else:
            made.append(self._head(b""))
            self._awaits = _Awaits.TRAILERS
        return True

    def _head(self, data: bytes) -> bytes:
        return b"%s;chunk-signature=%s\r\n" % (self._written, self._chain.chunk(data))

    def _chunk(self, made: list[bytes]) -> bool:
        end = self._size + 2
        if len(self._buffer) < end:
            return False
        with memoryview(self._buffer) as view:
            data = bytes(view[: self._size])
            rest = bytes(view[self._size : end])
        if rest != b"\r\n":
            raise _malformed("a chunk does not end where it should")
        del self._buffer[:end]
        made += (self._head(data), data, rest)
        self._awaits = _Awaits.HEAD
        return True

    def _trailer(self, line: bytes, made: list[bytes]) -> None:
        signature = _SIGNATURE(line)
        if signature is not None:
            made.append(b"%s:%s\r\n" % (signature[1], self._chain.trailer(self._signed())))
            self._lines = []
        elif line:
            self._lines.append(line)
            if sum(map(len, self._lines)) > MAX_TRAILERS:
                raise _malformed(f"its trailers are longer than {MAX_TRAILERS} bytes")
            made.append(line + b"\r\n")
        elif self._lines:
            raise _malformed("its trailers are not signed")
        else:
            made.append(b"\r\n")
            self._awaits = _Awaits.NOTHING

    def _signed(self) -> bytes:
        """Return the lines that a trailer's signature covers. Those of minio-go end with an LF of their own."""
        found = []
        for line in b"\n".join(self._lines).split(b"\n"):
            match = _TRAILER(line)
            if match is not None:
                found.append(match[1].lower() + b":" + match[2].strip() + b"\n")
            elif line:
                raise _malformed("a trailer is malformed")
        if not found:
            raise _malformed("a trailer is signed where there is none")
        return b"".join(sorted(found))

    def _line(self) -> bytes | None:
        end = self._buffer.find(b"\r\n")
        if (end if end >= 0 else len(self._buffer)) > MAX_LINE:
            raise _malformed(f"a line is longer than {MAX_LINE} bytes")
        if end < 0:
            return None
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 2]
        return line


def resigned(data: bytes, chain: Chain) -> bytes:
    """Return a whole body with other signatures. ProxyError as ``Frames``."""
    frames = Frames(chain)
    made = frames.feed(data)
    frames.finish()
    return b"".join(made)


class Resigned:
    """A body whose chunks are signed anew while it is read, each attempt by a chain of its own.

    Until there is one it is read as the client sent it.
    """

    def __init__(self, body: Body) -> None:
        self._body = body
        self._frames: Frames | None = None
        self._made: list[bytes] = []
        """What was read and signed, and not taken yet."""
        self.length = body.length
        self.trailers: Headers = body.trailers

    @property
    def replayable(self) -> bool:
        """Whether the client's body is."""
        return self._body.replayable

    def follow(self, chain: Chain) -> None:
        """Sign after this head."""
        self._frames = Frames(chain)
        self._made = []

    async def read(self) -> bytes:
        """Return the next chunks with their frames. ProxyError 400 for what is no such body, 413."""
        while not self._made:
            piece = await self._body.read()
            if not piece:
                if self._frames is not None:
                    self._frames.finish()
                return b""
            self._take(piece)
        return self._made.pop(0)

    def take_ready(self) -> bytes | None:
        """Return all of it where the client's body is in memory."""
        data = self._body.take_ready()
        if data is None or self._frames is None:
            return data
        made = self._frames.feed(data)
        self._frames.finish()
        return b"".join(made)

    def take_pending(self) -> bytes:
        """Return what was signed already, or what the bytes at hand make."""
        if not self._made and (piece := self._body.take_pending()):
            self._take(piece)
        return self._made.pop(0) if self._made else b""

    def _take(self, piece: bytes) -> None:
        made = self._frames.feed(piece) if self._frames is not None else [piece]
        self._made = [b"".join(made)] if made and sum(map(len, made)) <= JOINED else made

    def abandon(self) -> None:
        """Pass it on."""
        self._body.abandon()

    def rewind(self) -> None:
        """Start again, as the client sent it; the next attempt signs anew."""
        self._frames = None
        self._made = []
        self._body.rewind()


def _malformed(what: str) -> ProxyError:
    return bad_request(f"the body says that its chunks are signed, and is malformed: {what}")
