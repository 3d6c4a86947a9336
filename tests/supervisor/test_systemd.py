import os
import socket
import uuid

import pytest

from proxyd.supervisor.systemd import Systemd


@pytest.fixture(params=["path", "abstract"])
def systemd(request, tmp_path):
    name = str(tmp_path / "notify") if request.param == "path" else f"@proxyd-test-{uuid.uuid4()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(name.replace("@", "\0") if request.param == "abstract" else name)
        sock.setblocking(False)
        yield name, sock


def heard(sock):
    try:
        return sock.recv(4096).decode()
    except BlockingIOError:
        return None


def test_text_reaches_the_socket_and_the_variables_are_gone(systemd):
    name, sock = systemd
    environ = {"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "1", "WATCHDOG_PID": "1", "HOME": "/"}
    Systemd(environ).notify("STOPPING=1")
    assert heard(sock) == "STOPPING=1"
    assert environ == {"HOME": "/"}


def test_control_relays_known_variables_only(systemd):
    name, sock = systemd
    notifier = Systemd({"NOTIFY_SOCKET": name})
    notifier.relay("READY=1\nSTATUS=serving")
    assert heard(sock) == "READY=1\nSTATUS=serving"
    notifier.relay("RELOADING=1")
    assert heard(sock).startswith("RELOADING=1\nMONOTONIC_USEC=")
    for text in ("MAINPID=1", "READY=1\nFDSTORE=1", "STATUS=" + "x" * 5000):
        with pytest.raises(ValueError, match="control may notify"):
            notifier.relay(text)
    assert heard(sock) is None


def test_the_watchdog_is_petted_at_half_its_time_and_only_in_health(systemd):
    name, sock = systemd
    notifier = Systemd({"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "10000000", "WATCHDOG_PID": str(os.getpid())})
    notifier.pet(100.0, is_healthy=True)
    assert heard(sock) == "WATCHDOG=1"
    assert notifier.next_pet == 105.0
    notifier.pet(104.0, is_healthy=True)
    assert heard(sock) is None
    notifier.pet(105.0, is_healthy=False)
    assert heard(sock) is None
    notifier.pet(110.0, is_healthy=True)
    assert heard(sock) == "WATCHDOG=1"


@pytest.mark.parametrize(
    "variables", [{"WATCHDOG_USEC": "0"}, {"WATCHDOG_USEC": "5", "WATCHDOG_PID": "1"}, {"WATCHDOG_USEC": "x"}, {}]
)
def test_a_watchdog_that_is_not_ours_is_not_petted(systemd, variables):
    name, _ = systemd
    assert Systemd({"NOTIFY_SOCKET": name, **variables}).next_pet == float("inf")


@pytest.mark.parametrize("environ", [{}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "vsock:2:1"}])
def test_without_systemd_nothing_happens(environ):
    Systemd(environ).notify("READY=1")


def test_a_systemd_that_does_not_listen_is_no_error(tmp_path, capfd):
    Systemd({"NOTIFY_SOCKET": str(tmp_path / "absent")}).notify("READY=1")
    assert "systemd was not told READY" in capfd.readouterr().err
