"""Logging in to a Vault: the token of questions, renewed while that is possible, else had anew.

Methods: https://developer.hashicorp.com/vault/api-docs/auth/approle, …/kubernetes, …/jwt, …/token.
"""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import trio

from proxyd.core.settings import VaultLogin
from proxyd.core.units import KIB
from proxyd.vault.outside import answers
from proxyd.vault.outside.answers import Granted
from proxyd.vault.outside.lease import Lease, begun
from proxyd.vault.outside.provider import OutsideError
from proxyd.vault.outside.wire import Refused, Wire

MAX_JWT: Final = 64 * KIB
SECRET: Final = {"token": "token", "approle": "secret_id", "kubernetes": "jwt", "jwt": "jwt"}
"""What ``auth.secret`` is for each method."""


class Session:
    """One login: its token, and how long it is good."""

    def __init__(self, granted: Granted, lease: Lease, *, is_own: bool) -> None:
        self.token = granted.id
        self.lease = lease
        self.is_own = is_own
        """proxyd has logged in for it, and gives it back."""
        self.is_dead = False
        """The vault does not take it any more."""


class Login:
    """The session of one vault; one question at a time goes to it about that."""

    def __init__(
        self,
        login: VaultLogin,
        wire: Wire,
        secret: Callable[[str], bytes | None],
        rng: random.Random,
        clock: Callable[[], float] = trio.current_time,
    ) -> None:
        self._login = login
        self._wire = wire
        self._secret = secret
        self._rng = rng
        self._clock = clock
        self._lock = trio.Lock()
        self.session: Session | None = None

    async def current(self) -> Session:
        """Return a session that is good, renewed or new where it must be. OutsideError."""
        async with self._lock:
            session = self.session
            now = self._clock()
            if session is None or session.is_dead or session.lease.is_over(now) or self._is_replaced(session):
                return await self._begin()
            if session.lease.is_due(now) and not await self._renewed(session):
                if session.is_own:
                    return await self._begin()
                session.lease.due = 0.0  # the user's own token: it serves until it ends
            return session

    async def refused(self, session: Session) -> bool:
        """The vault answered 403: return whether its token is the reason, which then counts no more."""
        try:
            await self._wire.ask("GET", "auth/token/lookup-self", token=session.token)
        except Refused as refusal:
            session.is_dead = refusal.status == 403
        return session.is_dead and session.is_own

    async def end(self) -> None:
        """Revoke the token, if proxyd had it made, and with it every lease that it has asked for."""
        session, self.session = self.session, None
        if session is not None and session.is_own and not session.is_dead:
            await self._wire.ask("POST", "auth/token/revoke-self", token=session.token)

    def _is_replaced(self, session: Session) -> bool:
        return not session.is_own and session.token != self._text()

    async def _begin(self) -> Session:
        asked = self._clock()
        if self._login.method == "token":
            granted = await self._own(self._text())
        else:
            question = await self._question()
            path = f"auth/{self._login.mount or self._login.method}/login"
            try:
                granted = answers.login(await self._wire.ask("POST", path, question))
            except Refused as refusal:
                raise OutsideError(f"the login was refused: {_scrubbed(refusal, question)}") from None
        lease = begun(asked, granted.seconds, self._rng, is_renewable=granted.is_renewable)
        self.session = Session(granted, lease, is_own=self._login.method != "token")
        return self.session

    async def _own(self, token: str) -> Granted:
        """Look at a token that the user gave; one that may not look at itself counts as endless."""
        try:
            return answers.own_token(await self._wire.ask("GET", "auth/token/lookup-self", token=token), token)
        except Refused as refusal:
            if refusal.status in (400, 403, 404):
                return Granted(token, 0.0, False)
            raise OutsideError(f"the token cannot be looked at: {refusal}") from None

    async def _renewed(self, session: Session) -> bool:
        if not session.lease.is_renewable:
            return False
        asked = self._clock()
        try:
            said = await self._wire.ask("POST", "auth/token/renew-self", {}, session.token)
        except Refused:
            return False
        granted = answers.login(said)
        return session.lease.granted(asked, granted.seconds, self._rng, is_renewable=granted.is_renewable)

    async def _question(self) -> dict[str, Any]:
        login = self._login
        if login.method == "approle":
            return {"role_id": login.role_id, **({"secret_id": self._text()} if login.secret else {})}
        jwt = self._text() if login.secret else await trio.to_thread.run_sync(_jwt, login.token_file)
        return {"jwt": jwt, **({"role": login.role} if login.role else {})}

    def _text(self) -> str:
        value = self._secret(self._login.secret)
        if value is None:
            raise OutsideError(f"the secret {self._login.secret}, by which proxyd logs in, has no value")
        text = value.decode("latin-1")
        if not text.isascii() or not text.isprintable():
            raise OutsideError(f"the secret {self._login.secret} holds characters that no token has")
        return text


def _jwt(path: str) -> str:
    try:
        with Path(path).open("rb") as file:
            data = file.read(MAX_JWT + 1)
    except OSError as error:
        raise OutsideError(f"the token file {path} cannot be read: {error.strerror}") from None
    if len(data) > MAX_JWT or not data.strip().isascii():
        raise OutsideError(f"the token file {path} holds no JWT")
    return data.strip().decode("ascii")


def _scrubbed(refusal: Refused, question: dict[str, Any]) -> str:
    text = str(refusal)
    for name in ("secret_id", "jwt"):
        if question.get(name):
            text = text.replace(question[name], "…")
    return text
