"""Content codings (RFC 9110 §8.4.1), undone: gzip, deflate, br and zstd, in steps, within bounds.

A body is passed on in its coding unless a filter must read it; only then is a decoder made. What a decoder is fed it
gives back at once as far as the coder had flushed it, in pieces of bounded size, so that a stream stays one. A small
body can be a large one in disguise: the bounds below say when a decoder gives up.

The libraries behind br and zstd are loaded when the first body needs them.
"""

import importlib
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import Final, Protocol

from proxyd.core.headers import Headers
from proxyd.core.units import KIB, MIB

PIECE_BYTES: Final = 64 * KIB
"""About what a decoder returns at a time (a brotli buffer may end somewhat above)."""
MAX_RATIO: Final = 100
"""Bytes that one byte of the body may become in any of its codings (Envoy, decompressor max_inflate_ratio)."""
FREE_BYTES: Final = 1 * MIB
"""Below this size no ratio is asked for: short bodies of few different bytes are honest."""
MAX_CODINGS: Final = 5
"""Codings of one body (curl, MAX_ENCODE_STACK)."""
MAX_EMPTY: Final = 64
"""Members or frames in a row that hold nothing."""
WINDOW_LOG: Final = 23
"""8 MiB, the largest window of a zstd content coding (RFC 9659 §3). Brotli's ends at 16 MiB by its format."""


class CodingError(ValueError):
    """A body that cannot be decoded, or that is larger than its coded form may be."""


class _Step(Protocol):
    """One coder: takes bytes and gives at most about PIECE_BYTES back; what is left over it keeps."""

    rest: bytes
    """What followed the end."""

    @property
    def full(self) -> bool:
        """It could give more without being fed: feed it b"" until it could not."""
        ...

    @property
    def ended(self) -> bool:
        """Its member or frame is complete."""
        ...

    def feed(self, data: bytes) -> bytes: ...


class _Zlib:
    """Gzip, zlib and bare deflate by the standard library."""

    __slots__ = ("_coder", "ended", "full", "rest")

    def __init__(self, window_bits: int) -> None:
        self._coder = zlib.decompressobj(window_bits)
        self.full = False
        self.ended = False
        self.rest = b""

    def feed(self, data: bytes) -> bytes:
        coder = self._coder
        try:
            out = coder.decompress(coder.unconsumed_tail + data, PIECE_BYTES)
        except zlib.error as error:
            raise CodingError(_reason(error)) from None
        self.ended = coder.eof
        self.full = not coder.eof and len(out) == PIECE_BYTES
        self.rest = coder.unused_data
        return out


class _Deflate:
    """RFC 9110 §8.4.1.2 means the zlib format by "deflate"; some send bare deflate, and clients take both."""

    __slots__ = ("_first", "_step", "rest")

    def __init__(self) -> None:
        self._first = b""
        self._step: _Zlib | None = None
        self.rest = b""

    @property
    def full(self) -> bool:
        return self._step is not None and self._step.full

    @property
    def ended(self) -> bool:
        return self._step is not None and self._step.ended

    def feed(self, data: bytes) -> bytes:
        step = self._step
        if step is None:
            self._first = first = self._first + data
            if len(first) < 2:
                return b""
            is_zlib = first[0] & 0x0F == 8 and int.from_bytes(first[:2], "big") % 31 == 0
            step = self._step = _Zlib(zlib.MAX_WBITS if is_zlib else -zlib.MAX_WBITS)
            data, self._first = first, b""
        out = step.feed(data)
        self.rest = step.rest
        return out


class _Brotli:
    __slots__ = ("_coder", "_error", "ended", "full", "rest")

    def __init__(self) -> None:
        import brotli

        self._coder = brotli.Decompressor()
        self._error: type[Exception] = brotli.error
        self.ended = False
        self.full = False
        self.rest = b""

    def feed(self, data: bytes) -> bytes:
        try:
            out: bytes = self._coder.process(data, output_buffer_limit=PIECE_BYTES)
        except self._error as error:
            raise CodingError(_reason(error)) from None
        self.ended = self._coder.is_finished()
        # all input may be taken while output is left over: only a call that returns nothing tells
        self.full = not self.ended and (bool(out) or not self._coder.can_accept_more_data())
        return out


class _Zstd:
    __slots__ = ("_coder", "_error", "ended", "full", "rest")

    def __init__(self) -> None:
        from backports import zstd

        self._coder = zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: WINDOW_LOG})
        self._error: type[Exception] = zstd.ZstdError
        self.ended = False
        self.full = False
        self.rest = b""

    def feed(self, data: bytes) -> bytes:
        coder = self._coder
        try:
            out: bytes = coder.decompress(data, PIECE_BYTES)
        except self._error as error:
            raise CodingError(_reason(error)) from None
        self.ended = coder.eof
        self.full = not coder.eof and not coder.needs_input
        self.rest = coder.unused_data
        return out


