"""Memory: of all processes once they serve, and what an idle connection adds."""

import dataclasses
import resource
import socket
from collections.abc import Callable
from contextlib import ExitStack

from bench.peers.base import Peer
from bench.processes import pause
from bench.scenarios.base import Round, Scenario, ScenarioError
from bench.scenarios.exchange import dial, exchange, request_bytes, switch, upgrade_bytes
from bench.scenarios.frames import answered, opening_bytes
from bench.stats import Sample
from bench.switch import SwitchOrigin
from bench.tools import Tools

CONNECTIONS = 1000
SETTLE = 1.0  # seconds before memory is read


class Idle(Scenario):
    """A fresh peer serves one request, then holds CONNECTIONS that have had one exchange each and stay open."""

    fresh = True

    def __init__(self, name: str, about: str, peers: tuple[str, ...]) -> None:
        super().__init__(name, about, peers, ("pss_mib", "pss_loaded_mib", "per_connection_kib"))

    def measure(self, peer: Peer, tools: Tools, times: Round) -> Sample:
        request = request_bytes(peer.target)
        peer.start()
        with dial(peer.port) as first:
            _expect(peer, exchange(first, request), 200)
        return _weigh(peer, lambda connection: _expect(peer, exchange(connection, request), 200))


class IdleWebSockets(Scenario):
    """A fresh peer carries one WebSocket, then CONNECTIONS more on which a few bytes went each way."""

    fresh = True

    def __init__(self, name: str, about: str, peers: tuple[str, ...]) -> None:
        super().__init__(name, about, peers, ("pss_mib", "pss_loaded_mib", "per_connection_kib"))

    def measure(self, peer: Peer, tools: Tools, times: Round) -> Sample:
        with SwitchOrigin(peer.target) as origin:
            peer.target = dataclasses.replace(peer.target, plain_port=origin.port)
            request = upgrade_bytes(peer.target)
            peer.start()
            with dial(peer.port) as first:
                _expect(peer, switch(first, request), 101)
            return _weigh(peer, lambda connection: _expect(peer, switch(connection, request), 101))


class IdleMultiplexed(Scenario):
    """A fresh peer answers a request by HTTP/2 in the clear, then CONNECTIONS more, each on a connection that stays."""

    fresh = True

    def __init__(self, name: str, about: str, peers: tuple[str, ...]) -> None:
        super().__init__(name, about, peers, ("pss_mib", "pss_loaded_mib", "per_connection_kib"))

    def measure(self, peer: Peer, tools: Tools, times: Round) -> Sample:
        peer.start()
        opening = opening_bytes(peer.gateway_route().url)
        with dial(peer.gateway_port) as first:
            _expect(peer, answered(first, opening), 200)
        return _weigh(peer, lambda connection: _expect(peer, answered(connection, opening), 200), peer.gateway_port)


def _weigh(peer: Peer, use: Callable[[socket.socket], None], port: int | None = None) -> Sample:
    """Weigh the peer, then open CONNECTIONS, ``use`` each once, and weigh it again."""
    _raise_descriptor_limit()
    pause(SETTLE)
    bare = peer.pss_bytes()
    with ExitStack() as held:
        for _ in range(CONNECTIONS):
            connection = held.enter_context(dial(port or peer.port))
            use(connection)
        pause(SETTLE)
        loaded = peer.pss_bytes()
    return {
        "pss_mib": bare / 1024**2,
        "pss_loaded_mib": loaded / 1024**2,
        "per_connection_kib": (loaded - bare) / 1024 / CONNECTIONS,
    }


def _expect(peer: Peer, status: int, wanted: int) -> None:
    if status != wanted:
        raise ScenarioError(f"{peer.name} answered {status}: {peer.log_end()}")


def _raise_descriptor_limit() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
