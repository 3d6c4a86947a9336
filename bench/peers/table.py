"""All peers by name."""

from bench.peers.base import Peer
from bench.peers.direct import Direct
from bench.peers.envoy import Envoy
from bench.peers.haproxy import HAProxy, HAProxySplice
from bench.peers.mitmproxy import Mitmproxy
from bench.peers.proxyd import Proxyd
from bench.peers.proxypy import ProxyPy
from bench.peers.squid import Squid

PEERS: dict[str, type[Peer]] = {
    peer.name: peer for peer in (Proxyd, Envoy, HAProxy, HAProxySplice, Squid, ProxyPy, Mitmproxy, Direct)
}
