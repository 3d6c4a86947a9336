"""The vault under a daemon that runs: the next request uses what was stored, and what was removed ends."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.curl import curl, fetch
from tests.lab.daemon import PROXYD, AdminError, Configuration, Daemon, configuration, environment, pause, wait_until
from tests.lab.origin import BASE_URL, KEY, TOKEN, Origin
from tests.lab.pki import Pki
from tests.lab.tools import require_tool

pytestmark = pytest.mark.e2e

URL = f"{BASE_URL}/echo"


def secret(daemon: Daemon, *words: str, value: str = "", files: bool = False) -> "subprocess.CompletedProcess[str]":
    """Run ``proxyd secret``, through the admin socket or in the files of the state folder."""
    where = {} if files else {"PROXYD_ADMIN": str(daemon.admin.path)}
    command = [PROXYD, "secret", *words, *(["--state-dir", str(daemon.folder / "state")] if files else [])]
    variables = environment(daemon.folder, where)
    return subprocess.run(command, input=value, env=variables, capture_output=True, text=True, timeout=60, check=False)


def status(daemon: Daemon, url: str = URL, *options: str) -> str:
    return curl(daemon, url, "-o", "/dev/null", "-w", "%{http_code}", *options).stdout


def from_vault(origin: Origin, pki: Pki, folder: Path) -> Configuration:
    """The lab's configuration, its services' secrets in the vault."""
    config = configuration(origin, pki, folder)
    config["secrets"] = {"plain/key": {"vault": "shared"}}
    config["drain_old"] = "500ms"
    return config


@pytest.fixture
def vault_daemon(tmp_path_factory: pytest.TempPathFactory, origin: Origin, pki: Pki) -> Iterator[Daemon]:
    folder = tmp_path_factory.mktemp("vault")
    with Daemon(folder, from_vault(origin, pki, folder), {}) as running:
        yield running


def test_the_next_request_uses_what_was_stored(vault_daemon: Daemon, origin: Origin) -> None:
    daemon = vault_daemon
    refused = curl(daemon, URL)
    assert "proxyd secret set tickets/token" in json.loads(refused.stdout)["detail"]
    assert any("proxyd secret set tickets/token" in problem for problem in daemon.status()["problems"])

    stored = secret(daemon, "set", "tickets/token", value=f"{TOKEN}\n")
    assert (stored.returncode, stored.stderr) == (0, "")
    fetch(daemon, URL)
    assert secret(daemon, "set", "shared", value=KEY).returncode == 0
    plain = f"http://127.0.0.1:{origin.http_port}/v2/echo"
    fetch(daemon, plain)

    assert secret(daemon, "rotate", "tickets/token", "--overlap", "1h", value="no-such-token").returncode == 0
    assert status(daemon) == "401"
    assert secret(daemon, "rotate", "tickets/token", value=TOKEN).returncode == 0
    assert secret(daemon, "rekey").returncode == 0
    fetch(daemon, URL)

    daemon.wait_for_log(5)
    wait_until(lambda: _rows(daemon)["tickets/token"]["last_used"] is not None, "the last use to be noted")
    row = _rows(daemon)["tickets/token"]
    assert (row["version"], len(row["versions"]), row["used_by"]) == (3, 3, ["tickets"])
    everything = daemon.stderr + json.dumps([_rows(daemon), daemon.status(), daemon.log()])
    assert TOKEN not in everything
    assert KEY not in everything


def _rows(daemon: Daemon) -> dict[str, dict[str, object]]:
    return {row["name"]: row for row in json.loads(secret(daemon, "list", "--json").stdout)}


def test_what_uses_a_removed_secret_ends_within_drain_old(vault_daemon: Daemon) -> None:
    daemon = vault_daemon
    secret(daemon, "set", "tickets/token", value=TOKEN)
    command = [require_tool("curl"), "-sSN", "--proxy", daemon.url, "--cacert", str(daemon.ca)]
    with subprocess.Popen([*command, f"{BASE_URL}/slow?n=600&ms=100"], stdout=subprocess.PIPE) as stream:
        try:
            assert stream.stdout is not None
            assert stream.stdout.readline() == b"data: 0\n"
            assert secret(daemon, "rm", "tickets/token").returncode == 0
            assert status(daemon) == "500"
            assert stream.wait(20) != 0
        finally:
            stream.kill()


def test_a_change_in_the_files_is_noticed(vault_daemon: Daemon) -> None:
    assert secret(vault_daemon, "set", "tickets/token", value=TOKEN, files=True).returncode == 0
    wait_until(lambda: status(vault_daemon) == "200", "the daemon to notice")
    assert secret(vault_daemon, "rm", "tickets/token", files=True).returncode == 0
    wait_until(lambda: status(vault_daemon) == "500", "the daemon to notice")


def test_a_stopped_worker_hangs_nothing_and_has_the_secret_when_it_goes_on(vault_daemon: Daemon) -> None:
    (worker,) = vault_daemon.workers()
    worker.send_signal(signal.SIGSTOP)
    try:
        stored = secret(vault_daemon, "set", "tickets/token", value=TOKEN)
    finally:
        worker.send_signal(signal.SIGCONT)
    assert stored.returncode == 0
    assert f"worker 0 (pid {worker.pid}) has not taken the change within 5 s" in stored.stderr
    wait_until(lambda: status(vault_daemon) == "200", "the worker to take the change")


def test_secrets_and_ca_outlive_control_and_the_daemon(
    tmp_path_factory: pytest.TempPathFactory, origin: Origin, pki: Pki
) -> None:
    folder = tmp_path_factory.mktemp("again")
    config = from_vault(origin, pki, folder)
    variables = {"PROXYD_VAULT_KEY": os.urandom(32).hex()}
    with Daemon(folder, config, variables) as daemon:
        secret(daemon, "set", "tickets/token", value=TOKEN)
        fetch(daemon, URL)
        root = daemon.ca.read_bytes()
        control = daemon.control()
        control.kill()
        wait_until(lambda: _new_control(daemon, control.pid), "a new control process")
        fetch(daemon, URL)
    with Daemon(folder, config, variables) as daemon:
        fetch(daemon, URL)
        assert daemon.ca.read_bytes() == root
    assert not (folder / "state" / "ca-root.key").exists()
    assert not (folder / "state" / "vault" / "key").exists()


def _new_control(daemon: Daemon, former: int) -> bool:
    try:
        found = daemon.status()
    except (OSError, AdminError):
        pause(0.05)
        return False
    return found["control_pid"] != former and found["state"] == "ready"


def test_both_proxy_passwords_count_while_a_rotation_overlaps(
    tmp_path_factory: pytest.TempPathFactory, origin: Origin, pki: Pki
) -> None:
    folder = tmp_path_factory.mktemp("users")
    config = from_vault(origin, pki, folder)
    config["listeners"][0]["users"] = [{"name": "ann", "secret": "proxy/ann"}]
    with Daemon(folder, config, {}) as daemon:
        secret(daemon, "set", "tickets/token", value=TOKEN)
        secret(daemon, "set", "proxy/ann", value="first-password")
        secret(daemon, "rotate", "proxy/ann", "--overlap", "1h", value="second-password")
        for password, expected in (("first-password", "200"), ("second-password", "200"), ("third", "000")):
            assert status(daemon, URL, "--proxy-user", f"ann:{password}") == expected
        secret(daemon, "rotate", "proxy/ann", "--overlap", "0s", value="third-password")
        assert status(daemon, URL, "--proxy-user", "ann:second-password") == "000"
        assert status(daemon, URL, "--proxy-user", "ann:first-password") == "200"  # its own overlap lasts
