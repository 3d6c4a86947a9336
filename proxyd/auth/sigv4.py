"""AWS Signature Version 4: a request of an SDK that holds placeholders is signed anew, as botocore would.

What the client signed is removed. Service and region come from the options, else from the client's own credential
scope, else from the host. Where customers choose the host's name the host alone says the service: nobody who answers
there gets a signature that is meant for another one. Signed are Host, Content-Type, Content-MD5 and every x-amz-*
field: others may change on the way.

A hash of the body that the client states (x-amz-content-sha256) is kept: AWS compares it with the body, so a false one
harms nobody but its sender. The same goes for UNSIGNED-PAYLOAD. Chunks that the client signed one by one are signed
anew (``aws_chunked``), since each signature covers the one before. Where nothing is stated, S3 over TLS is sent
UNSIGNED-PAYLOAD; for all else the body is read first.

Hosts below AWS's names that are machines, websites or registries take no signature, nor do calls that prove themselves
otherwise: these go as they come.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
"""

import hmac
import re
import time
from collections.abc import Mapping
from hashlib import sha256
from typing import Final
from urllib.parse import quote_from_bytes, unquote_to_bytes

from proxyd.auth.aws_chunked import Chain, Resigned, resigned
from proxyd.auth.signer import Signing
from proxyd.auth.sigv4_host import NAMED_BY_CUSTOMERS, S3, Takes, signed_for, takes
from proxyd.core.exchange import BodyUse, Outgoing
from proxyd.core.headers import Headers, first
from proxyd.core.message import Body, BytesBody, Request
from proxyd.core.query import parameter_names
from proxyd.core.service import Auth

ALGORITHM: Final = b"AWS4-HMAC-SHA256"
EMPTY: Final = sha256(b"").hexdigest().encode()
UNSIGNED_PAYLOAD: Final = b"UNSIGNED-PAYLOAD"
CHUNKED: Final = frozenset({b"STREAMING-AWS4-HMAC-SHA256-PAYLOAD", b"STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"})

_HASH: Final = b"x-amz-content-sha256"
_SIGNED_TOO: Final = frozenset({b"content-type", b"content-md5"})
_FIELDS: Final = frozenset({b"authorization", b"x-amz-date", b"x-amz-security-token", b"x-amz-s3session-token"})
_SPACES: Final = re.compile(rb"[ \t]+")
_SCOPE: Final = re.compile(rb"Credential=[^/,\s]*/[0-9]{8}/([a-z0-9-]{1,40})/([A-Za-z0-9-]{1,40})/aws4_request")
_PRESIGNED: Final = frozenset({b"X-Amz-Signature", b"AWSAccessKeyId"})
_UNCHANGED: Final = frozenset({UNSIGNED_PAYLOAD, b"STREAMING-UNSIGNED-PAYLOAD-TRAILER"})
_HEX: Final = re.compile(rb"[0-9a-fA-F]{64}").fullmatch
_WITHOUT: Final = re.compile(rb"(?:^|[?&])Action=AssumeRoleWith(?:WebIdentity|SAML)(?:&|$)").search
"""Calls of STS that prove themselves otherwise (noAuth in its model)."""
_STATED: Final = S3 | {"aoss", "glacier"}
"""Signing names that want the hash of the body in a field, too."""

_KEPT_KEYS: Final = 64


