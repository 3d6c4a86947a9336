"""A generic HMAC (RFC 2104): a message made of parts of the request, and header fields that carry its code.

Templates hold names after a dollar sign, ``$timestamp`` or ``${timestamp}``; ``$$`` is a dollar sign.
"""

import hmac
import re
import secrets
import time
from base64 import b64decode, b64encode
from binascii import Error as EncodingError
from binascii import unhexlify
from collections.abc import Callable, Collection, Mapping
from email.utils import formatdate
from hashlib import md5, sha256
from typing import Final

from proxyd.auth.signer import Signing
from proxyd.core.exchange import BodyUse, Outgoing
from proxyd.core.headers import first
from proxyd.core.message import Request
from proxyd.core.service import Auth

KEY: Final = "key"
"""The secret field that holds the key; no template can name it."""

SIGNATURE: Final = "signature"
"""What only fields can hold."""

_NAME: Final = re.compile(r"\$(?:(\$)|([a-z][a-z0-9_]*)|\{([a-z][a-z0-9_]*)\}|(.?))", re.DOTALL)

_PARTS: Final[dict[str, Callable[[Outgoing], bytes]]] = {
    "method": lambda made: made.method,
    "scheme": lambda made: made.scheme,
    "host": lambda made: made.host,
    "target": lambda made: made.path,
    "path": lambda made: made.path.partition(b"?")[0],
    "query": lambda made: made.path.partition(b"?")[2],
    "content_type": lambda made: first(made.headers, b"content-type") or b"",
    "body": lambda made: made.body or b"",
    "body_md5_base64": lambda made: b64encode(md5(made.body or b"", usedforsecurity=False).digest()),
    "body_sha256_base64": lambda made: b64encode(sha256(made.body or b"").digest()),
    "body_sha256_hex": lambda made: sha256(made.body or b"").hexdigest().encode("ascii"),
}
_OF_BODY: Final = frozenset(name for name in _PARTS if name.startswith("body"))

_OF_ATTEMPT: Final[dict[str, Callable[[float], bytes]]] = {
    "timestamp": lambda now: b"%d" % now,
    "milliseconds": lambda now: b"%d" % (now * 1000),
    "date": lambda now: formatdate(now, usegmt=True).encode("ascii"),
    "iso_date": lambda now: time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now)).encode("ascii"),
    "nonce": lambda _: secrets.token_hex(16).encode("ascii"),
}
"""Made once for each attempt: message and fields have the same."""

NAMES: Final = frozenset({*_PARTS, *_OF_ATTEMPT})
"""What templates can name beside secrets and the signature."""

Piece = tuple[bytes, str]
"""Literal text, and the name that follows it; the last has none."""


def names_in(template: str) -> list[str]:
    """Return the names that ``template`` holds. ValueError for a dollar sign that begins none."""
    return [name for _, name in _pieces(template) if name]


class MessageMac(Signing):
    """Signs with ``key``; further secrets, such as the key's name, may stand in the templates."""

    needed = (KEY,)
    masked = (KEY,)

    def __init__(self, auth: Auth) -> None:
        self.further = tuple(field for field, _ in auth.secrets)
        super().__init__(auth)
        self._message = _pieces(self.options["message"])
        self._fields = [(part.name.lower().encode("ascii"), _pieces(part.prefix)) for part in auth.parts]
        self.fields = frozenset(name for name, _ in self._fields)
        named = [name for pieces in (self._message, *(pieces for _, pieces in self._fields)) for _, name in pieces]
        _check(named, self.secrets)
        self._hashes_body = not _OF_BODY.isdisjoint(named)

    def use_of_body(self, request: Request) -> BodyUse:
        """All of it, where a template names it and there is one."""
        return BodyUse.WHOLE if self._hashes_body and request.body.length != 0 else BodyUse.NONE

    def sign(self, outgoing: Outgoing, values: Mapping[str, bytes]) -> None:
        """Sign one attempt."""
        now = outgoing.now + self.clock.skew
        known = {name: make(now) for name, make in _OF_ATTEMPT.items()}
        known |= {field: self.value(field, values) for field in self.secrets if field != KEY}
        message = _filled(self._message, known, outgoing)
        code = hmac.digest(self._key(values), message, self.options.get("algorithm", "sha256"))
        known[SIGNATURE] = b64encode(code) if self.options.get("encoding") == "base64" else code.hex().encode("ascii")
        made = [(name, _filled(pieces, known, outgoing)) for name, pieces in self._fields]
        outgoing.headers = [*self.kept(outgoing.headers), *made]

    def _key(self, values: Mapping[str, bytes]) -> bytes:
        raw, form = self.value(KEY, values), self.options.get("key", "text")
        try:
            if form == "base64":
                return b64decode(raw, validate=True)
            return unhexlify(raw) if form == "hex" else raw
        except (EncodingError, ValueError):
            raise ValueError(f"the secret {self.secrets[KEY]} is not {form}, as `key: {form}` says") from None


def _pieces(template: str) -> list[Piece]:
    found: list[Piece] = []
    text, at = "", 0
    for match in _NAME.finditer(template):
        text += template[at : match.start()]
        at = match.end()
        name = match[2] or match[3] or ""
        if match[1]:
            text += "$"
        elif not name:
            raise ValueError(f"a dollar sign stands before {match[4] or 'the end'!r}; write $$ for the sign itself")
        else:
            found.append((text.encode("utf-8"), name))
            text = ""
    return [*found, ((text + template[at:]).encode("utf-8"), "")]


def _filled(pieces: list[Piece], known: Mapping[str, bytes], outgoing: Outgoing) -> bytes:
    out = []
    for text, name in pieces:
        out.append(text)
        if name in known:
            out.append(known[name])
        elif name:
            out.append(_PARTS[name](outgoing))
    return b"".join(out)


def _check(named: Collection[str], fields: Collection[str]) -> None:
    allowed = {"", SIGNATURE, *NAMES, *fields} - {KEY}
    strange = next((name for name in named if name not in allowed), None)
    if strange is not None:
        raise ValueError(f"the scheme hmac knows no ${strange}; it knows {', '.join(sorted(allowed - {''}))}")
