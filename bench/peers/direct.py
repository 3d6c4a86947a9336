"""No proxy at all: what the origin and the load program can do, so that no figure is theirs."""

from pathlib import Path

from bench.origin import CALL_PATH, KEY_HEADER, PATH, Target
from bench.peers.base import BulkRoute, GatewayRoute, Peer, SecureRoute, UnsupportedError, service_url
from bench.ports import LOOPBACK
from bench.processes import Tree
from bench.tools import Tools


class Direct(Peer):
    """The origin itself."""

    name = "direct"
    tool = "nginx"
    has_processes = False

    def __init__(self, folder: Path, target: Target, tools: Tools) -> None:
        super().__init__(folder, target, tools)
        self.port = target.plain_port

    def write_config(self) -> None:
        """Nothing to write."""

    def command(self) -> list[str]:
        raise UnsupportedError("there is no proxy to run")

    def launch(self) -> Tree | None:
        return None

    @property
    def client_key(self) -> str | None:
        return self.target.key

    def secure_route(self) -> SecureRoute:
        return SecureRoute(
            service_url(),
            self.target.identity.root,
            dial=f"{LOOPBACK}:{self.target.tls_port}",
            header=f"{KEY_HEADER}: {self.target.key}",
        )

    def gateway_route(self, *, call: bool = False) -> GatewayRoute:
        path = CALL_PATH if call else PATH
        return GatewayRoute(f"http://{self.target.h2_authority}{path}", f"{KEY_HEADER}: {self.target.key}")

    def bulk_route(self) -> BulkRoute:
        return BulkRoute(self.target.bulk_url)
