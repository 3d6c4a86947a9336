"""HTTP/2: requests per second on a few connections with many streams each."""

from bench.load.connect import Connect
from bench.load.h2load import H2load
from bench.origin import message
from bench.peers.base import Peer
from bench.scenarios.base import Round, Scenario, ScenarioError
from bench.scenarios.requests import COLUMNS, Intercept, costed
from bench.stats import Sample
from bench.tools import CONNECT, Tools

CONNECTIONS = 4
STREAMS = 10


class Gateway(Scenario):
    """GETs of the plain origin, or gRPC calls of the HTTP/2 one, by way of a gateway (h2load)."""

    needs = ("h2load",)

    def __init__(self, name: str, about: str, peers: tuple[str, ...], *, call: bool = False) -> None:
        super().__init__(name, about, peers, COLUMNS)
        self._call = call

    def check(self, peer: Peer, tools: Tools) -> None:
        report = self._load(peer, tools).run(1)
        if report.failed or not report.requests:
            raise ScenarioError(
                f"{peer.name}: {report.failed} of {report.failed + report.requests} exchanges failed: {peer.log_end()}"
            )

    def measure(self, peer: Peer, tools: Tools, times: Round) -> Sample:
        load = self._load(peer, tools)
        if times.warmup:
            load.run(times.warmup)
        return costed(peer, lambda: load.run(times.seconds))

    def _load(self, peer: Peer, tools: Tools) -> H2load:
        route = peer.gateway_route(call=self._call)
        body = message() if self._call else b""
        return H2load(tools.find("h2load"), route.url, CONNECTIONS, STREAMS, route.header, body)


class InterceptMultiplexed(Intercept):
    """HTTP/2 inside intercepted TLS through CONNECT (connect.go)."""

    def __init__(self, name: str, about: str, peers: tuple[str, ...]) -> None:
        super().__init__(name, about, peers, CONNECTIONS)

    def _load(self, peer: Peer, tools: Tools) -> Connect:
        route = peer.secure_route()
        return Connect(
            tools.find(CONNECT),
            route.url,
            route.proxy,
            route.dial,
            route.ca,
            CONNECTIONS,
            streams=STREAMS,
            header=route.header,
        )
