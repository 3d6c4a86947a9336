"""Under load, with processes killed, stopped and reloaded: no error on a request that is safe to repeat."""

import contextlib
import http.client
import signal
import socket
from collections.abc import Iterator

import pytest

from tests.lab.daemon import Daemon, configuration, pause, wait_until
from tests.lab.load import Load
from tests.lab.origin import BASE_URL, Origin
from tests.lab.pki import Pki

pytestmark = pytest.mark.e2e

URL = f"{BASE_URL}/echo".replace("https:", "http:")
"""In absolute-form; proxyd upgrades it to TLS."""


@pytest.fixture(params=[1, 2], ids=["one-worker", "two-workers"])
def loaded(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, origin: Origin, pki: Pki
) -> Iterator[Daemon]:
    folder = tmp_path_factory.mktemp("load")
    with Daemon(folder, configuration(origin, pki, folder) | {"workers": request.param}) as running:
        yield running


def test_killed_worker_is_replaced_and_no_request_is_lost(loaded: Daemon) -> None:
    before = {worker.pid for worker in loaded.workers()}
    victim = min(before)
    with Load(loaded.address(), URL) as load:
        load.wait_for_more(50)
        loaded.workers()[0].send_signal(signal.SIGKILL)
        load.wait_for_more(200)
        wait_until(lambda: len({w.pid for w in loaded.workers()} - {victim}) == len(before), "the new worker", 10)
        load.wait_for_more(50)
    assert not load.tally.errors
    assert set(load.tally.statuses) == {200}
    assert load.tally.retried <= load.threads, "only those whose connection was the killed worker's"


def test_connections_queue_while_the_only_worker_is_replaced(own_daemon: Daemon) -> None:
    with Load(own_daemon.address(), URL, fresh=True) as load:
        for _ in range(3):
            load.wait_for_more(20)
            own_daemon.workers()[0].send_signal(signal.SIGKILL)
        load.wait_for_more(50)
    assert not load.tally.errors
    assert set(load.tally.statuses) == {200}


@pytest.mark.slow
def test_traffic_goes_on_while_control_is_stopped(own_daemon: Daemon) -> None:
    control = own_daemon.control()
    with Load(own_daemon.address(), URL) as load:
        load.wait_for_more(20)
        control.send_signal(signal.SIGSTOP)
        try:
            pause(10)
            load.wait_for_more(200)
        finally:
            with contextlib.suppress(ProcessLookupError):
                control.send_signal(signal.SIGCONT)
        load.wait_for_more(50)
    assert not load.tally.errors
    assert load.tally.retried == 0
    assert set(load.tally.statuses) == {200}
    wait_until(lambda: own_daemon.status()["state"] == "ready", "control to answer again")


def test_killed_control_is_replaced_and_traffic_goes_on(own_daemon: Daemon) -> None:
    control = own_daemon.control()
    workers = {worker.pid for worker in own_daemon.workers()}
    with Load(own_daemon.address(), URL) as load:
        load.wait_for_more(20)
        control.kill()
        wait_until(lambda: answers(own_daemon, control.pid), "a new control process")
        load.wait_for_more(100)
    assert not load.tally.errors
    assert load.tally.retried == 0
    assert set(load.tally.statuses) == {200}
    assert {worker.pid for worker in own_daemon.workers()} == workers, "workers outlive control"
    own_daemon.reload()
    with Load(own_daemon.address(), URL) as load:
        load.wait_for_more(20)
    assert not load.tally.errors


def answers(daemon: Daemon, former: int) -> bool:
    try:
        status = daemon.status()
    except (OSError, AssertionError):
        return False
    return bool(status["control_pid"] != former and status["state"] == "ready")


def test_reload_under_load_loses_nothing(loaded: Daemon) -> None:
    with Load(loaded.address(), URL) as load:
        for turn in range(5):
            load.wait_for_more(50)
            loaded.write(loaded.config | {"limits": {"head_timeout": f"{10 + turn}s"}})
            loaded.reload()
        load.wait_for_more(50)
    assert not load.tally.errors
    assert load.tally.retried == 0
    assert set(load.tally.statuses) == {200}


def test_sigterm_lets_a_running_exchange_end_and_takes_no_new_one(own_daemon: Daemon) -> None:
    address = own_daemon.address()
    connection = http.client.HTTPConnection(*address, timeout=20)
    try:
        connection.request("GET", f"{BASE_URL}/slow?n=20&ms=100".replace("https:", "http:"))
        response = connection.getresponse()
        first = response.read(5)
        own_daemon.process.terminate()
        wait_until(lambda: not accepts(address), "the listener to be closed")
        assert own_daemon.process.poll() is None
        whole = first + response.read()
        assert own_daemon.process.wait(10) == 0, "a connection that its client keeps does not hold the drain up"
    finally:
        connection.close()
    assert whole.endswith(b"data: 19\n\n")


def accepts(address: tuple[str, int]) -> bool:
    try:
        socket.create_connection(address, 5).close()
    except (ConnectionRefusedError, ConnectionResetError):
        return False
    return True