_STEPS: Final[dict[bytes, tuple[Callable[[], _Step], bool]]] = {
    b"gzip": (lambda: _Zlib(zlib.MAX_WBITS | 16), True),
    b"x-gzip": (lambda: _Zlib(zlib.MAX_WBITS | 16), True),
    b"deflate": (_Deflate, False),
    b"br": (_Brotli, False),
    b"zstd": (_Zstd, True),
}
"""How each coding begins, and whether a body may be several of its members or frames in a row (RFC 1952 §2.2)."""

_LIBRARIES: Final = {b"br": "brotli", b"zstd": "backports.zstd"}

_NO_CODING: Final = frozenset({b"", b"identity", b"none", b"binary", b"7bit", b"8bit", b"utf-8", b"aws-chunked"})
"""What stands in Content-Encoding and codes nothing; all but the second are mistakes that servers are known for."""


class _Layer:
    """One coding of a body, over all of its members."""

    __slots__ = ("_begin", "_empty", "_name", "_repeats", "_step", "_used", "given")

    def __init__(self, name: bytes) -> None:
        self._name = name.decode("ascii")
        self._begin, self._repeats = _STEPS[name]
        self._step = self._begin()
        self._used = False
        """The member has begun."""
        self._empty = 0
        self.given = 0
        """Bytes in all."""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield what ``data`` is decoded to."""
        while data or self._step.full:
            if self._step.ended:
                self._next()
            self._used = True
            gave = self.given
            try:
                out = self._step.feed(data)
            except CodingError as error:
                raise CodingError(f"its {self._name} coding is malformed: {error}") from None
            self.given += len(out)
            data = self._step.rest if self._step.ended else b""
            if out:
                self._empty = 0
                yield out
            elif self._step.full and self.given == gave:
                raise CodingError(f"its {self._name} coding makes no progress")

    def _next(self) -> None:
        if not self._repeats:
            raise CodingError(f"bytes follow the end of its {self._name} coding")
        self._empty += 1
        if self._empty > MAX_EMPTY:
            raise CodingError(f"more than {MAX_EMPTY} members of its {self._name} coding are empty")
        self._step = self._begin()

    def finish(self) -> None:
        if self._used and not self._step.ended:
            raise CodingError(f"its {self._name} coding breaks off")


class ContentDecoder:
    """Decodes one body. ``codings`` in the order in which they were applied, as ``read_codings`` returns them."""

    __slots__ = ("_layers", "_took")

    def __init__(self, codings: Sequence[bytes]) -> None:
        self._layers = [_Layer(name) for name in reversed(codings)]
        self._took = 0

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield what can be decoded by now, piece by piece; take all before the next call. CodingError ends it."""
        self._took += len(data)
        return self._through(data, 0)

    def finish(self) -> None:
        """Judge the end of the body: CodingError where a coding is not at its end. No bytes at all are an empty one."""
        for layer in self._layers:
            layer.finish()

    def _through(self, data: bytes, depth: int) -> Iterator[bytes]:
        if depth == len(self._layers):
            yield data
            return
        layer = self._layers[depth]
        for piece in layer.feed(data):
            if layer.given > FREE_BYTES and layer.given > MAX_RATIO * self._took:
                raise CodingError(f"decoded it is more than {MAX_RATIO} times its size")
            yield from self._through(piece, depth + 1)


def read_codings(headers: Headers) -> tuple[bytes, ...]:
    """Return the codings of a body in the order in which they were applied, without those that code nothing.

    CodingError where one is not supported or its library cannot be loaded, or where there are more than MAX_CODINGS.
    """
    codings: list[bytes] = []
    for name, value in headers:
        if name == b"content-encoding":
            codings += [coding.strip(b" \t").lower() for coding in value.split(b",")]
    codings = [coding for coding in codings if coding not in _NO_CODING]
    if len(codings) > MAX_CODINGS:
        raise CodingError(f"it has more than {MAX_CODINGS} content codings")
    for coding in codings:
        if coding not in _STEPS:
            raise CodingError(f"its content coding {coding.decode('latin-1')!a} is not one that proxyd can read")
        library = _LIBRARIES.get(coding)
        if library is not None:
            _load(library)
    return tuple(codings)


def _load(library: str) -> None:
    """Load a library now: files may be gone while a daemon runs, and that is no failure of the worker's."""
    try:
        importlib.import_module(library)
    except ImportError as error:
        raise CodingError(f"{library}, which reads its coding, cannot be loaded") from error


def _reason(error: Exception) -> str:
    """Return a library's words: they are about the format, and never quote the body."""
    return str(error) or type(error).__name__
