"""The PROXY protocol with those who speak it: HAProxy and nginx before and behind a daemon, curl before it."""

import contextlib
import os
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.lab.daemon import Daemon, configuration, wait_until
from tests.lab.origin import HOST, Origin
from tests.lab.pki import Pki
from tests.lab.tools import missing, require_tool

pytestmark = pytest.mark.e2e

FRONTS = ("v1", "v2", "nginx")
BACKS = ("haproxy", "nginx_back")

HAPROXY = """
global
  maxconn 100
  stats timeout 5s
defaults
  mode tcp
  timeout connect 5s
  timeout client 30s
  timeout server 30s
listen v1
  bind fd@{v1}
  server daemon 127.0.0.1:{port} send-proxy
listen v2
  bind fd@{v2}
  unique-id-format %Ts
  server daemon 127.0.0.1:{port} send-proxy-v2 proxy-v2-options unique-id,crc32c
frontend back
  mode http
  bind fd@{haproxy} accept-proxy ssl crt {folder}/both.pem
  http-request return status 200 content-type text/plain lf-string "%ci:%cp"
"""
NGINX = """
load_module {modules}/ngx_stream_module.so;
worker_processes 1; daemon off; pid {folder}/pid; error_log stderr error;
events {{ worker_connections 256; }}
stream {{
  server {{ listen 127.0.0.1:{nginx}; proxy_pass 127.0.0.1:{port}; proxy_protocol on; }}
}}
http {{
  access_log off; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  server {{
    listen 127.0.0.1:{nginx_back} ssl proxy_protocol;
    ssl_certificate {certificate}; ssl_certificate_key {key};
    location / {{ return 200 "$proxy_protocol_addr:$proxy_protocol_port"; }}
  }}
}}
"""


def _program(name: str) -> str:
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if found is None:
        missing(f"{name} is not installed (Debian package {name})")
    return found


def _modules() -> Path:
    folder = Path("/usr/lib/nginx/modules")
    if not (folder / "ngx_stream_module.so").exists():
        missing("nginx has no stream module (Debian package libnginx-mod-stream)")
    return folder


@dataclass(frozen=True)
class Peers:
    """A daemon, and where HAProxy and nginx stand before it."""

    daemon: Daemon
    ports: dict[str, int]

    def curl(self, url: str, *options: str) -> str:
        """Return what curl read, which must be an answer."""
        command = [
            require_tool("curl"),
            "-sS",
            "--fail",
            "--noproxy",
            "",
            "--cacert",
            str(self.daemon.ca),
            *options,
            url,
        ]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, f"{done.stderr}\n{self.daemon.stderr}"
        return done.stdout

    def proxy(self, front: str) -> tuple[str, str]:
        return "--proxy", f"http://127.0.0.1:{self.ports[front]}"


@pytest.fixture(scope="module")
def peers(tmp_path_factory: pytest.TempPathFactory, origin: Origin, pki: Pki) -> Iterator[Peers]:
    haproxy, nginx, modules = _program("haproxy"), _program("nginx"), _modules()
    folder = tmp_path_factory.mktemp("proxies")
    with contextlib.ExitStack() as stack:
        socks = {name: stack.enter_context(socket.create_server(("127.0.0.1", 0))) for name in (*FRONTS, *BACKS)}
        ports = {name: sock.getsockname()[1] for name, sock in socks.items()}
        numbers = {name: sock.fileno() for name, sock in socks.items()}
        config = configuration(origin, pki, folder)
        behind = {"address": "127.0.0.1:0", "proxy_protocol": {"from": ["127.0.0.1"]}}
        config["listeners"] += [
            {"name": "behind", "mode": "forward", **behind},
            {"name": "doors", "mode": "gateway", "open": True, **behind},
        ]
        config["services"]["to_haproxy"] = _service("other.tickets.example", ports["haproxy"], "v2")
        config["services"]["to_nginx"] = _service("unknown.example", ports["nginx_back"], "v1")
        config["access"] = {"default": "allow"}
        daemon = stack.enter_context(Daemon(folder, config))
        port = daemon.address("behind")[1]
        (folder / "both.pem").write_bytes(pki.certificate.read_bytes() + pki.key.read_bytes())
        (folder / "haproxy.cfg").write_text(HAPROXY.format(folder=folder, port=port, **numbers))
        (folder / "nginx.conf").write_text(
            NGINX.format(folder=folder, port=port, modules=modules, certificate=pki.certificate, key=pki.key, **ports)
        )
        inherited = "".join(f"{numbers[name]};" for name in ("nginx", "nginx_back"))
        for command in (
            [haproxy, "-db", "-f", str(folder / "haproxy.cfg")],
            [nginx, "-e", "stderr", "-p", str(folder), "-c", str(folder / "nginx.conf")],
        ):
            process = subprocess.Popen(
                command,
                stderr=(folder / f"{Path(command[0]).name}.log").open("wb"),
                pass_fds=list(numbers.values()),
                env={**os.environ, "NGINX": inherited},
            )
            stack.callback(process.wait, 10)
            stack.callback(process.terminate)
        yield Peers(daemon, ports)


def _service(host: str, port: int, version: str) -> dict[str, object]:
    return {"hosts": [host], "endpoints": [f"127.0.0.1:{port}"], "proxy_protocol": version}


@pytest.mark.parametrize("front", FRONTS)
def test_the_client_before_the_balancer_is_the_caller(peers: Peers, front: str) -> None:
    before = len(peers.daemon.log())
    written = peers.curl(f"https://{HOST}/v2/echo", *peers.proxy(front), "-o", os.devnull, "-w", "%{local_port}")
    entry = peers.daemon.wait_for_log(before + 1)[-1]
    assert entry["listener"] == "behind"
    assert entry["caller"] == f"127.0.0.1:{written}"


@pytest.mark.parametrize("host", ["other.tickets.example", "unknown.example"])
@pytest.mark.parametrize("front", FRONTS)
def test_the_client_is_told_to_the_balancer_behind(peers: Peers, front: str, host: str) -> None:
    told = peers.curl(f"https://{host}/", *peers.proxy(front), "-w", " %{local_ip}:%{local_port}")
    assert re.fullmatch(r"(127\.0\.0\.1:\d+) \1", told), told


def test_clients_never_share_a_connection_to_who_is_told_of_them(peers: Peers) -> None:
    told = {peers.curl("https://unknown.example/", "--proxy", peers.daemon.url) for _ in range(3)}
    assert len(told) == 3


def test_curl_tells_of_itself_to_a_gateway(peers: Peers) -> None:
    door = "http://127.0.0.1:{}/to_haproxy/".format(peers.daemon.address("doors")[1])
    told = peers.curl(door, "--haproxy-protocol", "-w", " %{local_ip}:%{local_port}")
    assert re.fullmatch(r"(127\.0\.0\.1:\d+) \1", told), told


def test_curl_that_says_nothing_is_told_nothing(peers: Peers) -> None:
    door = "http://127.0.0.1:{}/to_haproxy/".format(peers.daemon.address("doors")[1])
    done = subprocess.run([require_tool("curl"), "-sS", door], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode in (52, 56), "the connection was closed without an answer"
    wait_until(lambda: "proxy_refused" in peers.daemon.stderr, "a notice")
