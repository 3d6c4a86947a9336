"""Paths that mean one thing only: what a rule matched is what the upstream acts on.

A path rule compares bytes; an upstream decodes, cuts parameters and resolves dots first. Where the two could
disagree the path is refused, so that what was matched can be sent byte for byte (RFC 3986 §6.2.2, §5.2.4).
"""

import re
from functools import lru_cache
from typing import Final

METHOD_OVERRIDES: Final = frozenset({b"x-http-method-override", b"x-http-method", b"x-method-override"})
"""Fields by which some frameworks let POST stand for another method; dropped under method rules."""

_SUSPECT: Final = re.compile(rb"[^!-$&-:<-\[\]-~]|//|/\.")
"""What a plain path never holds: percent, semicolon, backslash, controls, non-ASCII, empty or dot-led segments."""

_RAW: Final = re.compile(rb"[^!-~]")
_TRIPLET: Final = re.compile(rb"%(?:([0-9A-Fa-f]{2}))?")
_ENCODED_SLASH: Final = re.compile(rb"%2[Ff]")
_DOTS: Final = re.compile(rb"(?:\.|%2[Ee]){1,2}(?:(?:;|%3[Bb]).*)?", re.DOTALL)
_HEX_PAIR: Final = re.compile(rb"[0-9A-Fa-f]{2}")
_UNRESERVED: Final = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_OVERLONG: Final = frozenset(
    (0xC0, 0xC1)
)  # never in UTF-8 (RFC 3629 §3); lenient decoders make dots and slashes of them


def check_path(path: bytes, encoded_slash: bool) -> str | None:
    """Return why ``path`` could be read in two ways, or None; a query is not looked at.

    ``encoded_slash`` admits ``%2F`` within a segment; the pieces around it are judged like segments.
    """
    path = path.partition(b"?")[0]
    if not path.startswith(b"/"):
        return None if path == b"*" else "it does not start with a slash"
    if _SUSPECT.search(path) is None:
        return None
    return _check_bytes(path) or _check_segments(path, encoded_slash) or _check_triplets(path, encoded_slash)


def covers(prefix: str, path: bytes, encoded_slash: bool) -> bool:
    """Whether ``path`` (a query is not looked at) lies under ``prefix`` by whole segments.

    Bytes are compared as sent; only the case of percent-encoding's hexadecimal digits is folded, which no
    upstream tells apart (RFC 3986 §6.2.2.1). With ``encoded_slash``, ``%2F`` is a character of its segment;
    without it, a path that holds one is under no prefix.
    """
    path = path.partition(b"?")[0]
    if b"%" in path:
        if not encoded_slash and _ENCODED_SLASH.search(path) is not None:
            return False
        path = _fold(path)
    bare, beneath = _prefix(prefix)
    return path == bare or path.startswith(beneath)


@lru_cache(maxsize=4096)
def _prefix(prefix: str) -> tuple[bytes, bytes]:
    bare = _fold(prefix.rstrip("/").encode("utf-8"))
    return bare, bare + b"/"


def _fold(path: bytes) -> bytes:
    return _TRIPLET.sub(lambda found: found.group().upper(), path)


def _check_bytes(path: bytes) -> str | None:
    if b"\\" in path:
        return "it holds a backslash, which some servers take for a slash"
    if _RAW.search(path) is not None:
        return "it holds a control character, a space or a byte beyond ASCII"
    return None


def _check_segments(path: bytes, encoded_slash: bool) -> str | None:
    if b"//" in path:
        return "it has an empty segment (//)"
    if encoded_slash and b"%" in path:
        path = _ENCODED_SLASH.sub(b"/", path)
        if b"//" in path:
            return "it has an empty segment between encoded slashes"
    for segment in path.split(b"/"):
        if _DOTS.fullmatch(segment) is not None:
            return "it has a dot segment (. or .., plain, encoded or before a semicolon)"
    if b";" in path:
        return "it has a path parameter (;), which some servers cut off; a literal semicolon is written %3B"
    return None


def _check_triplets(path: bytes, encoded_slash: bool) -> str | None:
    for found in _TRIPLET.finditer(path):
        if found[1] is None:
            return "it has a percent sign that two hexadecimal digits do not follow"
        code = int(found[1], 16)
        if code == 0x2F and not encoded_slash:
            return "it has an encoded slash (%2F); a service that needs it says `encoded_slash: true`"
        if code == 0x5C:
            return "it has an encoded backslash (%5C)"
        if code < 0x20 or code == 0x7F:
            return "it has an encoded control character"
        if code in _UNRESERVED:
            return f"it encodes a character that needs no encoding (%{found[1].decode('ascii')})"
        if code in _OVERLONG:
            return "it encodes a byte that UTF-8 never has"
        if code == 0x25 and _HEX_PAIR.match(path, found.end()) is not None:
            return "it is encoded twice (%25 before two hexadecimal digits)"
    return None
