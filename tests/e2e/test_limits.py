"""Limits, quotas and the cache with a real daemon: the origin's count is the judge."""

import base64
import concurrent.futures
import contextlib
import http.client
import http.server
import random
import signal
import socket
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
        self.hold = threading.Event()
        """Answers wait for it."""
        self.hold.set()
        vendor = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                vendor.paths.append(self.path)
                vendor.times.append(time.monotonic())
                vendor.hold.wait(20)
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


# --- other kinds, in one daemon -------------------------------------------------------------------


@pytest.fixture
def various(tmp_path: Path, vendor: Vendor) -> Iterator[Daemon]:
    def limited(host: str, *limits: dict[str, Any]) -> dict[str, Any]:
        return service(vendor, hosts=[host], base_url=f"http://{host}", limits=list(limits))

    users = [{"name": "ann", "secret": "proxy/ann"}, {"name": "bob", "secret": "proxy/bob"}]
    config = {
        "workers": 1,
        "listeners": [
            {"name": "apps", "mode": "forward", "address": "127.0.0.1:0"},
            {"name": "known", "mode": "forward", "address": "127.0.0.1:0", "users": users},
        ],
        "secrets": {"proxy/ann": {"env": "ANN"}, "proxy/bob": {"env": "BOB"}},
        "admin": {"socket": str(tmp_path / "admin.sock")},
        "access": {"default": "allow"},
        "services": {
            "paced": limited("paced.example", {"name": "even", "rate": "20/s", "burst": 20, "mode": "pace"}),
            "several": limited(
                "several.example",
                {"name": "short", "window": "4/1s", "mode": "queue"},
                {"name": "long", "window": "6/1h", "mode": "reject"},
            ),
            "dear": limited(
                "dear.example",
                {
                    "name": "cost", "rate": "1/m", "burst": 12,
                    "costs": [{"methods": ["GET"], "path": "/export", "tokens": 10}],
                },
            ),
            "few": limited("few.example", {"name": "at-once", "concurrency": 1, "mode": "reject"}),
            "personal": limited("personal.example", {"name": "each", "scope": ["caller"], "rate": "1/m", "burst": 2}),
            "cached": service(
                vendor, hosts=["cached.example"], base_url="http://cached.example", cache={"enabled": True}
            ),
            "kept": limited("kept.example", {"name": "day", "quota": "5/day"}),
        },
    }  # fmt: skip
    with Daemon(tmp_path, config, {"ANN": "ann-password", "BOB": "bob-password"}) as running:
        yield running


def test_pace_lets_a_crowd_out_evenly(various: Daemon, vendor: Vendor) -> None:
    assert statuses(various, "paced.example", 10, threads=10) == [200] * 10
    times = sorted(vendor.times)
    assert times[-1] - times[0] >= 9 * 0.05 - 0.03  # 20 a second


def test_several_limits_hold_together_and_a_refusal_by_one_costs_the_others_nothing(
    various: Daemon, vendor: Vendor
) -> None:
    found = statuses(various, "several.example", 9, threads=9)
    assert (found.count(200), found.count(429)) == (6, 3)
    assert len(vendor.times) == 6
    times = sorted(vendor.times)
    assert times[4] - times[0] >= 0.98


def test_dear_requests_cost_more(various: Daemon) -> None:
    address = various.address()
    assert get(address, "dear.example", "/export/all").status == 200
    assert [get(address, "dear.example").status for _ in range(3)] == [200, 200, 429]
    refused = get(address, "dear.example", "/export/all")
    assert (refused.status, refused.headers["ratelimit-policy"]) == (429, '"cost";q=12;w=720')


def test_users_of_the_proxy_are_counted_by_their_names(various: Daemon) -> None:
    address = various.address("known")

    def ask(user: str) -> int:
        connection = http.client.HTTPConnection(*address, timeout=30)
        proof = base64.b64encode(f"{user}:{user}-password".encode()).decode()
        fields = {"Host": "personal.example", "Proxy-Authorization": f"Basic {proof}"}
        try:
            connection.request("GET", "http://personal.example/", headers=fields)
            return connection.getresponse().status
        finally:
            connection.close()

    assert [ask("ann") for _ in range(3)] == [200, 200, 429]
    assert [ask("bob") for _ in range(3)] == [200, 200, 429]


def test_a_reload_and_an_upgrade_forget_nothing_of_a_quota(various: Daemon, vendor: Vendor) -> None:
    assert statuses(various, "kept.example", 3, threads=1) == [200] * 3
    various.write(various.config | {"limits": {"head_timeout": "11s"}})
    various.reload()
    assert statuses(various, "kept.example", 1, threads=1) == [200]
    assert various.run("upgrade").returncode == 0
    assert statuses(various, "kept.example", 4, threads=1) == [200, 429, 429, 429]
    assert len(vendor.paths) == 5


@pytest.mark.parametrize("workers", [1, 2])
def test_a_thousand_misses_of_one_thing_at_a_time_are_one_request_of_each_worker(
    various: Daemon, vendor: Vendor, workers: int
) -> None:
    if workers > 1:
        various.write(various.config | {"workers": workers})
        various.reload()
        wait_until(lambda: is_whole(various), "a second worker")
    address = various.address()
    request = b"GET http://cached.example/one?age=60 HTTP/1.1\r\nHost: cached.example\r\nConnection: close\r\n\r\n"
    vendor.hold.clear()
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(socket.create_connection(address, 30)) for _ in range(1000)]
        for client in clients:
            client.sendall(request)
        wait_until(lambda: len(vendor.paths) == workers and under_way(various) >= 1000, "all requests to be under way")
        vendor.hold.set()
        for client in clients:
            answer = b""
            while piece := client.recv(4096):
                answer += piece
            assert answer.startswith(b"HTTP/1.1 200 ")
    assert len(vendor.paths) == workers


def under_way(daemon: Daemon) -> int:
    return sum(worker["connections"] for worker in daemon.status()["workers"])
