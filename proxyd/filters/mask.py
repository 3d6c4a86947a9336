"""Masking: every byte of every occurrence of a needle becomes an asterisk, whatever the chunking.

Occurrences are looked for in what was received, not in what was masked already: needles may overlap or hold one
another, and each is covered whole. No more is held back than a live prefix, the longest end of what was received
that could still become a needle; what of it is an asterisk by now goes on at once.
"""

from collections.abc import Sequence
from typing import Final

from proxyd.core.headers import Headers, first

_TEXT: Final = (
    b"text/",
    b"application/json",
    b"application/xml",
    b"application/javascript",
    b"application/x-javascript",
    b"application/x-ndjson",
    b"application/x-www-form-urlencoded",
)

_BY_FREQUENCY: Final = b'"e ta,oi:nsr{}hldcu10mfp[]g2wyb-v3.k5_4689/7jxqzSTACEIMPDNRBOLFHGUWVYKXJQZ'
"""What JSON and English are made of, the most frequent byte first; a byte that is not here is rarer still."""

_Span = tuple[int, int]
"""Start and end of one occurrence."""


class Masker:
    """Masks one response."""

    __slots__ = ("_held", "_needles", "_shortest", "_shown", "hits")

    def __init__(self, needles: Sequence[bytes]) -> None:
        self._needles = [needle for needle in needles if needle]
        self._shortest = min(map(len, self._needles), default=0)
        self._held = b""
        """The live prefix as received."""
        self._shown = b""
        """Its end that was not passed on yet, masked; no longer than ``_held``."""
        self.hits = 0
        """Occurrences masked in the body so far."""

    def mask_headers(self, headers: Headers) -> tuple[Headers, int]:
        """Return the headers without needles, and how many were masked; the same list when there was none."""
        needles = self._needles
        for _, value in headers:
            if len(value) >= self._shortest and any(needle in value for needle in needles):
                break
        else:
            return headers, 0
        hits = 0
        masked: Headers = []
        for name, value in headers:
            spans = self._spans(value, 0)
            hits += len(spans)
            masked.append((name, _cover(value, spans, 0)))
        return masked, hits

    def feed(self, piece: bytes) -> bytes:
        """Return what of ``piece``, and of what was held, can go on."""
        held = self._held
        data, shown = (held + piece, self._shown + piece) if held else (piece, piece)
        sent = len(data) - len(shown)
        spans = self._spans(data, len(held))
        if spans:
            self.hits += len(spans)
            shown = _cover(shown, spans, sent)
        live = self._live_prefix(data)
        if not live:
            self._held = self._shown = b""
            return shown
        self._held = data[len(data) - live :]
        self._shown = shown[max(0, len(shown) - live) :].lstrip(b"*")  # masked or not, an asterisk stays one
        return shown[: len(shown) - len(self._shown)]

    def flush(self) -> bytes:
        """Return what was held: no needle can be completed any more."""
        rest = self._shown
        self._held = self._shown = b""
        return rest

    def _spans(self, data: bytes, known: int) -> list[_Span]:
        """Return the occurrences that end beyond the first ``known`` bytes."""
        spans: list[_Span] = []
        for needle in self._needles:
            at = data.find(needle, max(0, known - len(needle) + 1))
            while at >= 0:
                spans.append((at, at + len(needle)))
                at = data.find(needle, at + 1)
        return spans

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


def rarest(needle: bytes) -> bytes:
    """Return the byte of ``needle`` that JSON and English text are least likely to hold."""
    return max((needle[at : at + 1] for at in range(len(needle))), key=lambda byte: _BY_FREQUENCY.find(byte) % 256)


def is_text(headers: Headers, status: int) -> bool:
    """Whether there is a body that is text, in whatever content coding."""
    if status < 200 or status in (204, 304):
        return False
    kind = (first(headers, b"content-type") or b"").lower()
    if kind.startswith(_TEXT):
        return True
    bare = kind.partition(b";")[0].rstrip()
    return bare.endswith((b"+json", b"+xml"))


def _cover(shown: bytes, spans: Sequence[_Span], offset: int) -> bytes:
    """Return ``shown``, which begins at ``offset`` of the data that ``spans`` count in, with asterisks there."""
    if not spans:
        return shown
    covered = bytearray(shown)
    for start, end in spans:
        start = max(0, start - offset)
        covered[start : end - offset] = b"*" * (end - offset - start)
    return bytes(covered)
