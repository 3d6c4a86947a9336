"""Seconds from exec to the first answer that came through the proxy."""

import time

from bench.peers.base import START_PATIENCE, Peer, UnsupportedError
from bench.scenarios.base import Round, Scenario
from bench.scenarios.exchange import dial, exchange, request_bytes
from bench.stats import Sample
from bench.tools import Tools


class Start(Scenario):
    """A fresh peer with empty folders (keys and certificates are made anew) is asked until it answers with 200."""

    fresh = True

    def __init__(self, name: str, about: str, peers: tuple[str, ...]) -> None:
        super().__init__(name, about, peers, ("seconds",))

    def measure(self, peer: Peer, tools: Tools, times: Round) -> Sample:
        request = request_bytes(peer.target)
        begin = time.monotonic()
        tree = peer.launch()
        if tree is None:
            raise UnsupportedError(f"{peer.name} has no process to start")
        tree.wait_until(lambda: _serves(peer.port, request), START_PATIENCE)
        return {"seconds": time.monotonic() - begin}


def _serves(port: int, request: bytes) -> bool:
    try:
        with dial(port) as connection:
            return exchange(connection, request) == 200
    except OSError:
        return False
