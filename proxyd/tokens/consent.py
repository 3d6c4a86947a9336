"""A person's consent turned into a refresh token: the device grant (RFC 8628), and the authorization code with PKCE
(RFC 7636) that comes back to this machine (RFC 8252).

Who asks shows the address to the person; nothing secret is in it.
"""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

import trio

from proxyd.core.settings import Consent
from proxyd.tokens.errors import TokenError
from proxyd.tokens.flow import Ask, checked
from proxyd.tokens.loopback import Loopback
from proxyd.tokens.oauth import proof

DEVICE_GRANT: Final = "urn:ietf:params:oauth:grant-type:device_code"

INTERVAL: Final = 5.0
"""Seconds between two questions where the issuer says nothing, and what slow_down adds (RFC 8628 §3.5)."""

LONGEST_INTERVAL: Final = 60.0
MAX_LIFE: Final = 1800.0
"""Seconds that a person may take, whatever the issuer says."""

BROWSER_SECONDS: Final = 600.0


@dataclass(frozen=True, slots=True)
class Prompt:
    """What a person is to do."""

    url: str
    code: str = ""
    """To be typed in there; empty: there is none."""
    complete: str = ""
    """The address with the code in it, where the issuer gives one."""
    seconds: float = BROWSER_SECONDS
    """For how long it may be done."""


@dataclass(frozen=True, slots=True)
class Granted:
    """What came of it."""

    value: bytes
    """A refresh token; an access token where the issuer's are lasting."""
    scope: str = ""
    """As far as the issuer says."""

    def __repr__(self) -> str:
        return f"Granted(scope={self.scope!r})"


Show = Callable[[Prompt], Awaitable[None]]


async def by_device(ask: Ask, consent: Consent, show: Show) -> Granted:
    """Have the person type in a code somewhere (RFC 8628). TokenError: no consent was given."""
    fields, headers = proof(ask)
    identity = {"client_id": ask.named("client_id")}
    scope = {"scope": consent.scope} if consent.scope else {}
    said = await ask.post(consent.device_url, {**identity, **scope, **fields}, headers)
    code, prompt, interval = _device_answer(said)
    await show(prompt)
    asked = {"grant_type": DEVICE_GRANT, "device_code": code, **identity, **fields}
    with trio.move_on_after(prompt.seconds):
        while True:
            await trio.sleep(interval)
            try:
                answer = await ask.client.ask(ask.source.url, ask.source.hosts, form=asked, headers=headers)
            except TokenError as error:
                if error.is_final:
                    raise
                interval = min(2 * interval, LONGEST_INTERVAL)  # RFC 8628 §3.5: exponential back-off
                continue
            error_code = _error_of(answer)
            if error_code == "slow_down":
                interval = min(interval + INTERVAL, LONGEST_INTERVAL)
            elif error_code != "authorization_pending":
                _raise(error_code)
                return _granted(checked(answer), consent)
    raise TokenError("nobody consented in time; begin again", is_final=True)


async def by_browser(ask: Ask, consent: Consent, show: Show, *, port: int = 0, told: Callable[[str], None]) -> Granted:
    """Have the person's browser bring a code to a port of this machine. TokenError: no consent was given.

    ``told`` hears of callbacks that are refused.
    """
    state, verifier = secrets.token_urlsafe(32), secrets.token_urlsafe(64)
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode("ascii")).digest()).rstrip(b"=").decode("ascii")
    async with Loopback.open(consent.redirect, port) as loopback:
        parameters = {
            "response_type": "code",
            "client_id": ask.named("client_id"),
            "redirect_uri": loopback.url,
            "state": state,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
            **({"scope": consent.scope} if consent.scope else {}),
            **dict(consent.parameters),
        }
        glue = "&" if urlsplit(consent.authorize_url).query else "?"
        await show(Prompt(f"{consent.authorize_url}{glue}{urlencode(parameters)}"))
        code = await _callback(loopback, state, consent.issuer, told)
    fields, headers = proof(ask)
    form = {
        "grant_type": "authorization_code", "code": code, "redirect_uri": loopback.url, "code_verifier": verifier,
        "client_id": ask.named("client_id"), **fields,
    }  # fmt: skip
    answer = await ask.client.ask(ask.source.url, ask.source.hosts, form=form, headers=headers)
    _raise(_error_of(answer))
    return _granted(checked(answer), consent)


