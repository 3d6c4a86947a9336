"""Limits, quotas and the cache with a real daemon: the origin's count is the judge."""

import concurrent.futures
import http.client
import http.server
import random
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.lab.daemon import Daemon, wait_until

pytestmark = pytest.mark.e2e

QUOTA = 40


class Vendor:
    """Counts what it is asked; answers may be kept for an hour."""

    def __init__(self) -> None:
        self.paths: list[str] = []
        self.times: list[float] = []
        self.fails = False
        vendor = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                vendor.paths.append(self.path)
                vendor.times.append(time.monotonic())
                self.send_response(503 if vendor.fails else 200)
                age = self.path.partition("age=")[2]
                self.send_header("cache-control", f"max-age={age}" if age else "no-store")
                self.send_header("content-length", "2")
                self.end_headers()
                self.wfile.write(b"ok")

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


def service(vendor: Vendor, **more: Any) -> dict[str, Any]:
    return {
        "base_url": "http://vendor.example",
        "insecure": True,
        "endpoints": [f"127.0.0.1:{vendor.port}"],
        "retry": {"attempts": 1},
        **more,
    }


@pytest.fixture
def daemon(tmp_path: Path, vendor: Vendor) -> Iterator[Daemon]:
    config = {
        "workers": 2,
        "listeners": [{"name": "apps", "mode": "forward", "address": "127.0.0.1:0"}],
        "admin": {"socket": str(tmp_path / "admin.sock")},
        "store": {"url": "sqlite:state.db"},
        "services": {
            "queued": service(
                vendor,
                hosts=["queued.example"],
                base_url="http://queued.example",
                limits=[{"name": "second", "window": "5/1s", "mode": "queue", "max_wait": "30s"}],
            ),
            "refused": service(
                vendor,
                hosts=["refused.example"],
                base_url="http://refused.example",
                limits=[
                    {"name": "caller", "scope": ["caller", "service"], "rate": "1/m", "burst": 3, "mode": "reject"}
                ],
            ),
            "quota": service(
                vendor,
                hosts=["quota.example"],
                base_url="http://quota.example",
                limits=[{"name": "month", "quota": f"{QUOTA}/month", "time_zone": "UTC", "warn": ["80%", "95%"]}],
            ),
            "cached": service(
                vendor,
                hosts=["cached.example"],
                base_url="http://cached.example",
                cache={"enabled": True, "stale_if_error": "10m"},
            ),
        },
    }
    with Daemon(tmp_path, config, {}) as running:
        yield running


def get(address: tuple[str, int], host: str, path: str = "/") -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection(*address, timeout=30)
    try:
        connection.request("GET", f"http://{host}{path}", headers={"Host": host})
        response = connection.getresponse()
        response.read()
        return response
    finally:
        connection.close()


def statuses(daemon: Daemon, host: str, count: int, threads: int = 8) -> list[int]:
    address = daemon.address()
    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        return list(pool.map(lambda _: get(address, host).status, range(count)))


def test_a_queue_keeps_a_window_whoever_waits_and_refuses_nobody(daemon: Daemon, vendor: Vendor) -> None:
    assert statuses(daemon, "queued.example", 16, threads=16) == [200] * 16
    times = sorted(vendor.times)
    for first, sixth in zip(times, times[5:], strict=False):
        assert sixth - first >= 0.98  # the vendor's clock ticks when it has parsed the request


def test_beyond_a_rate_the_answer_is_429_and_says_when(daemon: Daemon, vendor: Vendor) -> None:
    found = statuses(daemon, "refused.example", 10)
    assert found.count(200) == 3
    assert found.count(429) == 7
    assert len(vendor.paths) == 3
    refusal = get(daemon.address(), "refused.example")
    assert refusal.status == 429
    assert 1 <= int(refusal.headers["retry-after"]) <= 60
    assert refusal.headers["ratelimit-policy"] == '"caller";q=3;w=180'
    assert refusal.headers["ratelimit"].startswith('"caller";r=0;t=')
    rows = {row["limit"]: row for row in daemon.admin.call("limits")}
    assert rows["caller"]["refused"] == 8


def test_a_quota_is_exact_across_workers_and_kills(daemon: Daemon, vendor: Vendor) -> None:
    answered = 0
    for _ in range(3):
        answered += statuses(daemon, "quota.example", 8).count(200)
        victim: psutil.Process = random.choice([daemon.control(), *daemon.workers()])
        victim.send_signal(signal.SIGKILL)
        wait_until(lambda: is_whole(daemon), "workers and control that answer")
    answered += statuses(daemon, "quota.example", 3 * QUOTA).count(200)
    assert answered <= len(vendor.paths) <= QUOTA
    assert get(daemon.address(), "quota.example").status == 429
    row = daemon.admin.call("quotas")[0]
    rows = {one["limit"]: one for one in daemon.admin.call("limits")}
    assert rows["month"]["remaining"] == row["remaining"] == 0
    assert rows["month"]["exhausted"] == pytest.approx(time.time(), abs=60)
    assert time.strftime("%Y-%m-", time.localtime()) in daemon.run("limits").stdout
    assert row["used"] >= len(vendor.paths), "what killed members held is lost, and nothing is forgotten"
    daemon.run("quota", "reset", "quota", "month")
    wait_until(lambda: get(daemon.address(), "quota.example").status == 200, "a request of the new period")


def is_whole(daemon: Daemon) -> bool:
    try:
        workers = daemon.status()["workers"]
    except (OSError, AssertionError):
        return False
    return len(workers) == 2 and all(worker["applied"] for worker in workers)


def test_misses_of_one_thing_at_a_time_ask_once_for_each_worker(daemon: Daemon, vendor: Vendor) -> None:
    address = daemon.address()
    with concurrent.futures.ThreadPoolExecutor(50) as pool:
        found = list(pool.map(lambda _: get(address, "cached.example", "/x?age=60"), range(200)))
    assert {response.status for response in found} == {200}
    assert 1 <= len(vendor.paths) <= 2
    assert any("hit" in response.headers["cache-status"] for response in found)
    assert sum(row["entries"] for row in daemon.admin.call("caches")) == len(vendor.paths)
    assert daemon.run("cache", "purge", "cached", "--path", "/x").returncode == 0
    get(address, "cached.example", "/x?age=60")
    assert len(vendor.paths) >= 2


def test_a_stale_answer_stands_in_for_a_vendor_that_fails(daemon: Daemon, vendor: Vendor) -> None:
    address = daemon.address()

    def both(path: str) -> list[http.client.HTTPResponse]:
        return [get(address, "cached.example", path) for _ in range(8)]

    both("/y?age=1")
    vendor.fails = True
    wait_until(lambda: len(set(vendor.paths[8:])) >= 0 and time.monotonic() - vendor.times[-1] > 1.1, "its end")
    assert 200 in {response.status for response in both("/y?age=1")}
