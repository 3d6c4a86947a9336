"""Endpoints from DNS: A and AAAA records of a name, or SRV records and the addresses of their targets.

Names are asked for again when the shortest time to live among the answers is over; the new addresses are in use within
a second of that. Resolvers that fail, and names that are suddenly empty or gone, change nothing but ``status``.
"""

import math
import socket
from collections.abc import Iterable
from functools import partial
from typing import Final

import trio

from proxyd.control.discovery.records import Answer, Records, Servers, SrvRecord
from proxyd.control.discovery.watch import DiscoveryError, Watch
from proxyd.core.discovery import MAX_PRIORITY, MAX_WEIGHT, Dns, Srv
from proxyd.core.service import Endpoint

FAMILIES: Final = ("A", "AAAA")
MAX_TARGETS: Final = 64
"""Targets of one SRV name that are looked up."""
SPREAD: Final = 0.2
"""Seconds of jitter after a time to live."""


async def follow(finder: Dns | Srv, watch: Watch, records: Records) -> None:
    """Tell ``watch`` what the records say, until cancelled."""
    look = partial(addresses_of, finder) if isinstance(finder, Dns) else partial(targets_of, finder)
    while True:
        await watch.turn()
        try:
            endpoints, answers = await look(records)
        except DiscoveryError as error:
            watch.failed(str(error))
            await trio.sleep(watch.pause())
            continue
        problems = dict.fromkeys(answer.why for answer in answers if answer.why)
        watch.found(endpoints, problems)
        until = min((answer.expires for answer in answers if not answer.why), default=math.inf)
        if problems:
            until = min(until, trio.current_time() + watch.pause())
        await trio.sleep_until(until + watch.spread(SPREAD))


async def addresses_of(finder: Dns, records: Records) -> tuple[list[Endpoint], list[Answer]]:
    """Return an endpoint for every address of a name. DiscoveryError: it has none."""
    addresses, answers = await _addresses(finder.host, finder.servers, records)
    return [Endpoint(address, finder.port) for address in addresses], answers


async def targets_of(finder: Srv, records: Records) -> tuple[list[Endpoint], list[Answer]]:
    """Return an endpoint for every address of every target. DiscoveryError: there is none at all."""
    srv = await records.get(finder.name, "SRV", finder.servers)
    targets: list[SrvRecord] = [record for record in srv.values if record.target and record.port][:MAX_TARGETS]
    if not targets:
        raise DiscoveryError(f"{finder.name} has no SRV record that names a target")
    found: dict[str, list[str]] = {}
    answers = [srv]

    async def one(target: str) -> None:
        try:
            found[target], more = await _addresses(target, finder.servers, records)
            answers.extend(more)
        except DiscoveryError as error:
            answers.append(Answer((), 0.0, str(error)))

    async with trio.open_nursery() as nursery:
        for target in dict.fromkeys(record.target for record in targets):
            nursery.start_soon(one, target)
    if not any(found.values()):
        raise DiscoveryError("; ".join(dict.fromkeys(answer.why for answer in answers if answer.why)))
    return _shared(targets, found), answers


async def _addresses(name: str, servers: Servers, records: Records) -> tuple[list[str], list[Answer]]:
    """Return the addresses of both families; where one family fails the other is enough."""
    answers: list[Answer] = []
    problems: list[str] = []

    async def one(kind: str) -> None:
        try:
            answers.append(await records.get(name, kind, servers))
        except DiscoveryError as error:
            problems.append(str(error))

    async with trio.open_nursery() as nursery:
        for kind in FAMILIES:
            nursery.start_soon(one, kind)
    addresses = sorted({address for answer in answers for address in answer.values})
    if not addresses:
        raise DiscoveryError("; ".join(dict.fromkeys(problems)) or f"{name} has neither A nor AAAA records")
    answers += [Answer((), 0.0, why) for why in problems]
    return routable(addresses), answers


def routable(addresses: Iterable[str]) -> list[str]:
    """Return the addresses that the machine has a route to, all of them where it has none to any."""
    known = [*addresses]
    return [address for address in known if _has_route(address)] or known


def _has_route(address: str) -> bool:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((address, 9))  # sends nothing: the kernel looks for a route
    except OSError:
        return False
    return True


def _shared(targets: list[SrvRecord], found: dict[str, list[str]]) -> list[Endpoint]:
    """Spread each target's weight over its addresses; priorities become ranks, weights whole numbers."""
    ranks = {priority: rank for rank, priority in enumerate(sorted({record.priority for record in targets}))}
    shares = [
        (record, address, max(record.weight, 0.1) / len(found[record.target]))  # RFC 2782: a weight of 0 is seldom used
        for record in targets
        for address in found.get(record.target, ())
    ]
    heaviest = max(share for _, _, share in shares)
    scale = 1.0 if heaviest <= MAX_WEIGHT and all(share.is_integer() for _, _, share in shares) else 0.0
    scale = scale or MAX_WEIGHT / heaviest
    return [
        Endpoint(address, record.port, max(1, round(share * scale)), min(MAX_PRIORITY, ranks[record.priority]))
        for record, address, share in shares
    ]
