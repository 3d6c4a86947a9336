"""Whether a secret's value has the form that its service's definition says. The value itself is in no message."""

import base64
import binascii
import json
import re
from collections.abc import Callable, Mapping
from typing import Final
from urllib.parse import urlsplit

from cryptography.hazmat.primitives.serialization import load_pem_private_key

from proxyd.core.settings import SecretForm

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
