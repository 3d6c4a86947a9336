import os
import signal
import socket
import stat
import sys

import pytest

from tests.supervisor.running import PATIENCE, Running


@pytest.fixture
def start(tmp_path):
    started = []

    def start(plan, **options):
        running = Running(tmp_path, plan, **options)
        started.append(running)
        return running

    yield start
    for running in started:
        running.__exit__()


def tcp(name="apps"):
    return {"listeners": [[name, "127.0.0.1:0"]], "workers": 1}


def up(running, workers=1):
    """Wait until control is bound and heard every worker; return control's pid and the workers' by index."""
    control = running.expect("control")["pid"]
    running.expect("Bound", id=1)
    pids = {}
    for _ in range(workers):
        started = running.expect("WorkerStarted")
        pids[started["worker"]] = started["started"]
        running.expect("ready", worker=started["started"])
    return control, pids


# --- listening ------------------------------------------------------------------------------------


def test_bind_is_answered_with_actual_addresses_and_sockets(start, tmp_path):
    path = tmp_path / "apps.sock"
    running = start({"listeners": [["tcp", "127.0.0.1:0"], ["unix", f"unix:{path}"]], "workers": 1})
    bound = running.expect("Bound")
    (_, tcp_address), unix = bound["listeners"]
    assert unix == ["unix", f"unix:{path}"]
    port = bound["sockets"][0][1]
    assert tcp_address == f"127.0.0.1:{port}"
    assert bound["sockets"][1] == str(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with socket.create_connection(("127.0.0.1", port)), socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))


def test_a_bind_that_fails_changes_nothing_and_says_where(start):
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = f"127.0.0.1:{other.getsockname()[1]}"
        running = start(tcp())
        port = running.expect("Bound", id=1)["sockets"][0][1]
        running.reload({"listeners": [["new", "127.0.0.1:0"], ["apps", taken]], "workers": 1})
        refused = running.expect("Bound", id=2)
    assert refused["error"].startswith(f"listener apps: cannot listen on {taken}: another process listens there")
    assert refused["listeners"] == []
    with socket.create_connection(("127.0.0.1", port)):
        pass


def test_reload_keeps_what_is_unchanged_and_closes_what_is_absent(start, tmp_path):
    path = tmp_path / "b.sock"
    running = start({"listeners": [["a", "127.0.0.1:0"], ["b", f"unix:{path}"]], "workers": 1})
    first = running.expect("Bound", id=1)
    running.reload({"listeners": [["c", "127.0.0.1:0"], ["a", "127.0.0.1:0"]], "workers": 1})
    running.expect("Reload")
    second = running.expect("Bound", id=2)
    assert second["listeners"][1] == first["listeners"][0]
    assert second["listeners"][0][1] != first["listeners"][0][1]
    assert not path.exists()


def test_sigusr1_is_told_to_control_and_ends_nobody(start):
    running = start(tcp())
    running.expect("Bound", id=1)
    running.process.send_signal(signal.SIGUSR1)
    running.expect("Reopen")
    running.reload(tcp())
    running.expect("Bound", id=2)


def test_sockets_of_listen_fds_are_taken_over_by_name_or_address(start):
    with socket.create_server(("127.0.0.1", 0)) as named, socket.create_server(("127.0.0.1", 0)) as other:
        address = f"127.0.0.1:{other.getsockname()[1]}"
        like_systemd = (
            "import os, sys\n"
            "high = [os.dup2(int(fd), 100 + place) for place, fd in enumerate(sys.argv[1:])]\n"
            "for place, fd in enumerate(high): os.dup2(fd, 3 + place)\n"
            "os.environ['LISTEN_PID'] = str(os.getpid())\n"
            "os.execv(sys.executable, [sys.executable, '-m', 'tests.supervisor.fakes', 'supervisor'])\n"
        )
        command = [sys.executable, "-c", like_systemd, str(named.fileno()), str(other.fileno())]
        running = start(
            {"listeners": [["byaddress", address], ["apps", "127.0.0.1:1"], ["new", "127.0.0.1:0"]]},
            environment={"LISTEN_FDS": "2", "LISTEN_FDNAMES": "apps:unknown"},
            command=command,
            pass_fds=(named.fileno(), other.fileno()),
        )
        assert running.expect("control")["variables"] == []
        bound = running.expect("Bound")
        assert bound["sockets"][:2] == [list(other.getsockname()), list(named.getsockname())]
        assert bound["listeners"][1] == ["apps", f"127.0.0.1:{named.getsockname()[1]}"]


# --- workers --------------------------------------------------------------------------------------


