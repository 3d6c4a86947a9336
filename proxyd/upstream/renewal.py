"""What happens when a vendor refuses a credential: control is asked for a better one, and the request is made again.

A refused request was not carried out, so any method may be repeated whose body can be read again. It is repeated once.
An exchange that waits is bounded, and where nothing better comes its client gets the vendor's own answer, whole.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Final, cast

import trio

from proxyd.core.exchange import Exchange, Injector, Signer
from proxyd.core.message import Response
from proxyd.core.messages import CredentialRefused, WantToken
from proxyd.core.service import is_standing
from proxyd.upstream.deadline import left
from proxyd.upstream.secrets import Secrets
from proxyd.upstream.verdict import says_token_is_over

FIRST_SECONDS: Final = 10.0
"""For so long a request waits for the first value of a token."""

BETTER_SECONDS: Final = 20.0
"""For so long a request waits for another token in place of one that was refused; issuers may be slow."""

AGAIN_SECONDS: Final = 1.0
"""Between two questions, while control is away."""

Ask = Callable[[CredentialRefused | WantToken], None]


class Renewal:
    """Waits for tokens, and says whether a refused request is worth repeating."""

    def __init__(self, secrets: Secrets, ask: Ask, renewed: Callable[[str], None]) -> None:
        """``renewed`` counts requests that are repeated, by service."""
        self._secrets = secrets
        self._ask = ask
        self._renewed = renewed
        self._asked: dict[tuple[str, int], float] = {}
        """When control was asked about a token's value last."""

    # --- the first value --------------------------------------------------------------------------

    def lacks(self, injector: Injector) -> bool:
        """Whether control still works on a token that the injector needs."""
        secrets = self._secrets
        return any(
            is_standing(name) and name not in secrets.values and name not in secrets.problems
            for name in injector.secret_names
        )

    async def first(self, exchange: Exchange, injector: Injector) -> None:
        """Wait for the first value of the injector's tokens, or for the reason why there is none."""
        await self._wait(exchange, lambda: not self.lacks(injector), FIRST_SECONDS)

    # --- a better one -----------------------------------------------------------------------------

    async def better(self, exchange: Exchange, response: Response) -> bool:
        """Whether the exchange's request should be made again with what has changed since it was sent."""
        injector = exchange.credential
        if injector is None or exchange.is_renewed:
            return False
        if not exchange.request.body.replayable:
            self._for_the_next(exchange, injector, response)
            return False
        found = await self._found(exchange, injector, response)
        if found:
            exchange.is_renewed = True
            self._renewed(exchange.route.name)
        return found

    async def _found(self, exchange: Exchange, injector: Injector, response: Response) -> bool:
        if injector.signs:
            signer = cast(Signer, injector)
            if signer.heard(response, time.time()):
                return True
            question = signer.question(exchange.request, response)
            if question is not None:
                return await self._scoped(exchange, question)
        service = exchange.service
        if not self._has_all(injector):
            return False
        if not await says_token_is_over(service.token_refusal if service is not None else None, response):
            return False
        if self._secrets.masks(injector) != exchange.secrets:
            return True  # it was renewed or rotated while this request was under way
        names = [name for name in injector.secret_names if is_standing(name)]
        if not names:
            return False
        serial = self._serial(names)

        def ask() -> None:
            self._ask(CredentialRefused(names, serial))

        await self._wait(exchange, lambda: self._serial(names) > serial, BETTER_SECONDS, ask, (names[0], serial))
        if self._serial(names) <= serial or not self._has_all(injector):
            return False
        return self._secrets.masks(injector) != exchange.secrets

    def _has_all(self, injector: Injector) -> bool:
        return all(name in self._secrets.values for name in injector.secret_names)

    async def _scoped(self, exchange: Exchange, question: WantToken) -> bool:
        name, secrets = question.secret, self._secrets
        value = secrets.values.get(name)
        if value is None or value in exchange.secrets:
            before = secrets.serials.get(name, 0)
            asked = replace(question, serial=before)

            def is_there() -> bool:
                return secrets.serials.get(name, 0) > before

            await self._wait(exchange, is_there, BETTER_SECONDS, lambda: self._ask(asked), (name, before))
            value = secrets.values.get(name)
        return value is not None and value not in exchange.secrets

    def _for_the_next(self, exchange: Exchange, injector: Injector, response: Response) -> None:
        """Have a token fetched that this request can no longer use: whoever asks next does."""
        question = cast(Signer, injector).question(exchange.request, response) if injector.signs else None
        if question is not None:
            before = self._secrets.serials.get(question.secret, 0)
            self._ask_once(lambda: self._ask(replace(question, serial=before)), (question.secret, before))

    def _serial(self, names: list[str]) -> int:
        return max(self._secrets.serials.get(name, 0) for name in names)

    async def _wait(
        self,
        exchange: Exchange,
        is_over: Callable[[], bool],
        seconds: float,
        ask: Callable[[], None] | None = None,
        about: tuple[str, int] = ("", 0),
    ) -> None:
        """Wait until it is over, as long as the exchange may take; of all who wait one asks, now and then."""
        deadline = trio.current_time() + seconds
        if exchange.deadline:
            deadline = min(deadline, exchange.deadline)
        with trio.move_on_at(deadline) as scope:
            exchange.scope = scope
            try:
                while not is_over():
                    if ask is None:
                        await self._secrets.change()
                        continue
                    self._ask_once(ask, about)
                    with trio.move_on_after(AGAIN_SECONDS):
                        await self._secrets.change()
            finally:
                exchange.scope = None
        if exchange.gone:
            raise left()

    def _ask_once(self, ask: Callable[[], None], about: tuple[str, int]) -> None:
        now = trio.current_time()
        if now - self._asked.get(about, -AGAIN_SECONDS) >= AGAIN_SECONDS:
            if len(self._asked) >= 1024:
                self._asked.clear()
            self._asked[about] = now
            ask()
