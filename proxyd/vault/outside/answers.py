"""What Vault's HTTP API answers, checked before anything is made of it.

https://developer.hashicorp.com/vault/api-docs and https://openbao.org/api-docs say the same of what is used here.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from proxyd.vault.outside.provider import OutsideError

MAX_FIELDS: Final = 256
MAX_TEXT: Final = 8192
"""Characters of a login token; batch tokens are the longest."""


@dataclass(frozen=True, slots=True)
class Granted:
    """Something lent: a login token, or a dynamic secret."""

    id: str = field(repr=False)
    seconds: float
    is_renewable: bool


def document(body: bytes) -> dict[str, Any]:
    """Return a JSON object. OutsideError."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise OutsideError("its answer is no JSON object")
    return value


def errors(body: bytes) -> str:
    """Return what the vault says is wrong, cut and printable; empty where it does not."""
    try:
        said = document(body).get("errors")
    except OutsideError:
        return ""
    first = said[0] if isinstance(said, list) and said else ""
    return "".join(char if char.isprintable() else " " for char in str(first))[:200].strip()


def login(said: Mapping[str, Any]) -> Granted:
    """Return the token of an answer to a login or a renewal. OutsideError."""
    auth = said.get("auth")
    token = auth.get("client_token") if isinstance(auth, dict) else None
    if not isinstance(auth, dict) or not _is_word(token):
        raise OutsideError("its answer to the login holds no token")
    return Granted(str(token), _seconds(auth.get("lease_duration")), auth.get("renewable") is True)


def own_token(said: Mapping[str, Any], token: str) -> Granted:
    """Return what ``lookup-self`` says of a token. OutsideError."""
    data = said.get("data")
    if not isinstance(data, dict):
        raise OutsideError("its answer on the token holds no data")
    return Granted(token, _seconds(data.get("ttl")), data.get("renewable") is True)


def lease(said: Mapping[str, Any]) -> Granted:
    """Return the lease of an answer; its ``id`` is empty where nothing was lent. OutsideError."""
    found = said.get("lease_id") or ""
    if not isinstance(found, str) or (found and not _is_word(found)):
        raise OutsideError("its answer holds a lease_id that is none")
    return Granted(found, _seconds(said.get("lease_duration")), said.get("renewable") is True)


def fields(data: object) -> dict[str, bytes | None]:
    """Return the fields of a secret; a value that is no text is None. OutsideError."""
    if not isinstance(data, dict):
        raise OutsideError("its answer holds no data")
    if len(data) > MAX_FIELDS:
        raise OutsideError(f"the secret has more than {MAX_FIELDS} fields")
    return {str(name): _text(value) for name, value in data.items()}


def when(text: object) -> float:
    """Return an RFC 3339 time as Unix seconds; 0 where it is none."""
    try:
        return datetime.fromisoformat(str(text)).timestamp() if text else 0.0
    except (ValueError, OverflowError):
        return 0.0


def _text(value: object) -> bytes | None:
    try:
        return value.encode("utf-8") if isinstance(value, str) else None
    except UnicodeEncodeError:  # half of a pair of surrogates
        return None


def _is_word(value: object) -> bool:
    """Whether a value can stand in a header field and in a path of a question."""
    return (
        isinstance(value, str)
        and 0 < len(value) <= MAX_TEXT
        and value.isascii()
        and value.isprintable()
        and (" " not in value)
    )


def _seconds(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 10**12:
        raise OutsideError("its answer holds a duration that is none")
    return float(value)
