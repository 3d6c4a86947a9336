"""Thresholds of a service across real workers, and what an operator holds."""

import select
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.daemon import Daemon, wait_until

pytestmark = pytest.mark.e2e

REQUEST = b"GET http://slow.example/ HTTP/1.1\r\nHost: slow.example\r\n\r\n"
SECONDS = 10.0
MOST = 3


class Silence:
    """An origin that takes requests and never answers, and who asked for them."""

    def __init__(self) -> None:
        self._sock = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self._sock.getsockname()[1]
        self._held: list[socket.socket] = []

    def ask(self, address: tuple[str, int]) -> bytes:
        """Send a request through the proxy; return the head of a refusal, or nothing once the request is here."""
        client = socket.create_connection(address, SECONDS)
        self._held.append(client)
        client.sendall(REQUEST)
        ready, _, _ = select.select([self._sock, client], [], [], SECONDS)
        assert ready, "neither refused nor admitted"
        if client in ready:
            return client.recv(4096)
        self._held.append(self._sock.accept()[0])
        return b""

    def close(self) -> None:
        for sock in (self._sock, *self._held):
            sock.close()


@pytest.fixture
def silence() -> Iterator[Silence]:
    found = Silence()
    yield found
    found.close()


@pytest.fixture
def daemon(tmp_path: Path, silence: Silence) -> Iterator[Daemon]:
    config = {
        "workers": 2,
        "drain_timeout": "0s",
        "listeners": [{"name": "apps", "mode": "forward", "address": "127.0.0.1:0"}],
        "admin": {"socket": str(tmp_path / "admin.sock")},
        "services": {
            "slow": {
                "hosts": ["slow.example"],
                "base_url": "http://slow.example",
                "insecure": True,
                "endpoints": [f"127.0.0.1:{silence.port}"],
                "breaker": {"max_requests": MOST},
            }
        },
    }
    with Daemon(tmp_path, config, {}) as daemon:
        yield daemon


def test_workers_admit_no_more_than_the_threshold_together_and_forget_what_killed_ones_had(
    daemon: Daemon, silence: Silence
) -> None:
    address = daemon.address()
    for _ in range(2):
        answers = [silence.ask(address) for _ in range(MOST + 2)]
        assert answers[:MOST] == [b""] * MOST
        for refusal in answers[MOST:]:
            assert refusal.startswith(b"HTTP/1.1 503 ")
            assert b"error=connection_limit_reached" in refusal
        former = {worker.pid for worker in daemon.workers()}
        for worker in daemon.workers():
            worker.send_signal(signal.SIGKILL)

        def are_new(former: set[int] = former) -> bool:
            workers = daemon.status()["workers"]
            return len(workers) == 2 and all(one["applied"] and one["pid"] not in former for one in workers)

        wait_until(are_new, "two new workers")


def test_what_an_operator_holds_reaches_workers_that_start_later(daemon: Daemon, silence: Silence) -> None:
    held = daemon.admin.call("breaker", "slow", "open")["held"]
    assert held == ["slow: the breaker is held open by an operator"]
    assert held[0] in daemon.status()["problems"]
    former = {worker.pid for worker in daemon.workers()}
    for worker in daemon.workers():
        worker.kill()
    wait_until(
        lambda: (
            [one["breaker"] for one in daemon.admin.call("endpoints")] == ["forced open"] * 2
            and not former & {one["pid"] for one in daemon.status()["workers"]}
        ),
        "two new workers that hold it open",
    )
    assert b"is held open by an operator" in silence.ask(daemon.address())
    assert daemon.admin.call("breaker", "slow", "auto")["held"] == []
    wait_until(lambda: silence.ask(daemon.address()) == b"", "a request that is let through")
