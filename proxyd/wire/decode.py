"""Body decoders: pieces of the stream in, pieces of the body out; each knows where its body ends.

All have one shape: ``feed`` returns what is body, ``done`` says that the end was seen, ``surplus`` holds the bytes
after it, ``finish`` judges an end of stream. ValueError says what is malformed.
"""

import re
from typing import Final

from proxyd.core.headers import Headers
from proxyd.core.units import KIB
from proxyd.wire.fields import END, parse_trailers

MAX_CHUNK_LINE: Final = 4 * KIB
"""A chunk's size line with its extensions (which end here, RFC 9112 §7.1.1)."""

MAX_TRAILER_BYTES: Final = 60 * KIB
MAX_TRAILER_FIELDS: Final = 100

_CHUNK_SIZE: Final = re.compile(rb"([0-9a-fA-F]{1,15})(?:[ \t]*;[\t\x20-\x7e\x80-\xff]*)?").fullmatch


class LengthDecoder:
    """A body of a known number of bytes."""

    __slots__ = ("done", "left", "surplus", "trailers")

    def __init__(self, length: int) -> None:
        self.left = length
        self.done = length == 0
        self.surplus = b""
        self.trailers: Headers = []

    def feed(self, data: bytes) -> bytes:
        """Return the part of ``data`` that is body."""
        size = len(data)
        if size < self.left:
            self.left -= size
            return data
        body, self.surplus = (data, b"") if size == self.left else (data[: self.left], data[self.left :])
        self.left = 0
        self.done = True
        return body

    def finish(self) -> None:
        """Refuse an early end of the stream."""
        raise ValueError(f"the stream ended {self.left} bytes before the body did")


class CloseDecoder:
    """A body that ends with its connection."""

    __slots__ = ("done", "surplus", "trailers")

    def __init__(self) -> None:
        self.done = False
        self.surplus = b""
        self.trailers: Headers = []

    def feed(self, data: bytes) -> bytes:
        """Return ``data``: all of it is body."""
        return data

    def finish(self) -> None:
        """Take the end of the stream as the body's."""
        self.done = True


class ChunkedDecoder:
    """The chunked coding (RFC 9112 §7.1), strict: CRLF only, at most 15 hexadecimal digits."""

    __slots__ = ("_held", "_left", "_stage", "done", "surplus", "trailers")

    def __init__(self) -> None:
        self._held = b""
        self._left = 0
        self._stage = self._size
        self.done = False
        self.surplus = b""
        self.trailers: Headers = []

    def feed(self, data: bytes) -> bytes:
        """Return the body bytes in ``data``, possibly none."""
        if self._left > len(data) and not self._held:  # in the middle of a large chunk
            self._left -= len(data)
            return data
        rest = self._held + data if self._held else data
        self._held = b""
        pieces: list[bytes] = []
        at = 0
        while not self.done:
            if self._left:
                piece = rest[at : at + self._left]
                if not piece:
                    break
                pieces.append(piece)
                at += len(piece)
                self._left -= len(piece)
                if self._left:
                    break
                self._stage = self._after_data
            step = self._stage(rest, at)
            if step < 0:
                self._held = rest[at:]
                break
            at = step
        if self.done:
            self.surplus = rest[at:]
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def finish(self) -> None:
        """Refuse an early end of the stream."""
        raise ValueError("the stream ended within a chunked body")

    def _size(self, rest: bytes, at: int) -> int:
        end = rest.find(b"\r\n", at)
        if end < 0:
            held = rest[at:]
            if len(held) > MAX_CHUNK_LINE:
                raise ValueError(f"a chunk's size line is longer than {MAX_CHUNK_LINE} bytes")
            if b"\n" in held or b"\r" in held[:-1]:
                raise ValueError("a chunk's size line does not end in CRLF")
            return -1
        line = _CHUNK_SIZE(rest[at:end]) if end - at <= MAX_CHUNK_LINE else None
        if line is None:
            raise ValueError("a chunk's size is malformed")
        self._left = int(line.group(1), 16)
        if self._left == 0:
            self._stage = self._trailers
        return end + 2

    def _after_data(self, rest: bytes, at: int) -> int:
        ahead = rest[at : at + 2]
        if ahead == b"\r\n":
            self._stage = self._size
            return at + 2
        if ahead and ahead != b"\r":
            raise ValueError("a chunk's data is not followed by CRLF")
        return -1

    def _trailers(self, rest: bytes, at: int) -> int:
        if rest.startswith(b"\r\n", at):
            self.done = True
            return at + 2
        end = rest.find(END, at)
        if end < 0:
            if len(rest) - at > MAX_TRAILER_BYTES:
                raise ValueError(f"the trailers are longer than {MAX_TRAILER_BYTES} bytes")
            return -1
        if end - at > MAX_TRAILER_BYTES:
            raise ValueError(f"the trailers are longer than {MAX_TRAILER_BYTES} bytes")
        self.trailers = parse_trailers(rest[at : end + 4], MAX_TRAILER_FIELDS)
        self.done = True
        return end + 4


Decoder = LengthDecoder | CloseDecoder | ChunkedDecoder
