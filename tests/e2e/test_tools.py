"""The first tools, against a daemon that runs: what they print is whole, and no secret is in it."""

import http.client
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.curl import curl, fetch
from tests.lab.daemon import Daemon, configuration, run_proxyd, wait_until
from tests.lab.origin import BASE_URL, KEY, TOKEN, Origin
from tests.lab.pki import Pki
from tests.lab.tools import require_tool

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory, origin: Origin, pki: Pki) -> Iterator[Daemon]:
    """A daemon with an admin HTTP address that has served one request."""
    folder = tmp_path_factory.mktemp("tools")
    config = configuration(origin, pki, folder)
    config["admin"]["http"] = "127.0.0.1:0"
    with Daemon(folder, config) as running:
        fetch(running, f"{BASE_URL}/echo?token=in-the-query")
        running.wait_for_log(1)
        yield running


@pytest.mark.parametrize("command", ["status", "services", "pools", "config"])
def test_json_is_one_document_without_secrets(watched: Daemon, command: str) -> None:
    done = watched.run(command, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)
    assert TOKEN not in done.stdout
    assert KEY not in done.stdout


@pytest.mark.parametrize("command", ["status", "services", "pools", "config"])
def test_tables_are_printed_too(watched: Daemon, command: str) -> None:
    done = watched.run(command)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


def test_admin_socket_is_taken_after_the_commands_own_words(watched: Daemon) -> None:
    done = run_proxyd(watched.folder, "status", "--json", "--admin", str(watched.admin.path))
    assert json.loads(done.stdout)["state"] == "ready"


def test_ctl_sends_one_call(watched: Daemon) -> None:
    done = watched.run("ctl", "version")
    assert json.loads(done.stdout)["version"]


def test_no_daemon_is_said_clearly(tmp_path: Path) -> None:
    done = run_proxyd(tmp_path, "status", "--admin", str(tmp_path / "none.sock"))
    assert done.returncode == 3
    assert "none.sock" in done.stderr


def test_ca_export_is_what_clients_must_trust(watched: Daemon) -> None:
    done = watched.run("ca", "export")
    assert done.stdout == watched.ca.read_text()


def test_env_lines_take_a_shell_through_the_daemon(watched: Daemon) -> None:
    mark = len(watched.log())
    lines = watched.run("env", "{folders}").stdout
    script = watched.folder / "env.sh"
    script.write_text(f"{lines}\nexec curl -fsS {BASE_URL}/echo\n")
    require_tool("curl")
    done = subprocess.run(["sh", str(script)], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert watched.wait_for_log(mark + 1)[mark]["service"] == "tickets"


def test_access_log_tells_who_added_what_and_hides_the_query(watched: Daemon) -> None:
    entry = watched.log()[0]
    assert (entry["service"], entry["credential"], entry["status"]) == ("tickets", "tickets/token", 200)
    assert "in-the-query" not in entry["path"]


def test_no_secret_in_any_log_or_command_line(watched: Daemon) -> None:
    fetch(watched, f"{BASE_URL}/reflect")
    curl(watched, f"{BASE_URL}/hangup")
    texts = [watched.stderr, json.dumps(watched.log()), *(" ".join(p.cmdline()) for p in watched.processes())]
    for text in texts:
        assert TOKEN not in text
        assert KEY not in text


def admin_http(daemon: Daemon, path: str, host: str | None = None) -> tuple[int, str]:
    address = daemon.status()["admin_http"]
    connection = http.client.HTTPConnection(address, timeout=20)
    try:
        connection.request("GET", path, headers={"Host": host or address})
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


@pytest.mark.parametrize("path", ["/live", "/ready"])
def test_probes_answer_200(watched: Daemon, path: str) -> None:
    assert admin_http(watched, path)[0] == 200


def test_metrics_count_the_request_under_its_service(watched: Daemon) -> None:
    wait_until(lambda: 'service="tickets"' in admin_http(watched, "/metrics")[1], "the worker's next report")
    assert TOKEN not in admin_http(watched, "/metrics")[1]


def test_foreign_host_is_refused(watched: Daemon) -> None:
    assert admin_http(watched, "/metrics", "evil.example")[0] in {400, 403, 421}


def test_stop_ends_the_daemon_in_good_order(own_daemon: Daemon) -> None:
    done = own_daemon.run("stop")
    assert done.returncode == 0, done.stderr
    assert own_daemon.process.wait(20) == 0
    assert not own_daemon.admin.path.exists()
