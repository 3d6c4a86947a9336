"""Tokens with a real daemon: an issuer, a vendor that takes its newest token alone, and clients that hold nothing."""

import concurrent.futures
import http.client
import http.server
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from tests.lab.daemon import PROXYD, AdminError, Daemon, environment, wait_until
from tests.lab.issuer import Issuer

pytestmark = pytest.mark.e2e
HOST = "vendor.example"


class Vendor:
    """Answers 200 to bearers of accepted tokens, else 401."""

    def __init__(self) -> None:
        self.accepted: set[str] = set()
        self.statuses: list[int] = []
        self.challenge = ""
        vendor = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                good = self.headers.get("authorization", "").removeprefix("Bearer ") in vendor.accepted
                vendor.statuses.append(200 if good else 401)
                self.send_response(vendor.statuses[-1])
                if not good and vendor.challenge:
                    self.send_header("www-authenticate", vendor.challenge)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None: ...

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def vendor() -> Iterator[Vendor]:
    made = Vendor()
    yield made
    made.close()


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    with Issuer() as made:
        yield made


def definition(folder: Path, issuer: Issuer, flow: str) -> str:
    """Write a definition of one's own, and return its path."""
    fields = ["client_id", "client_secret", *(["refresh_token"] if flow == "refresh_token" else [])]
    if flow == "challenge":
        fields = ["user", "token"]
    document = {
        "name": "lab-vendor",
        "title": "A vendor of the lab",
        "category": "other",
        "hosts": [HOST],
        "base_url": f"http://{HOST}",
        "fields": {name: {"title": name} for name in fields},
        "schemes": [
            {
                "name": "oauth",
                "fields": fields,
                "token": {"flow": flow, "url": issuer.url, "hosts": ["localhost"], "realms": ["localhost"]},
                **({"connect": {"device_url": issuer.device_url}} if flow == "refresh_token" else {}),
                "apply": [{"scheme": "challenge" if flow == "challenge" else "bearer", "secret": "access_token"}],
            }
        ],
        "probe": {"path": "/"},
        "documentation": ["https://vendor.example/docs"],
    }
    path = folder / "lab-vendor.yaml"
    path.write_text(yaml.safe_dump(document, sort_keys=False))
    return str(path)


def configuration(folder: Path, vendor: Vendor, issuer: Issuer, flow: str = "client_credentials") -> dict[str, Any]:
    secret = {"client_id": "lab/id", "client_secret": "lab/secret"}
    if flow == "refresh_token":
        secret["refresh_token"] = "lab/refresh"
    if flow == "challenge":
        secret = {"user": "lab/id", "token": "lab/secret"}
    return {
        "workers": 2,
        "listeners": [{"name": "apps", "mode": "forward", "address": "127.0.0.1:0"}],
        "admin": {"socket": str(folder / "admin.sock")},
        "access": {"default": "allow"},
        "catalogue": [definition(folder, issuer, flow)],
        "services": {
            "lab": {
                "use": "lab-vendor",
                "secret": secret,
                "insecure": True,
                "endpoints": [f"127.0.0.1:{vendor.port}"],
                "retry": {"attempts": 1},
            }
        },
        "secrets": {"lab/id": {"env": "LAB_ID"}, "lab/secret": {"env": "LAB_SECRET"}},
    }


VALUES = {"LAB_ID": "id-of-the-lab", "LAB_SECRET": "secret-of-the-lab"}


def ask(address: tuple[str, int], body: bytes = b"hello") -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(*address, timeout=40)
    try:
        connection.request("POST", f"http://{HOST}/", body, {"Host": HOST})
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def test_a_revoked_token_is_renewed_once_for_all_who_met_it(tmp_path: Path, vendor: Vendor, issuer: Issuer) -> None:
    with Daemon(tmp_path, configuration(tmp_path, vendor, issuer), VALUES) as daemon:
        address = daemon.address()
        vendor.accepted = {"access-token-number-1"}
        assert ask(address) == (200, b"hello")
        vendor.accepted = {"access-token-number-2"}  # long before the first one is over
        with concurrent.futures.ThreadPoolExecutor(20) as pool:
            found = list(pool.map(lambda _: ask(address), range(20)))
        assert set(found) == {(200, b"hello")}
        assert len(issuer.asked) == 2
        assert b"secret-of-the-lab" not in (tmp_path / "stderr.log").read_bytes()


def test_a_valid_token_serves_while_the_issuer_is_away_and_status_says_so(
    tmp_path: Path, vendor: Vendor, issuer: Issuer
) -> None:
    issuer.life = 4
    with Daemon(tmp_path, configuration(tmp_path, vendor, issuer), VALUES) as daemon:
        address = daemon.address()
        vendor.accepted = {"access-token-number-1"}
        assert ask(address)[0] == 200
        issuer.fails = 1000
        wait_until(lambda: len(issuer.asked) >= 2, "a renewal that fails")
        assert ask(address)[0] == 200
        wait_until(lambda: any("temporarily_unavailable" in text for text in daemon.status()["problems"]), "the word")
        vendor.accepted = set()
        wait_until(lambda: ask(address)[0] == 500, "the token's end")
        issuer.fails = 0
        issuer.life = 3600
        vendor.accepted = {"access-token-number-2"}
        wait_until(lambda: ask(address)[0] == 200, "another token")


