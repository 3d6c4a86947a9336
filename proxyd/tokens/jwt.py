"""Signed assertions (RFC 7515, RFC 7519, RFC 7523): RS256, PS256 and ES256 with keys in PEM."""

import json
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from proxyd.tokens.errors import TokenError


def encoded(data: bytes) -> str:
    """Return base64url without padding (RFC 7515 §2)."""
    return urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def signed(
    claims: Mapping[str, Any], pem: bytes, *, algorithm: str = "", headers: Mapping[str, Any] | None = None
) -> str:
    """Return the JWT. The algorithm follows the key where none is named. TokenError for what is no such key."""
    try:
        key = load_pem_private_key(pem, None)
    except (ValueError, TypeError):
        raise TokenError(
            "the private key cannot be read: it is no PEM, or sealed with a passphrase", is_final=True
        ) from None
    if isinstance(key, rsa.RSAPrivateKey):
        algorithm = algorithm or "RS256"
    elif isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(key.curve, ec.SECP256R1):
        algorithm = algorithm or "ES256"
    else:
        raise TokenError("the private key is neither RSA nor of the curve P-256", is_final=True)
    head = {"alg": algorithm, "typ": "JWT", **(headers or {})}
    text = ".".join(encoded(json.dumps(part, separators=(",", ":")).encode()) for part in (head, claims)).encode(
        "ascii"
    )
    if isinstance(key, rsa.RSAPrivateKey):
        pad = padding.PSS(padding.MGF1(SHA256()), 32) if algorithm == "PS256" else padding.PKCS1v15()
        signature = key.sign(text, pad, SHA256())
    else:
        r, s = decode_dss_signature(key.sign(text, ec.ECDSA(SHA256())))
        signature = r.to_bytes(32, "big") + s.to_bytes(32, "big")  # RFC 7518 §3.4
    return f"{text.decode('ascii')}.{encoded(signature)}"
