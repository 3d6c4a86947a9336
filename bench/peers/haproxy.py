"""HAProxy: an HTTP frontend that takes absolute-form requests, and TCP mode with splicing for the gigabyte."""

from pathlib import Path

from bench.origin import BULK_PATH, KEY_HEADER, Target
from bench.peers.base import BulkRoute, Peer
from bench.ports import LOOPBACK, free_ports
from bench.tools import Tools


class HAProxy(Peer):
    """One thread. Its log goes to standard output, the only file that it can write to."""

    name = "haproxy"
    tool = "haproxy"
    splicing = "splice-auto"
    """The option that HAProxy recommends: it judges by itself, and with curl it mostly copies."""

    def __init__(self, folder: Path, target: Target, tools: Tools) -> None:
        super().__init__(folder, target, tools)
        (self.tcp_port,) = free_ports(1)

    def write_config(self) -> None:
        (self.folder / "haproxy.cfg").write_text(self.config())

    def command(self) -> list[str]:
        return [str(self.tools.find(self.tool)), "-db", "-f", str(self.folder / "haproxy.cfg")]

    def config(self) -> str:
        """The configuration file."""
        return f"""global
    nbthread 1
    maxconn 4096
    log stdout format raw local0
defaults
    log global
    timeout connect 2s
    timeout client 1h
    timeout server 1h
frontend forward
    mode http
    option httplog
    bind {self.address}
    http-request set-header {KEY_HEADER} {self.target.key}
    default_backend origin
backend origin
    mode http
    http-reuse always
    server origin {self.target.plain_authority}
listen bulk
    mode tcp
    option tcplog
    option {self.splicing}
    bind {LOOPBACK}:{self.tcp_port}
    server bulk {self.target.bulk_authority}
"""

    def bulk_route(self) -> BulkRoute:
        """The forwarded port: HAProxy knows no CONNECT."""
        return BulkRoute(f"http://{LOOPBACK}:{self.tcp_port}{BULK_PATH}")


class HAProxySplice(HAProxy):
    """The same, told to splice every answer: the most that a tunnel could carry."""

    name = "haproxy-splice"
    splicing = "splice-response"
