"""The origin: two nginx processes on loopback, one for small exchanges (h2c too), one for the tunnel's gigabyte.

Two, because one worker that sends a gigabyte would delay the neighbour whose latency the tunnel scenario measures.
The small exchanges are refused (401) without the credential, so that no figure counts a request without injection.
"""

import os
import secrets
from dataclasses import dataclass, field
from pathlib import Path

from bench.certificates import Identity, make_identity
from bench.ports import LOOPBACK, OTHER_LOOPBACK, answers, free_ports
from bench.processes import Tree

BODY_BYTES = 1024
POST_BYTES = 10 * 1024
BULK_BYTES = 1024**3
HOST = "api.tickets.example"
"""The name that the TLS origin's certificate has, besides localhost and 127.0.0.1."""
PATH = "/v2/item"
KEPT_PATH = "/v2/kept"
"""The same answer as at PATH, which caches may keep for an hour."""
BULK_PATH = "/bulk"
CALL_PATH = "/tickets.Tickets/Get"
"""A unary gRPC call, on the HTTP/2 port."""
CALL_BYTES = 128
KEY_HEADER = "X-Api-Key"
REPLY_PATH = "/reply"
START_PATIENCE = 10.0


@dataclass(frozen=True, slots=True)
class Target:
    """Where the origin listens, and what it demands."""

    plain_port: int
    tls_port: int
    """HTTP/1.1 or 2, as ALPN says."""
    bulk_port: int
    h2_port: int
    """HTTP/2 in the clear by prior knowledge, and nothing else."""
    identity: Identity
    key: str = field(repr=False)
    """The value that KEY_HEADER must have, over http and https."""
    token: str = field(repr=False)
    """The bearer token, accepted in Authorization instead of the key over https."""

    @property
    def plain_authority(self) -> str:
        """``127.0.0.1:port`` of the plain origin."""
        return f"{LOOPBACK}:{self.plain_port}"

    @property
    def plain_url(self) -> str:
        """The small resource over http."""
        return f"http://{self.plain_authority}{PATH}"

    @property
    def kept_url(self) -> str:
        """The small resource that caches may keep."""
        return f"http://{self.plain_authority}{KEPT_PATH}"

    @property
    def h2_authority(self) -> str:
        """``127.0.0.1:port`` of the HTTP/2 origin."""
        return f"{LOOPBACK}:{self.h2_port}"

    @property
    def bulk_url(self) -> str:
        """The gigabyte."""
        return f"http://{self.bulk_authority}{BULK_PATH}"

    @property
    def bulk_authority(self) -> str:
        """Where the gigabyte is: an address of its own, for the plain origin's address is a service's name."""
        return f"{OTHER_LOOPBACK}:{self.bulk_port}"


def exchanges_config(folder: Path, target: Target) -> str:
    """The nginx for the small exchanges. ``mirror`` makes it read a request body to its end before it answers."""
    return _config(
        folder,
        "exchanges",
        f"""
    client_body_buffer_size 64k;
    ssl_certificate {target.identity.certificate};
    ssl_certificate_key {target.identity.key};
    ssl_protocols TLSv1.2 TLSv1.3;
    ssl_session_cache shared:origin:1m;
    map "$http_x_api_key/$http_authorization" $allowed {{
        default 0;
        "{target.key}/" 1;
        "/Bearer {target.token}" 1;
    }}
    server {{
        listen {target.plain_authority} backlog=4096;
        listen {LOOPBACK}:{target.tls_port} ssl http2 backlog=4096;
        listen {target.h2_authority} http2 backlog=4096;
        location = {KEPT_PATH} {{
            if ($allowed = 0) {{ return 401; }}
            add_header Cache-Control "public, max-age=3600";
            return 200 "{"x" * BODY_BYTES}";
        }}
        location / {{
            if ($allowed = 0) {{ return 401; }}
            if ($request_method = GET) {{ return 200 "{"x" * BODY_BYTES}"; }}
            mirror /mirror;
            root {folder};
            error_page 404 405 =200 @taken;
        }}
        location @taken {{ return 200 "{"x" * 16}"; }}
        location = /mirror {{ internal; return 204; }}
        location = {CALL_PATH} {{
            if ($allowed = 0) {{ return 401; }}
            mirror /mirror;
            root {folder};
            error_page 404 405 =200 {REPLY_PATH};
        }}
        location = {REPLY_PATH} {{
            internal;
            root {folder};
            open_file_cache max=10;
            default_type application/grpc;
            add_trailer grpc-status 0;
        }}
    }}""",
    )


def bulk_config(folder: Path, target: Target) -> str:
    """The nginx for one large sparse file."""
    return _config(
        folder,
        "bulk",
        f"""
    server {{
        listen {target.bulk_authority} backlog=4096;
        root {folder};
    }}""",
    )


def message() -> bytes:
    """A gRPC message of CALL_BYTES with its prefix: what a call sends, and what it is answered."""
    return b"\0" + CALL_BYTES.to_bytes(4, "big") + b"x" * CALL_BYTES


class Origin:
    """The two nginx processes; use it as a context manager."""

    def __init__(self, binary: Path, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        plain, tls, bulk, h2 = free_ports(4)
        identity = make_identity(folder, [HOST, "localhost", LOOPBACK])
        self.target = Target(plain, tls, bulk, h2, identity, key=secrets.token_hex(16), token=secrets.token_hex(16))
        self._binary = binary
        self._folder = folder
        self._trees: list[Tree] = []

    def __enter__(self) -> "Origin":
        with (self._folder / BULK_PATH[1:]).open("wb") as sparse:
            sparse.truncate(BULK_BYTES)
        (self._folder / REPLY_PATH[1:]).write_bytes(message())
        try:
            self._start("exchanges", exchanges_config(self._folder, self.target), LOOPBACK, self.target.plain_port)
            self._start("bulk", bulk_config(self._folder, self.target), OTHER_LOOPBACK, self.target.bulk_port)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        while self._trees:
            self._trees.pop().stop()

    def _start(self, name: str, text: str, address: str, port: int) -> None:
        path = self._folder / f"{name}.conf"
        path.write_text(text)
        path.chmod(0o600)
        tree = Tree([str(self._binary), "-c", str(path), "-p", str(self._folder)], self._folder / f"{name}.log")
        self._trees.append(tree)
        tree.wait_until(lambda: answers(port, address), START_PATIENCE)


def _config(folder: Path, name: str, servers: str) -> str:
    user = "user root;" if os.geteuid() == 0 else ""
    temporary = "\n".join(
        f"    {kind}_temp_path {folder}/{name}-{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    return f"""{user}
daemon off;
master_process off;
pid {folder}/{name}.pid;
error_log stderr crit;
worker_rlimit_nofile 16384;
events {{ worker_connections 8192; }}
http {{
    access_log off;
    sendfile on;
    tcp_nopush on;
    tcp_nodelay on;
    keepalive_timeout 600s;
    keepalive_requests 1000000000;
    default_type application/octet-stream;
{temporary}
{servers}
}}
"""
