"""Keeps the tokens of services fresh, and tells workers of them: one task for each source, so that one question at a
time goes to its issuer, whoever asks.

What an issuer has replaced (a refresh token) is kept before what came with it is used: a kill in between costs a
question, never the grant. A control that has been succeeded asks nobody any more.
"""

import random
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Final

import trio

from proxyd.control.scopes import Scopes
from proxyd.control.sharing import Sharing
from proxyd.core import metrics
from proxyd.core.messages import CredentialRefused, SetCredentials, WantToken
from proxyd.core.settings import TokenSource
from proxyd.telemetry.cells import Cells
from proxyd.telemetry.log import Log
from proxyd.tokens.challenge import FLOW
from proxyd.tokens.client import Client
from proxyd.tokens.errors import TokenError
from proxyd.tokens.flow import Ask, Issued
from proxyd.tokens.life import Life
from proxyd.tokens.registry import FLOWS, Flow

MAX_NAMES: Final = 16
"""Names in a worker's word on a refusal."""

MAX_TEXT: Final = 512


@dataclass(slots=True)
class _Holder:
    """One source, and what is known of its token."""

    source: TokenSource
    life: Life = field(default_factory=Life)
    values: dict[str, bytes] = field(default_factory=dict)
    """By the names that workers know."""
    asked: trio.Event = field(default_factory=trio.Event)
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    is_asking: bool = False
    """The issuer is asked, or is about to be."""
    is_kept: bool = False
    """Whether its task was started."""
    number: int = 0
    """Of the token in the store."""
    origin: str = ""
    """``issuer``, or ``store`` where another process had asked it; empty: there was no token yet."""
    saved: dict[str, bytes] = field(default_factory=dict)
    """Secrets as they were kept last when the issuer had replaced them."""

    def __repr__(self) -> str:
        return f"<_Holder {self.source.name} serial={self.life.serial}>"


