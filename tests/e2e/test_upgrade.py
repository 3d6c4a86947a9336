"""Upgrade in place: under load no error, tunnels kept; and a new program that fails leaves the old one as it was."""

import copy
import http.client
import json
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.lab.curl import fetch
from tests.lab.daemon import SECRETS, Daemon, configuration, wait_until
from tests.lab.load import Load
from tests.lab.origin import BASE_URL, Origin
from tests.lab.pki import Pki
from tests.lab.tunnels import Echo, Tunnels

pytestmark = pytest.mark.e2e

URL = f"{BASE_URL}/echo".replace("https:", "http:")


@pytest.fixture(scope="module")
def echo() -> Iterator[Echo]:
    with Echo() as running:
        yield running


@pytest.fixture
def served(tmp_path_factory: pytest.TempPathFactory, origin: Origin, pki: Pki) -> Iterator[Daemon]:
    """Two workers, and an admin HTTP address."""
    folder = tmp_path_factory.mktemp("upgrade")
    config = configuration(origin, pki, folder) | {"workers": 2}
    config["admin"]["http"] = "127.0.0.1:0"
    with Daemon(folder, config) as running:
        yield running


def upgrade(daemon: Daemon, *words: str) -> dict[str, object]:
    done = daemon.run("upgrade", "--json", *words)
    assert done.returncode == 0, done.stdout + done.stderr + daemon.stderr
    answer = json.loads(done.stdout)
    assert isinstance(answer, dict)
    return answer


def generations(daemon: Daemon) -> list[int]:
    return [entry["generation"] for entry in daemon.status()["draining"]]


def test_two_upgrades_under_load_lose_no_request_and_no_tunnel(served: Daemon, echo: Echo) -> None:
    pid, address = served.process.pid, served.address()
    with Load(address, URL) as load, Tunnels(address, echo.authority, 50) as tunnels:
        load.wait_for_more(100)
        assert upgrade(served)["generation"] == 2
        load.wait_for_more(100)
        assert not tunnels.broken()
        assert upgrade(served)["generation"] == 3
        load.wait_for_more(100)
        assert not tunnels.broken()
        status = served.status()
        assert (status["pid"], status["generation"], status["state"]) == (pid, 3, "ready")
        wait_until(lambda: generations(served) == [1], "the second one to end: it had no tunnel")
        wait_until(lambda: served.status()["draining"][0]["connections"] == 50, "the first one's tunnels to be counted")
        tunnels.close()
        wait_until(lambda: not generations(served), "the first generation to end")
    assert not load.tally.errors
    assert load.tally.retried == 0
    assert set(load.tally.statuses) == {200}
    assert served.address() == address


def test_what_the_former_generation_counts_and_logs_is_not_lost(served: Daemon) -> None:
    fetch(served, f"{BASE_URL}/echo")
    connection = http.client.HTTPConnection(*served.address(), timeout=20)
    connection.request("GET", f"{BASE_URL}/slow?n=20&ms=100".replace("https:", "http:"))
    response = connection.getresponse()
    first = response.read(5)
    upgrade(served)
    assert generations(served) == [1], "its exchange is not over"
    assert (first + response.read()).endswith(b"data: 19\n\n")
    connection.close()
    wait_until(lambda: not generations(served), "the first generation to end")
    fetch(served, f"{BASE_URL}/echo")
    wait_until(lambda: served.status()["totals"]["requests"] == 3, "all three to be counted")
    assert [entry["status"] for entry in served.wait_for_log(3)] == [200, 200, 200]


def test_an_idle_connection_is_left_to_its_next_request(served: Daemon) -> None:
    connection = http.client.HTTPConnection(*served.address(), timeout=20)
    said = []
    for _ in range(2):
        connection.request("GET", URL)
        response = connection.getresponse()
        response.read()
        said.append((response.status, response.getheader("connection")))
        if len(said) == 1:
            upgrade(served)
            assert generations(served) == [1], "a connection is open"
    assert said == [(200, None), (200, "close")]
    wait_until(lambda: not generations(served), "the first generation to end")


def test_what_a_reload_forbids_ends_in_the_former_generation_too(served: Daemon, echo: Echo) -> None:
    config = copy.deepcopy(served.config) | {"drain_old": "0s"}
    with Tunnels(served.address(), echo.authority, 2) as tunnels:
        upgrade(served)
        served.write(config)
        served.reload()
        assert not tunnels.broken(), "it is allowed"
        config["access"]["rules"] = []
        served.write(config)
        served.reload()
        wait_until(lambda: not generations(served), "the first generation to end")
        assert len(tunnels.broken()) == 2


def test_the_admin_http_address_stays_and_is_the_new_generations(served: Daemon) -> None:
    host, _, port = str(served.status()["admin_http"]).rpartition(":")
    upgrade(served)
    assert served.status()["admin_http"] == f"{host}:{port}"
    connection = http.client.HTTPConnection(host, int(port), timeout=20)
    connection.request("GET", "/ready")
    assert connection.getresponse().status == 200
    connection.close()
    assert not [name for name in served.folder.iterdir() if name.name.startswith(".next")]


