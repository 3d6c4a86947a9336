"""Requests per second, their latency, and what CPU time each costs the proxy."""

from collections.abc import Callable

from bench.load.connect import Connect
from bench.load.curl import Curl
from bench.load.report import Report
from bench.load.wrk import Wrk
from bench.origin import BODY_BYTES
from bench.peers.base import Peer
from bench.scenarios.base import Round, Scenario, ScenarioError
from bench.stats import Sample
from bench.tools import CONNECT, Tools

COLUMNS = ("requests_per_second", "cpu_us_per_request", "p50_ms", "p99_ms", "failed")
CHECK_SECONDS = 0.2


class Forward(Scenario):
    """Absolute-form requests over kept-alive plain connections (wrk)."""

    needs = ("wrk", "curl")

    def __init__(
        self, name: str, about: str, peers: tuple[str, ...], connections: int, body_bytes: int = 0, feature: str = ""
    ) -> None:
        super().__init__(name, about, peers, COLUMNS)
        self._connections = connections
        self._body_bytes = body_bytes
        self.feature = feature

    def check(self, peer: Peer, tools: Tools) -> None:
        header = f"X-Api-Key: {peer.client_key}" if peer.client_key else ""
        proxy = None if peer.client_key else peer.address
        target = Curl(tools.find("curl"), self._url(peer), proxy, header=header, body_bytes=self._body_bytes)
        answer = target.run()
        if answer.status != 200 or (not self._body_bytes and answer.size != BODY_BYTES):
            raise ScenarioError(f"{peer.name} answered {answer.status} with {answer.size} bytes: {peer.log_end()}")

    def measure(self, peer: Peer, tools: Tools, times: Round) -> Sample:
        load = Wrk(
            tools.find("wrk"),
            peer.port,
            self._url(peer),
            peer.target.plain_authority,
            self._connections,
            self._body_bytes,
            peer.client_key,
        )
        if times.warmup:
            load.run(times.warmup)
        return costed(peer, lambda: load.run(times.seconds))

    def _url(self, peer: Peer) -> str:
        return peer.target.plain_url


class Hits(Forward):
    """The same, for an answer that caches keep."""

    feature = "cache"

    def __init__(self, name: str, about: str, peers: tuple[str, ...], connections: int) -> None:
        super().__init__(name, about, peers, connections, feature="cache")

    def _url(self, peer: Peer) -> str:
        return peer.target.kept_url


class Intercept(Scenario):
    """HTTPS through CONNECT, the credential added inside the intercepted TLS (connect.go)."""

    needs = (CONNECT,)

    def __init__(self, name: str, about: str, peers: tuple[str, ...], connections: int, new: bool = False) -> None:
        super().__init__(name, about, peers, COLUMNS)
        self._connections = connections
        self._new = new

    def check(self, peer: Peer, tools: Tools) -> None:
        report = self._load(peer, tools).run(CHECK_SECONDS)
        if report.failed or not report.requests:
            raise ScenarioError(
                f"{peer.name}: {report.failed} of {report.failed + report.requests} exchanges failed"
                f" ({report.first_error or 'answered, but not with 200'}): {peer.log_end()}"
            )

    def measure(self, peer: Peer, tools: Tools, times: Round) -> Sample:
        load = self._load(peer, tools)
        if times.warmup:
            load.run(times.warmup)
        return costed(peer, lambda: load.run(times.seconds))

    def _load(self, peer: Peer, tools: Tools) -> Connect:
        route = peer.secure_route()
        return Connect(
            tools.find(CONNECT),
            route.url,
            route.proxy,
            route.dial,
            route.ca,
            self._connections,
            self._new,
            header=route.header,
        )


def costed(peer: Peer, load: Callable[[], Report]) -> Sample:
    """Run the load; its report as metrics, with the CPU time of the peer's processes beside it."""
    before = peer.cpu_seconds()
    report = load()
    used = peer.cpu_seconds() - before
    sample = {
        "requests_per_second": report.requests / report.seconds,
        "p50_ms": report.p50_ms,
        "p99_ms": report.p99_ms,
        "failed": float(report.failed),
    }
    if used > 0 and report.requests:
        sample["cpu_us_per_request"] = used * 1_000_000 / report.requests
    return sample
