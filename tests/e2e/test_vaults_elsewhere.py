"""Secrets from a vault elsewhere and from files that kubelet replaces, with a real daemon that is never reloaded."""

import base64
import http.client
import json
import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.lab.daemon import Daemon, wait_until
from tests.lab.openbao import Bao, BaoServer

pytestmark = pytest.mark.e2e


class Vendor:
    """Tells which Authorization field came."""

    def __init__(self) -> None:
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                data = json.dumps({"seen": base64.b64encode(self.headers.get("authorization", "").encode()).decode()})
                self.send_response(200)
                self.send_header("content-length", str(len(data)))
                self.end_headers()
                self.wfile.write(data.encode())

            def log_message(self, *_: Any) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
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


def mounted(folder: Path, number: int, value: str) -> None:
    """Put a value where kubelet's atomic writer puts it: a new folder, and ``..data`` renamed over the old link."""
    (folder / f"..{number}").mkdir(parents=True)
    (folder / f"..{number}" / "token").write_text(value)
    (folder / f"..{number}" / "token").chmod(0o400)
    (folder / "..data_tmp").symlink_to(f"..{number}")
    os.replace(folder / "..data_tmp", folder / "..data")
    if not (folder / "token").is_symlink():
        (folder / "token").symlink_to("..data/token")


def configuration(folder: Path, vendor: Vendor, vault: str) -> dict[str, Any]:
    services = {
        name: {
            "hosts": [f"{name}.example"],
            "base_url": f"http://{name}.example",
            "insecure": True,
            "endpoints": [f"127.0.0.1:{vendor.port}"],
            "auth": {"scheme": "bearer", "secret": f"{name}/secret"},
        }
        for name in ("stored", "mounted")
    }
    services["lent"] = {
        **services["stored"],
        "hosts": ["lent.example"],
        "base_url": "http://lent.example",
        "auth": {"scheme": "basic", "user_secret": "lent/user", "secret": "lent/password"},
    }
    lease = {"from": "company", "lease": "database/creds/ro"}
    return {
        "workers": 2,
        "listeners": [{"name": "apps", "mode": "forward", "address": "127.0.0.1:0"}],
        "admin": {"socket": str(folder / "admin.sock")},
        "access": {"default": "allow"},
        "services": services,
        "vaults": {
            "company": {
                "address": vault,
                "poll": "1s",
                "auth": {"method": "approle", "role_id": "role-1", "secret": "vault/secret-id"},
            }
        },
        "secrets": {
            "stored/secret": {"from": "company", "path": "apps/github", "field": "token"},
            "lent/user": {**lease, "field": "username"},
            "lent/password": {**lease, "field": "password"},
            "mounted/secret": {"file": str(folder / "mount" / "token")},
            "vault/secret-id": {"env": "LAB_SECRET_ID"},
        },
    }


def seen(daemon: Daemon, name: str) -> str:
    connection = http.client.HTTPConnection(*daemon.address(), timeout=20)
    try:
        connection.request("GET", f"http://{name}.example/", headers={"Host": f"{name}.example"})
        response = connection.getresponse()
        body = response.read()
        return base64.b64decode(json.loads(body)["seen"]).decode() if response.status == 200 else str(response.status)
    finally:
        connection.close()


def test_changes_reach_workers_without_a_reload_and_a_stop_gives_back(tmp_path: Path, vendor: Vendor) -> None:
    bao = Bao()
    bao.put("apps/github", token="stored-value-1")
    mounted(tmp_path / "mount", 1, "mounted-value-1")
    with BaoServer(bao) as server:
        values = {"LAB_SECRET_ID": "secret-id-1"}
        with Daemon(tmp_path, configuration(tmp_path, vendor, server.url), values) as daemon:
            assert seen(daemon, "stored") == "Bearer stored-value-1"
            assert seen(daemon, "mounted") == "Bearer mounted-value-1"
            basic = base64.b64encode(b"user-1:password-1").decode()
            assert seen(daemon, "lent") == f"Basic {basic}"
            mounted(tmp_path / "mount", 2, "mounted-value-2")
            bao.put("apps/github", token="stored-value-2")
            wait_until(lambda: seen(daemon, "stored") == "Bearer stored-value-2", "the new version")
            wait_until(lambda: seen(daemon, "mounted") == "Bearer mounted-value-2", "the new file")
            bao.fails = 503
            wait_until(lambda: any("answered 503" in text for text in daemon.status()["problems"]), "the problem")
            assert seen(daemon, "stored") == "Bearer stored-value-2"
            bao.fails = 0
            assert len(bao.leases) == 1
        assert (bao.tokens, bao.leases) == ({}, {})
    log = (tmp_path / "stderr.log").read_text()
    assert not any(text in log for text in ("stored-value", "password-1", "secret-id-1", "hvs.token"))
