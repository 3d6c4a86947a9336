"""Names to addresses: one lookup at a time per name, a short memory, a bounded wait.

The system's resolver is asked in a thread (getaddrinfo sorts by RFC 6724); families are interleaved for happy
eyeballs (RFC 8305 §4). A caller that is cancelled while it looks up hands the lookup to the next who waits.
"""

import socket
from collections.abc import Awaitable, Callable
from typing import Final

import trio

from proxyd.core.errors import Flag, ProxyError, Side

LOOKUP_SECONDS: Final = 5.0
POSITIVE_SECONDS: Final = 10.0
NEGATIVE_SECONDS: Final = 1.0
MAX_NAMES: Final = 1024
"""Names remembered; the oldest goes first."""
MAX_ADDRESSES: Final = 16
"""Addresses kept of one name."""

Found = tuple[int, str]
"""Address family and address."""

Lookup = Callable[[str, int], Awaitable[list[Found]]]
"""Asks for a name's addresses; OSError (gaierror) or UnicodeError where there are none."""

_Failure = tuple[int, str, str]
"""Status, RFC 9209 error type, words."""


class _Answer:
    """What is known of one name: addresses or a failure, until ``expires``."""

    __slots__ = ("expires", "failure", "found")

    def __init__(self, found: tuple[Found, ...], failure: _Failure | None, expires: float) -> None:
        self.found = found
        self.failure = failure
        self.expires = expires


class _Flight:
    """One lookup on its way; ``answer`` stays None where its owner was cancelled."""

    __slots__ = ("answer", "landed")

    def __init__(self) -> None:
        self.landed = trio.Event()
        self.answer: _Answer | None = None


async def system_lookup(host: str, port: int) -> list[Found]:
    """Ask the system's resolver, for families that this machine has addresses of."""
    rows = await trio.socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP, flags=socket.AI_ADDRCONFIG
    )
    return [(int(family), str(address[0])) for family, _, _, _, address in rows]


class Resolver:
    """A cache before ``lookup``; ``clock`` gives monotonic seconds."""

    def __init__(self, lookup: Lookup = system_lookup, clock: Callable[[], float] = trio.current_time) -> None:
        self._lookup = lookup
        self._clock = clock
        self._answers: dict[str, _Answer] = {}
        self._flights: dict[str, _Flight] = {}

    async def resolve(self, host: str, port: int) -> list[Found]:
        """Return (family, address) pairs in the order to try them; an IP literal is returned as it is.

        Answers from memory do not checkpoint. ProxyError 502 ``dns_error`` or 504 ``dns_timeout``.
        """
        answer = self._answers.get(host)
        if answer is None or answer.expires <= self._clock():
            literal = _literal(host)
            if literal is not None:
                return [literal]
            answer = await self._fly(host, port)
        if answer.failure is not None:
            status, error, words = answer.failure
            raise ProxyError(status, Flag.NO_RESOLUTION, error, words, side=Side.UPSTREAM)
        return list(answer.found)

    async def _fly(self, host: str, port: int) -> _Answer:
        """Join the lookup on its way or make it; no longer than LOOKUP_SECONDS."""
        with trio.move_on_after(LOOKUP_SECONDS):
            while (flight := self._flights.get(host)) is not None:
                await flight.landed.wait()
                if flight.answer is not None:
                    return flight.answer
            return await self._lead(host, port)
        return self._remember(host, (), (504, "dns_timeout", f"no answer for the name {host} in {LOOKUP_SECONDS:g} s"))

    async def _lead(self, host: str, port: int) -> _Answer:
        flight = self._flights[host] = _Flight()
        try:
            try:
                found = await self._lookup(host, port)
            except (OSError, UnicodeError) as error:
                why = error.strerror if isinstance(error, OSError) else "not a host name"
                flight.answer = self._remember(host, (), (502, "dns_error", f"the name {host} does not resolve: {why}"))
            else:
                failure = None if found else (502, "dns_error", f"the name {host} has no address")
                flight.answer = self._remember(host, interleave(found), failure)
            return flight.answer
        finally:
            del self._flights[host]
            flight.landed.set()

    def _remember(self, host: str, found: tuple[Found, ...], failure: _Failure | None) -> _Answer:
        seconds = POSITIVE_SECONDS if failure is None else NEGATIVE_SECONDS
        answer = _Answer(found, failure, self._clock() + seconds)
        self._answers.pop(host, None)  # the order of the map is the order of age
        if len(self._answers) >= MAX_NAMES:
            del self._answers[next(iter(self._answers))]
        self._answers[host] = answer
        return answer


def interleave(found: list[Found]) -> tuple[Found, ...]:
    """Alternate the families, the first's first, each in its own order; repeated addresses count once."""
    unique = list(dict.fromkeys(found))
    leading = [pair for pair in unique if pair[0] == unique[0][0]]
    other = [pair for pair in unique if pair[0] != unique[0][0]]
    mixed: list[Found] = []
    for index in range(max(len(leading), len(other))):
        mixed.extend(leading[index : index + 1])
        mixed.extend(other[index : index + 1])
    return tuple(mixed[:MAX_ADDRESSES])


def _literal(host: str) -> Found | None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.inet_pton(family, host)
    except (OSError, UnicodeError, ValueError):  # ValueError: an embedded NUL
        return None
    return int(family), host


_shared: Final = Resolver()


async def resolve(host: str, port: int) -> list[Found]:
    """Resolve by this process's own resolver; see Resolver.resolve."""
    return await _shared.resolve(host, port)
