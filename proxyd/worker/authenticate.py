"""Basic proxy authentication (RFC 7617 over RFC 9110 §11.7); the field is never forwarded."""

import base64
import binascii
import hmac
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from proxyd.core.access import ProxyUser
from proxyd.core.errors import Flag, ProxyError


def authenticate(
    users: Sequence[ProxyUser],
    secrets: Mapping[str, bytes],
    value: bytes | None,
    former: Mapping[str, Sequence[bytes]] = MappingProxyType({}),
) -> str:
    """Return the user that ``value`` (of Proxy-Authorization) proves. ProxyError 407 when it proves none.

    ``former`` passwords prove a user too, while a rotation's overlap lasts.
    """
    if value is None:
        raise _refused("proxy authentication is required")
    scheme, _, encoded = value.partition(b" ")
    if scheme.lower() != b"basic":
        raise _refused("only Basic proxy authentication is known here")
    try:
        name, colon, password = base64.b64decode(encoded.strip(), validate=True).partition(b":")
    except binascii.Error:
        raise _refused("Proxy-Authorization is not valid base64") from None
    proven: str | None = None
    for user in users:  # every user is compared, so that time tells nothing
        expected = secrets.get(user.secret)
        accepted = (expected, *former.get(user.secret, ())) if expected is not None else ()
        fits = sum(hmac.compare_digest(item, password) for item in accepted) > 0
        if hmac.compare_digest(user.name.encode("utf-8"), name) and fits and colon:
            proven = user.name
    if proven is None:
        raise _refused("wrong user or password for the proxy")
    return proven


def _refused(detail: str) -> ProxyError:
    return ProxyError(407, Flag.DENIED, "http_request_denied", detail)
