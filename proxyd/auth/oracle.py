"""Oracle Cloud Infrastructure: HTTP signatures (draft-cavage-http-signatures-08) with RSA and SHA-256.

https://docs.oracle.com/en-us/iaas/Content/API/Concepts/signingrequests.htm. Date, request target and host are signed
always; PUT, POST and PATCH with length, type and hash of the body, but for uploads of Object Storage, which are not
hashed. The Date is sent as x-date: other hops may change Date. Signing costs most of a millisecond.
"""

from base64 import b64encode
from collections.abc import Mapping
from email.utils import formatdate
from hashlib import sha256
from typing import Final

from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from proxyd.auth.signer import Signing
from proxyd.core.exchange import BodyUse, Outgoing
from proxyd.core.headers import first
from proxyd.core.message import Request
from proxyd.core.service import Auth

_WITH_BODY: Final = frozenset({b"PUT", b"POST", b"PATCH"})
_PLAIN: Final = (b"x-date", b"(request-target)", b"host")
_WHOLE: Final = (*_PLAIN, b"content-length", b"content-type", b"x-content-sha256")


class Oracle(Signing):
    """Signs with ``private_key`` (PEM) and, where it is sealed, ``passphrase``; options say whose key it is."""

    fields = frozenset({b"authorization", b"x-date", b"date", b"x-content-sha256"})
    needed = ("private_key",)
    further = ("passphrase",)
    masked = ("passphrase",)

    def __init__(self, auth: Auth) -> None:
        super().__init__(auth)
        missing = [name for name in ("tenancy", "user", "fingerprint") if not self.options.get(name)]
        if missing:
            raise ValueError(f"the scheme oracle needs the option {' and '.join(missing)}")
        self._key_id = "/".join(self.options[name] for name in ("tenancy", "user", "fingerprint")).encode("ascii")
        self._loaded: tuple[bytes, bytes, RSAPrivateKey] | None = None

    def use_of_body(self, request: Request) -> BodyUse:
        """It is hashed, but for uploads to Object Storage."""
        if request.method not in _WITH_BODY or _is_upload(request.method, request.authority.host, request.path):
            return BodyUse.NONE
        return BodyUse.WHOLE

    def sign(self, outgoing: Outgoing, values: Mapping[str, bytes]) -> None:
        """Sign one attempt."""
        host = outgoing.host.lower()
        kept = self.kept(outgoing.headers)
        kept.append((b"x-date", formatdate(outgoing.now + self.clock.skew, usegmt=True).encode("ascii")))
        signed: tuple[bytes, ...] = _PLAIN
        fields = {b"host": host, b"(request-target)": outgoing.method.lower() + b" " + outgoing.path}
        if outgoing.method in _WITH_BODY and outgoing.body is not None:
            signed = _WHOLE
            if first(kept, b"content-type") is None:
                kept.append((b"content-type", b"application/json"))
            kept.append((b"x-content-sha256", b64encode(sha256(outgoing.body).digest())))
            fields[b"content-length"] = b"%d" % len(outgoing.body)
        for name, value in kept:
            fields.setdefault(name, value)
        text = b"\n".join([name + b": " + fields[name] for name in signed])
        signature = b64encode(self._key(values).sign(text, PKCS1v15(), SHA256()))
        said = b'Signature algorithm="rsa-sha256",headers="%s",keyId="%s",signature="%s",version="1"'
        kept.append((b"authorization", said % (b" ".join(signed), self._key_id, signature)))
        outgoing.headers = kept

    def _key(self, values: Mapping[str, bytes]) -> RSAPrivateKey:
        name = self.secrets["private_key"]
        pem = values[name]
        passphrase = self.value("passphrase", values)
        if self._loaded is None or self._loaded[:2] != (pem, passphrase):
            try:
                key = load_pem_private_key(pem, passphrase or None)
            except (ValueError, TypeError):
                raise ValueError(f"the secret {name} is no private key in PEM, or has another passphrase") from None
            if not isinstance(key, RSAPrivateKey):
                raise ValueError(f"the secret {name} is no RSA key")
            self._loaded = (pem, passphrase, key)
        return self._loaded[2]


def _is_upload(method: bytes, host: str, path: bytes) -> bool:
    """Whether it is PutObject or UploadPart, which the vendor's SDKs sign without the body."""
    return method == b"PUT" and host.startswith("objectstorage.") and (b"/o/" in path or b"/u/" in path)
