"""Credentials in a field of the body: of a JSON object, or of a form. All else of the body stays byte for byte.

The body is held in memory for it (``max_body``). One that is not of the kind, or is none, goes as it came: the vendor
refuses it, and the secret is nowhere. A compressed one cannot be changed, which is said.
"""

import json
import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import quote_from_bytes, unquote_to_bytes

from proxyd.auth.signer import Defaults
from proxyd.auth.values import long_enough, value_of
from proxyd.core.exchange import BodyUse, Outgoing
from proxyd.core.headers import Headers
from proxyd.core.message import Request
from proxyd.core.service import Auth

_SPACE: Final = re.compile(r"[ \t\n\r]*")  # RFC 8259 §2
_DECODER: Final = json.JSONDecoder()
_MAX_BATCH: Final = 1000
"""Objects of one list that get the field: a batch of JSON-RPC."""


class _Placement(Defaults):
    """What both have in common."""

    def __init__(self, auth: Auth) -> None:
        (part,) = auth.parts
        self._name = part.name
        self._prefix = part.prefix.encode("utf-8")
        self._secret = part.secret
        self.secret_names: tuple[str, ...] = (part.secret,)

    def use_of_body(self, request: Request) -> BodyUse:
        """All of it, where there is one."""
        return BodyUse.NONE if request.body.length == 0 else BodyUse.WHOLE

    def client_supplied(self, headers: Headers, path: bytes) -> bool:
        """Whether the client sends its own is in the body, which is not looked at for that."""
        return False

    def sign(self, outgoing: Outgoing, values: Mapping[str, bytes]) -> None:
        """Put the secret into the body. KeyError, ValueError."""
        value = self._prefix + value_of(self._secret, values)
        if not outgoing.body:
            return
        if any(name == b"content-encoding" and item != b"identity" for name, item in outgoing.headers):
            raise ValueError("the credential goes into the body, which is compressed; send it plain to this service")
        outgoing.body = self._placed(outgoing.body, value)

    def masks(self, values: Mapping[str, bytes]) -> tuple[bytes, ...]:
        """Return the secret as it is and as it stands in a body."""
        raw = self._prefix + value_of(self._secret, values)
        return long_enough(value_of(self._secret, values), _quoted(raw), _json_text(raw).encode("ascii")[1:-1])

    def _placed(self, body: bytes, value: bytes) -> bytes:
        raise NotImplementedError


class JsonField(_Placement):
    """A member of the JSON object that the body is, or of each object of the list."""

    def _placed(self, body: bytes, value: bytes) -> bytes:
        try:
            return _with_member(body.decode("utf-8"), self._name, _json_text(value)).encode("utf-8")
        except (ValueError, RecursionError):  # no JSON, which is the vendor's to say
            return body


class FormField(_Placement):
    """A field of ``application/x-www-form-urlencoded``."""

    def _placed(self, body: bytes, value: bytes) -> bytes:
        name = self._name.encode("utf-8")
        kept = [
            item for item in body.split(b"&") if unquote_to_bytes(item.partition(b"=")[0].replace(b"+", b" ")) != name
        ]
        kept = [item for item in kept if item.strip()]
        return b"&".join([*kept, _quoted(name) + b"=" + _quoted(value)])


def _with_member(text: str, name: str, value: str) -> str:
    """Return ``text`` with the member, in place of those of the same name. ValueError: it is no object or list of them.

    Every object is looked at to its end: a later member of the name would win over an earlier one.
    """
    begin = _skip(text, 0)
    pieces = [text[:begin]]
    if text[begin : begin + 1] == "{":
        end = _object(text, begin, name, value, pieces)
    elif text[begin : begin + 1] == "[":
        end = _objects(text, begin, name, value, pieces)
    else:
        raise ValueError("neither an object nor a list")
    if _skip(text, end) != len(text):
        raise ValueError("something stands behind the JSON value")
    return "".join([*pieces, text[end:]])


def _objects(text: str, begin: int, name: str, value: str, pieces: list[str]) -> int:
    """Write the list that begins at ``begin`` to ``pieces``, and return where it ends."""
    at = last = begin
    for _ in range(_MAX_BATCH):
        at = _skip(text, at + 1)
        pieces.append(text[last:at])
        if text[at : at + 1] != "{":
            raise ValueError("the list holds something else than objects")
        last = _object(text, at, name, value, pieces)
        at = _skip(text, last)
        if text[at : at + 1] == "]":
            pieces.append(text[last : at + 1])
            return at + 1
        if text[at : at + 1] != ",":
            raise ValueError("no list")
    raise ValueError("too many objects")


def _object(text: str, begin: int, name: str, value: str, pieces: list[str]) -> int:
    """Write the object that begins at ``begin`` to ``pieces``, and return where it ends."""
    members: list[str] = []
    at = _skip(text, begin + 1)
    while text[at : at + 1] != "}":
        start = at
        if text[at : at + 1] != '"':
            raise ValueError("a member has no name")
        key, at = _DECODER.raw_decode(text, at)
        at = _skip(text, at)
        if text[at : at + 1] != ":":
            raise ValueError("a member has no value")
        _, at = _DECODER.raw_decode(text, _skip(text, at + 1))
        if key != name:
            members.append(text[start:at])
        at = _skip(text, at)
        if text[at : at + 1] == ",":
            at = _skip(text, at + 1)
            if text[at : at + 1] == "}":
                raise ValueError("a comma stands before the end")
        elif text[at : at + 1] != "}":
            raise ValueError("no object")
    members.insert(0, f"{json.dumps(name)}:{value}")
    pieces.append("{" + ",".join(members) + "}")
    return at + 1


def _skip(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return match.end() if match is not None else at


def _json_text(value: bytes) -> str:
    return json.dumps(value.decode("utf-8"))


def _quoted(value: bytes) -> bytes:
    return quote_from_bytes(value, safe="").encode("ascii")
