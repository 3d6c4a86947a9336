"""DNS records, kept for their time to live, and longer when the resolver fails (RFC 8767)."""

from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

import trio

from proxyd.control.discovery.watch import DiscoveryError

SHORTEST_TTL: Final = 1.0
LONGEST_TTL: Final = 300.0
"""Records are asked for again after this many seconds, whatever longer life they are given."""
LIFETIME: Final = 5.0
"""Seconds that one question may take, all resolvers and repetitions included."""
MAX_ENTRIES: Final = 1024
MAX_RECORDS: Final = 1024
"""Of one answer; a message of 64 KiB may hold more."""

Servers = tuple[tuple[str, int], ...]
Key = tuple[str, str, Servers]


@dataclass(frozen=True, slots=True)
class SrvRecord:
    """One SRV record; ``target`` has no dot at its end."""

    priority: int
    weight: int
    port: int
    target: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What a question gave: addresses as text for A and AAAA, SrvRecord for SRV."""

    values: tuple[Any, ...]
    expires: float
    """By trio's clock."""
    why: str = ""
    """Why this is a stale answer; empty: it is fresh."""


Ask = Callable[[str, str, Servers], Awaitable[tuple[tuple[Any, ...], float]]]
"""Put one question; return values and their time to live. DiscoveryError."""


class Records:
    """A bounded cache in front of the resolver; what was not used for longest goes first."""

    def __init__(self, ask: Ask | None = None) -> None:
        self._ask = ask if ask is not None else query
        self._answers: OrderedDict[Key, Answer] = OrderedDict()

    def __len__(self) -> int:
        return len(self._answers)

    async def get(self, name: str, kind: str, servers: Servers) -> Answer:
        """Return the records of ``name``, stale ones where the resolver fails. DiscoveryError: there are none."""
        key = (name, kind, servers)
        kept = self._answers.get(key)
        if kept is not None and kept.expires > trio.current_time():
            self._answers.move_to_end(key)
            return kept
        try:
            values, ttl = await self._ask(name, kind, servers)
        except DiscoveryError as error:
            if kept is None or not kept.values:
                raise
            return Answer(kept.values, kept.expires, str(error))
        answer = Answer(values, trio.current_time() + min(LONGEST_TTL, max(SHORTEST_TTL, ttl)))
        self._answers[key] = answer
        self._answers.move_to_end(key)
        while len(self._answers) > MAX_ENTRIES:
            self._answers.popitem(last=False)
        return answer


async def query(name: str, kind: str, servers: Servers) -> tuple[tuple[Any, ...], float]:
    """Ask the resolvers, TCP after a truncated answer. A name without such records has none and is no error."""
    import dns.asyncresolver  # 6 MB that most configurations do not need
    import dns.exception
    import dns.nameserver
    import dns.resolver

    try:
        resolver = dns.asyncresolver.Resolver(configure=not servers)
        if servers:
            resolver.nameservers = [dns.nameserver.Do53Nameserver(address, port) for address, port in servers]
        found = await resolver.resolve(f"{name}.", kind, search=False, raise_on_no_answer=False, lifetime=LIFETIME)
    except dns.resolver.NXDOMAIN:
        raise DiscoveryError(f"the name {name} does not exist") from None
    except dns.resolver.LifetimeTimeout:
        raise DiscoveryError(f"no resolver has answered for {name} {kind} within {LIFETIME:g} s") from None
    except (dns.exception.DNSException, OSError, ValueError) as error:
        raise DiscoveryError(f"{name} {kind}: {_words(error)}") from error
    values = tuple(_value(record, kind) for record in [*(found.rrset or ())][:MAX_RECORDS])
    return values, float(found.chaining_result.minimum_ttl)


def _value(record: Any, kind: str) -> Any:
    if kind != "SRV":
        return str(record.address)
    return SrvRecord(record.priority, record.weight, record.port, record.target.to_text(omit_final_dot=True))


def _words(error: Exception) -> str:
    return str(error) or type(error).__name__
