"""What every flow has and gives: the source's fields, the clock, the client, and what comes of a question."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from proxyd.core.settings import TokenSource
from proxyd.tokens.client import Answer, Client
from proxyd.tokens.errors import TokenError

DEFAULT_LIFE: Final = 3600.0
"""Seconds that a token is taken to live whose answer does not say."""

_FINAL: Final = frozenset(
    (
        "invalid_grant",
        "invalid_client",
        "unauthorized_client",
        "unsupported_grant_type",
        "invalid_scope",
        "access_denied",
        "bad_refresh_token",
    )
)
"""Errors of RFC 6749 §5.2 that another try does not help."""


@dataclass(frozen=True, slots=True)
class Issued:
    """What a flow yields."""

    values: dict[str, bytes]
    """By field: ``access_token``, or what the definition says."""
    life: float
    """Seconds from the question."""
    rotated: dict[str, bytes] = field(default_factory=dict)
    """Secrets that the issuer has replaced, by field: to be kept before anything is used."""

    def __repr__(self) -> str:
        return f"Issued({sorted(self.values)}, life={self.life:g})"


@dataclass(frozen=True, slots=True)
class Ask:
    """One question's surroundings."""

    source: TokenSource
    client: Client
    secret: Callable[[str], bytes]
    """Return the secret of a field. TokenError: it has no value."""
    wall: Callable[[], float] = time.time

    def option(self, name: str, default: str = "") -> str:
        """Return an option of the source."""
        return dict(self.source.options).get(name, default)

    def has(self, name: str) -> bool:
        """Whether a secret is named for a field."""
        return bool(dict(self.source.secrets).get(name))

    def text(self, name: str) -> str:
        """Return a secret as text."""
        try:
            return self.secret(name).decode("utf-8")
        except UnicodeDecodeError:
            raise TokenError(f"the secret for {name} is not UTF-8 text", is_final=True) from None

    def named(self, name: str) -> str:
        """Return a field that may be a secret or an option."""
        return self.text(name) if self.has(name) else self.option(name)

    async def send(self, **said: Any) -> Answer:
        """Ask the source, showing the client's certificate where that is its proof (RFC 8705 §2). TokenError."""
        if self.option("client_auth") == "mtls":
            said["certificate"] = self.secret("client_certificate")
        return await self.client.ask(self.source.url, self.source.hosts, **said)

    async def post(self, url: str, form: Mapping[str, str], headers: Mapping[str, str] | None = None) -> dict[str, Any]:
        """Ask with a form; return the JSON answer. TokenError with the issuer's own code otherwise."""
        answer = await self.client.ask(url, self.source.hosts, form=form, headers=headers)
        return checked(answer)


def checked(answer: Answer) -> dict[str, Any]:
    """Return the answer of an issuer that gave what was asked for. TokenError (RFC 6749 §5.2)."""
    if answer.status in (200, 201):
        said = answer.json()
        if not isinstance(said.get("error"), str):  # GitHub answers 200 with an error
            return said
    code = ""
    try:
        said = answer.json()
        error = said.get("error") or said.get("errorCode") or said.get("code") or said.get("message")
        code = str(error.get("status") or error.get("message")) if isinstance(error, dict) else str(error or "")
    except TokenError:
        said = {}
    words = "".join(char if char.isprintable() else " " for char in code)[:120]
    is_final = code in _FINAL or (400 <= answer.status < 500 and answer.status not in (408, 425, 429))
    raise TokenError(f"the issuer answered {answer.status}{f' {words}' if words else ''}", is_final=is_final)


def bearer(said: Mapping[str, Any], *, name: str = "access_token", life: str = "expires_in") -> Issued:
    """Return the token of an OAuth answer (RFC 6749 §5.1)."""
    value = said.get(name)
    if not isinstance(value, str) or not value or not value.isascii() or not value.isprintable():
        raise TokenError(f"the issuer's answer has no {name}")
    return Issued({"access_token": value.encode("ascii")}, seconds_of(said.get(life)))


def seconds_of(value: object) -> float:
    """Return a lifetime, which some issuers write as text."""
    try:
        life = float(str(value))
    except ValueError:
        return DEFAULT_LIFE
    return min(life, 30 * 86_400.0) if life > 0 else DEFAULT_LIFE