class SigV4(Signing):
    """Signs with ``access_key_id``, ``secret_access_key`` and, where they are temporary, ``session_token``.

    Options ``service`` and ``region`` are for hosts that do not tell them, such as S3-compatible ones.
    """

    fields = _FIELDS
    needed = ("access_key_id", "secret_access_key")
    further = ("session_token",)
    masked = ("secret_access_key", "session_token")

    def __init__(self, auth: Auth) -> None:
        super().__init__(auth)
        self._service = self.options.get("service", "")
        self._region = self.options.get("region", "")
        self._keys: dict[tuple[bytes, str, str, str], bytes] = {}

    # --- what is needed of a request --------------------------------------------------------------

    def is_due(self, request: Request) -> bool:
        """Whether the host takes a signature: no machine, website or registry does, sign-in only where one was made."""
        if self._service:
            return True
        taken = takes(request.authority.host)
        return taken is Takes.SIGNATURE or (taken is Takes.EITHER and _own_scope(request.headers) is not None)

    def use_of_body(self, request: Request) -> BodyUse:
        """Say what is needed of the body, by the hash that the client states."""
        stated = first(request.headers, _HASH)
        if stated is not None:
            return BodyUse.CODED if stated in CHUNKED else BodyUse.NONE
        if request.body.length == 0:
            return BodyUse.NONE
        service, _ = self._scope(request.headers, request.authority.host)
        return BodyUse.NONE if service in S3 and request.scheme == b"https" else BodyUse.WHOLE

    def wrap(self, request: Request) -> Body:
        """Return a body whose chunks are signed anew."""
        return Resigned(request.body)

    def is_presigned(self, request: Request) -> bool:
        """Whether the query carries a signature, of this version or of the second."""
        return b"?" in request.path and bool(parameter_names(request.path) & _PRESIGNED)

    # --- signing ----------------------------------------------------------------------------------

    def sign(self, outgoing: Outgoing, values: Mapping[str, bytes]) -> None:
        """Sign one attempt."""
        host = outgoing.host.partition(b":")[0].decode("ascii")
        service, region = self._scope(outgoing.headers, host)
        kept = self.kept(outgoing.headers)
        if service == "sts" and (_WITHOUT(outgoing.path) or (outgoing.body and _WITHOUT(outgoing.body))):
            outgoing.headers = kept
            return
        outgoing.path = settled(outgoing.path, is_s3=service in S3)
        moment = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(outgoing.now + self.clock.skew))
        kept.append((b"x-amz-date", moment.encode("ascii")))
        token = self.value("session_token", values)
        if token:
            kept.append((b"x-amz-security-token", token))
        payload = self._payload(outgoing, kept, service)
        chain = Chain(
            self._signing_key(values, moment[:8], region, service), moment, f"{moment[:8]}/{region}/{service}"
        )
        canonical, names = canonical_request(
            outgoing.method, outgoing.path, outgoing.host, kept, payload, is_s3=service in S3
        )
        signature = chain.begin(canonical)
        kept.append(
            (
                b"authorization",
                b"%s Credential=%s/%s, SignedHeaders=%s, Signature=%s"
                % (ALGORITHM, self.value("access_key_id", values), chain.scope, names, signature),
            )
        )
        outgoing.headers = kept
        if payload in CHUNKED:
            _sign_chunks(outgoing, chain)

    def _payload(self, outgoing: Outgoing, headers: Headers, service: str) -> bytes:
        """Return the line for the body; S3 wants it in a field, too."""
        stated = first(headers, _HASH)
        if stated is not None:
            if not (_HEX(stated) or stated in _UNCHANGED or stated in CHUNKED):
                raise ValueError(
                    f"the client signs its body in a way that proxyd cannot sign anew ({stated[:64].decode('latin-1')})"
                )
            return stated
        if outgoing.body is not None:
            payload = sha256(outgoing.body).hexdigest().encode()
        else:
            payload = EMPTY if outgoing.length == 0 else UNSIGNED_PAYLOAD
        if service in _STATED:
            headers.append((_HASH, payload))
        return payload

    def _scope(self, headers: Headers, host: str) -> tuple[str, str]:
        if self._service and self._region:
            return self._service, self._region
        derived = signed_for(host)
        own = _own_scope(headers)
        service, region = own or derived or ("", "")
        if derived is not None and derived[0] in NAMED_BY_CUSTOMERS:
            service = derived[0]
        service, region = self._service or service, self._region or region
        if not service or not region:
            raise ValueError(f"neither the client nor the host {host} says for which service and region to sign")
        return service, region

    def _signing_key(self, values: Mapping[str, bytes], date: str, region: str, service: str) -> bytes:
        secret = self.value("secret_access_key", values)
        place = (secret, date, region, service)
        key = self._keys.get(place)
        if key is None:
            key = b"AWS4" + secret
            for part in (date, region, service, "aws4_request"):
                key = hmac.digest(key, part.encode("ascii"), "sha256")
            if len(self._keys) >= _KEPT_KEYS:
                self._keys.clear()
            self._keys[place] = key
        return key


