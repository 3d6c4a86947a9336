"""mitmproxy: the one peer that intercepts TLS as proxyd does.

It takes HTTP/2 by ALPN alone, so its gateway (reverse mode) is spoken to by TLS where the others are in the clear.
"""

import json
from pathlib import Path

from bench.origin import KEY_HEADER, PATH
from bench.peers.base import GatewayRoute, Peer, SecureRoute, UnsupportedError
from bench.ports import LOOPBACK


class Mitmproxy(Peer):
    """mitmdump without flow output; ``modify_headers`` adds the key. It has no access log to a file of its own."""

    name = "mitmproxy"
    tool = "mitmdump"

    def write_config(self) -> None:
        # JSON is YAML; the value would stand in argv as a command line option
        (self.folder / "config.yaml").write_text(json.dumps(self.config()))

    def command(self) -> list[str]:
        return [str(self.tools.find(self.tool)), "--quiet", "--set", f"confdir={self.folder}"]

    def config(self) -> dict[str, object]:
        """The options file."""
        return {
            "mode": [
                f"regular@{self.address}",
                f"reverse:http://{self.target.plain_authority}@{LOOPBACK}:{self.gateway_port}",
            ],
            "modify_headers": [f"/~q/{KEY_HEADER}/{self.target.key}"],
            "ssl_verify_upstream_trusted_ca": str(self.target.identity.root),
        }

    def gateway_route(self, *, call: bool = False) -> GatewayRoute:
        if call:
            raise UnsupportedError("mitmproxy takes no HTTP/2 in the clear, on neither side")
        return GatewayRoute(f"https://{LOOPBACK}:{self.gateway_port}{PATH}")

    def secure_route(self) -> SecureRoute:
        """By the name ``localhost``: mitmproxy dials what CONNECT says, and the service's name resolves nowhere."""
        ca = Path(self.folder / "mitmproxy-ca-cert.pem")
        return SecureRoute(f"https://localhost:{self.target.tls_port}{PATH}", ca, proxy=self.address)
