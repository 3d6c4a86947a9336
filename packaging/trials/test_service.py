"""The Debian package, installed on a Debian that a real systemd has booted: the whole service under its hardening.

The machine shares the host's network, so the tests' origin and curl reach it; its ports are the kernel's choice.
"""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
import yaml

from tests.lab.daemon import Admin, configuration, wait_until
from tests.lab.origin import BASE_URL, KEY, TOKEN
from tests.lab.tools import require_tool
from trials.conftest import release, require_root, run_whole

BOOT_SECONDS = 60
ADMIN = "run/proxyd/admin.sock"
LEFT = ("usr/lib/proxyd", "usr/bin/proxyd", "var/lib/proxyd", "var/log/proxyd", "etc/proxyd/proxyd.yaml")

ASK = """
import socket
with socket.socket(socket.AF_UNIX) as sock:
    sock.settimeout(20)
    sock.connect("/run/proxyd-gateway.sock")
    sock.sendall(b"GET /echo HTTP/1.1\\r\\nHost: tickets\\r\\nConnection: close\\r\\n\\r\\n")
    print(sock.recv(4096).decode())
"""


class Machine:
    """A root file system that systemd-nspawn boots."""

    def __init__(self, root):
        self.root = root

    def install(self, package):
        """Install the package as ``dpkg -i`` does, before the machine runs."""
        shutil.copy(package, self.root / "root" / "proxyd.deb")
        done = subprocess.run(
            ["chroot", str(self.root), "dpkg", "-i", "/root/proxyd.deb"],
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND": "noninteractive"},
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr

    @contextlib.contextmanager
    def running(self):
        """Boot, and power off at the end."""
        options = ["--quiet", "--boot", "--keep-unit", "--register=no", f"--machine=proxyd-{os.getpid()}"]
        process = subprocess.Popen(
            ["systemd-nspawn", *options, f"--directory={self.root}"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            self._host = process
            wait_until(lambda: self.run("systemctl", "is-system-running")[0] == 0, "the machine", BOOT_SECONDS)
            yield self
        finally:
            process.terminate()  # nspawn powers the machine off
            try:
                process.wait(BOOT_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    @property
    def first(self):
        """The host's number for the machine's systemd, or 0."""
        pid = self._host.pid
        words = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return next((int(word) for word in words if "systemd" in Path(f"/proc/{word}/comm").read_text()), 0)

    def run(self, *words):
        """Run a command as root in the machine; return (exit code, output)."""
        if not self.first:
            return 1, "not booted"
        enter = [
            "nsenter",
            "--target",
            str(self.first),
            *(f"--{kind}" for kind in ("mount", "pid", "uts", "ipc", "cgroup")),
        ]
        done = subprocess.run(
            [*enter, "--", *words], capture_output=True, text=True, timeout=90, check=False, stdin=subprocess.DEVNULL
        )
        return done.returncode, done.stdout + done.stderr

    def must(self, *words):
        """Run a command that has to succeed and return its output."""
        code, said = self.run(*words)
        assert code == 0, f"{words}: {said}\n{self.run('journalctl', '--no-pager', '-u', 'proxyd', '-n', '30')[1]}"
        return said.strip()

    def show(self, what):
        """A property of proxyd.service."""
        return self.must("systemctl", "show", "--value", f"--property={what}", "proxyd.service")

    @property
    def admin(self):
        """The admin socket, seen from the host."""
        return Admin(Path(f"/proc/{self.first}/root") / ADMIN)


@pytest.fixture(scope="module")
def machine(package, origin, pki, tmp_path_factory):
    require_root()
    for tool in ("mmdebstrap", "systemd-nspawn", "nsenter", "curl"):
        require_tool(tool)
    root = tmp_path_factory.mktemp("machine") / "root"
    include = f"--include=systemd,systemd-sysv,ca-certificates,logrotate,python3.{sys.version_info.minor}"
    run_whole(["mmdebstrap", "--quiet", "--variant=minbase", include, release(), str(root)])
    box = Machine(root)
    box.install(package)
    configure(box, origin, pki)
    with box.running():
        yield box


def configure(box, origin, pki):
    """Put the tests' configuration and secrets where an administrator would."""
    etc = box.root / "etc" / "proxyd"
    shutil.copy(pki.roots, etc / "roots.pem")
    config = configuration(origin, pki, Path("/run/proxyd"))
    config["tls"]["extra_roots"] = "/etc/proxyd/roots.pem"
    config["admin"]["http"] = "127.0.0.1:0"
    config["secrets"] = {"plain/key": {"file": "/etc/proxyd/plain-key"}}  # the other one is in the vault
    config["telemetry"]["access_log"]["path"] = "/var/log/proxyd/access.jsonl"
    (etc / "proxyd.yaml").write_text(yaml.safe_dump(config))
    group = subprocess.check_output(["chroot", str(box.root), "id", "-g", "proxyd"], text=True)
    (etc / "plain-key").write_text(KEY)
    os.chown(etc / "plain-key", 0, int(group))
    (etc / "plain-key").chmod(0o640)
    store = box.root / "etc" / "credstore"
    store.mkdir(mode=0o700, exist_ok=True)
    (store / "proxyd-vault-key").write_bytes(bytes(range(32)))
    (store / "proxyd-vault-key").chmod(0o600)


@pytest.fixture
def service(machine):
    """The service, started; stopped again afterwards."""
    machine.must("systemctl", "reset-failed")
    machine.must("systemctl", "start", "proxyd.service")
    yield machine
    machine.must("systemctl", "stop", "proxyd.service", "proxyd.socket")


def fetch(machine, url, address=""):
    """Curl ``url`` through the service and return the body."""
    proxy = address or machine.admin.call("status")["listeners"][0]["address"]
    authority = Path(f"/proc/{machine.first}/root/var/lib/proxyd/ca.pem")
    command = ["curl", "-sS", "--fail", "--proxy", f"http://{proxy}", "--cacert", str(authority), url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr + machine.run("journalctl", "--no-pager", "-u", "proxyd", "-n", "30")[1]
    return done.stdout


def test_installing_neither_enables_nor_starts_the_service(machine):
    assert machine.run("systemctl", "is-enabled", "proxyd.service")[1].strip() == "disabled"
    assert machine.must("proxyd", "--version").startswith("proxyd ")
    assert machine.must("sh", "-c", "getent group proxyd-gateway; dpkg --verify proxyd").count("\n") <= 1


def test_a_secret_goes_into_the_vault_of_the_service_and_outlives_it(machine, origin):
    machine.must("systemctl", "start", "proxyd.service")
    machine.must("sh", "-c", f"printf %s {TOKEN} | proxyd secret set tickets/token")
    assert "tickets/token" in machine.must("proxyd", "secret", "list")
    mark = origin.ledger.mark()
    fetch(machine, f"{BASE_URL}/echo")
    machine.must("systemctl", "restart", "proxyd.service")
    fetch(machine, f"{BASE_URL}/echo")
    assert [one.values("authorization") for one in origin.ledger.since(mark)] == [[f"Bearer {TOKEN}"]] * 2
    assert not (machine.root / "var/lib/proxyd/vault/key").exists()  # sealed with the credential
    assert machine.admin.call("status")["problems"] == []
    machine.must("systemctl", "stop", "proxyd.service")


def test_tls_is_intercepted_verified_and_authorised_under_the_whole_hardening(service, origin):
    mark = origin.ledger.mark()
    fetch(service, f"{BASE_URL}/echo")
    fetch(service, f"http://127.0.0.1:{origin.http_port}/v2/echo")
    seen = [received.values("authorization") + received.values("x-api-key") for received in origin.ledger.since(mark)]
    assert seen == [[f"Bearer {TOKEN}"], [KEY]]
    address = service.admin.call("status")["admin_http"]  # the web framework is loaded now, in the sandbox
    for path, said in (("metrics", b"proxyd_"), ("ready", b"ready"), ("live", b"")):
        with urllib.request.urlopen(f"http://{address}/{path}", timeout=20) as answer:
            assert said in answer.read()
    assert service.show("MemoryDenyWriteExecute") == "yes"
    status = service.must("cat", f"/proc/{service.show('MainPID')}/status")
    assert {line for line in status.splitlines() if line.startswith(("NoNewPrivs", "Seccomp:", "CapEff"))} == {
        "NoNewPrivs:\t1",
        "Seccomp:\t2",
        "CapEff:\t0000000000000000",
    }


def test_the_caller_s_uid_is_known_under_the_hardening(service, origin):
    fetch(service, f"{BASE_URL}/echo")
    wait_until(lambda: "\n" in service.run("cat", "/var/log/proxyd/access.jsonl")[1], "the access log")
    assert '"uid":0' in service.must("tail", "-n", "1", "/var/log/proxyd/access.jsonl").replace(" ", "")


def test_the_access_log_is_rotated(service, origin):
    fetch(service, f"{BASE_URL}/echo")
    log = service.root / "var/log/proxyd/access.jsonl"
    wait_until(lambda: log.exists() and log.stat().st_size > 0, "the access log")
    inode = log.stat().st_ino
    service.must("logrotate", "--force", "/etc/logrotate.d/proxyd")
    assert (log.parent / "access.jsonl.1").stat().st_ino == inode
    fetch(service, f"{BASE_URL}/echo")
    wait_until(lambda: log.exists() and log.stat().st_size > 0, "the new access log")
    assert service.must("stat", "-c", "%U %a", "/var/log/proxyd/access.jsonl") == "proxyd 600"


def test_a_main_process_that_hangs_is_replaced_by_the_watchdog(machine, origin):
    folder = machine.root / "etc/systemd/system/proxyd.service.d"
    folder.mkdir(parents=True)
    (folder / "watchdog.conf").write_text("[Service]\nWatchdogSec=4\n")
    machine.must("systemctl", "daemon-reload")
    machine.must("systemctl", "start", "proxyd.service")
    try:
        main = machine.show("MainPID")
        machine.must("sh", "-c", f"kill -STOP {main}")
        wait_until(lambda: machine.show("MainPID") not in ("0", main) and machine.show("SubState") == "running",
                   "another main process", BOOT_SECONDS)  # fmt: skip
        assert machine.show("NRestarts") == "1"
        fetch(machine, f"{BASE_URL}/echo")
    finally:
        (folder / "watchdog.conf").unlink()
        machine.must("systemctl", "daemon-reload")
        machine.must("systemctl", "stop", "proxyd.service")
        machine.must("systemctl", "reset-failed")


def test_root_s_tools_find_the_service(service):
    assert "ready" in service.must("proxyd", "status")


def test_a_wrong_configuration_fails_the_reload_and_not_the_service(service):
    file = service.root / "etc/proxyd/proxyd.yaml"
    good = file.read_text()
    try:
        file.write_text(good + "bogus: 1\n")
        code, _ = service.run("systemctl", "reload", "proxyd.service")
        assert code != 0
        assert "bogus" in service.must("journalctl", "--no-pager", "-u", "proxyd", "-n", "10")
    finally:
        file.write_text(good)
    assert service.show("ActiveState") == "active"
    service.must("systemctl", "reload", "proxyd.service")


def test_a_wrong_configuration_at_the_start_is_not_tried_again(machine):
    file = machine.root / "etc/proxyd/proxyd.yaml"
    good = file.read_text()
    try:
        file.write_text(good + "bogus: 1\n")
        assert machine.run("systemctl", "start", "proxyd.service")[0] != 0
    finally:
        file.write_text(good)
    assert (machine.show("NRestarts"), machine.show("ExecMainStatus")) == ("0", "2")


def test_the_vault_s_key_arrives_as_a_credential(service):
    user = service.must("stat", "-c", "%U %a", "/run/credentials/proxyd.service/proxyd-vault-key")
    assert user == "proxyd 400"


def test_without_a_key_in_the_store_a_new_service_makes_one_for_itself(machine):
    moved = ("/etc/credstore/proxyd-vault-key", "/var/lib/proxyd")
    for path in moved:
        machine.must("mv", path, f"{path}.kept")
    try:
        machine.must("systemctl", "start", "proxyd.service")
        machine.must("systemctl", "stop", "proxyd.service")
        assert machine.must("stat", "-c", "%U %a", "/var/lib/proxyd/vault/key") == "proxyd 600"
    finally:
        machine.must("rm", "-rf", "/var/lib/proxyd")
        for path in moved:
            machine.must("mv", f"{path}.kept", path)


def test_a_control_process_that_dies_is_replaced_and_the_service_goes_on(service, origin):
    before = service.admin.call("status")["control_pid"]
    address = service.admin.call("status")["listeners"][0]["address"]
    service.must("sh", "-c", f"kill -9 {before}")
    fetch(service, f"{BASE_URL}/echo", address)

    def replaced():
        try:
            return service.admin.call("status")["control_pid"] != before
        except OSError:
            return False

    wait_until(replaced, "a new control process")
    assert service.show("NRestarts") == "0"


def test_an_upgrade_keeps_the_main_process_and_serves(service, origin):
    main = service.show("MainPID")
    service.must("proxyd", "upgrade")
    assert (service.show("MainPID"), service.show("ActiveState")) == (main, "active")
    fetch(service, f"{BASE_URL}/echo")
    service.must("systemctl", "reload", "proxyd.service")


def test_the_socket_unit_holds_the_listener_through_a_restart(machine, origin):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    folder = machine.root / "etc/systemd/system/proxyd.socket.d"
    folder.mkdir(parents=True)
    (folder / "port.conf").write_text(f"[Socket]\nListenStream=\nListenStream={address}\n")
    machine.must("systemctl", "daemon-reload")
    machine.must("systemctl", "start", "proxyd.socket")
    try:
        host, port = address.split(":")
        with socket.create_connection((host, int(port)), 10):  # this starts the service
            wait_until(lambda: machine.run("systemctl", "is-active", "proxyd.service")[0] == 0, "the activation")
        assert machine.admin.call("status")["listeners"][0]["address"] == address
        fetch(machine, f"{BASE_URL}/echo", address)
        machine.must("systemctl", "stop", "proxyd.service")
        with socket.create_connection((host, int(port)), 10):
            pass  # nobody is refused: systemd has the socket
    finally:
        machine.must("systemctl", "stop", "proxyd.socket", "proxyd.service")


def test_the_gateway_s_socket_unit_lets_its_group_in_and_nobody_else(machine, origin):
    file = machine.root / "etc/proxyd/proxyd.yaml"
    good = file.read_text()
    config = yaml.safe_load(good)
    config["listeners"].append({"name": "gateway", "mode": "gateway", "address": "unix:/run/proxyd-gateway.sock"})
    file.write_text(yaml.safe_dump(config))
    group = machine.must("getent", "group", "proxyd-gateway").split(":")[2]
    ask = ["setpriv", "--reuid=nobody", "--regid=nogroup"]
    python = [f"/usr/bin/python3.{sys.version_info.minor}", "-c", ASK]
    mark = origin.ledger.mark()
    machine.must("systemctl", "start", "proxyd-gateway.socket")
    try:
        assert "200 OK" in machine.must(*ask, f"--groups={group}", *python)  # this starts the service
        assert "PermissionError" in machine.run(*ask, "--clear-groups", *python)[1]
    finally:
        file.write_text(good)
        machine.must("systemctl", "stop", "proxyd-gateway.socket", "proxyd.service")
    assert [one.values("authorization") for one in origin.ledger.since(mark)] == [[f"Bearer {TOKEN}"]]
    assert machine.run("stat", "/run/proxyd-gateway.sock")[0] != 0


def test_a_newer_package_upgrades_the_running_service_in_place(service, origin):
    main, before = service.show("MainPID"), service.admin.call("status")["control_pid"]
    service.must("dpkg", "-i", "/root/proxyd.deb")
    assert (service.show("MainPID"), service.show("ActiveState")) == (main, "active")
    assert service.admin.call("status")["control_pid"] != before
    fetch(service, f"{BASE_URL}/echo")


def test_removing_and_purging_leaves_nothing_behind(machine):
    machine.must("systemctl", "start", "proxyd.service")
    machine.must("dpkg", "--remove", "proxyd")
    assert machine.run("systemctl", "is-active", "proxyd.service")[0] != 0
    assert (machine.root / "etc/proxyd/proxyd.yaml").exists()
    assert (machine.root / "var/lib/proxyd/ca.pem").exists()
    machine.must("dpkg", "--purge", "proxyd")
    left = [
        path
        for path in ("usr/lib/proxyd", "var/lib/proxyd", "etc/proxyd/proxyd.yaml")
        if (machine.root / path).exists()
    ]
    assert left == []
