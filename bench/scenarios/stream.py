"""How long a server-sent event is on its way, from the origin's write to the client's read, at idle."""

import dataclasses
import http.client
import ssl
import time
from collections.abc import Iterator

from bench.events import EventOrigin
from bench.origin import HOST, PATH
from bench.peers.base import Peer
from bench.ports import LOOPBACK
from bench.scenarios.base import Round, Scenario, ScenarioError
from bench.stats import Sample, percentile
from bench.tools import Tools

PATIENCE = 10.0


class Stream(Scenario):
    """A fresh peer carries one event stream of an origin that runs in the bench itself, as the client does."""

    fresh = True

    def __init__(self, name: str, about: str, peers: tuple[str, ...], *, secure: bool = False) -> None:
        super().__init__(name, about, peers, ("p99_ms", "p50_ms", "max_ms", "cpu_us_per_event"))
        self._secure = secure

    def measure(self, peer: Peer, tools: Tools, times: Round) -> Sample:
        with EventOrigin(peer.target, secure=self._secure) as events:
            port = {"tls_port" if self._secure else "plain_port": events.port}
            peer.target = dataclasses.replace(peer.target, **port)
            peer.start()
            connection = self._connect(peer)
            try:
                arrivals = self._arrivals(peer, connection)
                _until(arrivals, times.warmup)
                before = peer.cpu_seconds()
                delays = _until(arrivals, times.seconds)
                used = peer.cpu_seconds() - before
            finally:
                connection.close()
        return {
            "p99_ms": percentile(delays, 0.99),
            "p50_ms": percentile(delays, 0.5),
            "max_ms": max(delays),
            "cpu_us_per_event": used * 1_000_000 / len(delays),
        }

    def _connect(self, peer: Peer) -> http.client.HTTPConnection:
        if not self._secure:
            return http.client.HTTPConnection(LOOPBACK, peer.port, timeout=PATIENCE)
        route = peer.secure_route()
        host, _, port = (route.proxy or route.dial or "").rpartition(":")
        context = ssl.create_default_context(cafile=str(route.ca))
        connection = http.client.HTTPSConnection(host, int(port), timeout=PATIENCE, context=context)
        connection.set_tunnel(HOST, 443)
        return connection

    def _arrivals(self, peer: Peer, connection: http.client.HTTPConnection) -> Iterator[float]:
        """Yield the milliseconds that each event took."""
        connection.request("GET", PATH if self._secure else peer.target.plain_url)
        response = connection.getresponse()
        if response.status != 200:
            raise ScenarioError(f"{peer.name} answered {response.status}: {peer.log_end()}")
        while piece := response.read1():
            now = time.perf_counter_ns()
            for line in piece.split(b"\n"):
                if line:
                    yield (now - int(line.removeprefix(b"data: "))) / 1e6
        raise ScenarioError(f"{peer.name} ended the stream: {peer.log_end()}")


def _until(arrivals: Iterator[float], seconds: float) -> list[float]:
    """Take events for ``seconds``, at least one."""
    ends = time.monotonic() + seconds
    delays = [next(arrivals)]
    while time.monotonic() < ends:
        delays.append(next(arrivals))
    return delays
