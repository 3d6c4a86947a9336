"""proxyd keeps to a vendor's own limits, as its answers tell of them."""

import http.client
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.lab.daemon import Daemon
from tests.lab.vendor import Vendor, delta_fields, epoch_fields, structured_fields

pytestmark = pytest.mark.e2e

KEY = "sk-live-41f0"


def configuration(folder: Path, vendor: Vendor, workers: int, **limits: Any) -> dict[str, Any]:
    return {
        "workers": workers,
        "drain_timeout": "0s",
        "listeners": [{"name": "apps", "mode": "forward", "address": "127.0.0.1:0"}],
        "admin": {"socket": str(folder / "admin.sock")},
        "services": {
            "vendor": {
                "hosts": ["vendor.example"],
                "base_url": "http://vendor.example",
                "insecure": True,
                "endpoints": [f"127.0.0.1:{vendor.port}"],
                "auth": {"scheme": "bearer", "secret": "vendor/key"},
                "vendor_limits": limits,
            }
        },
        "secrets": {"vendor/key": {"env": "VENDOR_KEY"}},
        "telemetry": {"access_log": {"path": str(folder / "access.jsonl")}},
    }


def start(folder: Path, vendor: Vendor, workers: int = 1, **limits: Any) -> Daemon:
    return Daemon(folder, configuration(folder, vendor, workers, **limits), {"VENDOR_KEY": KEY})


def ask(daemon: Daemon, path: str = "/") -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection(*daemon.address(), timeout=30)
    try:
        connection.request("GET", f"http://vendor.example{path}")
        response = connection.getresponse()
        return response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()
    finally:
        connection.close()


def swarm(clients: int, act: Callable[[], None]) -> None:
    threads = [threading.Thread(target=act, daemon=True) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("tell", [epoch_fields, delta_fields, structured_fields])
def test_nobody_sees_a_429_and_the_window_is_used(tmp_path: Path, workers: int, tell: Any) -> None:
    with Vendor(60, 3.0, tell, delay=0.005) as vendor, start(tmp_path, vendor, workers) as daemon:
        statuses: list[int] = []

        def act() -> None:
            statuses.extend(ask(daemon)[0] for _ in range(12))

        swarm(10, act)
        assert statuses == [200] * 120
        assert vendor.refused == 0
        assert vendor.windows[0] >= 57, "at least 95 % of the first window"