def _own_scope(headers: Headers) -> tuple[str, str] | None:
    """Return service and region for which the client signed."""
    own = first(headers, b"authorization")
    match = _SCOPE.search(own) if own is not None else None
    return (match[2].decode("ascii"), match[1].decode("ascii")) if match is not None else None


def _sign_chunks(outgoing: Outgoing, chain: Chain) -> None:
    if isinstance(outgoing.coded, Resigned):
        outgoing.coded.follow(chain)
    elif isinstance(outgoing.coded, BytesBody):  # something took all of it into memory meanwhile
        outgoing.body = resigned(outgoing.coded.peek(), chain)
    else:
        raise ValueError("the body's chunks were signed by the client, and something on the way has changed them")


def settled(target: bytes, *, is_s3: bool) -> bytes:
    """Return path and query in the one encoding that AWS signs: what its servers make of others is not documented.

    A plus in a query is a space, which is what those mean who write it (forms). The path is encoded once more where it
    is signed, except by S3; there it may be any bytes.
    """
    if _SETTLED(target):
        return target
    path, mark, query = target.partition(b"?")
    if is_s3:
        path = b"/".join([_encoded(part) for part in path.split(b"/")])
    items = [item.split(b"=", 1) for item in query.replace(b"+", b"%20").split(b"&")]
    return path + mark + b"&".join([b"=".join([_encoded(part) for part in item]) for item in items])


def canonical_request(
    method: bytes, target: bytes, host: bytes, headers: Headers, payload: bytes, *, is_s3: bool
) -> tuple[bytes, bytes]:
    """Return the canonical request of a settled target, and the names of the fields that are signed."""
    path, _, query = target.partition(b"?")
    fields: dict[bytes, bytes] = {b"host": host}
    for name, value in headers:
        if name in _SIGNED_TOO or name.startswith(b"x-amz-"):
            clean = _SPACES.sub(b" ", value.strip()) if b"  " in value or b"\t" in value else value.strip()
            fields[name] = fields[name] + b"," + clean if name in fields else clean
    ordered = sorted(fields)
    names = b";".join(ordered)
    lines = b"".join([name + b":" + fields[name] + b"\n" for name in ordered])
    where = (path or b"/") if is_s3 else _normal(path)
    canonical = b"\n".join((method, where, _sorted(query) if query else b"", lines, names, payload))
    return canonical, names


_TRIPLET: Final = rb"%(?:[01][0-9A-F]|2[0-9A-CF]|3[A-F]|40|5[B-E]|60|7[B-DF]|[89A-F][0-9A-F])"
"""A character that needs to be encoded."""
_SETTLED: Final = re.compile(
    rb"(?:[A-Za-z0-9/._~-]|" + _TRIPLET + rb")*(?:\?(?:[A-Za-z0-9._~&-]|=(?![^&=]*=)|" + _TRIPLET + rb")*)?"
).fullmatch
_CANONICAL: Final = re.compile(rb"(?:[A-Za-z0-9._~-]|" + _TRIPLET + rb")*").fullmatch
_PLAIN: Final = re.compile(rb"[A-Za-z0-9/._~-]*").fullmatch


def _normal(path: bytes) -> bytes:
    """Return the path without dots and empty segments, encoded once more."""
    parts: list[bytes] = []
    for part in path.split(b"/"):
        if part == b"..":
            del parts[-1:]
        elif part not in (b"", b"."):
            parts.append(part)
    normal = b"/" + b"/".join(parts)
    if path.endswith(b"/") and len(normal) > 1:
        normal += b"/"
    return quote_from_bytes(normal, safe="/~").encode("ascii") if not _PLAIN(normal) else normal


def _sorted(query: bytes) -> bytes:
    pairs = [item.partition(b"=")[::2] for item in query.split(b"&")]
    pairs.sort()
    return b"&".join([name + b"=" + value for name, value in pairs])


def _encoded(part: bytes) -> bytes:
    if _CANONICAL(part):
        return part
    return quote_from_bytes(unquote_to_bytes(part), safe="-_.~").encode("ascii")
