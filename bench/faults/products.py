"""proxyd and Envoy, set up for the same policy: the one that the guide on resilience shows."""

import abc
import http.client
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from bench.origin import HOST
from bench.peers.envoy import TYPES
from bench.peers.proxyd import program
from bench.ports import LOOPBACK, answers, free_ports
from bench.processes import Tree
from bench.tools import Tools

START_PATIENCE = 30.0
CONNECT_SECONDS = 1.0
FIRST_BYTE_SECONDS = 2.0
STATUSES = (502, 503, 504)


@dataclass(frozen=True, slots=True)
class Policy:
    """What a row varies."""

    endpoints: tuple[tuple[str, int], ...]
    balance: str = "default"
    """``round_robin`` where every endpoint must have its turn, whatever it does."""
    dns: tuple[str, int, int] | None = None
    """Name, port, and the name server's port; in place of ``endpoints``."""
    hedges: bool = False


@dataclass(frozen=True, slots=True)
class Logged:
    """What the product's access log says of one exchange."""

    status: int
    attempts: int
    seconds: float
    began: str
    """ISO 8601, UTC."""


class Product(abc.ABC):
    """One proxy, in a folder of its own, under one policy."""

    name: ClassVar[str]

    def __init__(self, folder: Path, policy: Policy, tools: Tools) -> None:
        folder.mkdir(parents=True)
        self.folder = folder
        self.policy = policy
        self.tools = tools
        self.port, self.admin_port = free_ports(2)
        self._tree: Tree | None = None

    @abc.abstractmethod
    def config(self) -> dict[str, Any]:
        """The configuration document."""

    @abc.abstractmethod
    def command(self, config: Path) -> list[str]:
        """What runs it in the foreground."""

    def is_ready(self) -> bool:
        """Whether it can be sent requests."""
        return answers(self.port)

    @abc.abstractmethod
    def read(self, entry: Mapping[str, Any]) -> Logged:
        """One line of the access log."""

    def start(self) -> None:
        """Return once it is ready."""
        path = self.folder / "config.yaml"
        path.write_text(json.dumps(self.config(), indent=1))
        self._tree = Tree(self.command(path), self.folder / "output.log", {"PROXYD_DUMPABLE": "1"})
        self._tree.wait_until(self.is_ready, START_PATIENCE)

    def stop(self) -> None:
        """End it; the access log is complete then."""
        tree, self._tree = self._tree, None
        if tree:
            tree.stop()

    def pss_bytes(self) -> int:
        """Memory of all its processes."""
        return self._tree.pss_bytes() if self._tree else 0

    def log(self) -> list[Logged]:
        """The access log, after ``stop``."""
        return [self.read(json.loads(line)) for line in (self.folder / "access.log").read_text().splitlines()]


class Proxyd(Product):
    """``proxyd run`` of this checkout; what the policy does not say, as the breaker's ``open_for``, is its default."""

    name = "proxyd"

    def config(self) -> dict[str, Any]:
        service: dict[str, Any] = {
            "hosts": [HOST],
            "base_url": f"http://{HOST}",
            "insecure": True,
            "timeouts": {"connect": "1s", "first_byte": "2s", "per_try": "5s", "total": "10s"},
            "retry": {
                "attempts": 3,
                "on": ["connect", "reset", *map(str, STATUSES)],
                "backoff": {"base": "25ms", "max": "1s"},
                "budget": {"ratio": "20%", "min_per_second": 3},
            },
            "breaker": {"consecutive_failures": 5, "error_rate": "50%", "probes": 1},
            "outlier": {"consecutive_5xx": 5, "base_ejection": "30s", "max_ejected": "50%"},
            "health": {"path": "/health", "interval": "5s", "healthy": 2, "unhealthy": 3},
        }
        policy = self.policy
        if policy.dns:
            name, port, server = policy.dns
            service["discover"] = {"dns": {"name": name, "port": port, "servers": [f"{LOOPBACK}:{server}"]}}
        else:
            service["endpoints"] = [f"{host}:{port}" for host, port in policy.endpoints]
        if policy.balance != "default":
            service["balance"] = policy.balance
        if policy.hedges:
            service["hedge"] = {"after": "p97", "budget": "4%"}
        return {
            "listeners": [{"name": "apps", "mode": "forward", "address": f"{LOOPBACK}:{self.port}"}],
            "admin": {"socket": str(self.folder / "admin.sock"), "http": f"{LOOPBACK}:{self.admin_port}"},
            "workers": 1,
            "egress": {"allow": ["127.0.0.0/8", "10.0.0.0/8"], "ports": ["*"]},
            "services": {"tickets": service},
            "access": {"default": "deny", "rules": [{"allow": {"services": ["tickets"]}}]},
            "telemetry": {"access_log": {"path": str(self.folder / "access.log")}},
        }

    def command(self, config: Path) -> list[str]:
        folders = ["--state-dir", str(self.folder / "state"), "--runtime-dir", str(self.folder / "run")]
        return [*program(), "run", "-c", str(config), *folders]

    def is_ready(self) -> bool:
        connection = http.client.HTTPConnection(LOOPBACK, self.admin_port, timeout=2)
        try:
            connection.request("GET", "/ready")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def read(self, entry: Mapping[str, Any]) -> Logged:
        return Logged(
            entry.get("status") or 0,
            entry.get("attempts") or 0,
            (entry.get("total_ms") or 0.0) / 1000,
            entry["time"],
        )