async def _callback(loopback: Loopback, state: str, issuer: str, told: Callable[[str], None]) -> str:
    """Return the code that came with our state; what came with another is refused and waited past."""
    with trio.move_on_after(BROWSER_SECONDS):
        while True:
            callback = await loopback.callback()
            said = callback.parameters
            if not hmac.compare_digest(said.get("state", "").encode(), state.encode()):  # RFC 6749 §10.12
                told("a callback came that is not of this attempt (another state); it was refused")
                await callback.answer(400, "This is not of the attempt that proxyd waits for.")
                continue
            if issuer and said.get("iss", issuer) != issuer:  # RFC 9207 §2.4
                await callback.answer(400, "The answer is another issuer's. Nothing was stored.")
                raise TokenError("the callback names another issuer than the one that was asked", is_final=True)
            if "error" in said:
                await callback.answer(200, "No consent was given. This window can be closed.")
                _raise(said["error"])
            if not said.get("code"):
                await callback.answer(400, "The answer has no code.")
                raise TokenError("the callback has no code", is_final=True)
            await callback.answer(200, "proxyd has what it needs. This window can be closed.")
            return said["code"]
    raise TokenError("nobody consented in time; begin again", is_final=True)


def _device_answer(said: Mapping[str, Any]) -> tuple[str, Prompt, float]:
    """Return device code, what to show, and the seconds between questions (RFC 8628 §3.2)."""
    _raise(str(said["error"]) if said.get("error") else "")
    url = said.get("verification_uri") or said.get("verification_url")  # the second: Google's
    code, user_code = said.get("device_code"), said.get("user_code")
    complete = said.get("verification_uri_complete") or ""
    if not (isinstance(code, str) and _is_shown(user_code) and _is_address(url)):
        raise TokenError("the issuer's answer names no code, or no address where it is typed in", is_final=True)
    life = min(_seconds(said.get("expires_in"), MAX_LIFE), MAX_LIFE)
    interval = min(_seconds(said.get("interval"), INTERVAL), LONGEST_INTERVAL)
    return code, Prompt(str(url), str(user_code), complete if _is_address(complete) else "", life), interval


def _is_shown(text: object) -> bool:
    return isinstance(text, str) and 0 < len(text) <= 64 and text.isprintable()


def _is_address(text: object) -> bool:
    """Whether it may be shown and opened: a browser must not be sent to a file or a program."""
    is_text = isinstance(text, str) and len(text) <= 2048 and text.isascii() and text.isprintable() and " " not in text
    return is_text and str(text).startswith(("https://", "http://localhost", "http://127.0.0.1"))


def _seconds(value: object, default: float) -> float:
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and value > 0
    return float(value) if is_number else default  # type: ignore[arg-type]


def _error_of(answer: Any) -> str:
    """Return the issuer's code of an error; GitHub answers 200 with one."""
    try:
        error = answer.json().get("error")
    except TokenError:
        return ""
    return str(error) if error else ""


def _raise(code: str) -> None:
    if not code:
        return
    words = {
        "access_denied": "consent was refused",
        "expired_token": "the code has expired before somebody consented; begin again",
    }
    shown = "".join(char if char.isprintable() else " " for char in code)[:120]
    raise TokenError(words.get(code, f"the issuer refused: {shown}"), is_final=True)


def _granted(said: Mapping[str, Any], consent: Consent) -> Granted:
    name = "refresh_token" if consent.is_renewed else "access_token"
    value = said.get(name)
    if not isinstance(value, str) or not value or not value.isascii() or not value.isprintable():
        advice = "; its scope for that may be missing (offline_access)" if consent.is_renewed else ""
        raise TokenError(f"the issuer gave no {name}{advice}", is_final=True)
    scope = said.get("scope")
    return Granted(value.encode("ascii"), scope[:1024] if isinstance(scope, str) and scope.isprintable() else "")
