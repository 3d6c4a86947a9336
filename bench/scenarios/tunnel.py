"""A gigabyte through CONNECT, and what a neighbour notices of it."""

from bench.load.connect import Connect
from bench.load.curl import Curl
from bench.origin import BULK_BYTES, KEY_HEADER
from bench.peers.base import Peer
from bench.scenarios.base import Round, Scenario, ScenarioError
from bench.stats import Sample
from bench.tools import CONNECT, Tools

NEIGHBOUR_RATE = 200.0
"""Requests per second on one plain connection: enough for a p99 within a second or two."""
NEIGHBOUR_PATIENCE = 300.0
MIB = 1024 * 1024


class Tunnel(Scenario):
    """curl fetches the gigabyte again and again until the round's seconds are over; at least once."""

    needs = (CONNECT, "curl")

    def __init__(self, name: str, about: str, peers: tuple[str, ...]) -> None:
        columns = ("gigabytes_per_second", "cpu_us_per_mib", "neighbour_p99_ms", "neighbour_p50_ms", "failed")
        super().__init__(name, about, peers, columns)

    def measure(self, peer: Peer, tools: Tools, times: Round) -> Sample:
        if times.warmup:
            self._fetch(peer, tools)
        before = peer.cpu_seconds()
        fetched, taken = 0, 0.0
        with self._neighbour(peer, tools).beside(NEIGHBOUR_PATIENCE) as running:
            while taken < times.seconds:
                taken += self._fetch(peer, tools)
                fetched += BULK_BYTES
            neighbour = running.end()
        used = peer.cpu_seconds() - before
        sample = {
            "gigabytes_per_second": fetched / taken / 1e9,
            "neighbour_p99_ms": neighbour.p99_ms,
            "neighbour_p50_ms": neighbour.p50_ms,
            "failed": float(neighbour.failed),
        }
        if used > 0:
            sample["cpu_us_per_mib"] = used * 1_000_000 / (fetched / MIB)
        return sample

    def _fetch(self, peer: Peer, tools: Tools) -> float:
        """Fetch the gigabyte; the seconds that it took."""
        route = peer.bulk_route()
        answer = Curl(tools.find("curl"), route.url, route.proxy, tunnel=route.proxy is not None).run()
        if answer.status != 200 or answer.size != BULK_BYTES:
            raise ScenarioError(f"{peer.name} answered {answer.status} with {answer.size} bytes: {peer.log_end()}")
        return answer.seconds

    def _neighbour(self, peer: Peer, tools: Tools) -> Connect:
        header = f"{KEY_HEADER}: {peer.client_key}" if peer.client_key else ""
        proxy = None if peer.client_key else peer.address
        return Connect(tools.find(CONNECT), peer.target.plain_url, proxy, rate=NEIGHBOUR_RATE, header=header)