def test_a_listener_that_the_new_configuration_adds_is_bound(served: Daemon) -> None:
    config = copy.deepcopy(served.config)
    config["listeners"].append({"name": "second", "mode": "forward", "address": "127.0.0.1:0"})
    served.write(config)
    upgrade(served)
    socket.create_connection(served.address("second"), 5).close()
    with Load(served.address("second"), URL) as load:
        load.wait_for_more(5)
    assert not load.tally.errors


# --- programs that fail ---------------------------------------------------------------------------


@pytest.fixture
def broken(tmp_path_factory: pytest.TempPathFactory, origin: Origin, pki: Pki) -> Iterator[Daemon]:
    """A daemon that finds modules in the folder ``modules`` before its own, once they are there."""
    folder = tmp_path_factory.mktemp("broken")
    (folder / "modules").mkdir()
    with Daemon(
        folder, configuration(origin, pki, folder), {**SECRETS, "PYTHONPATH": str(folder / "modules")}
    ) as running:
        yield running


def release(daemon: Daemon, source: str) -> None:
    """Install a release of proxyd that is nothing but this."""
    package = daemon.folder / "modules" / "proxyd"
    package.mkdir()
    (package / "__init__.py").write_text(source)


def refusal(daemon: Daemon, *words: str) -> str:
    done = daemon.run("upgrade", *words, variables={"PYTHONPATH": ""})
    assert done.returncode == 1, done.stdout + done.stderr
    assert done.stdout == ""
    assert "nothing was changed: generation 1 goes on" in done.stderr
    return done.stderr


def unchanged(daemon: Daemon, before: set[int]) -> bool:
    wait_until(lambda: {process.pid for process in daemon.processes()} == before, "the failed generation to end")
    fetch(daemon, f"{BASE_URL}/echo")
    return bool(daemon.status()["generation"] == 1)


def pids(daemon: Daemon) -> set[int]:
    return {process.pid for process in daemon.processes()}


def test_a_configuration_with_mistakes_is_refused_with_all_of_them(served: Daemon) -> None:
    before = pids(served)
    with Load(served.address(), URL) as load:
        served.file.write_text("listeners: []\nservces: {}\n")
        said = refusal(served)
        assert f"{served.file.name}:1:12" in said
        assert f"{served.file.name}:2:1: servces" in said
        load.wait_for_more(50)
    assert not load.tally.errors
    assert unchanged(served, before)


def test_an_address_in_use_is_refused(served: Daemon) -> None:
    before = pids(served)
    with socket.create_server(("127.0.0.1", 0)) as other:
        config = copy.deepcopy(served.config)
        config["listeners"].append(
            {"name": "second", "mode": "forward", "address": f"127.0.0.1:{other.getsockname()[1]}"}
        )
        served.write(config)
        assert "another process listens there" in refusal(served)
    served.write(served.config | {"listeners": served.config["listeners"][:1]})
    assert unchanged(served, before)


def test_a_release_that_cannot_be_imported_is_refused(broken: Daemon) -> None:
    before = pids(broken)
    release(broken, "raise ImportError('half a release')\n")
    assert "ImportError: half a release" in refusal(broken)
    assert unchanged(broken, before)


def test_a_release_that_never_gets_ready_is_ended_in_time(broken: Daemon) -> None:
    before = pids(broken)
    release(broken, "import time\ntime.sleep(600)\n")
    assert "generation 2 was not ready in time" in refusal(broken, "--timeout", "1")
    assert unchanged(broken, before)


def test_sigterm_during_an_upgrade_ends_everything(broken: Daemon) -> None:
    release(broken, f"import time\nopen({str(broken.folder / 'begun')!r}, 'w')\ntime.sleep(600)\n")
    caller = threading.Thread(target=broken.run, args=("upgrade",), kwargs={"variables": {"PYTHONPATH": ""}})
    caller.start()
    wait_until(Path(broken.folder / "begun").exists, "the new release to begin")
    family = broken.processes()
    broken.process.send_signal(signal.SIGTERM)
    assert broken.process.wait(20) == 0
    caller.join(20)
    assert not [process for process in family if process.is_running() and process.status() != psutil.STATUS_ZOMBIE]


def test_sigterm_ends_what_drains_too(served: Daemon, echo: Echo) -> None:
    config = served.config | {"drain_timeout": "1s"}
    served.write(config)
    with Tunnels(served.address(), echo.authority, 3):
        upgrade(served)
        family = served.processes()
        served.process.send_signal(signal.SIGTERM)
        assert served.process.wait(20) == 0
    assert not [process for process in family if process.is_running()]


def test_tunnels_end_with_the_drain_that_the_caller_allows(served: Daemon, echo: Echo) -> None:
    with Tunnels(served.address(), echo.authority, 2) as tunnels:
        assert upgrade(served, "--drain", "0.5")["drain_seconds"] == 0.5
        wait_until(lambda: not generations(served), "the first generation to end")
        assert len(tunnels.broken()) == 2
