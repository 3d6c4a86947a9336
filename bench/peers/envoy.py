"""Envoy as a forward proxy: one worker thread, static clusters, header injection, JSON access log to a file."""

import json
from typing import Any

from bench.origin import CALL_PATH, KEY_HEADER, PATH
from bench.peers.base import GatewayRoute, Peer
from bench.ports import LOOPBACK, OTHER_LOOPBACK

LOG_FIELDS = {
    "time": "%START_TIME%",
    "method": "%REQ(:METHOD)%",
    "authority": "%REQ(:AUTHORITY)%",
    "path": "%REQ(:PATH)%",
    "status": "%RESPONSE_CODE%",
    "flags": "%RESPONSE_FLAGS%",
    "request_bytes": "%BYTES_RECEIVED%",
    "response_bytes": "%BYTES_SENT%",
    "upstream": "%UPSTREAM_HOST%",
    "first_byte_ms": "%RESPONSE_DURATION%",
    "total_ms": "%DURATION%",
}
TYPES = "type.googleapis.com/envoy.extensions"
H2C_CLIENTS: dict[str, Any] = {"codec_type": "HTTP2", "http2_protocol_options": {}}
H2C_ORIGIN: dict[str, Any] = {
    "typed_extension_protocol_options": {
        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
            "@type": f"{TYPES}.upstreams.http.v3.HttpProtocolOptions",
            "explicit_http_config": {"http2_protocol_options": {}},
        }
    }
}


class Envoy(Peer):
    """Absolute-form requests go to the plain origin, CONNECT to the port of the gigabyte."""

    name = "envoy"
    tool = "envoy"

    def write_config(self) -> None:
        (self.folder / "envoy.json").write_text(json.dumps(self.config(), indent=1))

    def command(self) -> list[str]:
        options = ["--concurrency", "1", "--disable-hot-restart", "--log-level", "warning"]
        return [str(self.tools.find(self.tool)), "-c", str(self.folder / "envoy.json"), *options]

    def config(self) -> dict[str, Any]:
        """The bootstrap document."""
        listeners = [
            _listener("forward", self.port, self._connection_manager("forward", self._routes())),
            _listener(
                "gateway", self.gateway_port, self._connection_manager("gateway", self._gateway_routes()) | H2C_CLIENTS
            ),
        ]
        clusters = [
            _cluster("origin", LOOPBACK, self.target.plain_port),
            _cluster("bulk", OTHER_LOOPBACK, self.target.bulk_port),
            _cluster("calls", LOOPBACK, self.target.h2_port) | H2C_ORIGIN,
        ]
        return {"static_resources": {"listeners": listeners, "clusters": clusters}}

    def gateway_route(self, *, call: bool = False) -> GatewayRoute:
        path = f"/calls{CALL_PATH}" if call else f"/plain{PATH}"
        return GatewayRoute(f"http://{LOOPBACK}:{self.gateway_port}{path}")

    def _connection_manager(self, name: str, routes: list[dict[str, Any]]) -> dict[str, Any]:
        return {
            "@type": f"{TYPES}.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": name,
            "upgrade_configs": [{"upgrade_type": "CONNECT"}, {"upgrade_type": "websocket"}],
            "access_log": [
                {
                    "name": "file",
                    "typed_config": {
                        "@type": f"{TYPES}.access_loggers.file.v3.FileAccessLog",
                        "path": str(self.access_log),
                        "log_format": {"json_format": LOG_FIELDS},
                    },
                }
            ],
            "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}]},
            "http_filters": [{"name": "router", "typed_config": {"@type": f"{TYPES}.filters.http.router.v3.Router"}}],
        }

    def _routes(self) -> list[dict[str, Any]]:
        connect = {"upgrade_configs": [{"upgrade_type": "CONNECT", "connect_config": {}}], "cluster": "bulk"}
        return [
            {"match": {"connect_matcher": {}}, "route": connect},
            self._route("/", {"cluster": "origin"}),
        ]

    def _gateway_routes(self) -> list[dict[str, Any]]:
        plain, calls = self.target.plain_authority, self.target.h2_authority
        return [
            self._route("/plain/", {"cluster": "origin", "prefix_rewrite": "/", "host_rewrite_literal": plain}),
            self._route("/calls/", {"cluster": "calls", "prefix_rewrite": "/", "host_rewrite_literal": calls}),
        ]

    def _route(self, prefix: str, action: dict[str, Any]) -> dict[str, Any]:
        injected = {
            "header": {"key": KEY_HEADER, "value": self.target.key},
            "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
        }
        return {
            "match": {"prefix": prefix},
            "route": {**action, "timeout": "30s"},
            "request_headers_to_add": [injected],
        }


def _listener(name: str, port: int, manager: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": name,
        "address": _address(LOOPBACK, port),
        "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
    }


def _address(address: str, port: int) -> dict[str, Any]:
    return {"socket_address": {"address": address, "port_value": port}}


def _cluster(name: str, address: str, port: int) -> dict[str, Any]:
    endpoint = {"endpoint": {"address": _address(address, port)}}
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": "2s",
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]},
    }
