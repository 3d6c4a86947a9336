"""Tokens by way of the store: whoever of all hosts asks an issuer does so alone, and control asks nobody again only
since it was restarted. Where there is no store, each host asks for itself.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

import trio

from proxyd.core.settings import TokenSource
from proxyd.store.protocol import Store, StoreError
from proxyd.tokens.errors import TokenError
from proxyd.tokens.flow import Issued
from proxyd.tokens.shared import RENEW_SECONDS, ROTATING, Key, Place, Taken, Token, digest, key_of

LONGEST_WAIT: Final = 1.0
"""Seconds between two looks at a record that another host is about to write."""

OPEN_SECONDS: Final = 10.0
"""For so long a store that is being opened is waited for."""

Secret = Callable[[str], bytes | None]
AskIssuer = Callable[[dict[str, bytes]], Awaitable[Issued]]
"""Asks the issuer, with these secrets in place of those of the same fields."""


@dataclass(frozen=True, slots=True)
class Had:
    """A token, however it was had."""

    issued: Issued
    number: int
    """In the store; 0: it is not there."""
    is_own: bool
    """This host asked for it."""


class Sharing:
    """Has tokens of the store, or of the issuer when nobody else is at it."""

    def __init__(
        self,
        member: str,
        secret: Secret,
        store: Callable[[], Store | None],
        is_fleet: Callable[[], bool],
        tried: trio.Event,
    ) -> None:
        """``store`` is the one that is open; ``is_fleet`` tells whether other hosts have the same.

        ``tried`` is set when it was opened, or could not be.
        """
        self._member = member
        self._secret = secret
        self._store = store
        self._is_fleet = is_fleet
        self._tried = tried
        self._keys: dict[str, tuple[object, Key | None]] = {}

    async def have(self, source: TokenSource, known: int, ask: AskIssuer) -> Had:
        """Return a token with a higher number than ``known``. TokenError."""
        with trio.move_on_after(OPEN_SECONDS):
            await self._tried.wait()
        place = await self._place(source)
        if place is None:
            self._check_alone(source)
            return Had(await ask({}), 0, is_own=True)
        try:
            taken = await self._turn(place, known)
        except StoreError:
            self._check_alone(source)
            return Had(await ask({}), 0, is_own=True)
        if not taken.fence:
            assert taken.token is not None
            return Had(Issued(taken.token.values, taken.life, taken.token.rotated), taken.token.number, is_own=False)
        return await self._asked(source, place, taken, ask)

    @staticmethod
    async def _turn(place: Place, known: int) -> Taken:
        """Wait until there is a token, or the lease is ours."""
        while True:
            taken = await place.take(known)
            if taken.fence or (taken.token is not None and taken.life):
                return taken
            await trio.sleep(min(LONGEST_WAIT, max(0.05, taken.seconds)))

    async def _asked(self, source: TokenSource, place: Place, taken: Taken, ask: AskIssuer) -> Had:
        last = taken.token
        ways = self._ways(source, last)
        issued: Issued | None = None
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._hold, place, taken.fence)
                issued = await _first_good(ways, ask)
                nursery.cancel_scope.cancel()
        except BaseExceptionGroup as group:  # whoever holds the lease swallows what it meets: this is the question's
            raise group.exceptions[0] from None
        finally:
            if issued is None:
                await self._let_go(place, taken.fence)
        over = [digest(value) for way in ways for value in way.values() if value not in issued.rotated.values()]
        replaced = [*(last.replaced if last is not None else ()), *over]
        try:
            number = await place.put(taken.fence, issued.values, issued.rotated, issued.life, replaced)
        except StoreError:
            number = 0
        return Had(issued, number, is_own=True)

    def _ways(self, source: TokenSource, last: Token | None) -> list[dict[str, bytes]]:
        """Return what to ask with, in this order: this host's own secrets, and those of the record.

        The record's go first where it says that this host's were replaced. Else this host's are newer: somebody stored
        them here, or the store was away, or this process killed, when the issuer had given them.
        """
        names = dict(source.secrets)
        values = {field: self._secret(names[field]) for field in ROTATING if names.get(field)}
        own = {field: value for field, value in values.items() if value is not None}
        if last is None or not last.rotated or last.rotated == own:
            return [own]
        is_over = all(digest(value) in last.replaced for value in own.values())
        return [last.rotated, own] if is_over else [own, last.rotated]

    @staticmethod
    async def _hold(place: Place, fence: int) -> None:
        while True:
            await trio.sleep(RENEW_SECONDS)
            try:
                if not await place.renew(fence):
                    return
            except StoreError:
                continue  # it may be back before the lease ends

    @staticmethod
    async def _let_go(place: Place, fence: int) -> None:
        with trio.move_on_after(1.0) as scope:
            scope.shield = True
            try:
                await place.release(fence)
            except StoreError:
                return  # it ends by itself

    async def _place(self, source: TokenSource) -> Place | None:
        store = self._store()
        if store is None:
            return None
        values = tuple(self._secret(name) for field, name in sorted(source.secrets) if name and field not in ROTATING)
        essence = (source.flow, source.url, source.options, values)
        known = self._keys.get(source.name)
        if known is None or known[0] != essence:
            known = essence, await trio.to_thread.run_sync(key_of, source, self._secret)
            self._keys[source.name] = known
        return Place(store, known[1], self._member) if known[1] is not None else None

    def _check_alone(self, source: TokenSource) -> None:
        """A refresh token that rotates is used by one host at a time: twice, and the issuer may end the grant."""
        if self._is_fleet() and any(field in ROTATING for field, _ in source.secrets):
            raise TokenError("the store is away, and no two hosts may use the refresh token at once")


async def _first_good(ways: list[dict[str, bytes]], ask: AskIssuer) -> Issued:
    """Ask one way after the other, while the issuer refuses for good. TokenError of the last one."""
    for way in ways[:-1]:
        try:
            return _with(way, await ask(way))
        except TokenError as error:
            if not error.is_final:
                raise
    return _with(ways[-1], await ask(ways[-1]))


def _with(way: dict[str, bytes], issued: Issued) -> Issued:
    """Return what was issued, and what is good to ask with from now on: a refresh token may come back, or stay."""
    return Issued(issued.values, issued.life, {**way, **issued.rotated})
