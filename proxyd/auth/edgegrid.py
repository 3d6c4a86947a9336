"""Akamai EdgeGrid (EG1-HMAC-SHA256), as https://techdocs.akamai.com/developer/docs/edgegrid and its libraries have it.

The key is the base64 text of an HMAC of the timestamp. Of a POST body the first 131,072 bytes are hashed; bodies of
other methods are not. Scheme and host are signed as Akamai sees them.
"""

import hmac
import time
import uuid
from base64 import b64encode
from collections.abc import Mapping
from hashlib import sha256
from typing import Final

from proxyd.auth.signer import Signing
from proxyd.core.exchange import BodyUse, Outgoing
from proxyd.core.message import Request

HASHED: Final = 131_072
"""Bytes of a POST body that are hashed."""

_ALGORITHM: Final = b"EG1-HMAC-SHA256"


class EdgeGrid(Signing):
    """Signs with ``client_token``, ``client_secret`` and ``access_token``."""

    needed = ("client_token", "client_secret", "access_token")
    masked = ("client_secret", "client_token", "access_token")

    def use_of_body(self, request: Request) -> BodyUse:
        """A POST's body is hashed."""
        return BodyUse.WHOLE if request.method == b"POST" and request.body.length != 0 else BodyUse.NONE

    def sign(self, outgoing: Outgoing, values: Mapping[str, bytes]) -> None:
        """Sign one attempt."""
        moment = time.strftime("%Y%m%dT%H:%M:%S+0000", time.gmtime(outgoing.now + self.clock.skew)).encode("ascii")
        said = b"%s client_token=%s;access_token=%s;timestamp=%s;nonce=%s;" % (
            _ALGORITHM,
            self.value("client_token", values),
            self.value("access_token", values),
            moment,
            str(uuid.uuid4()).encode("ascii"),
        )
        body = outgoing.body if outgoing.method == b"POST" else None
        hashed = b64encode(sha256(body[:HASHED]).digest()) if body else b""
        text = b"\t".join((outgoing.method, outgoing.scheme, outgoing.host.lower(), outgoing.path, b"", hashed, said))
        key = b64encode(hmac.digest(self.value("client_secret", values), moment, "sha256"))
        signature = b64encode(hmac.digest(key, text, "sha256"))
        outgoing.headers = [*self.kept(outgoing.headers), (b"authorization", said + b"signature=" + signature)]
