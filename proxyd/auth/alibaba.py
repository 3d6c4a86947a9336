"""Alibaba Cloud: ACS3-HMAC-SHA256, and the RPC signature of older SDKs (HMAC-SHA1 in query or form).

https://www.alibabacloud.com/help/en/sdk/product-overview/v3-request-structure-and-signature, …/rpc-mechanism. What the
client sends says which: x-acs-action means ACS3, a parameter Action the older one. Signed are Host, Content-Type and
x-acs-*: other fields may change on their way.
"""

import hmac
import time
import uuid
from base64 import b64encode
from collections.abc import Mapping
from hashlib import sha256
from typing import Final
from urllib.parse import parse_qsl, quote, quote_from_bytes, unquote_to_bytes

from proxyd.auth.signer import Signing
from proxyd.core.exchange import BodyUse, Outgoing
from proxyd.core.headers import Headers, first
from proxyd.core.message import Request

_ALGORITHM: Final = b"ACS3-HMAC-SHA256"
_FORM: Final = b"application/x-www-form-urlencoded"
_OLD: Final = frozenset(
    ("AccessKeyId", "Signature", "SignatureMethod", "SignatureVersion", "SignatureNonce", "Timestamp", "SecurityToken")
)
"""Parameters of the RPC signature."""


class Alibaba(Signing):
    """Signs with ``access_key_id``, ``access_key_secret`` and, where they are temporary, ``security_token``."""

    fields = frozenset(
        {
            b"authorization", b"x-acs-date", b"x-acs-signature-nonce", b"x-acs-content-sha256", b"x-acs-security-token",
            b"x-acs-accesskey-id", b"x-acs-signature-method", b"x-acs-signature-version",
        }
    )  # fmt: skip
    query_names = tuple(name.encode("ascii") for name in sorted(_OLD))
    needed = ("access_key_id", "access_key_secret")
    further = ("security_token",)
    masked = ("access_key_secret", "security_token")

    def use_of_body(self, request: Request) -> BodyUse:
        """It is hashed, or its form's fields are signed."""
        return BodyUse.NONE if request.body.length == 0 else BodyUse.WHOLE

    def sign(self, outgoing: Outgoing, values: Mapping[str, bytes]) -> None:
        """Sign one attempt."""
        if first(outgoing.headers, b"x-acs-action") is not None:
            self._sign_acs3(outgoing, values)
        else:
            self._sign_rpc(outgoing, values)

    def _sign_acs3(self, outgoing: Outgoing, values: Mapping[str, bytes]) -> None:
        kept = self.kept(outgoing.headers)
        digest = sha256(outgoing.body or b"").hexdigest().encode()
        kept += [
            (b"x-acs-date", self._moment(outgoing).encode("ascii")),
            (b"x-acs-signature-nonce", uuid.uuid4().hex.encode("ascii")),
            (b"x-acs-content-sha256", digest),
        ]
        identity, token = self.value("access_key_id", values), self.value("security_token", values)
        if token:
            kept += [(b"x-acs-accesskey-id", identity), (b"x-acs-security-token", token)]
        names, lines = _signed_fields(outgoing.host, kept)
        path, _, query = outgoing.path.partition(b"?")
        canonical = b"\n".join((outgoing.method, _path(path), _query(query), lines, names, digest))
        text = _ALGORITHM + b"\n" + sha256(canonical).hexdigest().encode()
        signature = hmac.digest(self.value("access_key_secret", values), text, "sha256").hex().encode()
        said = b"%s Credential=%s,SignedHeaders=%s,Signature=%s" % (_ALGORITHM, identity, names, signature)
        outgoing.headers = [*kept, (b"authorization", said)]

    def _sign_rpc(self, outgoing: Outgoing, values: Mapping[str, bytes]) -> None:
        path, _, query = outgoing.path.partition(b"?")
        is_form = (first(outgoing.headers, b"content-type") or b"").lower().startswith(_FORM)
        form = parse_qsl((outgoing.body or b"").decode("utf-8", "replace"), keep_blank_values=True) if is_form else []
        asked = parse_qsl(query.decode("ascii", "replace"), keep_blank_values=True)
        if "Action" not in dict(asked + form):
            raise ValueError("neither x-acs-action nor a parameter Action says what is asked of Alibaba Cloud")
        asked = [pair for pair in asked if pair[0] not in _OLD]
        form = [pair for pair in form if pair[0] not in _OLD]
        asked += [
            ("AccessKeyId", self.value("access_key_id", values).decode("ascii", "replace")),
            ("SignatureMethod", "HMAC-SHA1"),
            ("SignatureVersion", "1.0"),
            ("SignatureNonce", uuid.uuid4().hex),
            ("Timestamp", self._moment(outgoing)),
        ]
        token = self.value("security_token", values)
        if token:
            asked.append(("SecurityToken", token.decode("ascii", "replace")))
        text = rpc_text(outgoing.method.decode("ascii"), asked + form)
        signature = b64encode(hmac.digest(self.value("access_key_secret", values) + b"&", text, "sha1")).decode()
        said = "&".join(f"{_encoded(name)}={_encoded(value)}" for name, value in [*asked, ("Signature", signature)])
        outgoing.path = (path or b"/") + b"?" + said.encode("ascii")
        outgoing.headers = self.kept(outgoing.headers)
        if is_form and outgoing.body is not None:
            outgoing.body = "&".join(f"{_encoded(name)}={_encoded(value)}" for name, value in form).encode("ascii")

    def _moment(self, outgoing: Outgoing) -> str:
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(outgoing.now + self.clock.skew))


def rpc_text(method: str, parameters: list[tuple[str, str]]) -> bytes:
    """Return what the RPC signature is of."""
    canonical = "&".join(f"{_encoded(name)}={_encoded(value)}" for name, value in sorted(parameters))
    return f"{method}&%2F&{_encoded(canonical)}".encode("ascii")


def _signed_fields(host: bytes, headers: Headers) -> tuple[bytes, bytes]:
    """Return the names that are signed, and a line for each."""
    fields: dict[bytes, list[bytes]] = {b"host": [host]}
    for name, value in headers:
        if name == b"content-type" or name.startswith(b"x-acs-"):
            fields.setdefault(name, []).append(value.strip())
    lines = b"".join([name + b":" + b",".join(sorted(fields[name])) + b"\n" for name in sorted(fields)])
    return b";".join(sorted(fields)), lines


def _path(path: bytes) -> bytes:
    return quote_from_bytes(unquote_to_bytes(path or b"/"), safe="/~").encode("ascii")


def _query(query: bytes) -> bytes:
    pairs = []
    for item in query.split(b"&") if query else ():
        name, _, value = item.partition(b"=")
        pairs.append((unquote_to_bytes(name), unquote_to_bytes(value)))
    return b"&".join(
        quote_from_bytes(name, safe="~").encode() + b"=" + quote_from_bytes(value, safe="~").encode()
        for name, value in sorted(pairs)
    )


def _encoded(text: str) -> str:
    return quote(text, safe="~")
