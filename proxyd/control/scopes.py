"""Tokens for scopes that vendors' challenges name: fetched when a worker asks, kept for the others, and bounded.

Of all who ask for the same one question goes to the token service. What was refused is fetched anew, and a service that
fails is left alone for a while.
"""

import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

import trio

from proxyd.core.messages import SetCredentials, WantToken
from proxyd.core.settings import TokenSource
from proxyd.telemetry.log import Log
from proxyd.tokens.challenge import scoped
from proxyd.tokens.errors import TokenError
from proxyd.tokens.flow import Ask
from proxyd.tokens.life import Life

MAX_SCOPES: Final = 1024
"""That are known of at a time; the one that was wanted first goes first."""

MAX_ASKING: Final = 32
"""Under way at a time; workers repeat what there was no room for."""

MAX_TEXT: Final = 1024


@dataclass(slots=True)
class _Scope:
    source: str
    life: Life = field(default_factory=Life)
    value: bytes | None = None
    is_asking: bool = False


class Scopes:
    """The scopes of one configuration's services."""

    def __init__(
        self, log: Log, publish: Callable[[SetCredentials], None], ask: Callable[[TokenSource], Ask], rng: random.Random
    ) -> None:
        """``ask`` returns a question's surroundings."""
        self._log = log
        self._publish = publish
        self._ask = ask
        self._rng = rng
        self._sources: dict[str, TokenSource] = {}
        self._scopes: dict[str, _Scope] = {}
        self._asking = 0
        self._problems: dict[str, str] = {}
        """By source: why the last question failed."""
        self._nursery: trio.Nursery | None = None

    def configure(self, sources: Sequence[TokenSource]) -> None:
        """Answer for these sources from now on; tokens of one that has changed are forgotten."""
        former, self._sources = self._sources, {source.name: source for source in sources if source.realms}
        for name, source in former.items():
            if self._sources.get(name) != source:
                self._forget(name)

    async def run(self) -> None:
        """Ask for ever."""
        async with trio.open_nursery() as self._nursery:
            await trio.sleep_forever()

    @property
    def problems(self) -> Iterator[str]:
        """What stands in ``status``."""
        for name, why in self._problems.items():
            source = self._sources[name]
            names = ", ".join(secret for _, secret in source.secrets)
            yield f"a token of {source.service} cannot be had: {why}; check the secrets {names}"

    def count(self, source: str) -> int:
        """Return how many tokens of a source are known."""
        return sum(scope.source == source and scope.value is not None for scope in self._scopes.values())

    def secret_changed(self, name: str) -> None:
        """A secret has another value: what was had with it is asked for anew, when it is wanted."""
        for source in self._sources.values():
            if name in (secret for _, secret in source.secrets):
                self._forget(source.name)

    def want(self, message: WantToken) -> None:
        """A worker met a challenge. ValueError: it breaks a rule."""
        if len(message.name) > MAX_TEXT or max(map(len, (message.scope, message.realm, message.audience))) > MAX_TEXT:
            raise ValueError("WantToken: a text that is too long")
        source = self._sources.get(message.name)
        if source is None or self._nursery is None:
            return
        scope = self._scopes.get(message.secret)
        if scope is None:
            scope = self._scopes[message.secret] = _Scope(source.name)
            self._make_room()
        if scope.is_asking:
            return  # what comes of it is for all who wait
        now = trio.current_time()
        life = scope.life
        # a token that was refused as soon as it came says that the user may not: a new one would say the same
        is_newer = message.serial < life.serial and scope.value is not None and life.is_valid(now)
        is_patient = scope.value is None and life.due > now
        is_young = scope.value is not None and life.is_valid(now) and not life.refused(life.serial, now)
        if is_newer or is_patient or is_young:
            self._tell(message.secret, scope)
        elif self._asking < MAX_ASKING:
            scope.is_asking = True
            self._asking += 1
            self._nursery.start_soon(self._fetch, source, message, scope)

    async def _fetch(self, source: TokenSource, message: WantToken, scope: _Scope) -> None:
        began = trio.current_time()
        try:
            issued = await scoped(self._ask(source), message.realm, message.audience, message.scope)
        except TokenError as error:
            if self._problems.get(source.name) != str(error):
                self._log.warning("token_failed", service=source.service, scope=message.scope, detail=str(error))
            self._problems[source.name] = str(error)
            scope.value = None
            scope.life.failed(trio.current_time(), str(error), self._rng, is_final=error.is_final)
        else:
            (scope.value,) = issued.values.values()
            scope.life.issued(began, issued.life, self._rng)
            scope.life.forced = trio.current_time()
            self._problems.pop(source.name, None)
        finally:
            scope.is_asking = False
            self._asking -= 1
        if self._sources.get(source.name) is source and self._scopes.get(message.secret) is scope:
            self._tell(message.secret, scope)

    def _tell(self, name: str, scope: _Scope) -> None:
        life = scope.life
        life.serial = max(life.serial + 1, int(time.time() * 1000))
        now = trio.current_time()
        why = "" if scope.value is not None else life.problem or "there is none yet"
        expires = time.time() + life.expires - now if scope.value is not None else 0.0
        self._publish(SetCredentials({name: scope.value}, why, life.serial, expires))

    def _forget(self, source: str) -> None:
        self._problems.pop(source, None)
        for name in [name for name, scope in self._scopes.items() if scope.source == source]:
            scope = self._scopes.pop(name)
            scope.value, scope.life.problem = None, "it was made of another credential"
            self._tell(name, scope)

    def _make_room(self) -> None:
        if len(self._scopes) > MAX_SCOPES:
            del self._scopes[next(name for name, scope in self._scopes.items() if not scope.is_asking)]