class ProxydHedging(Proxyd):
    """The same with ``hedge`` switched on."""

    name = "proxyd-hedging"

    def __init__(self, folder: Path, policy: Policy, tools: Tools) -> None:
        super().__init__(folder, replace(policy, hedges=True), tools)


class Envoy(Product):
    """One worker thread; what Envoy has no word for (a failure breaker) is left out."""

    name = "envoy"

    def command(self, config: Path) -> list[str]:
        options = ["--concurrency", "1", "--disable-hot-restart", "--log-level", "error"]
        return [str(self.tools.find("envoy")), "-c", str(config), *options]

    def config(self) -> dict[str, Any]:
        manager = {
            "@type": f"{TYPES}.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": "forward",
            "access_log": [{"name": "file", "typed_config": self._access_log()}],
            "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": self._routes()}]},
            "http_filters": [{"name": "router", "typed_config": {"@type": f"{TYPES}.filters.http.router.v3.Router"}}],
        }
        listener = {
            "name": "forward",
            "address": _address(LOOPBACK, self.port),
            "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
        }
        return {"static_resources": {"listeners": [listener], "clusters": [self._cluster()]}}

    def _access_log(self) -> dict[str, Any]:
        fields = {
            "time": "%START_TIME%",
            "status": "%RESPONSE_CODE%",
            "attempts": "%UPSTREAM_REQUEST_ATTEMPT_COUNT%",
            "total_ms": "%DURATION%",
        }
        return {
            "@type": f"{TYPES}.access_loggers.file.v3.FileAccessLog",
            "path": str(self.folder / "access.log"),
            "log_format": {"json_format": fields},
        }

    def _routes(self) -> list[dict[str, Any]]:
        """What may be done twice is retried as proxyd does; a POST only where no connection came about."""
        idempotent = {"name": ":method", "string_match": {"exact": "GET"}}
        conditions = "connect-failure,refused-stream,reset,retriable-status-codes"
        return [
            _route({"prefix": "/", "headers": [idempotent]}, conditions),
            _route({"prefix": "/"}, "connect-failure,refused-stream"),
        ]

    def _cluster(self) -> dict[str, Any]:
        policy = self.policy
        addresses = [(policy.dns[0], policy.dns[1])] if policy.dns else list(policy.endpoints)
        cluster = {
            "name": "tickets",
            "type": "STATIC",
            "lb_policy": "ROUND_ROBIN" if policy.balance == "round_robin" else "LEAST_REQUEST",
            "connect_timeout": f"{CONNECT_SECONDS}s",
            "load_assignment": {
                "cluster_name": "tickets",
                "endpoints": [{"lb_endpoints": [{"endpoint": {"address": _address(*one)}} for one in addresses]}],
            },
            "circuit_breakers": {
                "thresholds": [{"retry_budget": {"budget_percent": {"value": 20.0}, "min_retry_concurrency": 3}}]
            },
            "outlier_detection": {
                "consecutive_5xx": 5,
                "base_ejection_time": "30s",
                "max_ejection_percent": 50,
            },
            "health_checks": [
                {
                    "http_health_check": {"path": "/health"},
                    "timeout": "2s",
                    "interval": "5s",
                    "no_traffic_interval": "5s",
                    "healthy_threshold": 2,
                    "unhealthy_threshold": 3,
                }
            ],
        }
        if policy.dns:
            cluster |= _strict_dns(policy.dns[2])
        return cluster

    def read(self, entry: Mapping[str, Any]) -> Logged:
        return Logged(entry["status"] or 0, entry["attempts"] or 0, (entry["total_ms"] or 0) / 1000, entry["time"])


def _route(match: dict[str, Any], conditions: str) -> dict[str, Any]:
    retry = {
        "retry_on": conditions,
        "retriable_status_codes": list(STATUSES),
        "num_retries": 2,
        "per_try_timeout": f"{FIRST_BYTE_SECONDS}s",
        "retry_back_off": {"base_interval": "0.025s", "max_interval": "1s"},
        "retry_host_predicate": [
            {
                "name": "envoy.retry_host_predicates.previous_hosts",
                "typed_config": {"@type": f"{TYPES}.retry.host.previous_hosts.v3.PreviousHostsPredicate"},
            }
        ],
        "host_selection_retry_max_attempts": 5,
    }
    return {"match": match, "route": {"cluster": "tickets", "timeout": "10s", "retry_policy": retry}}


def _strict_dns(server: int) -> dict[str, Any]:
    resolver = {
        "@type": f"{TYPES}.network.dns_resolver.cares.v3.CaresDnsResolverConfig",
        "resolvers": [_address(LOOPBACK, server)],
        "dns_resolver_options": {"no_default_search_domain": True},
    }
    return {
        "type": "STRICT_DNS",
        "dns_lookup_family": "V4_ONLY",
        "respect_dns_ttl": True,
        "typed_dns_resolver_config": {"name": "envoy.network.dns_resolver.cares", "typed_config": resolver},
    }


def _address(address: str, port: int) -> dict[str, Any]:
    return {"socket_address": {"address": address, "port_value": port}}


PRODUCTS: Mapping[str, type[Product]] = {product.name: product for product in (Proxyd, ProxydHedging, Envoy)}


def amplification(log: Sequence[Logged], since: str = "", until: str = "~") -> float:
    """Attempts per request of what began between two moments (ISO 8601, UTC); 0 where nothing did."""
    inside = [one for one in log if since <= one.began <= until]
    return sum(one.attempts for one in inside) / len(inside) if inside else 0.0