def test_a_killed_worker_is_replaced_under_its_index_and_control_hears_of_it(start):
    running = start({**tcp(), "workers": 2})
    _, workers = up(running, 2)
    assert workers.keys() == {0, 1}
    os.kill(workers[1], signal.SIGKILL)
    assert running.expect("WorkerExited")["why"] == "killed by SIGKILL"
    started = running.expect("WorkerStarted")
    assert started["worker"] == 1
    running.expect("ready", worker=started["started"])


def test_a_child_holds_nothing_but_its_links(start):
    read, write = os.pipe()  # what a careless parent leaves open
    running = start({**tcp(), "workers": 2}, pass_fds=(read, write))
    os.close(read)
    os.close(write)
    assert running.expect("control")["descriptors"] == []
    for index in (0, 1):
        report = running.expect("worker", index=index)
        assert report["descriptors"] == []
        assert report["ignored"] == [signal.SIGHUP, signal.SIGINT, signal.SIGTERM]
        assert report["name"] == f"proxyd-w{index}"


def test_the_number_of_workers_follows_the_configuration(start):
    running = start({**tcp(), "workers": 1})
    up(running)
    running.reload({**tcp(), "workers": 3})
    pids = {running.expect("WorkerStarted", worker=index)["started"] for index in (1, 2)}
    running.reload({**tcp(), "workers": 1, "drain_timeout": 7.0})
    for index in (1, 2):
        assert running.expect("drain", index=index)["seconds"] == 7.0
        exited = running.expect("WorkerExited", worker=index)
        assert exited["why"] == "exit code 0"
        assert exited["exited"] in pids


def test_workers_that_die_young_are_started_again_and_again(start):
    running = start({**tcp(), "dies": True})
    for _ in range(3):
        assert running.expect("WorkerExited")["why"] == "exit code 3"
    assert "started again in 0.1 s" in running.stderr


def test_a_worker_that_raises_says_so_and_is_replaced(start):
    running = start({**tcp(), "raises": True})
    assert running.expect("WorkerExited")["why"] == "exit code 70"
    assert "RuntimeError: a bug" in running.stderr
    running.expect("WorkerStarted")


def test_a_forked_worker_runs_trio(start):
    running = start({**tcp(), "trio": True, "workers": 2})
    _, workers = up(running, 2)
    running.signal(signal.SIGTERM)
    for index in workers:
        running.expect("drain", index=index)
    assert running.exit_code() == 0
    assert "Traceback" not in running.stderr


def test_workers_end_when_the_supervisor_is_killed(start):
    running = start({**tcp(), "workers": 2})
    control, workers = up(running, 2)
    running.process.kill()
    running.expect("orphaned", index=0)
    running.expect("orphaned", index=1)
    for pid in (control, *workers.values()):
        running.wait_gone(pid)


# --- control --------------------------------------------------------------------------------------


def test_a_killed_control_is_started_again_and_workers_are_adopted(start):
    running = start({**tcp(), "workers": 2})
    control, workers = up(running, 2)
    running.seen.clear()
    os.kill(control, signal.SIGKILL)
    again = running.expect("control")["pid"]
    assert again != control
    running.expect("Bound", id=1)
    for index, pid in workers.items():
        running.expect("adopted", index=index)
        assert running.expect("WorkerStarted", worker=index)["started"] == pid
        running.expect("ready", worker=pid)


def test_listeners_outlive_control(start):
    running = start(tcp())
    control, _ = up(running)
    running.reload(tcp())
    first = running.expect("Bound", id=2)
    os.kill(control, signal.SIGKILL)
    assert running.expect("Bound", id=1)["listeners"] == first["listeners"]


def test_a_worker_that_dies_without_control_is_replaced_and_adopted_later(start):
    running = start({**tcp(), "silence": 2.0})
    control, workers = up(running)
    running.seen.clear()
    os.kill(control, signal.SIGSTOP)
    os.kill(workers[0], signal.SIGKILL)
    replacement = running.expect("worker")["pid"]
    running.expect("control")  # the silent one was killed
    running.expect("adopted", index=0)
    running.expect("ready", worker=replacement)


def test_a_control_that_breaks_the_protocol_is_replaced(start):
    running = start(tcp())
    control, _ = up(running)
    running.reload({**tcp(), "garbage": True})
    assert running.expect("control")["pid"] != control
    running.expect("adopted", index=0)
    assert "it broke a rule of its link: a frame of 4294967295 bytes" in running.stderr


def test_a_control_that_fails_at_first_gives_the_exit_code(start):
    running = start({"fails": 78})
    assert running.exit_code() == 78


