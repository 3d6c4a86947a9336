"""The admin socket of a real daemon: what it tells, to whom, and what it does."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgpack
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from tests.lab.curl import curl, fetch
from tests.lab.daemon import PROXYD, Daemon, configuration, environment, wait_until
from tests.lab.origin import BASE_URL, KEY, TOKEN, Origin
from tests.lab.pki import Pki

pytestmark = pytest.mark.e2e

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "admin_socket.py"
READER = 54_321
GROUP = 54_322
ASK = (
    "import socket, sys\n"
    "s = socket.socket(socket.AF_UNIX)\n"
    "s.settimeout(20)\n"
    "s.connect(sys.argv[1])\n"
    "s.sendall(bytes.fromhex(sys.argv[2]))\n"
    "s.shutdown(socket.SHUT_WR)\n"
    "data = b''\n"
    "while more := s.recv(65536): data += more\n"
    "print(data.hex())\n"
)


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory, origin: Origin, pki: Pki) -> Iterator[Daemon]:
    """A daemon that has served one request and refused one."""
    folder = tmp_path_factory.mktemp("admin")
    with Daemon(folder, configuration(origin, pki, folder)) as running:
        fetch(running, f"{BASE_URL}/echo?token=in-the-query")
        curl(running, "http://127.0.0.1:1/")
        wait_until(lambda: len(running.admin.call("exchanges")) >= 2, "two exchanges")
        wait_until(lambda: running.admin.call("services")[0]["requests"] == 1, "what the worker counted")
        yield running


def tell(daemon: Daemon, *arguments: str) -> Any:
    done = daemon.run(*arguments, "--json")
    assert done.returncode == 0, done.stderr
    assert TOKEN not in done.stdout
    assert KEY not in done.stdout
    return json.loads(done.stdout)


def test_recent_exchanges_are_those_of_the_access_log(watched: Daemon) -> None:
    found = tell(watched, "exchanges")
    logged = {entry["id"]: entry for entry in watched.wait_for_log(2)}
    assert [logged[exchange["id"]] for exchange in found] == found
    assert [exchange["status"] for exchange in tell(watched, "exchanges", "--service", "tickets")] == [200]
    assert [exchange["status"] for exchange in tell(watched, "exchanges", "--errors", "--since", "1h")] == [502]


@pytest.mark.parametrize("command", ["workers", "memory", "certs", "certificates", "service tickets", "ctl hello"])
def test_every_view_is_a_table_and_a_document(watched: Daemon, command: str) -> None:
    done = watched.run(*command.split())
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
    if command.startswith("ctl"):
        assert json.loads(done.stdout)["role"] == "full"
    else:
        assert tell(watched, *command.split())


def test_the_certificate_of_an_upstream_is_listed(watched: Daemon, pki: Pki) -> None:
    [row] = [row for row in tell(watched, "certs") if row["kind"] == "upstream"]
    shown = x509.load_pem_x509_certificate(pki.certificate.read_bytes())
    assert row["name"] == "api.tickets.example"
    assert row["fingerprint"] == shown.fingerprint(hashes.SHA256()).hex(":").upper()
    assert row["issuer"] == shown.issuer.rfc4514_string()
    assert "api.tickets.example" in row["names"]


def test_a_monitor_is_told_by_the_exit_code_what_ends_soon(watched: Daemon) -> None:
    quiet, loud = watched.run("certs", "--warn", "1"), watched.run("certs", "--warn", "36500")
    assert (quiet.returncode, quiet.stdout) == (0, "no certificate ends within 1 days\n")
    assert loud.returncode == 1
    assert loud.stdout.splitlines()[0].split() == ["STATUS", "DAYS", "LEFT", "NOT", "AFTER", "KIND", "NAME", "ISSUER"]
    assert [line.split()[3] for line in loud.stdout.splitlines()[1:]] == ["root"], "the lab's last until 3000"
    assert {"leaf", "intermediate", "root", "trusted", "upstream"} == {row["kind"] for row in tell(watched, "certs")}


def test_memory_is_told_of_every_process(watched: Daemon) -> None:
    processes = {each["process"]: each for each in tell(watched, "memory")["processes"]}
    assert set(processes) == {"supervisor", "control", "worker-0"}
    for name in ("control", "worker-0"):
        assert 1 << 20 < processes[name]["pss_bytes"] < 1.5 * processes[name]["rss_bytes"]


def test_the_example_of_the_documentation_runs(watched: Daemon) -> None:
    command = [sys.executable, "-u", str(EXAMPLE), str(watched.admin.path)]
    script = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert script.stdout is not None
        assert script.stdout.readline().startswith("proxyd 0.")
        assert script.stdout.readline() == "tickets: 1 requests, 0 errors\n"
        wait_until(lambda: watched.admin.call("memory")["control"]["subscribers"] == 1, "a subscriber")
        curl(watched, "http://127.0.0.1:1/hostile%1b")
        for line in script.stdout:
            if line.startswith("error: "):
                assert line == "error: 502 UF 127.0.0.1:1/hostile%1b\n"
                break
    finally:
        script.kill()
        script.wait()
        if script.stdout is not None:
            script.stdout.close()


def test_tail_follows_and_ends_with_the_daemon(origin: Origin, pki: Pki, tmp_path: Path) -> None:
    with Daemon(tmp_path, configuration(origin, pki, tmp_path)) as daemon:
        fetch(daemon, f"{BASE_URL}/echo")
        tail = subprocess.Popen(
            [PROXYD, "tail", "--json", "--admin", str(daemon.admin.path)],
            env=environment(tmp_path), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        try:
            wait_until(lambda: daemon.admin.call("memory")["control"]["subscribers"] == 1, "a subscriber")
            fetch(daemon, f"{BASE_URL}/echo?second")
            assert tail.stdout is not None
            lines = [json.loads(tail.stdout.readline()) for _ in range(2)]
            assert [line["service"] for line in lines] == ["tickets", "tickets"]
            assert daemon.run("stop").returncode == 0
            _, said = tail.communicate(timeout=30)
        finally:
            tail.kill()
            tail.wait()
        assert tail.returncode == 3
        assert "ended the connection" in said


def test_top_prints_one_screen_where_nobody_looks(watched: Daemon) -> None:
    done = watched.run("top", "--interval", "0.2")
    assert done.returncode == 0, done.stderr
    assert "requests/s" in done.stdout
    assert "\x1b" not in done.stdout


def test_a_drain_refuses_connections_until_a_reload(own_daemon: Daemon) -> None:
    done = own_daemon.run("drain")
    assert done.returncode == 0, done.stderr
    status = own_daemon.status()
    assert (status["state"], status["listeners"]) == ("drained", []), "the port may be another program's by now"
    assert own_daemon.run("reload").returncode == 0
    fetch(own_daemon, f"{BASE_URL}/echo")


def test_a_drain_that_ends_ends_the_daemon(own_daemon: Daemon) -> None:
    assert tell(own_daemon, "drain", "--exit", "--seconds", "5") == {"ok": True, "exit": True, "seconds": 5.0}
    assert own_daemon.process.wait(20) == 0


def test_the_log_s_level_is_set_while_it_runs(own_daemon: Daemon) -> None:
    assert own_daemon.run("log-level").stdout == "info\n"
    assert own_daemon.run("log-level", "error").stdout == "error\n"
    own_daemon.run("reload")
    assert '"reloaded"' not in own_daemon.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_readers_look_and_others_are_refused(origin: Origin, pki: Pki, tmp_path: Path) -> None:
    public = Path(tempfile.mkdtemp(prefix="proxyd-", dir="/tmp"))
    public.chmod(0o755)
    config = configuration(origin, pki, tmp_path)
    config["admin"] = {"socket": str(public / "a.sock"), "readers": {"uids": [READER], "gids": [GROUP]}}
    try:
        with Daemon(tmp_path, config) as daemon:
            assert ask(daemon, READER, 1, "status")["result"]["state"] == "ready"
            assert ask(daemon, READER + 9, GROUP, "hello")["result"]["role"] == "reader"
            assert ask(daemon, READER + 9, 1, "hello", groups=[GROUP])["result"]["role"] == "reader"
            assert ask(daemon, READER, 1, "stop")["error"]["code"] == "forbidden"
            assert ask(daemon, READER + 9, 1, "status") == {}
            assert daemon.status()["state"] == "ready"
    finally:
        shutil.rmtree(public)


def ask(daemon: Daemon, uid: int, gid: int, method: str, groups: list[int] | None = None) -> dict[str, Any]:
    """Make one call as somebody else; return error and result, nothing where the connection was closed."""
    request = msgpack.packb([0, 1, method, []]).hex()
    try:
        done = subprocess.run(
            [getattr(sys, "_base_executable", sys.executable), "-I", "-S", "-c", ASK, str(daemon.admin.path), request],
            user=uid, group=gid, extra_groups=groups or [], cwd="/", capture_output=True, text=True, check=False,
            timeout=30,
        )  # fmt: skip
    except PermissionError:
        pytest.skip("others cannot run this Python")
    data = bytes.fromhex(done.stdout.strip())
    if not data:
        return {}
    _, _, error, result = msgpack.unpackb(data)
    return {"error": error, "result": result}
