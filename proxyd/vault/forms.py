"""Whether a secret's value has the form that its service's definition says. The value itself is in no message."""

import base64
import binascii
import json
import re
from collections.abc import Callable, Mapping
from typing import Final
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from proxyd.core.settings import SecretForm

_JWT: Final = re.compile(rb"[A-Za-z0-9_-]{4,}\.[A-Za-z0-9_-]{4,}\.[A-Za-z0-9_-]*")
_LATEST: Final = 32503680000.0
"""The year 3000: what ends later does not end."""
_BLOCK: Final = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----\s[\s\S]+?\s-----END \1-----")


def is_document(value: bytes) -> bool:
    """Whether a value may have several lines: keys and certificates in PEM, and JSON. No header can carry one."""
    return value.startswith((b"-----BEGIN ", b"{")) and b"\0" not in value


def is_cut(value: bytes) -> bool:
    """Whether a document has no end: its file may be half written. JSON counts where it has several lines."""
    if not value.startswith(b"{"):
        return b"-----END " not in value
    return b"\n" in value and bool(_json(value.decode("utf-8", "replace")))


def fault(name: str, value: bytes, form: SecretForm) -> str:
    """Return why the value of the secret ``name`` cannot be used, or the empty string."""
    try:
        text = value.decode("utf-8")
    except UnicodeDecodeError:
        return f"secret {name} is no {form.title}: it is not UTF-8 text"
    for pattern, why in form.refused:
        if re.fullmatch(pattern, text):
            return f"secret {name} cannot be used: {why}"
    wrong = _KINDS[form.kind](text) if form.kind in _KINDS else ""
    where = f" ({form.where})" if form.where else ""
    return f"secret {name} is no {form.title}: {wrong}; store it anew{where}" if wrong else ""


def doubt(name: str, value: bytes, form: SecretForm) -> str:
    """Return why the value looks like something else, or the empty string."""
    if not form.pattern or re.fullmatch(form.pattern, value.decode("utf-8", "replace")):
        return ""
    where = f"; the vendor shows it at {form.where}" if form.where else ""
    return f"secret {name} does not look like a {form.title}{where}"


def ends(value: bytes) -> float:
    """Return the Unix time at which a value ends by what it says itself: a JWT's ``exp`` (RFC 7519 §4.1.4), or the
    first end of certificates in PEM. 0: it says nothing.
    """
    if value.startswith(b"-----BEGIN "):
        blocks = [block[0] for block in _BLOCK.finditer(value.decode("ascii", "replace")) if block[1] == "CERTIFICATE"]
        try:
            found = [x509.load_pem_x509_certificate(block.encode("ascii", "replace")) for block in blocks]
        except ValueError:
            return 0.0
        return min((each.not_valid_after_utc.timestamp() for each in found), default=0.0)
    if not _JWT.fullmatch(value):
        return 0.0
    part = value.split(b".")[1]
    try:
        claims = json.loads(base64.urlsafe_b64decode(part + b"=" * (-len(part) % 4)))
    except (ValueError, RecursionError):
        return 0.0
    at = claims.get("exp") if isinstance(claims, dict) else None
    return float(at) if isinstance(at, int | float) and not isinstance(at, bool) and 0 < at < _LATEST else 0.0


def _pem(text: str) -> str:
    blocks = list(_BLOCK.finditer(text))
    if not blocks:
        if "\\n" in text and "-----BEGIN" in text:
            return "its line breaks are the two characters \\n; they must be line breaks"
        return "no PEM block, which begins with -----BEGIN and ends with an -----END line of the same words"
    for block in blocks:
        if block[1].endswith("PRIVATE KEY"):
            try:
                load_pem_private_key(block[0].encode("ascii", "replace"), None)
            except TypeError:
                return "the key is sealed with a passphrase; it must be stored without"
            except ValueError:
                return "the PEM block holds no private key that can be read"
    return ""


def _json(text: str) -> str:
    try:
        value = json.loads(text)
    except ValueError as error:
        place = f" (line {error.lineno}, column {error.colno})" if isinstance(error, json.JSONDecodeError) else ""
        return f"not JSON{place}"
    return "" if isinstance(value, dict) else "JSON, but not an object"


def _base64(text: str) -> str:
    try:
        base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        return "not base64"
    return ""


def _url(text: str) -> str:
    try:
        parts = urlsplit(text)
        found = parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        found = False
    return "" if found else "not a URL that begins with https://"


_KINDS: Final[Mapping[str, Callable[[str], str]]] = {"pem": _pem, "json": _json, "base64": _base64, "url": _url}
