"""The service's name gets another address; what is at the former one is killed a while later."""

import contextlib
from collections.abc import Iterator

from bench.faults.endpoints import Endpoint, Kind
from bench.faults.nameserver import NameServer
from bench.faults.products import Policy
from bench.faults.rows.base import Row, Run
from bench.faults.tally import latency_ms
from bench.ports import free_ports
from bench.stats import Sample

NAME = "backend.tickets.example"
TTL = 2
FORMER, LATER = "127.0.0.11", "127.0.0.12"
CHANGES = 4.0
GRACE = 1.0
"""Seconds after the time to live in which the new address must be in use."""
DIES = CHANGES + TTL + GRACE + 1.0


class Dns(Row):
    name = "dns"
    about = f"DNS changes the address, time to live {TTL} s; the former endpoint is killed {DIES - CHANGES:g} s later"
    columns = ("failed", "new_in_use_s", "old_last_used_s", "requests", "max_ms")
    seconds = 12.0

    def __init__(self) -> None:
        self._server: NameServer | None = None

    @contextlib.contextmanager
    def surroundings(self) -> Iterator[list[Kind]]:
        (port,) = free_ports(1)
        with NameServer(FORMER, TTL) as server:
            self._server = server
            yield [Kind(address=FORMER, port=port), Kind(address=LATER, port=port)]

    def policy(self, origins: list[Endpoint]) -> Policy:
        assert self._server is not None
        return Policy((), dns=(NAME, origins[0].port, self._server.port))

    async def disturb(self, run: Run) -> None:
        await run.at(CHANGES)
        assert self._server is not None
        self._server.address = LATER
        run.note("changed")
        await run.at(DIES)
        run.endpoints[0].kill()

    def measure(self, run: Run) -> Sample:
        changed = run.moments["changed"]
        new = [one.at - changed for one in run.outcomes if one.origin == run.endpoints[1].name]
        old = [one.at - changed for one in run.outcomes if one.origin == run.endpoints[0].name]
        return {
            "new_in_use_s": min(new, default=self.seconds),
            "old_last_used_s": max(old, default=0.0),
            "max_ms": latency_ms(run.outcomes, 1.0),
        }
