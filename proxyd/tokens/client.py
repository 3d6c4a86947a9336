"""Questions to issuers: the only place where httpx is used for them.

Certificates are verified, redirects are not followed, sizes and times are bounded, and a question goes to the hosts
that its source names and to no others: it carries the credential itself.
"""

import json
import os
import re
import ssl
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import trio

from proxyd.core.units import KIB
from proxyd.tokens.errors import TokenError

SECONDS: Final = 20.0
"""One question may take; issuers may be slow."""

MAX_ANSWER: Final = 256 * KIB

LOCAL: Final = frozenset(
    {
        "localhost",
        "127.0.0.1",
        "::1",
        "169.254.169.254",
        "metadata.google.internal",
        "169.254.170.2",
        "169.254.170.23",
    }
)
"""Hosts that may be asked by plain http: this machine, and a cloud's metadata servers (the last two: ECS, EKS)."""

_URL: Final = re.compile(
    r"(https?)://(\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._-]{1,255})(?::([0-9]{1,5}))?(?:[/?][!-~]*)?"
).fullmatch

Turn = Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Answer:
    """What an issuer said."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> dict[str, Any]:
        """Return the body as a map; TokenError for anything else."""
        try:
            value = json.loads(self.body)
        except (ValueError, RecursionError):
            value = None
        if not isinstance(value, dict):
            raise TokenError(f"the issuer answered {self.status} with something that is no JSON object")
        return value


class Client:
    """Asks issuers."""

    def __init__(self, roots_pem: str = "", turn: Turn | None = None) -> None:
        """``roots_pem`` are trusted besides the system's roots; ``turn`` is waited for before a question."""
        self._roots = roots_pem
        self._turn = turn

    async def ask(
        self,
        url: str,
        hosts: tuple[str, ...],
        *,
        method: str = "POST",
        form: Mapping[str, str] | None = None,
        document: Any = None,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        certificate: bytes = b"",
    ) -> Answer:
        """Return the answer, whatever its status. TokenError: there is none.

        ``content`` is a body as it is; ``certificate`` PEM of a certificate and its key, shown to the issuer.
        """
        scheme, host = _place(url)
        if host not in {name for each in hosts for name in (each.lower(), each.lower().partition(":")[0])}:
            raise TokenError(
                f"the issuer {host} is not among the hosts that its credential may be sent to", is_final=True
            )
        if scheme != "https" and host not in LOCAL:
            raise TokenError(f"the issuer {host} would be asked over plain http; use https", is_final=True)
        if self._turn is not None:
            await self._turn()
        import httpx  # heavy, and most configurations need none of it

        context = ssl.create_default_context()
        if self._roots:
            context.load_verify_locations(cadata=self._roots)
        if certificate:
            _show(context, certificate)
        # Not compressed: a few bytes could grow beyond any bound before their length is seen.
        said = {"user-agent": "proxyd", "accept": "application/json", "accept-encoding": "identity", **(headers or {})}
        try:
            with trio.fail_after(SECONDS):
                async with (
                    httpx.AsyncClient(
                        verify=context, follow_redirects=False, trust_env=False, timeout=SECONDS
                    ) as client,
                    client.stream(method, url, data=form, json=document, content=content, headers=said) as response,
                ):
                    if response.headers.get("content-encoding", "identity").lower() != "identity":
                        raise TokenError(f"{host} compresses its answer, although it was asked not to")
                    body = bytearray()
                    async for piece in response.aiter_raw():
                        body += piece
                        if len(body) > MAX_ANSWER:
                            raise TokenError(f"{host} answers with more than {MAX_ANSWER // KIB} KiB")
                    return Answer(response.status_code, dict(response.headers), bytes(body))
        except trio.TooSlowError:
            raise TokenError(f"{host} has not answered within {SECONDS:g} s") from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise TokenError(f"{host} cannot be asked: {type(error).__name__}: {_plain(error)}") from None


def _place(url: str) -> tuple[str, str]:
    """Return scheme and host of a URL, which may be a stranger's. TokenError: it is none.

    Stricter than RFC 3986, so that no two readers of it can mean two hosts: no user, no backslash, nothing encoded.
    """
    match = _URL(url)
    if match is None or int(match[3] or 443) > 65535:
        raise TokenError("the address of the issuer is no plain URL", is_final=True)
    return match[1], match[2].strip("[]").lower()


def _show(context: ssl.SSLContext, certificate: bytes) -> None:
    """Have a context show a certificate. The standard library reads files alone: this one is in memory."""
    descriptor = os.memfd_create("certificate", os.MFD_CLOEXEC)
    try:
        with open(descriptor, "wb", closefd=False) as file:
            file.write(certificate)
        context.load_cert_chain(f"/proc/self/fd/{descriptor}", password="")  # an encrypted key: an error, and no prompt
    except (ssl.SSLError, OSError):
        raise TokenError(
            "the client's certificate cannot be used: PEM of a certificate and of its key, unencrypted, is wanted",
            is_final=True,
        ) from None
    finally:
        os.close(descriptor)


def _plain(error: BaseException) -> str:
    """Return the words of a foreign error, cut: they tell of connections and certificates, never of a body.

    Below a failed handshake there are no words but those of the cause.
    """
    cause: BaseException | None = error
    while cause is not None and not str(cause):
        cause = cause.__cause__ or cause.__context__
    return str(cause or "").replace("\n", " ")[:200]