class Tokens:
    """The tokens of one configuration."""

    def __init__(
        self,
        log: Log,
        publish: Callable[[SetCredentials], None],
        secret: Callable[[str], bytes | None],
        save: Callable[[str, bytes], Awaitable[None]],
        turn: Callable[[], Awaitable[None]] | None = None,
        rng: random.Random | None = None,
        sharing: Sharing | None = None,
        cells: Cells | None = None,
    ) -> None:
        """``save`` keeps a secret that an issuer has replaced. TokenError: it cannot be kept."""
        self._log = log
        self._publish = publish
        self._secret = secret
        self._save = save
        self._turn = turn
        self._cells = cells
        self._sharing = sharing or Sharing("", secret, lambda: None, lambda: False, _already())
        self._rng = rng or random.Random()  # noqa: S311 - jitter, not secrecy
        self._client = Client(turn=turn)
        self._holders: dict[str, _Holder] = {}
        self.scopes = Scopes(log, publish, self._ask, self._rng)
        self._nursery: trio.Nursery | None = None
        self.is_retired = False
        """Another control has come in this one's place: it asks issuers, and this one does not."""

    def configure(self, sources: Sequence[TokenSource], roots_pem: str = "") -> None:
        """Keep these sources from now on; those that are as they were keep their tokens."""
        self._client = Client(roots_pem, self._turn)
        self.scopes.configure(sources)
        former, self._holders = self._holders, {}
        for source in sources:
            if source.flow == FLOW:
                continue
            holder = former.get(source.name)
            if holder is None or _essence(holder.source) != _essence(source):
                holder = _Holder(source)
            else:
                former.pop(source.name)
                holder.source = source
            self._holders[source.name] = holder
        for holder in former.values():
            holder.scope.cancel()
            if holder.source.name not in self._holders:
                self._tell_none(holder, "it is no longer in the configuration")
        self._start()

    async def run(self) -> None:
        """Keep them for ever."""
        async with trio.open_nursery() as self._nursery:
            self._start()
            self._nursery.start_soon(self.scopes.run)
            await trio.sleep_forever()

    @property
    def messages(self) -> list[SetCredentials]:
        """What a new worker is to know."""
        return [self._message(holder) for holder in self._holders.values() if holder.life.serial]

    @property
    def problems(self) -> Iterator[str]:
        """What stands in ``status``."""
        for holder in self._holders.values():
            if holder.life.problem:
                why = holder.life.problem + self._advice(holder)
                yield f"the token of {holder.source.service} cannot be renewed: {why}"
        yield from self.scopes.problems

    def rows(self) -> list[dict[str, Any]]:
        """Describe every token, for the admin socket."""
        now = trio.current_time()
        return [self._row(holder, now) for holder in self._holders.values()]

    def _row(self, holder: _Holder, now: float) -> dict[str, Any]:
        life = holder.life
        return {
            "service": holder.source.service,
            "flow": holder.source.flow,
            "state": _state(holder, now),
            "age_seconds": round(now - life.renewed, 1) if life.renewed else None,
            "expires_seconds": round(life.expires - now, 1) if life.expires else None,
            "renews_seconds": round(max(0.0, life.due - now), 1),
            "from": holder.origin,
            "failures": life.failures,
            "problem": life.problem + self._advice(holder) if life.problem else "",
        }

    def secret_changed(self, name: str) -> None:
        """A secret has another value: tokens that are made of it are asked for at once."""
        self.scopes.secret_changed(name)
        for holder in self._holders.values():
            if name not in (secret for _, secret in holder.source.secrets):
                continue
            if name not in holder.saved or self._secret(name) != holder.saved[name]:  # else it is our own doing
                holder.life.due = trio.current_time()
                holder.asked.set()

    def refused(self, message: CredentialRefused) -> None:
        """A worker's upstream refused a token. ValueError: the worker breaks a rule."""
        if not message.names or len(message.names) > MAX_NAMES or any(len(name) > MAX_TEXT for name in message.names):
            raise ValueError("CredentialRefused: names out of range")
        holder = next((one for one in self._holders.values() if message.names[0] in self._names(one)), None)
        if holder is None:
            return
        if holder.is_asking:
            return  # what comes of it is for all who wait
        if holder.life.refused(message.serial, trio.current_time()) and not self.is_retired:
            holder.is_asking = True
            self._log.info("token_refused", service=holder.source.service)
            holder.asked.set()
        elif message.serial == holder.life.serial:  # it was asked for a moment ago: there is no better one
            self._raise_serial(holder)
            self._publish(self._message(holder))
        elif message.serial < holder.life.serial:
            self._publish(self._message(holder))

    def want(self, message: WantToken) -> None:
        """A worker met a challenge. ValueError: it breaks a rule.

        Asked for by a retired control too: nothing is replaced by that, and its workers' exchanges go on.
        """
        self.scopes.want(message)

    # --- one source -------------------------------------------------------------------------------

    def _start(self) -> None:
        if self._nursery is None:
            return
        for holder in self._holders.values():
            if not holder.is_kept:
                holder.is_kept = True
                self._nursery.start_soon(self._keep, holder)

    async def _keep(self, holder: _Holder) -> None:
        with holder.scope:
            while True:
                with trio.move_on_at(holder.life.due):
                    await holder.asked.wait()
                holder.asked = trio.Event()
                if self.is_retired:
                    await trio.sleep_forever()
                if trio.current_time() >= holder.life.due:
                    await self._renew(holder)

    async def _renew(self, holder: _Holder) -> None:
        source = holder.source
        began = trio.current_time()
        holder.is_asking = True
        try:
            flow = FLOWS.get(source.flow)
            if flow is None:
                raise TokenError(f"there is no flow {source.flow}; known: {', '.join(FLOWS)}", is_final=True)
            had = await self._sharing.have(source, holder.number, partial(self._from_issuer, flow, holder))
            if not had.is_own:
                await self._keep_rotated(holder, had.issued)
        except TokenError as error:
            self._failed(holder, error)
            self._count(holder, "failed")
        else:
            holder.number = max(holder.number, had.number)
            holder.origin = "issuer" if had.is_own else "store"
            self._count(holder, "issued" if had.is_own else "shared")
            self._issued(holder, had.issued, began if had.is_own else trio.current_time())
        finally:
            holder.is_asking = False
        self._raise_serial(holder)
        self._publish(self._message(holder))

    async def _from_issuer(self, flow: Flow, holder: _Holder, instead: dict[str, bytes]) -> Issued:
        """Ask the issuer, with secrets ``instead`` of those of the same fields. TokenError."""
        ask = self._ask(holder.source)
        if instead:
            ask = replace(ask, secret=lambda name: instead.get(name) or self._secret_of(holder.source, name))
        issued = await flow(ask)
        await self._keep_rotated(holder, issued)
        return issued

    async def _keep_rotated(self, holder: _Holder, issued: Issued) -> None:
        """Keep what the issuer has replaced, before what came with it is used. TokenError."""
        names = dict(holder.source.secrets)
        for part, value in issued.rotated.items():
            name = names[part]
            if self._secret(name) == value:
                continue
            holder.saved[name] = value
            await self._save(name, value)

    def _count(self, holder: _Holder, result: str) -> None:
        if self._cells is not None:
            self._cells.cell(metrics.TOKEN_RENEWALS, holder.source.service, result).value += 1

    def _issued(self, holder: _Holder, issued: Issued, began: float) -> None:
        source = holder.source
        single = set(issued.values) == {"access_token"}
        holder.values = {
            source.name if single else f"{source.name}/{name}": value for name, value in issued.values.items()
        }
        if holder.life.problem:
            self._log.info("token_is_back", service=source.service)
        holder.life.issued(began, issued.life, self._rng)

    def _failed(self, holder: _Holder, error: TokenError) -> None:
        if str(error) != holder.life.problem:
            self._log.warning("token_failed", service=holder.source.service, detail=str(error))
        holder.life.failed(trio.current_time(), str(error), self._rng, is_final=error.is_final)

    def _message(self, holder: _Holder) -> SetCredentials:
        now = trio.current_time()
        if holder.life.is_valid(now):
            values: dict[str, bytes | None] = dict(holder.values)
            return SetCredentials(values, "", holder.life.serial, time.time() + holder.life.expires - now)
        why = (holder.life.problem or "there is none yet") + self._advice(holder)
        return SetCredentials(dict.fromkeys(self._names(holder)), why, holder.life.serial)

    def _tell_none(self, holder: _Holder, why: str) -> None:
        self._raise_serial(holder)
        self._publish(SetCredentials(dict.fromkeys(self._names(holder)), why, holder.life.serial))

    @staticmethod
    def _raise_serial(holder: _Holder) -> None:
        """Serials rise across restarts of control: workers remember the former one's."""
        holder.life.serial = max(holder.life.serial + 1, int(time.time() * 1000))

    @staticmethod
    def _names(holder: _Holder) -> Iterable[str]:
        return holder.values or (holder.source.name,)

    @staticmethod
    def _advice(holder: _Holder) -> str:
        if holder.source.connects:
            return f"; run: proxyd connect {holder.source.service}"
        names = ", ".join(secret for _, secret in holder.source.secrets if secret)
        return f"; check the secrets {names} at the vendor, then store them anew" if names else ""

    def _ask(self, source: TokenSource) -> Ask:
        return Ask(source, self._client, lambda name: self._secret_of(source, name))

    def _secret_of(self, source: TokenSource, name: str) -> bytes:
        secret = dict(source.secrets).get(name, "")
        if not secret:
            raise TokenError(f"the flow {source.flow} needs {name}, and no secret is named for it", is_final=True)
        value = self._secret(secret)
        if value is None:
            raise TokenError(f"the secret {secret} has no value")
        return value


def _state(holder: _Holder, now: float) -> str:
    """Say in a word how the token is."""
    if not holder.life.is_valid(now):
        return "renewing" if holder.is_asking and not holder.life.problem else "missing"
    if holder.life.problem:
        return "stale"  # it serves, and no newer one is to be had
    return "renewing" if holder.is_asking else "fresh"


def _already() -> trio.Event:
    """Return an event that has happened."""
    event = trio.Event()
    event.set()
    return event


def _essence(source: TokenSource) -> tuple[object, ...]:
    """Return what makes a token another one: all but the line in the file."""
    return (source.flow, source.url, source.secrets, source.options, source.hosts)
