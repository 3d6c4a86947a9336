"""Azure Storage: Shared Key of blobs, queues, files and tables, and shared access signatures that are appended.

https://learn.microsoft.com/en-us/rest/api/storageservices/authorize-with-shared-key. Content-Length is empty where it
is 0; with an emulator's URLs the account's name stands twice in the resource.
"""

import hmac
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from collections.abc import Mapping
from email.utils import formatdate
from typing import Final
from urllib.parse import unquote_to_bytes

from proxyd.auth.signer import Signing
from proxyd.core.exchange import Outgoing
from proxyd.core.headers import first
from proxyd.core.message import Request
from proxyd.core.query import parameter_names, without_parameters
from proxyd.core.service import Auth

VERSION: Final = b"2025-11-05"
"""x-ms-version where the client names none."""

_STANDARD: Final = (
    b"content-encoding", b"content-language", b"content-length", b"content-md5", b"content-type", b"date",
    b"if-modified-since", b"if-match", b"if-none-match", b"if-unmodified-since", b"range",
)  # fmt: skip
_SIGNATURE: Final = frozenset(
    {b"sv", b"ss", b"srt", b"sp", b"se", b"st", b"spr", b"sip", b"sig", b"si", b"sr", b"skoid", b"sktid", b"skt",
     b"ske", b"sks", b"skv", b"saoid", b"suoid", b"scid", b"ses", b"sdd"}
)  # fmt: skip
"""Parameters of a shared access signature."""


class AzureSharedKey(Signing):
    """Signs with ``key``, the account's, in base64; the option ``account`` is its name.

    Without the option the account is the host's first label.
    """

    fields = frozenset({b"authorization", b"x-ms-date", b"date"})
    needed = ("key",)
    masked = ("key",)

    def __init__(self, auth: Auth) -> None:
        super().__init__(auth)
        self._account = self.options.get("account", "").encode("ascii")

    def is_presigned(self, request: Request) -> bool:
        """Whether the query has a shared access signature."""
        return b"?" in request.path and b"sig" in parameter_names(request.path)

    def sign(self, outgoing: Outgoing, values: Mapping[str, bytes]) -> None:
        """Sign one attempt."""
        kept = self.kept(outgoing.headers)
        kept.append((b"x-ms-date", formatdate(outgoing.now + self.clock.skew, usegmt=True).encode("ascii")))
        if first(kept, b"x-ms-version") is None:
            kept.append((b"x-ms-version", VERSION))
        account = self._account or outgoing.host.partition(b".")[0].removesuffix(b"-secondary")
        fields = {name: value for name, value in kept if name in _STANDARD}
        length = len(outgoing.body) if outgoing.body is not None else outgoing.length
        fields[b"content-length"] = b"%d" % length if length else b""
        path, _, query = outgoing.path.partition(b"?")
        resource = b"/" + account + (path or b"/")
        if b".table." in outgoing.host or first(kept, b"dataserviceversion") is not None:
            text = b"\n".join(
                (outgoing.method, fields.get(b"content-md5", b""), fields.get(b"content-type", b""),
                 first(kept, b"x-ms-date") or b"", resource + _component(query))
            )  # fmt: skip
        else:
            standard = [fields.get(name, b"") for name in _STANDARD]
            own = sorted((item for item in kept if item[0].startswith(b"x-ms-")), key=_order)
            lines = b"".join([name + b":" + value.strip() + b"\n" for name, value in own])
            text = b"\n".join((outgoing.method, *standard, lines)) + resource + _parameters(query)
        signature = b64encode(hmac.digest(self._key(values), text, "sha256"))
        outgoing.headers = [*kept, (b"authorization", b"SharedKey " + account + b":" + signature)]

    def _key(self, values: Mapping[str, bytes]) -> bytes:
        try:
            return b64decode(self.value("key", values), validate=True)
        except Base64Error:
            raise ValueError(f"the secret {self.secrets['key']} is not base64, as keys of accounts are") from None


class AzureSas(Signing):
    """Appends ``sas``, a shared access signature, in place of what the client has of one."""

    fields = frozenset({b"authorization"})
    needed = ("sas",)
    masked = ("sas",)

    def sign(self, outgoing: Outgoing, values: Mapping[str, bytes]) -> None:
        """Put it into one attempt."""
        given = self.value("sas", values).removeprefix(b"?")
        bare = without_parameters(outgoing.path, _SIGNATURE)
        outgoing.path = bare + (b"&" if b"?" in bare else b"?") + given
        outgoing.headers = self.kept(outgoing.headers)


def _order(item: tuple[bytes, bytes]) -> tuple[bytes, list[bool]]:
    """Sort names as the service does: hyphens count last, and an underscore stands before digits and letters."""
    name = item[0]
    return name.replace(b"-", b"").replace(b"_", b"!"), [char == ord("-") for char in name]


def _parameters(query: bytes) -> bytes:
    """Return a line for each parameter: names in small letters, values of one name in order, with commas."""
    found: dict[bytes, list[bytes]] = {}
    for item in query.split(b"&") if query else ():
        name, _, value = item.partition(b"=")
        found.setdefault(unquote_to_bytes(name).lower(), []).append(unquote_to_bytes(value))
    return b"".join([b"\n" + name + b":" + b",".join(sorted(found[name])) for name in sorted(found)])


def _component(query: bytes) -> bytes:
    """Return the only parameter that tables sign."""
    for item in query.split(b"&"):
        name, _, value = item.partition(b"=")
        if name == b"comp":
            return b"?comp=" + unquote_to_bytes(value)
    return b""
