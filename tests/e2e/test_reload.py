"""Reload: the whole new configuration or the whole old one, and never an exchange lost."""

import copy
import signal
import socket

import pytest

from tests.lab.curl import curl, fetch
from tests.lab.daemon import Daemon, wait_until
from tests.lab.origin import BASE_URL, TOKEN

pytestmark = pytest.mark.e2e

BROKEN = """\
listeners:
  - {name: apps, mode: forward, address: 127.0.0.1:0, unknown_hosts: tunell}
servces: {}
workers: many
"""


def accepts(address: tuple[str, int]) -> bool:
    try:
        socket.create_connection(address, 5).close()
    except ConnectionRefusedError:
        return False
    return True


def test_bad_file_is_refused_with_every_mistake_and_the_old_one_goes_on(own_daemon: Daemon) -> None:
    before = own_daemon.status()["snapshot"]
    own_daemon.file.write_text(BROKEN)
    done = own_daemon.run("reload")
    assert done.returncode not in {0, 3}
    said = done.stdout + done.stderr
    for place, word in ((":2:", "tunnel"), (":3:", "services"), (":4:", "workers")):
        assert f"{own_daemon.file.name}{place}" in said, said
        assert word in said
    assert own_daemon.status()["snapshot"] == before
    fetch(own_daemon, f"{BASE_URL}/echo")


def test_bad_file_on_sighup_leaves_the_daemon_ready(own_daemon: Daemon) -> None:
    own_daemon.file.write_text(BROKEN)
    own_daemon.reload()
    assert "tunnel" in own_daemon.stderr
    fetch(own_daemon, f"{BASE_URL}/echo")


def test_new_listener_is_bound_and_a_removed_one_is_closed(own_daemon: Daemon) -> None:
    former = own_daemon.address()
    config = copy.deepcopy(own_daemon.config)
    config["listeners"][0]["name"] = "others"
    own_daemon.write(config)
    own_daemon.reload()
    assert accepts(own_daemon.address("others"))
    wait_until(lambda: not accepts(former), "the removed listener to be closed")


def test_kept_listener_keeps_its_port(own_daemon: Daemon) -> None:
    former = own_daemon.address()
    config = copy.deepcopy(own_daemon.config)
    config["listeners"].append({"name": "second", "mode": "forward", "address": "127.0.0.1:0"})
    own_daemon.write(config)
    own_daemon.reload()
    assert own_daemon.address() == former
    assert accepts(own_daemon.address("second"))


def test_rules_of_the_new_file_hold_at_once(own_daemon: Daemon) -> None:
    fetch(own_daemon, f"{BASE_URL}/echo")
    config = copy.deepcopy(own_daemon.config)
    config["access"]["rules"] = []
    own_daemon.write(config)
    assert own_daemon.run("reload").returncode == 0
    refused = curl(own_daemon, f"{BASE_URL}/echo".replace("https:", "http:"), "-o", "/dev/null", "-w", "%{http_code}")
    assert refused.stdout == "403"


def test_systemd_hears_reloading_and_ready(own_daemon: Daemon) -> None:
    own_daemon.notices.clear()
    own_daemon.process.send_signal(signal.SIGHUP)
    own_daemon.wait_for_notice("READY=1")
    assert own_daemon.notices.index("RELOADING=1") < own_daemon.notices.index("READY=1")


def test_secret_file_is_read_again_when_it_changes(own_daemon: Daemon) -> None:
    secret = own_daemon.folder / "token"
    secret.write_text("wrong-token-of-old\n")
    config = copy.deepcopy(own_daemon.config)
    config["secrets"]["tickets/token"] = {"file": str(secret)}
    own_daemon.write(config)
    own_daemon.reload()
    code = ("-o", "/dev/null", "-w", "%{http_code}")
    assert curl(own_daemon, f"{BASE_URL}/echo", *code).stdout == "401"
    secret.write_text(TOKEN + "\n")
    wait_until(lambda: curl(own_daemon, f"{BASE_URL}/echo", *code).stdout == "200", "the new secret to be used")
