"""The public key of a Sentry DSN, where SDKs put it: a header field, the query, and the first line of an envelope.

https://develop.sentry.dev/sdk/overview/#authentication and
/sdk/data-model/envelopes/. The secret is the DSN, or its key.
"""

import gzip
import json
import re
import zlib
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

from proxyd.auth.signer import Signing
from proxyd.auth.values import long_enough
from proxyd.core.exchange import BodyUse, Outgoing
from proxyd.core.headers import Headers, first
from proxyd.core.message import Request
from proxyd.core.query import parameter_names, without_parameters
from proxyd.core.units import MIB

_FIELD: Final = b"x-sentry-auth"
_QUERY: Final = frozenset({b"sentry_key", b"sentry_secret"})
_KEY: Final = re.compile(rb"(?<![A-Za-z_])sentry_(?:key|secret)\s*=\s*[^,\s]*\s*,?\s*")
_PUBLIC: Final = re.compile(rb"[A-Za-z0-9]{1,64}")
_ENVELOPE: Final = re.compile(rb"/api/[^/?]+/envelope/?(?:\?|$)").search
MOST: Final = 64 * MIB
"""Bytes that a compressed envelope may have when it is opened; larger ones go as they came."""


class Sentry(Signing):
    """Puts the key of ``dsn`` in place of the client's."""

    fields = frozenset({_FIELD, b"authorization"})
    needed = ("dsn",)

    def use_of_body(self, request: Request) -> BodyUse:
        """All of an envelope, which may name the DSN."""
        return BodyUse.WHOLE if _ENVELOPE(request.path) and request.body.length != 0 else BodyUse.NONE

    def client_supplied(self, headers: Headers, path: bytes) -> bool:
        """Whether one stands in a field or in the query."""
        return super().client_supplied(headers, path) or not _QUERY.isdisjoint(parameter_names(path))

    def masks(self, values: Mapping[str, bytes]) -> tuple[bytes, ...]:
        """Return the key."""
        return long_enough(self._key(values))

    def sign(self, outgoing: Outgoing, values: Mapping[str, bytes]) -> None:
        """Put it into one attempt."""
        key = self._key(values)
        said = first(outgoing.headers, _FIELD) or b"Sentry sentry_version=7"
        rest = _KEY.sub(b"", said.removeprefix(b"Sentry")).strip(b" ,")
        in_query = b"sentry_key" in parameter_names(outgoing.path)
        outgoing.path = without_parameters(outgoing.path, _QUERY)
        if in_query:
            outgoing.path += (b"&" if b"?" in outgoing.path else b"?") + b"sentry_key=" + key
        field = b"Sentry " + (rest + b", " if rest else b"") + b"sentry_key=" + key
        outgoing.headers = [*self.kept(outgoing.headers), (_FIELD, field)]
        if outgoing.body and _ENVELOPE(outgoing.path):
            _open(outgoing, key)

    def _key(self, values: Mapping[str, bytes]) -> bytes:
        value = self.value("dsn", values)
        try:
            key = (urlsplit(value.decode("ascii")).username or "").encode() if b"://" in value else value
        except ValueError:
            key = b""
        if not _PUBLIC.fullmatch(key):
            raise ValueError(
                f"the secret {self.secrets['dsn']} is neither a DSN (https://KEY@HOST/PROJECT) nor its key"
            )
        return key


def _open(outgoing: Outgoing, key: bytes) -> None:
    """Change the DSN in the envelope's first line, where it has one; what cannot be read is the vendor's to refuse."""
    coding = first(outgoing.headers, b"content-encoding")
    body = outgoing.body or b""
    if coding == b"gzip":
        head = _inflated(body, MIB)
        if b'"dsn"' not in head.partition(b"\n")[0]:
            return
        body = _inflated(body, MOST)
    elif coding not in (None, b"identity"):
        return
    line, newline, items = body.partition(b"\n")
    changed = _with_key(line, key)
    if changed == line or len(body) >= MOST:
        return
    outgoing.body = changed + newline + items
    if coding == b"gzip":
        outgoing.body = gzip.compress(outgoing.body, 1, mtime=0)


def _inflated(body: bytes, most: int) -> bytes:
    try:
        return zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(body, most)
    except zlib.error:
        return b""


def _with_key(line: bytes, key: bytes) -> bytes:
    try:
        header = json.loads(line)
        dsn = urlsplit(header["dsn"])
        _, at, host = dsn.netloc.rpartition("@")
        if not at:
            return line
        header["dsn"] = dsn._replace(netloc=f"{key.decode('ascii')}@{host}").geturl()
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return line
    return json.dumps(header, separators=(",", ":")).encode("utf-8")
