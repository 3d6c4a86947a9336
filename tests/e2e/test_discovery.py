"""Endpoints that are found: a service moves, its resolver fails, its list appears, and clients see nothing of it."""

import http.client
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import dns.rcode
import psutil
import pytest

from tests.lab.daemon import Configuration, Daemon, wait_until
from tests.lab.load import Load
from tests.lab.nameserver import NameServer

pytestmark = pytest.mark.e2e

HOST = "moving.example"
BACKEND = "backend.internal.example"
URL = f"http://{HOST}/"


class Site(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = self.server.server_address[0].encode()  # type: ignore[union-attr]
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """The port on which 127.0.0.1 and 127.0.0.2 both answer, each with its own address."""
    first = ThreadingHTTPServer(("127.0.0.1", 0), Site)
    second = ThreadingHTTPServer(("127.0.0.2", first.server_address[1]), Site)
    for server in (first, second):
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield first.server_address[1]
    for server in (first, second):
        server.shutdown()
        server.server_close()


@pytest.fixture
def nameserver() -> Iterator[NameServer]:
    with NameServer({(BACKEND, "A"): (1, ["127.0.0.1"])}) as running:
        yield running


def discovering(folder: Path, **discover: Any) -> Configuration:
    return {
        "listeners": [{"name": "apps", "mode": "forward", "address": "127.0.0.1:0"}],
        "admin": {"socket": str(folder / "admin.sock")},
        "services": {
            "moving": {"hosts": [HOST], "base_url": f"http://{HOST}", "insecure": True, "discover": discover},
        },
        "telemetry": {"access_log": {"path": str(folder / "access.jsonl")}},
    }


def by_dns(folder: Path, nameserver: NameServer, port: int) -> Configuration:
    return discovering(folder, dns={"name": BACKEND, "port": port, "servers": [nameserver.address]})


def ask(daemon: Daemon) -> tuple[int, str]:
    connection = http.client.HTTPConnection(*daemon.address(), timeout=20)
    try:
        connection.request("GET", URL)
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def known(daemon: Daemon) -> list[tuple[str, str]]:
    return [(row["address"], row["source"]) for row in daemon.admin.call("endpoints")]


def control_pid(daemon: Daemon) -> int:
    return int(daemon.status()["control_pid"])


def test_a_name_that_changes_its_address_costs_no_request(tmp_path: Path, nameserver: NameServer, port: int) -> None:
    with Daemon(tmp_path, by_dns(tmp_path, nameserver, port), {}) as daemon:
        assert known(daemon) == [(f"127.0.0.1:{port}", f"dns {BACKEND}:{port}")]
        with Load(daemon.address(), URL) as load:
            load.wait_for_more(40)
            nameserver.zone[BACKEND, "A"] = (1, ["127.0.0.2"])
            wait_until(lambda: known(daemon) == [(f"127.0.0.2:{port}", f"dns {BACKEND}:{port}")], "the new address")
            load.wait_for_more(40)
        assert (load.tally.errors, set(load.tally.statuses)) == ([], {200})
        log = daemon.wait_for_log(load.tally.statuses.total())
        assert {entry["endpoint"] for entry in log} == {f"127.0.0.1:{port}", f"127.0.0.2:{port}"}
        assert log[-1]["endpoint"] == f"127.0.0.2:{port}"


def test_traffic_goes_on_while_the_resolver_fails_even_under_a_new_control_process(
    tmp_path: Path, nameserver: NameServer, port: int
) -> None:
    with Daemon(tmp_path, by_dns(tmp_path, nameserver, port), {}) as daemon:
        nameserver.rcode = dns.rcode.SERVFAIL
        wait_until(lambda: any("discovery by dns" in text for text in daemon.status()["problems"]), "the problem")
        with Load(daemon.address(), URL) as load:
            former = control_pid(daemon)
            psutil.Process(former).kill()
            daemon.wait_for_notice("READY=1")
            assert control_pid(daemon) != former
            load.wait_for_more(40)
            assert known(daemon) == [(f"127.0.0.1:{port}", f"dns {BACKEND}:{port}")]
            assert any("the endpoints found" in text for text in daemon.status()["problems"])
            nameserver.zone[BACKEND, "A"] = (1, ["127.0.0.2"])
            nameserver.rcode = None
            wait_until(lambda: known(daemon) == [(f"127.0.0.2:{port}", f"dns {BACKEND}:{port}")], "the new address")
            load.wait_for_more(40)
        assert (load.tally.errors, set(load.tally.statuses)) == ([], {200})
        assert daemon.status()["problems"] == []


def test_a_restart_while_the_resolver_fails_goes_on_with_the_list_of_before(
    tmp_path: Path, nameserver: NameServer, port: int
) -> None:
    with Daemon(tmp_path, by_dns(tmp_path, nameserver, port), {}) as daemon:
        assert ask(daemon) == (200, "127.0.0.1")
        wait_until(lambda: [*tmp_path.rglob("discovery.json")], "the list on disk")
    nameserver.rcode = dns.rcode.SERVFAIL
    with Daemon(tmp_path, by_dns(tmp_path, nameserver, port), {}) as daemon:
        assert ask(daemon) == (200, "127.0.0.1")
        assert any("ago go on" in text for text in daemon.status()["problems"])
        nameserver.rcode = None
        wait_until(lambda: daemon.status()["problems"] == [], "the answer")


def test_a_service_whose_list_is_missing_answers_503_until_it_appears(tmp_path: Path, port: int) -> None:
    path = tmp_path / "list.json"
    with Daemon(tmp_path, discovering(tmp_path, file="list.json"), {}) as daemon:
        status, body = ask(daemon)
        assert status == 503
        assert "no endpoint of moving is known" in body
        assert any(f"{path}: the file cannot be read" in text for text in daemon.status()["problems"])
        path.write_text(json.dumps([{"address": f"127.0.0.2:{port}", "weight": 2}]))
        wait_until(lambda: ask(daemon) == (200, "127.0.0.2"), "the endpoint")
        path.write_text("- nonsense\n")
        wait_until(lambda: any(f"{path}:1:3: " in text for text in daemon.status()["problems"]), "the line")
        assert ask(daemon) == (200, "127.0.0.2")


def test_an_address_that_must_never_be_dialled_is_refused_however_it_was_found(
    tmp_path: Path, nameserver: NameServer
) -> None:
    nameserver.zone[BACKEND, "A"] = (1, ["169.254.169.254"])
    with Daemon(tmp_path, by_dns(tmp_path, nameserver, 80), {}) as daemon:
        status, _ = ask(daemon)
        assert status == 403
        assert daemon.wait_for_log(1)[0]["error"] == "destination_ip_prohibited"
