"""The gateway as programs meet it: a real daemon, curl, wget and Python over a Unix socket and over TCP."""

import contextlib
import dataclasses
import json
import os
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.lab.daemon import PROXYD, Daemon, configuration, environment, run_proxyd, wait_until
from tests.lab.origin import TOKEN, Origin
from tests.lab.pki import Pki
from tests.lab.tools import require_tool

pytestmark = pytest.mark.e2e

PAGE = "https://app.example"


@dataclasses.dataclass(frozen=True)
class Gateway:
    """A daemon with gateways on a Unix socket, on TCP and open on TCP, and a forward listener on a Unix socket."""

    daemon: Daemon
    origin: Origin

    @property
    def port(self) -> int:
        return self.daemon.address("tcp")[1]

    @property
    def folder(self) -> Path:
        return self.daemon.folder / "run"

    @property
    def socket(self) -> str:
        return str(self.folder / "gateway.sock")

    @property
    def token(self) -> str:
        return (self.folder / "gateway.token").read_text().strip()

    def curl(self, url: str, *options: str) -> tuple[int, str]:
        """Return status and body."""
        done = self._run(url, "-w", "\n%{http_code}", *options)
        body, _, status = done.stdout.rpartition("\n")
        assert done.returncode == 0, done.stderr
        return int(status), body

    def unix(self, url: str, *options: str) -> tuple[int, str]:
        return self.curl(url, "--unix-socket", self.socket, *options)

    def tcp(self, path: str, *options: str, host: str = "127.0.0.1") -> tuple[int, str]:
        return self.curl(f"http://{host}:{self.port}{path}", "-H", f"Proxyd-Token: {self.token}", *options)

    def head(self, url: str, *options: str) -> str:
        return self._run(url, "-D", "-", "-o", os.devnull, *options).stdout

    def _run(self, url: str, *options: str) -> "subprocess.CompletedProcess[str]":
        command = [require_tool("curl"), "-sS", *options, url]
        variables = environment(self.daemon.folder)
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=variables)


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, origin: Origin, pki: Pki) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("gw")
    config = configuration(origin, pki, folder)
    config["listeners"] += [
        {"name": "local", "mode": "gateway"},
        {"name": "tcp", "mode": "gateway", "address": "127.0.0.1:0", "origins": [PAGE]},
        {"name": "open", "mode": "gateway", "address": "127.0.0.1:0", "open": True},
        {"name": "socket", "mode": "forward", "address": "unix:forward.sock"},
    ]
    with Daemon(folder, config) as daemon:
        yield Gateway(daemon, origin)


def carried_the_credential(body: str) -> bool:
    """The origin says what came; the credential is masked on its way back."""
    return dict(json.loads(body)["headers"])["authorization"] == "Bearer " + "*" * len(TOKEN)


def test_the_three_forms_reach_the_base_url(gateway: Gateway) -> None:
    answers = [
        gateway.unix("http://tickets/echo?a=b"),
        gateway.tcp("/tickets/echo?a=b"),
        gateway.tcp("/echo?a=b", "--resolve", f"tickets.localhost:{gateway.port}:127.0.0.1", host="tickets.localhost"),
        gateway.unix("http://localhost/tickets/echo?a=b"),
    ]
    for status, body in answers:
        assert status == 200
        assert json.loads(body)["target"] == "/v2/echo?a=b"
        assert carried_the_credential(body)


def test_neither_token_nor_browser_headers_go_upstream(gateway: Gateway) -> None:
    _, body = gateway.tcp("/tickets/echo", "-H", f"Origin: {PAGE}", "-H", "Sec-Fetch-Site: cross-site")
    names = {name for name, _ in json.loads(body)["headers"]}
    assert not {name for name in names if name.startswith(("proxyd", "origin", "sec-"))}
    assert gateway.token not in body


def test_socket_and_token_are_private(gateway: Gateway) -> None:
    for name in ("gateway.sock", "gateway.token", "forward.sock"):
        assert stat.S_IMODE((gateway.folder / name).stat().st_mode) == 0o600


def test_a_caller_without_the_token_is_refused_and_told_where_it_stands(gateway: Gateway) -> None:
    url = f"http://127.0.0.1:{gateway.port}/tickets/echo"
    status, body = gateway.curl(url)
    assert status == 401
    assert "gateway.token" in json.loads(body)["detail"]
    assert gateway.curl(url, "-H", "Proxyd-Token: wrong")[0] == 401
    assert "www-authenticate: proxyd-token" in gateway.head(url).lower()


def test_an_open_gateway_demands_none(gateway: Gateway) -> None:
    port = gateway.daemon.address("open")[1]
    assert gateway.curl(f"http://127.0.0.1:{port}/tickets/echo")[0] == 200


def test_a_name_that_is_nearly_right_is_answered_with_the_right_one(gateway: Gateway) -> None:
    for status, body in (gateway.unix("http://tikets/x"), gateway.tcp("/tikets/x")):
        assert status == 404
        assert "did you mean tickets?" in json.loads(body)["detail"]


def test_redirects_lead_back_through_the_gateway(gateway: Gateway) -> None:
    location = "https://api.tickets.example/v2/echo?page=2"
    path = f"/redirect?to={location}"
    token = f"Proxyd-Token: {gateway.token}"
    followed = gateway.unix(f"http://tickets{path}", "-L")
    assert json.loads(followed[1])["target"] == "/v2/echo?page=2"
    followed = gateway.curl(f"http://127.0.0.1:{gateway.port}/tickets{path}", "-L", "-H", token)
    assert json.loads(followed[1])["target"] == "/v2/echo?page=2"


