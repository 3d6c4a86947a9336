"""Faults injected into a real daemon, as curl and the access log see them."""

import json
import time
from collections.abc import Iterator

import pytest

from tests.lab.curl import curl, fetch
from tests.lab.daemon import Daemon, wait_until
from tests.lab.origin import BASE_URL

pytestmark = pytest.mark.e2e

CURL_PARTIAL = 18
CURL_RECEIVE = 56
CURL_STREAM = 92
"""Of HTTP/2 alone."""
STATUS = ("-o", "/dev/null", "-w", "%{http_code}")


@pytest.fixture
def faulty(daemon: Daemon) -> Iterator[Daemon]:
    """A daemon that is left without faults."""
    yield daemon
    daemon.run("fault", "clear")


def add(daemon: Daemon, *words: str) -> str:
    done = daemon.run("fault", "add", "--service", "tickets", *words)
    assert done.returncode == 0, done.stderr
    return str(done.stdout).strip()


def rows(daemon: Daemon) -> list[dict[str, object]]:
    return list(json.loads(daemon.run("fault", "list", "--json").stdout))


def status(daemon: Daemon, path: str = "/echo", *options: str) -> str:
    return curl(daemon, BASE_URL + path, *STATUS, *options).stdout


def entry(daemon: Daemon, path: str, flags: str) -> dict[str, object]:
    """Return the line of the access log about the exchange with this path and these flags."""
    found: list[dict[str, object]] = []

    def is_logged() -> bool:
        lines = [line for line in daemon.log() if str(line["path"]).partition("?")[0].endswith(path)]
        found[:] = [line for line in lines if line["flags"] == flags]
        return bool(found)

    wait_until(is_logged, f"a line about {path} with {flags}")
    return found[0]


def test_a_rate_limit_is_seen_in_status_log_and_metrics_until_it_is_cleared(faulty: Daemon) -> None:
    name = add(faulty, "--rate-limit", "github", "--path", "/v2/status")
    answer = curl(faulty, f"{BASE_URL}/status/200?limited", "-i").stdout
    head = answer.lower()
    assert "http/2 429" in head or "429 too many requests" in head
    reset = next(line for line in head.splitlines() if line.startswith("x-ratelimit-reset:"))
    assert 0 < int(reset.partition(":")[2]) - time.time() <= 61
    assert "api rate limit exceeded" in head
    assert fetch(faulty, f"{BASE_URL}/echo")
    assert any(f"fault {name} is injected" in problem for problem in faulty.status()["problems"])
    assert [(row["id"], row["hits"]) for row in rows(faulty)] == [(name, 1)]
    line = entry(faulty, "/status/200", "FI")
    assert (line["status"], line["origin"], line["attempts"]) == (429, "proxyd", 0)
    assert faulty.run("fault", "clear", name).stdout == f"{name}\n"
    assert status(faulty, "/status/200") == "200"
    assert rows(faulty) == []
    assert not any("injected" in problem for problem in faulty.status()["problems"])


def test_a_reset_within_tls_is_no_answer_at_all(faulty: Daemon) -> None:
    add(faulty, "--reset")
    done = curl(faulty, f"{BASE_URL}/echo")
    assert done.returncode in (CURL_RECEIVE, CURL_STREAM, 35, 52)
    assert not done.stdout


def test_a_body_breaks_off(faulty: Daemon) -> None:
    add(faulty, "--truncate", "1KiB")
    done = curl(faulty, f"{BASE_URL}/bytes?n=5000", "--http1.1", "-w", "%{stderr}got %{size_download}")
    assert done.returncode in (CURL_PARTIAL, CURL_RECEIVE)
    assert "got 1024" in done.stderr


def test_a_stream_breaks_off(faulty: Daemon) -> None:
    add(faulty, "--truncate", "1KiB")
    assert curl(faulty, f"{BASE_URL}/bytes?n=5000").returncode == CURL_STREAM


def test_a_delay_and_a_slow_body_take_their_time(faulty: Daemon) -> None:
    add(faulty, "--delay", "150ms")
    add(faulty, "--slow", "20000")
    done = curl(faulty, f"{BASE_URL}/bytes?n=4000", "-o", "/dev/null", "-w", "%{time_starttransfer} %{time_total}")
    begun, ended = map(float, done.stdout.split())
    assert begun >= 0.15
    assert ended - begun >= 0.09
    assert entry(faulty, "/bytes", "DI")["status"] == 200


def test_an_expired_credential_is_refused_as_the_vendor_would(faulty: Daemon) -> None:
    add(faulty, "--expired")
    assert 'www-authenticate: bearer error="invalid_token"' in curl(faulty, f"{BASE_URL}/echo", "-i").stdout.lower()


def test_at_upstream_retries_go_around_it(faulty: Daemon) -> None:
    add(faulty, "--status", "503", "--at", "upstream", "--share", "30%", "--seed", "3")
    answered = [status(faulty, "/status/201") for _ in range(12)]
    assert answered.count("201") >= 10
    assert int(str(rows(faulty)[0]["hits"])) > 0
    assert entry(faulty, "/status/201", "FI")["tries"]


def test_a_fault_ends_by_itself(faulty: Daemon) -> None:
    add(faulty, "--status", "503", "--for", "500ms")
    wait_until(lambda: rows(faulty) == [], "its end")
    assert status(faulty) == "200"
