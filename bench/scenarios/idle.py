"""Memory: of all processes once they serve, and what an idle connection adds."""

import resource
from contextlib import ExitStack

from bench.peers.base import Peer
from bench.processes import pause
from bench.scenarios.base import Round, Scenario, ScenarioError
from bench.scenarios.exchange import dial, exchange, request_bytes
from bench.stats import Sample
from bench.tools import Tools

CONNECTIONS = 1000
SETTLE = 1.0  # seconds before memory is read


class Idle(Scenario):
    """A fresh peer serves one request, then holds CONNECTIONS that have had one exchange each and stay open."""

    fresh = True

    def __init__(self, name: str, about: str, peers: tuple[str, ...]) -> None:
        super().__init__(name, about, peers, ("pss_mib", "pss_loaded_mib", "per_connection_kib"))

    def measure(self, peer: Peer, tools: Tools, times: Round) -> Sample:
        _raise_descriptor_limit()
        request = request_bytes(peer.target)
        peer.start()
        with dial(peer.port) as first:
            _expect(peer, exchange(first, request))
        pause(SETTLE)
        bare = peer.pss_bytes()
        with ExitStack() as held:
            for _ in range(CONNECTIONS):
                connection = held.enter_context(dial(peer.port))
                _expect(peer, exchange(connection, request))
            pause(SETTLE)
            loaded = peer.pss_bytes()
        return {
            "pss_mib": bare / 1024**2,
            "pss_loaded_mib": loaded / 1024**2,
            "per_connection_kib": (loaded - bare) / 1024 / CONNECTIONS,
        }


def _expect(peer: Peer, status: int) -> None:
    if status != 200:
        raise ScenarioError(f"{peer.name} answered {status}: {peer.log_end()}")


def _raise_descriptor_limit() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
