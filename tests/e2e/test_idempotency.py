"""Idempotency keys across processes that are killed: the vendor's ledger never has a key twice."""

import collections
import contextlib
import http.client
import http.server
import json
import random
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.e2e.test_survival import answers
from tests.lab.daemon import Daemon, pause, wait_until

pytestmark = pytest.mark.e2e

ROUNDS = 50
CLIENTS = 4


class Vendor:
    """An origin that does what it is asked as often as it is asked, a little slowly, and keeps count."""

    def __init__(self) -> None:
        self.done: collections.Counter[str] = collections.Counter()
        vendor = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                vendor.done[json.loads(body)["order"]] += 1
                pause(random.uniform(0, 0.02))
                answer = json.dumps({"order": json.loads(body)["order"], "at": time.time()}).encode()
                with contextlib.suppress(OSError):
                    self.send_response(201)
                    self.send_header("content-type", "application/json")
                    self.send_header("content-length", str(len(answer)))
                    self.end_headers()
                    self.wfile.write(answer)

            def log_message(self, *_: Any) -> None: ...

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        self._thread = threading.Thread(target=self.server.serve_forever, args=(0.05,))

    def __enter__(self) -> "Vendor":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self._thread.join()
        self.server.server_close()


@pytest.fixture
def vendor() -> Iterator[Vendor]:
    with Vendor() as running:
        yield running


def config(vendor: Vendor, folder: Path, workers: int) -> dict[str, Any]:
    host = f"127.0.0.1:{vendor.port}"
    return {
        "listeners": [{"name": "apps", "mode": "forward", "address": f"unix:{folder / 'apps.sock'}"}],
        "admin": {"socket": str(folder / "admin.sock")},
        "workers": workers,
        "egress": {"allow": ["127.0.0.0/8"], "ports": ["*"]},
        "services": {"pay": {"hosts": [host], "base_url": f"http://{host}", "insecure": True, "idempotency": {}}},
        "telemetry": {"access_log": {"path": str(folder / "access.jsonl")}},
    }


class Client(http.client.HTTPConnection):
    """A connection by the Unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("proxyd", timeout=20)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(20)
        self.sock.connect(str(self._path))


def post(folder: Path, vendor: Vendor, key: str, order: str, pad: int = 0) -> tuple[int, dict[str, str], bytes]:
    """Ask once. OSError, HTTPException."""
    client = Client(folder / "apps.sock")
    try:
        body = json.dumps({"order": order, "pad": "x" * pad})
        client.request("POST", f"http://127.0.0.1:{vendor.port}/orders", body, {"idempotency-key": key})
        answer = client.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    finally:
        client.close()


def test_a_repeat_gets_the_first_answer_and_another_request_under_the_key_is_refused(
    tmp_path: Path, vendor: Vendor
) -> None:
    with Daemon(tmp_path, config(vendor, tmp_path, 2), {}) as daemon:
        status, first_headers, body = post(tmp_path, vendor, "k1", "a")
        again_status, headers, again = post(tmp_path, vendor, "k1", "a")
        assert (status, body) == (again_status, again)
        assert (first_headers.get("idempotency-replayed"), headers["idempotency-replayed"]) == (None, "true")
        assert post(tmp_path, vendor, "k1", "b")[0] == 422
        assert post(tmp_path, vendor, "k2", "c", pad=70_000)[0] == 413
        assert vendor.done == {"a": 1}
        entries = daemon.wait_for_log(4)
        assert sorted(entry["origin"] for entry in entries) == ["cache", "proxyd", "proxyd", "upstream"]
        assert "IK" in {entry["flags"] for entry in entries if entry["status"] == 422}
        daemon.control().kill()
        wait_until(lambda: post(tmp_path, vendor, "k1", "a")[2] == body, "the answer from a new control process")
    with Daemon(tmp_path, config(vendor, tmp_path, 1), {}):
        assert post(tmp_path, vendor, "k1", "a")[2] == body
    assert vendor.done == {"a": 1}


class Shop:
    """Clients that repeat an order until they have an answer, or are told that its outcome is unknown."""

    def __init__(self, folder: Path, vendor: Vendor) -> None:
        self.folder = folder
        self.vendor = vendor
        self.stop = threading.Event()
        self.outcomes: collections.Counter[str] = collections.Counter()
        self.refusals: collections.Counter[int] = collections.Counter()
        self.answers: dict[str, set[bytes]] = collections.defaultdict(set)
        self.threads = [threading.Thread(target=self.buy, args=(number,)) for number in range(CLIENTS)]

    def buy(self, number: int) -> None:
        turn = 0
        while not self.stop.is_set():
            turn += 1
            self.outcomes[self.order(f"{number}-{turn}")] += 1

    def wait_for_more(self) -> None:
        """Wait until something was answered, in between the kills."""
        before = self.outcomes.total()
        wait_until(lambda: self.outcomes.total() > before + 1, f"an answer; so far {self.outcomes}, {self.refusals}")

    def order(self, order: str) -> str:
        """Place one order, as often as it takes, and once more."""
        ends: list[str] = []
        while len(ends) < 2:
            try:
                status, headers, body = post(self.folder, self.vendor, f"key-{order}", order)
            except (OSError, http.client.HTTPException):
                if self.stop.is_set():
                    return "stopped"
                pause(0.02)
                continue
            if status == 201:
                self.answers[order].add(body)
                ends.append("answered")
            elif status == 409 and "retry-after" not in headers:
                ends.append("unknown")
            elif self.stop.is_set():
                return "stopped"
            else:
                self.refusals[status] += 1
                pause(0.02)
        return ends[-1]


def family(daemon: Daemon) -> list[psutil.Process]:
    """Supervisor first; processes that end meanwhile are looked for again."""
    while True:
        with contextlib.suppress(psutil.NoSuchProcess):
            return daemon.processes()


def kill(process: psutil.Process) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        process.kill()


@pytest.mark.slow
def test_fifty_kills_of_workers_control_and_all_double_no_side_effect(tmp_path: Path, vendor: Vendor) -> None:
    seed = random.randrange(2**32)
    rng = random.Random(seed)
    shop = Shop(tmp_path, vendor)
    for thread in shop.threads:
        thread.start()
    try:
        left = ROUNDS
        while left:
            with Daemon(tmp_path, config(vendor, tmp_path, 2), {}) as daemon:
                while left:
                    left -= 1
                    shop.wait_for_more()
                    pause(rng.uniform(0, 0.05))
                    if rng.random() < 0.3:
                        for process in family(daemon):
                            kill(process)
                        daemon.process.wait()
                        break
                    children = family(daemon)[1:]
                    if children:
                        kill(rng.choice(children))
                else:
                    wait_until(lambda: answers(daemon, 0), "control to answer", 20)
                    pause(1.0)
                    shop.stop.set()
                    for thread in shop.threads:
                        thread.join(30)
    finally:
        shop.stop.set()
        for thread in shop.threads:
            thread.join(30)
    twice = {order: count for order, count in vendor.done.items() if count > 1}
    assert not twice, f"seed {seed}"
    assert shop.outcomes["answered"] >= ROUNDS, f"seed {seed}: {shop.outcomes}"
    torn = {order: answers for order, answers in shop.answers.items() if len(answers) > 1}
    assert set(shop.refusals) <= {409, 502, 503}, f"seed {seed}: {shop.refusals}"
    assert not torn, f"seed {seed}: one order, two answers"
    assert all(order in vendor.done for order in shop.answers), f"seed {seed}: an answer to what was never done"