def test_requests_wait_for_the_first_token(tmp_path: Path, vendor: Vendor, issuer: Issuer) -> None:
    issuer.hold.clear()
    vendor.accepted = {"access-token-number-1"}
    with Daemon(tmp_path, configuration(tmp_path, vendor, issuer), VALUES) as daemon:
        address = daemon.address()
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            waiting = [pool.submit(ask, address) for _ in range(4)]
            issuer.hold.set()
            assert {each.result() for each in waiting} == {(200, b"hello")}
    assert vendor.statuses == [200] * 4


def described(daemon: Daemon) -> tuple[str, ...]:
    """Return what ``tokens`` says of the only one."""
    (row,) = daemon.admin.call("tokens")
    return tuple(row[name] for name in ("service", "state", "from", "problem"))


def is_replaced(daemon: Daemon, former: psutil.Process) -> bool:
    """Whether another control answers."""
    try:
        return daemon.control() != former
    except (OSError, AdminError):
        return False


def test_a_rotated_refresh_token_outlives_a_kill(tmp_path: Path, vendor: Vendor, issuer: Issuer) -> None:
    config = configuration(tmp_path, vendor, issuer, "refresh_token")
    folders = ["--state-dir", str(tmp_path / "state"), "--runtime-dir", str(tmp_path / "run")]
    stored = subprocess.run(
        [PROXYD, "secret", "set", "lab/refresh", *folders], input=b"refresh-0\n", env=environment(tmp_path), check=False
    )
    assert stored.returncode == 0
    with Daemon(tmp_path, config, VALUES) as daemon:
        vendor.accepted = {"access-token-number-1"}
        assert ask(daemon.address())[0] == 200
        for number in (2, 3):
            former = daemon.control()
            former.send_signal(signal.SIGKILL)
            wait_until(lambda former=former: is_replaced(daemon, former), "another control")  # type: ignore[misc]
            wait_until(lambda: ask(daemon.address())[0] == 200, "the token that the store kept")
            wait_until(lambda: described(daemon) == ("lab", "fresh", "store", ""), "what the store kept")
            assert len(issuer.asked) == number - 1
            vendor.accepted = {f"access-token-number-{number}"}
            wait_until(lambda: ask(daemon.address())[0] == 200, "a new token")
            assert issuer.refresh == f"refresh-{number}"
            wait_until(lambda: described(daemon) == ("lab", "fresh", "issuer", ""), "what the issuer gave")
    assert [form["refresh_token"] for form in issuer.asked] == ["refresh-0", "refresh-1", "refresh-2"]


def test_consent_that_is_had_while_the_daemon_runs_serves_at_once(
    tmp_path: Path, vendor: Vendor, issuer: Issuer
) -> None:
    issuer.device["interval"] = 0.1
    with Daemon(tmp_path, configuration(tmp_path, vendor, issuer, "refresh_token"), VALUES) as daemon:
        wait_until(lambda: any("proxyd connect lab" in text for text in daemon.status()["problems"]), "the advice")
        assert ask(daemon.address())[0] == 500
        done = daemon.run("connect", "lab", "--json")
        assert done.returncode == 0, done.stderr
        assert '"stored":["lab/refresh"]' in done.stdout
        vendor.accepted = {"access-token-number-2"}
        wait_until(lambda: ask(daemon.address())[0] == 200, "the token that the consent led to")
        assert issuer.refresh not in done.stdout + done.stderr


def test_a_challenge_is_answered_once_for_all_workers(tmp_path: Path, vendor: Vendor, issuer: Issuer) -> None:
    vendor.challenge = f'Bearer realm="{issuer.realm}",service="lab",scope="repository:a/b:pull"'
    vendor.accepted = {"access-token-number-1"}
    with Daemon(tmp_path, configuration(tmp_path, vendor, issuer, "challenge"), VALUES) as daemon:
        address = daemon.address()
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            assert set(pool.map(lambda _: ask(address), range(40))) == {(200, b"hello")}
        (asked,) = issuer.asked
        assert (asked["service"], asked["scope"]) == ("lab", "repository:a/b:pull")
        assert asked["authorization"] == "Basic aWQtb2YtdGhlLWxhYjpzZWNyZXQtb2YtdGhlLWxhYg=="
        assert vendor.statuses.count(200) == 40
        vendor.challenge = 'Bearer realm="http://elsewhere.example/t",service="lab",scope="s"'
        vendor.accepted = set()
        assert ask(address)[0] == 401, "another realm gets nothing, and the client the vendor's own answer"
        wait_until(lambda: any("elsewhere.example" in text for text in daemon.status()["problems"]), "the word on it")
        assert len(issuer.asked) == 1
