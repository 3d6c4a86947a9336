"""proxyd itself: access rules, injection, timeouts, access log and metrics on, one worker."""

import http.client
import subprocess
import sys
from functools import cached_property
from pathlib import Path

from bench.origin import CALL_PATH, HOST, KEY_HEADER, PATH, Target
from bench.peers.base import GatewayRoute, Peer, SecureRoute, service_url
from bench.ports import LOOPBACK, free_ports
from bench.processes import plain_environment
from bench.tools import ROOT, Tools

CONFIG = """\
listeners:
  - {{name: apps, mode: forward, address: "{address}", unknown_hosts: tunnel}}
  - {{name: gateway, mode: gateway, address: "{loopback}:{gateway_port}", open: true}}
admin: {{socket: {folder}/admin.sock, http: "{loopback}:{admin_port}"}}
workers: 1
tls: {{extra_roots: {root}}}
egress: {{allow: [127.0.0.0/8], ports: ["*"]}}
services:
  tickets:
    hosts: [{host}]
    base_url: https://{host}/v2
    endpoints: ["{loopback}:{tls_port}"]
    auth: {{scheme: bearer, secret: tickets/token}}
    timeouts: {{connect: 2s, first_byte: 10s, total: 30s}}
  plain:
    hosts: ["{plain}"]
    base_url: http://{plain}
    insecure: true
    auth: {{scheme: header, name: {header}, secret: plain/key}}
    pool: {{connections: 2048}}{extras}
    timeouts: {{connect: 2s, first_byte: 10s, total: 30s}}
  calls:
    hosts: ["{h2}"]
    base_url: http://{h2}
    insecure: true
    protocol: h2
    auth: {{scheme: header, name: {header}, secret: plain/key}}
    timeouts: {{connect: 2s, first_byte: 10s, total: 30s}}
secrets:
  tickets/token: {{env: TICKETS_TOKEN}}
  plain/key: {{env: PLAIN_KEY}}
access:
  default: deny
  rules:
    - {{allow: {{services: [tickets], methods: [GET, POST], paths: [/v2/]}}}}
    - {{allow: {{services: [plain, calls]}}}}
    - {{allow: {{hosts: ["*"]}}}}
telemetry:
  access_log: {{path: {access_log}}}
"""

EXTRAS = {
    "": "",
    "cache": "\n    cache: {enabled: true}",
    "limits": "\n    limits: [{name: caller, scope: [caller, service], rate: 1000000/s, burst: 1000000, mode: reject}]"
    "\n    cache: {enabled: true}",
}
"""By feature, what else the plain service has."""


class Proxyd(Peer):
    """``proxyd run`` of this checkout, with state and runtime folders of its own."""

    name = "proxyd"
    tool = "proxyd"

    def __init__(self, folder: Path, target: Target, tools: Tools) -> None:
        super().__init__(folder, target, tools)
        (self.admin_port,) = free_ports(1)

    def write_config(self) -> None:
        (self.folder / "proxyd.yaml").write_text(self.config())

    def config(self) -> str:
        """The configuration file: the shape that the documentation shows."""
        return CONFIG.format(
            address=self.address,
            folder=self.folder,
            loopback=LOOPBACK,
            admin_port=self.admin_port,
            root=self.target.identity.root,
            host=HOST,
            header=KEY_HEADER,
            tls_port=self.target.tls_port,
            plain=self.target.plain_authority,
            h2=self.target.h2_authority,
            gateway_port=self.gateway_port,
            access_log=self.access_log,
            extras=EXTRAS[self.feature],
        )

    def command(self) -> list[str]:
        folders = ["--state-dir", str(self.folder / "state"), "--runtime-dir", str(self.folder / "run")]
        return [*program(), "run", "-c", str(self.folder / "proxyd.yaml"), *folders]

    def environment(self) -> dict[str, str]:
        # Dumpable: else nobody may read what memory its processes use
        return {"TICKETS_TOKEN": self.target.token, "PLAIN_KEY": self.target.key, "PROXYD_DUMPABLE": "1"}

    def is_ready(self) -> bool:
        """Whether every worker has its snapshot, by the daemon's own word."""
        connection = http.client.HTTPConnection(LOOPBACK, self.admin_port, timeout=2)
        try:
            connection.request("GET", "/ready")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def gateway_route(self, *, call: bool = False) -> GatewayRoute:
        path = f"/calls{CALL_PATH}" if call else f"/plain{PATH}"
        return GatewayRoute(f"http://{LOOPBACK}:{self.gateway_port}{path}")

    def secure_route(self) -> SecureRoute:
        return SecureRoute(service_url(), self._root, proxy=self.address)

    def version(self) -> str:
        """The version, and the commit where the checkout is a repository."""
        commit = subprocess.run(
            ["git", "-C", str(ROOT), "describe", "--always", "--dirty"], capture_output=True, text=True, check=False
        )
        done = subprocess.run([*program(), "--version"], capture_output=True, text=True, check=False)
        return " ".join(filter(None, [done.stdout.strip().split(" ")[-1], commit.stdout.strip()]))

    @cached_property
    def _root(self) -> Path:
        """The root that clients must trust; asked once the daemon runs."""
        done = subprocess.run(
            [*program(), "ca", "export", "--admin", str(self.folder / "admin.sock")],
            capture_output=True,
            env=plain_environment(),
            timeout=30,
            check=True,
        )
        path = self.folder / "client-root.pem"
        path.write_bytes(done.stdout)
        return path


class ProxydUncached(Proxyd):
    """The same without a cache: what hits are compared with."""

    name = "proxyd-uncached"

    def config(self) -> str:
        """The configuration file, without any feature."""
        self.feature = ""
        return super().config()


def program() -> list[str]:
    """The words that run proxyd of this checkout."""
    script = Path(sys.executable).with_name("proxyd")
    return [str(script)] if script.exists() else [sys.executable, "-m", "proxyd.cli.main"]
