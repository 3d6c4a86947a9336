"""proxy.py: one acceptor, one worker, its connection pool on, a plugin that adds the header."""

from pathlib import Path

from bench.origin import KEY_HEADER
from bench.peers.base import Peer
from bench.ports import LOOPBACK

PLUGIN = '''"""Adds the origin's credential to each request."""

import os

from proxy.http.proxy import HttpProxyBasePlugin


class AddKey(HttpProxyBasePlugin):
    def handle_client_request(self, request):
        request.add_header(b"{header}", os.environb[b"BENCH_KEY"])
        return request
'''


class ProxyPy(Peer):
    """Its access log is its own log at level INFO."""

    name = "proxy.py"
    tool = "proxy"

    def write_config(self) -> None:
        (self.folder / "bench_plugin.py").write_text(PLUGIN.format(header=KEY_HEADER))

    def command(self) -> list[str]:
        return [
            str(self.tools.find(self.tool)),
            "--hostname", LOOPBACK,
            "--port", str(self.port),
            "--num-acceptors", "1",
            "--num-workers", "1",
            "--log-level", "INFO",
            "--log-file", str(self.access_log),
            "--data-dir", str(self.folder),
            "--plugins", "bench_plugin.AddKey",
        ]  # fmt: skip

    def environment(self) -> dict[str, str]:
        return {"BENCH_KEY": self.target.key, "PYTHONPATH": str(Path(self.folder))}
