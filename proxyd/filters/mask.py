"""Masking: every occurrence of a needle becomes asterisks of the same length, across any chunking.

No more is held back than a live prefix: the longest end of what was seen that could still become a needle.
"""

from collections.abc import Sequence
from typing import Final

from proxyd.core.headers import Headers, first

_TEXT: Final = (
    b"text/",
    b"application/json",
    b"application/xml",
    b"application/javascript",
    b"application/x-www-form-urlencoded",
)


class Masker:
    """Masks one response."""

    __slots__ = ("_held", "_longest", "_needles", "hits")

    def __init__(self, needles: Sequence[bytes]) -> None:
        self._needles = needles
        self._longest = max(map(len, needles), default=0)
        self._held = b""
        self.hits = 0
        """Occurrences masked in the body so far."""

    def mask_headers(self, headers: Headers) -> tuple[Headers, int]:
        """Return the headers without needles, and how many were masked; the same list when there was none."""
        needles = self._needles
        for _, value in headers:
            if len(value) >= 12 and any(needle in value for needle in needles):
                break
        else:
            return headers, 0
        hits = 0
        masked: Headers = []
        for name, value in headers:
            clean, count = self._replace(value)
            hits += count
            masked.append((name, clean))
        return masked, hits

    def feed(self, piece: bytes) -> bytes:
        """Return what of ``piece``, and of what was held, can go on."""
        data = self._held + piece if self._held else piece
        clean, count = self._replace(data)
        self.hits += count
        live = self._live_prefix(clean)
        if not live:
            self._held = b""
            return clean
        self._held = clean[len(clean) - live :]
        return clean[: len(clean) - live]

    def flush(self) -> bytes:
        """Return what was held: no needle can be completed any more."""
        held, self._held = self._held, b""
        return held

    def _replace(self, data: bytes) -> tuple[bytes, int]:
        hits = 0
        for needle in self._needles:
            count = data.count(needle)
            if count:
                hits += count
                data = data.replace(needle, b"*" * len(needle))
        return data, hits

    def _live_prefix(self, data: bytes) -> int:
        """Return the length of the longest end of ``data`` that is a proper prefix of some needle."""
        best = 0
        for needle in self._needles:
            start = max(0, len(data) - len(needle) + 1)
            at = data.find(needle[:1], start)
            while at >= 0 and len(data) - at > best:
                if needle.startswith(data[at:]):
                    best = len(data) - at
                    break
                at = data.find(needle[:1], at + 1)
        return best


def maskable(headers: Headers, status: int) -> bool:
    """Whether a body is text that is not content-coded."""
    if first(headers, b"content-encoding") is not None:
        return False
    kind = (first(headers, b"content-type") or b"").lower()
    if kind.startswith(_TEXT):
        return True
    bare = kind.partition(b";")[0].rstrip()
    return bare.endswith((b"+json", b"+xml"))