def test_a_control_that_cannot_be_executed_is_said(start):
    running = start({"command": ["/nonexistent/control"]})
    assert running.exit_code() == 1
    assert "control cannot be started: No such file or directory" in running.stderr


def test_a_control_whose_first_bind_is_refused_is_not_restarted(start):
    running = start({"listeners": [["apps", "nowhere:1"]]})
    control = running.expect("control")["pid"]
    assert "the host must be an IP address" in running.expect("Bound")["error"]
    os.kill(control, signal.SIGKILL)
    assert running.exit_code() == 128 + signal.SIGKILL


# --- the end --------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_drains_workers_ends_control_and_exits_with_zero(start, number, tmp_path):
    path = tmp_path / "apps.sock"
    running = start({"listeners": [["apps", f"unix:{path}"]], "workers": 2, "drain_timeout": 9.0})
    control, workers = up(running, 2)
    running.signal(number)
    for index in workers:
        assert running.expect("drain", index=index)["seconds"] == 9.0
    assert running.exit_code() == 0
    assert not path.exists()
    assert not any(map(running.is_ours, (control, *workers.values())))


def test_draining_works_with_control_stopped(start):
    running = start({**tcp(), "control_stop": 0.1})
    control, _ = up(running)
    os.kill(control, signal.SIGSTOP)
    running.signal(signal.SIGTERM)
    running.expect("drain", index=0)
    assert running.exit_code() == 0
    assert not running.is_ours(control)


def test_a_worker_that_does_not_drain_is_killed_at_the_deadline(start):
    running = start({**tcp(), "stubborn": True, "drain_timeout": 0.1})
    _, workers = up(running)
    running.signal(signal.SIGTERM)
    running.expect("drain", index=0)
    assert running.exit_code() == 0
    assert not running.is_ours(workers[0])
    assert "it did not end in time" in running.stderr


def test_a_second_signal_ends_at_once(start):
    running = start({**tcp(), "stubborn": True, "ignores_term": True, "drain_timeout": 3600.0})
    control, workers = up(running)
    running.signal(signal.SIGTERM)
    running.expect("drain", index=0)
    assert running.expect("Drain")["seconds"] == 3600.0  # control is told too: it is not ready any more
    running.signal(signal.SIGINT)
    assert running.exit_code() == 0
    assert not any(map(running.is_ours, (control, *workers.values())))


def test_the_same_signal_twice_in_a_row_is_one_order_to_stop(start):
    """As GNU timeout sends it: to the process, and to its group."""
    running = start({**tcp(), "drain_timeout": 3600.0})
    up(running)
    running.signal(signal.SIGTERM)
    running.signal(signal.SIGTERM)
    running.expect("drain", index=0)
    assert running.exit_code() == 0
    assert "everything is killed" not in running.stderr


def test_a_control_that_ignores_sigterm_is_killed(start):
    running = start({**tcp(), "ignores_term": True, "control_stop": 0.1})
    control, _ = up(running)
    running.signal(signal.SIGTERM)
    assert running.exit_code() == 0
    assert not running.is_ours(control)


def test_shutdown_from_control_drains_with_its_own_deadline(start):
    running = start(tcp())
    up(running)
    running.reload({**tcp(), "shutdown": 4.0})
    assert running.expect("drain", index=0)["seconds"] == 4.0
    assert running.exit_code() == 0


def test_a_signal_before_anything_is_bound_ends_cleanly(start):
    running = start({"listeners": [["apps", "nowhere:1"]]})
    running.expect("Bound")
    running.signal(signal.SIGTERM)
    assert running.exit_code() == 0


# --- systemd --------------------------------------------------------------------------------------


def test_systemd_hears_of_ready_reloading_stopping_and_the_watchdog(start, tmp_path):
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(path)
        systemd.settimeout(PATIENCE)

        def hear(start_of_text):
            while not (text := systemd.recv(4096).decode()).startswith(start_of_text):
                pass
            return text

        running = start(tcp(), environment={"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "200000"})
        assert hear("READY") == "READY=1"
        assert hear("WATCHDOG") == "WATCHDOG=1"
        running.signal(signal.SIGHUP)
        variable, time = hear("RELOADING").split("\n")
        assert variable == "RELOADING=1"
        assert time.removeprefix("MONOTONIC_USEC=").isdigit()
        running.signal(signal.SIGTERM)
        assert hear("STOPPING") == "STOPPING=1"
        assert running.expect("control")["variables"] == []
        assert running.exit_code() == 0
