"""All peers by name."""

from bench.peers.base import Peer
from bench.peers.direct import Direct
from bench.peers.envoy import Envoy
from bench.peers.haproxy import HAProxy, HAProxySplice
from bench.peers.mitmproxy import Mitmproxy
from bench.peers.nginx import Nginx
from bench.peers.proxyd import Proxyd, ProxydUncached
from bench.peers.proxypy import ProxyPy
from bench.peers.squid import Squid
from bench.peers.varnish import Varnish

PEERS: dict[str, type[Peer]] = {
    peer.name: peer
    for peer in (
        Proxyd,
        ProxydUncached,
        Envoy,
        HAProxy,
        HAProxySplice,
        Squid,
        Nginx,
        Varnish,
        ProxyPy,
        Mitmproxy,
        Direct,
    )
}
