"""What every peer does: write a configuration, start, say where it listens, count its cost, stop."""

import abc
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from bench.origin import HOST, PATH, Target
from bench.ports import LOOPBACK, answers, free_ports
from bench.processes import Tree
from bench.tools import Tools

START_PATIENCE = 30.0


@dataclass(frozen=True, slots=True)
class SecureRoute:
    """How a client reaches the https origin by way of a peer."""

    url: str
    ca: Path
    proxy: str | None = None
    dial: str | None = None
    header: str = ""


@dataclass(frozen=True, slots=True)
class BulkRoute:
    """How a client fetches the gigabyte by way of a peer: CONNECT to ``proxy``, or a port that is forwarded."""

    url: str
    proxy: str | None = None


@dataclass(frozen=True, slots=True)
class GatewayRoute:
    """How a client reaches a small resource over HTTP/2 without CONNECT."""

    url: str
    header: str = ""


class UnsupportedError(Exception):
    """The peer cannot do what a scenario asks for; the text says so."""


class Peer(abc.ABC):
    """One proxy in a folder of its own. Make it, ``start`` it, ``stop`` it; it is not started twice."""

    name: ClassVar[str]
    tool: ClassVar[str]
    """The program, a name that Tools knows."""
    has_processes: ClassVar[bool] = True
    feature = ""
    """What a scenario wants on besides: ``cache``, ``limits`` (a limit and the cache), or nothing; before ``start``."""

    def __init__(self, folder: Path, target: Target, tools: Tools) -> None:
        folder.mkdir(parents=True)
        self.folder = folder
        self.target = target
        self.tools = tools
        self.port, self.gateway_port = free_ports(2)
        """The forward listener's, and that of the listener whose clients speak HTTP/2 without CONNECT."""
        self._tree: Tree | None = None

    @abc.abstractmethod
    def write_config(self) -> None:
        """Write all files that the command reads into ``folder``."""

    @abc.abstractmethod
    def command(self) -> list[str]:
        """The command that runs the peer in the foreground."""

    def environment(self) -> Mapping[str, str]:
        """Variables that the peer needs."""
        return {}

    @property
    def client_key(self) -> str | None:
        """The credential that the client itself must send; only where no proxy is between."""
        return None

    @property
    def address(self) -> str:
        """``127.0.0.1:port`` of the forward listener."""
        return f"{LOOPBACK}:{self.port}"

    @property
    def access_log(self) -> Path:
        """Where the peer writes a line for each exchange."""
        return self.folder / "access.log"

    def secure_route(self) -> SecureRoute:
        """The https origin through CONNECT; the peer adds the credential. Ask after ``start``."""
        raise UnsupportedError(f"{self.name} does not intercept TLS here")

    def bulk_route(self) -> BulkRoute:
        """The gigabyte through CONNECT."""
        return BulkRoute(self.target.bulk_url, self.address)

    def gateway_route(self, *, call: bool = False) -> GatewayRoute:
        """The small resource of the plain origin by HTTP/2; with ``call`` the gRPC call, by HTTP/2 all the way."""
        raise UnsupportedError(f"{self.name} is not measured as a gateway here")

    def version(self) -> str:
        """The version that the program reports."""
        return self.tools.version(self.tool)

    def launch(self) -> Tree | None:
        """Write the configuration and start; returns at once, with the process tree where there is one."""
        self.write_config()
        self._tree = Tree(self.command(), self.folder / "output.log", self.environment())
        return self._tree

    def start(self) -> None:
        """Start, and return once the peer is ready."""
        tree = self.launch()
        if tree:
            tree.wait_until(self.is_ready, START_PATIENCE)

    def is_ready(self) -> bool:
        """Whether the peer can be measured."""
        return answers(self.port)

    def stop(self) -> None:
        """Stop all processes of the peer; a peer that never started is fine."""
        tree, self._tree = self._tree, None
        if tree:
            tree.stop()

    def cpu_seconds(self) -> float:
        """CPU time that the peer's processes have taken so far."""
        return self._tree.cpu_seconds() if self._tree else 0.0

    def pss_bytes(self) -> int:
        """Memory of all of the peer's processes."""
        return self._tree.pss_bytes() if self._tree else 0

    def log_end(self) -> str:
        """What the peer printed last."""
        return self._tree.log_end() if self._tree else ""


def service_url(port: int | None = None) -> str:
    """The small resource over https by the service's name."""
    return f"https://{HOST}{f':{port}' if port else ''}{PATH}"
