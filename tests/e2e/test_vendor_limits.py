"""proxyd keeps to a vendor's own limits, as its answers tell of them."""

import http.client
import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.lab.daemon import Daemon, wait_until
from tests.lab.vendor import Vendor, delta_fields, epoch_fields, no_fields, structured_fields

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


def ask(daemon: Daemon, path: str = "/", host: str = "vendor.example") -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection(*daemon.address(), timeout=30)
    try:
        connection.request("GET", f"http://{host}{path}")
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


def limits(daemon: Daemon) -> dict[str, Any]:
    rows: list[dict[str, Any]] = daemon.admin.call("limits")
    assert [row["limit"] for row in rows] == ["vendor"]
    return rows[0]


def test_a_reset_beyond_the_longest_wait_is_a_429_in_proxyds_own_words(tmp_path: Path) -> None:
    with Vendor(3, 600.0, epoch_fields) as vendor, start(tmp_path, vendor, max_wait="1s") as daemon:
        assert [ask(daemon)[0] for _ in range(3)] == [200] * 3
        status, headers, body = ask(daemon)
        assert status == 429
        assert 595 <= int(headers["retry-after"]) <= 602
        assert "used up" in json.loads(body)["detail"]
        assert (vendor.answered, vendor.refused) == (3, 0)
        row = limits(daemon)
        assert (row["remaining"], row["refused"], row["refusals"]) == (0, 1, 0)
        assert row["scope"] == ["vendor/key"]
        assert row["allows"] == "3, as the vendor tells"
        assert sum(row["spenders"].values()) == 3
        wait_until(lambda: len((tmp_path / "access.jsonl").read_text().splitlines()) == 4, "four records")
        flags = [json.loads(line)["flags"] for line in (tmp_path / "access.jsonl").read_text().splitlines()]
        assert flags == ["", "", "", "VL,RL"]


def test_in_mode_reject_nothing_waits(tmp_path: Path) -> None:
    with Vendor(3, 600.0, delta_fields) as vendor, start(tmp_path, vendor, mode="reject") as daemon:
        assert [ask(daemon)[0] for _ in range(5)] == [200] * 3 + [429] * 2
        assert vendor.refused == 0


@pytest.mark.parametrize("workers", [1, 2])
def test_after_a_refusal_everybody_waits_as_long_as_the_vendor_says(tmp_path: Path, workers: int) -> None:
    with Vendor(1000, 600.0, no_fields) as vendor, start(tmp_path, vendor, workers) as daemon:
        assert [ask(daemon)[0] for _ in range(4)] == [200] * 4
        vendor.refuse_next = "2"
        before = time.monotonic()
        assert ask(daemon)[0] == 429
        statuses: list[int] = []
        swarm(8, lambda: statuses.append(ask(daemon)[0]))
        assert time.monotonic() - before >= 2.0
        assert statuses == [200] * 8
        assert vendor.refused == 1


def test_a_secondary_limit_is_known_by_its_words(tmp_path: Path) -> None:
    with Vendor(1000, 600.0, no_fields) as vendor:
        config = configuration(tmp_path, vendor, 1)
        config["services"]["github"] = config["services"].pop("vendor")
        vendor.refusal = (403, {}, b'{"message":"You have exceeded a secondary rate limit."}')
        with Daemon(tmp_path, config, {"VENDOR_KEY": KEY}) as daemon:
            assert ask(daemon)[0] == 200
            vendor.refuse_next = "1"
            status, _, body = ask(daemon)
            assert (status, b"secondary" in body) == (403, True), "what the vendor says reaches the application"
            before = time.monotonic()
            assert ask(daemon)[0] == 200
            assert time.monotonic() - before >= 0.5


def test_a_vendor_that_tells_nothing_is_not_waited_for(tmp_path: Path) -> None:
    with Vendor(10_000, 600.0, no_fields) as vendor, start(tmp_path, vendor, 2) as daemon:
        statuses: list[int] = []
        swarm(10, lambda: statuses.extend(ask(daemon)[0] for _ in range(10)))
        assert statuses == [200] * 100
        assert limits(daemon)["allows"] == "nothing was told yet"


@pytest.mark.parametrize("workers", [1, 2])
def test_services_that_share_a_credential_share_its_window_and_the_lower_class_leaves_some(
    tmp_path: Path, workers: int
) -> None:
    with Vendor(10, 600.0, epoch_fields) as vendor:
        config = configuration(tmp_path, vendor, workers, reserve="20%", max_wait="1s")
        low = dict(config["services"]["vendor"], priority_class="low")
        high = dict(low, priority_class="high", hosts=["high.example"], base_url="http://high.example")
        config["services"] = {"low": low, "high": high}
        with Daemon(tmp_path, config, {"VENDOR_KEY": KEY}) as daemon:
            assert [ask(daemon)[0] for _ in range(8)] == [200] * 6 + [429] * 2
            assert [ask(daemon, host="high.example")[0] for _ in range(5)] == [200] * 4 + [429]
            assert (vendor.answered, vendor.refused) == (10, 0)