def test_a_redirect_elsewhere_takes_no_credential_along(gateway: Gateway) -> None:
    elsewhere = f"http://127.0.0.1:{gateway.origin.http_port}/open/echo"
    head = gateway.head(f"http://tickets/redirect?to={elsewhere}", "--unix-socket", gateway.socket)
    assert f"location: {elsewhere}\n" in head.lower()
    _, body = gateway.curl(f"http://tickets/redirect?to={elsewhere}", "--unix-socket", gateway.socket)
    assert TOKEN not in body


def test_an_upgraded_request_is_redirected_within_http(gateway: Gateway) -> None:
    location = "https://api.tickets.example/v2/echo"
    done = subprocess.run(
        [require_tool("curl"), "-sS", "-L", "--proxy", gateway.daemon.url,
         f"http://api.tickets.example/v2/redirect?to={location}"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert json.loads(done.stdout)["target"] == "/v2/echo", done.stderr


def test_the_log_says_who_called_on_the_socket(gateway: Gateway) -> None:
    gateway.unix("http://tickets/echo/who")

    def entries() -> list[dict[str, Any]]:
        return [entry for entry in gateway.daemon.log() if entry["path"] == "/v2/echo/who"]

    wait_until(lambda: bool(entries()), "the entry of the request")
    (entry,) = entries()
    assert (entry["mode"], entry["caller"], entry["uid"]) == ("gateway", "unix", os.getuid())
    assert entry["service"] == "tickets"


def test_the_token_outlives_control_and_a_reload(gateway: Gateway) -> None:
    before = gateway.token
    gateway.daemon.reload()
    assert gateway.tcp("/tickets/echo")[0] == 200
    assert gateway.token == before


def test_wget_and_python_requests(gateway: Gateway) -> None:
    wget = subprocess.run(
        [require_tool("wget"), "-q", "-O", "-", "--no-proxy", f"--header=Proxyd-Token: {gateway.token}",
         f"http://127.0.0.1:{gateway.port}/tickets/echo"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert carried_the_credential(wget.stdout)
    program = (
        "import requests, sys; print(requests.get(sys.argv[1], headers={'Proxyd-Token': sys.argv[2]}, timeout=30).text)"
    )
    url = f"http://127.0.0.1:{gateway.port}/tickets/echo"
    done = subprocess.run(
        [sys.executable, "-c", program, url, gateway.token],
        capture_output=True, text=True, timeout=60, check=False, env=environment(gateway.daemon.folder),
    )  # fmt: skip
    assert carried_the_credential(done.stdout), done.stderr


def test_websocket_upgrades_pass(gateway: Gateway) -> None:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(30)
        client.connect(gateway.socket)
        client.sendall(b"GET /upgrade HTTP/1.1\r\nHost: tickets\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        reader = client.makefile("rb")
        assert reader.readline().startswith(b"HTTP/1.1 101 ")
        while reader.readline() != b"\r\n":
            pass
        client.sendall(b"frames")
        assert reader.read(6) == b"frames"
        reader.close()


# --- Unix forward listeners, the bridge, env and exec ---------------------------------------------


@contextlib.contextmanager
def bridge(gateway: Gateway, *options: str) -> Iterator[str]:
    """``proxyd bridge`` as a process; yields the URL that it prints, and ends it by SIGTERM."""
    process = subprocess.Popen(
        [PROXYD, "bridge", *options],
        env=environment(gateway.daemon.folder, {"PROXYD_ADMIN": str(gateway.daemon.admin.path)}),
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
        process.terminate()
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_a_client_that_only_knows_http_proxy_comes_over_the_bridge(gateway: Gateway) -> None:
    with bridge(gateway) as url:
        status, body = gateway.curl("http://api.tickets.example/v2/echo", "--proxy", url)
        assert (status, carried_the_credential(body)) == (200, True)
        secure = ("--proxy", url, "--cacert", str(gateway.daemon.ca))
        status, body = gateway.curl("https://api.tickets.example/v2/echo", *secure)
        assert (status, carried_the_credential(body)) == (200, True)


def test_a_bridge_to_nowhere_says_so(gateway: Gateway) -> None:
    with bridge(gateway, "--socket", "/nonexistent/x.sock", "--listen", "127.0.0.1:0") as url:
        status, body = gateway.curl("http://api.tickets.example/v2/echo", "--proxy", url)
    assert status == 502
    assert "/nonexistent/x.sock: No such file or directory" in body


def test_env_says_where_the_gateway_is(gateway: Gateway) -> None:
    done = gateway.daemon.run("env", "--json", "--runtime-dir", str(gateway.folder))
    variables = json.loads(done.stdout)
    assert variables["PROXYD_GATEWAY_SOCKET"] == gateway.socket
    assert variables["PROXYD_GATEWAY_URL"] == f"http://127.0.0.1:{gateway.port}"
    assert variables["PROXYD_GATEWAY_TOKEN_FILE"] == str(gateway.folder / "gateway.token")
    assert variables["HTTP_PROXY"] == gateway.daemon.url
    assert gateway.token not in done.stdout


def test_exec_bridges_to_a_daemon_that_has_unix_sockets_alone(
    tmp_path_factory: pytest.TempPathFactory, origin: Origin, pki: Pki
) -> None:
    folder = tmp_path_factory.mktemp("ux")
    config = configuration(origin, pki, folder)
    config["listeners"] = [{"name": "socket", "mode": "forward", "address": "unix:forward.sock"}]
    file = folder / "proxyd.yaml"
    file.write_text(yaml.safe_dump(config))
    words = ("curl", "-sS", "https://api.tickets.example/v2/echo")
    done = run_proxyd(folder, "exec", "-c", str(file), "{folders}", "--", *words)
    assert carried_the_credential(done.stdout), done.stderr
