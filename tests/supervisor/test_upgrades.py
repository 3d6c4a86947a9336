"""Upgrades in place, with a fake control and fake workers: real supervisors, real execs."""

import os
import signal
import socket
import sys

import pytest

from tests.supervisor.running import PATIENCE, Running
from tests.supervisor.test_main import tcp, up


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


def upgraded(running, plan, generation=2):
    """Have it upgraded; return the new control's pid and the new workers' by index."""
    running.reload({**plan, "upgrade": PATIENCE})
    control = running.expect("control", takeover="later")["pid"]
    running.expect("Promote", pid=control)
    assert running.expect("Upgraded")["error"] == ""
    pids = {}
    for _ in range(plan.get("workers", 1)):
        worker = running.expect("WorkerStarted", pid=control)
        pids[worker["worker"]] = worker["started"]
        running.expect("ready", worker=worker["started"])
    assert running.expect("Generations", pid=control, number=generation, draining=[])["number"] == generation
    return control, pids


# --- success --------------------------------------------------------------------------------------


def test_the_new_generation_serves_and_the_old_one_drains_under_the_same_pid(start):
    running = start({**tcp(), "workers": 2, "clings": True})
    control, workers = up(running, 2)
    running.reload({**tcp(), "workers": 2, "clings": True})
    address = running.expect("Bound", id=2)["listeners"]
    new_control, new_workers = upgraded(running, {**tcp(), "workers": 2, "clings": True})
    assert running.expect("Bound", id=1, pid=new_control)["listeners"] == address
    for index in workers:
        drain = running.expect("drain", pid=workers[index])
        assert (drain["seconds"], drain["gentle"]) == (99.0, True)
    running.expect("Retire", pid=control)
    assert running.expect("Predecessor", pid=new_control)["generation"] == 1
    assert running.expect("Generations", pid=new_control)["draining"] == [[1, 2]]
    assert new_control != control
    assert not set(new_workers.values()) & set(workers.values())
    assert running.process.poll() is None
    with socket.create_connection(tuple(running.bound_socket)):
        pass
    os.kill(workers[0], signal.SIGKILL)
    assert running.expect("WorkerExited", pid=control)["why"] == "killed by SIGKILL"
    assert running.expect("Generations", pid=new_control)["draining"] == [[1, 1]]
    os.kill(workers[1], signal.SIGKILL)
    running.wait_gone(control)
    assert running.expect("Generations", pid=new_control, draining=[])["number"] == 2
    running.signal(signal.SIGTERM)
    assert running.exit_code() == 0
    assert not any(map(running.is_ours, (new_control, *new_workers.values())))


def test_a_worker_of_the_new_generation_is_replaced_after_the_exec(start):
    running = start(tcp())
    up(running)
    control, workers = upgraded(running, tcp())
    os.kill(workers[0], signal.SIGKILL)
    assert running.expect("WorkerExited", pid=control)["exited"] == workers[0]
    started = running.expect("WorkerStarted", pid=control)
    running.expect("ready", worker=started["started"])


def test_a_control_of_the_new_generation_is_replaced_after_the_exec(start):
    running = start({**tcp(), "clings": True})
    former, _ = up(running)
    control, workers = upgraded(running, {**tcp(), "clings": True})
    running.seen.clear()
    os.kill(control, signal.SIGKILL)
    again = running.expect("control")
    assert again["takeover"] == "now"  # the former generation's control still serves the admin socket's path
    running.expect("adopted", pid=workers[0])
    running.expect("Retire", pid=former)
    assert running.expect("Predecessor", pid=again["pid"])["generation"] == 1


def test_former_generations_hear_of_reloads_and_of_logs_to_open_again(start):
    running = start({**tcp(), "clings": True})
    former, _ = up(running)
    control, _ = upgraded(running, {**tcp(), "clings": True})
    running.seen.clear()
    running.reload({**tcp(), "clings": True, "reloaded": True})
    running.expect("Reload", pid=control)
    running.expect("Reload", pid=former)
    running.signal(signal.SIGUSR1)
    running.expect("Reopen", pid=control)
    running.expect("Reopen", pid=former)


def test_three_generations_drain_side_by_side(start):
    running = start({**tcp(), "clings": True})
    _, first = up(running)
    _, second = upgraded(running, {**tcp(), "clings": True})
    running.expect("Generations", draining=[[1, 1]])
    running.seen.clear()
    control, _ = upgraded(running, {**tcp(), "clings": True}, 3)
    assert {running.expect("Predecessor", pid=control)["generation"] for _ in range(2)} == {1, 2}
    assert running.expect("Generations", pid=control)["draining"] == [[1, 1], [2, 1]]
    os.kill(second[0], signal.SIGKILL)
    assert running.expect("Generations", pid=control)["draining"] == [[1, 1], [2, 0]]
    assert running.expect("Generations", pid=control)["draining"] == [[1, 1]]
    running.signal(signal.SIGTERM)
    assert running.expect("drain", pid=first[0], gentle=False)["seconds"] == 30.0
    assert running.exit_code() == 0


def test_a_generation_that_ends_while_another_upgrade_is_tried_is_not_waited_for_for_ever(start):
    running = start({**tcp(), "control_answers": 0.0, "lingers": 4.0})
    control, first = up(running)
    upgraded(running, tcp())
    running.expect("drain", pid=first[0])
    running.expect("lingers", pid=control)  # it has ended its link, and is reaped when generation 3 serves
    upgraded(running, tcp(), 3)
    running.signal(signal.SIGTERM)
    assert running.exit_code() == 0
    assert running.stderr.count("generation 1 has drained") == 1


def test_listeners_of_the_new_configuration_are_taken_and_those_of_the_old_one_end(start, tmp_path):
    old, kept, new = (tmp_path / name for name in ("old.sock", "kept.sock", "new.sock"))
    running = start({"listeners": [["old", f"unix:{old}"], ["kept", f"unix:{kept}"]]})
    up(running)
    inode = kept.stat().st_ino
    upgraded(running, {"listeners": [["kept", f"unix:{kept}"], ["new", f"unix:{new}"]]})
    assert not old.exists()
    assert kept.stat().st_ino == inode
    assert new.is_socket()
    running.signal(signal.SIGTERM)
    assert running.exit_code() == 0
    assert not kept.exists()
    assert not new.exists()


def test_sockets_of_systemd_stay_systemds(start, tmp_path):
    path = tmp_path / "given.sock"
    with socket.socket(socket.AF_UNIX) as given:
        given.bind(str(path))
        given.listen()
        like_systemd = (
            "import os, sys\n"
            "os.dup2(int(sys.argv[1]), 3)\n"
            "os.environ['LISTEN_PID'] = str(os.getpid())\n"
            "os.execv(sys.executable, [sys.executable, '-m', 'tests.supervisor.fakes', 'supervisor'])\n"
        )
        running = start(
            {"listeners": [["given", "127.0.0.1:1"]]},
            environment={"LISTEN_FDS": "1", "LISTEN_FDNAMES": "given"},
            command=[sys.executable, "-c", like_systemd, str(given.fileno())],
            pass_fds=(given.fileno(),),
        )
        up(running)
        upgraded(running, {"listeners": [["given", "127.0.0.1:1"]]})
        upgraded(running, {"listeners": [["other", "127.0.0.1:0"]]}, 3)
        upgraded(running, {"listeners": [["given", "127.0.0.1:1"]]}, 4)
        running.signal(signal.SIGTERM)
        assert running.exit_code() == 0
        assert path.exists()


def test_the_admin_address_goes_from_generation_to_generation(start):
    running = start(tcp())
    up(running)
    running.reload({**tcp(), "admin": "127.0.0.1:0"})
    first = running.expect("Bound", id=8)
    control, _ = upgraded(running, tcp())
    running.reload({**tcp(), "admin": "127.0.0.1:0"})
    second = running.expect("Bound", id=8, pid=control)
    assert second["listeners"] == first["listeners"]
    assert second["sockets"] == first["sockets"]


def test_children_hold_nothing_of_the_exec(start):
    running = start({**tcp(), "clings": True})
    up(running)
    for generation in (2, 3):
        upgraded(running, {**tcp(), "clings": True}, generation)
    running.reload({**tcp(), "workers": 2})
    running.expect("worker", index=1)
    for report in [one for one in running.reported if one["event"] in ("worker", "control")]:
        assert report["descriptors"] == []
        assert report.get("variables", []) == []


def test_systemd_hears_of_the_same_process_and_the_watchdog_is_petted_on(start, tmp_path):
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(path)
        systemd.settimeout(PATIENCE)
        running = start(tcp(), environment={"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "4000000"})
        up(running)
        upgraded(running, tcp())
        while not systemd.recv(4096).startswith(b"STATUS=generation 2"):
            pass
        while systemd.recv(4096) != b"WATCHDOG=1":
            pass


# --- failure --------------------------------------------------------------------------------------


def refused(running, plan, seconds=PATIENCE):
    running.reload({**plan, "upgrade": seconds})
    answer = running.expect("Upgraded")
    assert answer["generation"] == 1
    return answer["error"]


def goes_on(running, workers):
    """Whether the old generation is as it was: a worker of it is replaced, and nothing was drained."""
    running.reload(tcp())
    running.expect("Bound", id=2)
    assert not [report for report in running.reported if report["event"] == "drain" and report["pid"] in workers]
    os.kill(workers[0], signal.SIGKILL)
    running.expect("WorkerExited", exited=workers[0])
    running.expect("ready", worker=running.expect("WorkerStarted")["started"])
    return True


def test_a_program_that_cannot_be_imported_changes_nothing(start):
    running = start(tcp())
    _, workers = up(running)
    error = refused(running, {**tcp(), "crashes": "candidate"})
    assert error.startswith("generation 2 has ended: exit code 1: ")
    assert error.endswith("ImportError: no module named progress")
    assert goes_on(running, workers)


def test_a_program_that_is_gone_changes_nothing(start, tmp_path):
    program = tmp_path / "proxyd"
    program.write_text(f"#!{sys.executable}\nprint('never')\n")
    running = start({**tcp(), "program": [str(program)]})
    _, workers = up(running)
    assert refused(running, tcp()) == f"{program} cannot be executed: Permission denied"
    assert goes_on(running, workers)


def test_a_program_that_is_no_supervisor_changes_nothing(start):
    running = start({**tcp(), "program": ["/bin/true"]})
    _, workers = up(running)
    assert refused(running, tcp()) == "generation 2 has ended: exit code 0"
    assert goes_on(running, workers)


def test_a_control_that_cannot_start_says_why_to_the_caller(start):
    running = start(tcp())
    _, workers = up(running)
    assert refused(running, {**tcp(), "fails": 2, "why": "proxyd.yaml:3: a mistake"}) == "proxyd.yaml:3: a mistake"
    assert goes_on(running, workers)


def test_a_listener_that_cannot_be_bound_changes_nothing(start):
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = f"127.0.0.1:{other.getsockname()[1]}"
        running = start({**tcp(), "clings": True})
        _, workers = up(running)
        error = refused(running, {"listeners": [["apps", taken]], "never_ready": True}, 1.0)
    assert error == "generation 2 was not ready in time"
    assert goes_on(running, workers)


def test_a_generation_that_is_not_ready_in_time_is_ended_with_all_its_processes(start):
    running = start(tcp())
    control, workers = up(running)
    running.seen.clear()
    assert refused(running, {**tcp(), "never_ready": True}, 1.0) == "generation 2 was not ready in time"
    for report in [one for one in running.reported if one["event"] in ("worker", "control")]:
        if report["pid"] not in (control, workers[0]):
            running.wait_gone(report["pid"])
    assert goes_on(running, workers)


def test_a_candidate_that_ends_after_the_exec_leaves_the_old_generation_to_the_new_supervisor(start):
    running = start({**tcp(), "clings": True})
    control, workers = up(running)
    assert refused(running, {**tcp(), "clings": True, "never_yields": True}) == "it has ended the link"
    assert goes_on(running, workers)
    running.seen.clear()
    new_control, _ = upgraded(running, {**tcp(), "clings": True})
    running.expect("Retire", pid=control)
    running.expect("Predecessor", pid=new_control, generation=1)


def test_a_program_that_goes_between_trial_and_exec_changes_nothing(start, tmp_path):
    program = tmp_path / "proxyd"
    program.write_text(f"#!/bin/sh\nrm -- $0\nexec {sys.executable} -m tests.supervisor.fakes supervisor\n")
    program.chmod(0o755)
    running = start({**tcp(), "program": [str(program)]})
    _, workers = up(running)
    assert refused(running, tcp()) == f"{program} cannot be executed: No such file or directory"
    running.wait_gone(running.expect("control", takeover="later")["pid"])
    assert goes_on(running, workers)


def test_a_candidate_that_is_killed_is_said(start):
    running = start(tcp())
    _, workers = up(running)
    running.reload({**tcp(), "upgrade": PATIENCE, "never_ready": True})
    candidate = running.parent_of(running.expect("control", takeover="later")["pid"])
    os.kill(candidate, signal.SIGKILL)
    assert running.expect("Upgraded")["error"] == "generation 2 has ended: killed by SIGKILL"
    assert goes_on(running, workers)


def test_a_second_upgrade_waits_for_the_first(start):
    running = start(tcp())
    control, _ = up(running)
    running.reload({**tcp(), "upgrade": PATIENCE, "never_ready": True})
    running.expect("Bound", pid=running.expect("control", takeover="later")["pid"], id=1)  # and has seen its plan
    running.signal(signal.SIGHUP)
    assert running.expect("Upgraded")["error"] == "an upgrade is under way"
    running.change(tcp())
    running.signal(signal.SIGHUP)
    assert running.expect("Bound", pid=control, id=2)["error"] == "an upgrade is under way; try again when it is over"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_during_an_upgrade_ends_both_generations(start, number):
    running = start(tcp())
    control, workers = up(running)
    running.reload({**tcp(), "upgrade": PATIENCE, "never_ready": True})
    new_control = running.expect("control", takeover="later")["pid"]
    new_worker = running.expect("WorkerStarted", pid=new_control)["started"]
    running.expect("ready", worker=new_worker)
    running.signal(number)
    assert running.exit_code() == 0
    assert not any(map(running.is_ours, (control, new_control, new_worker, *workers.values())))


def test_a_worker_that_dies_during_an_upgrade_is_replaced(start):
    running = start(tcp())
    control, workers = up(running)
    running.reload({**tcp(), "upgrade": PATIENCE, "never_ready": True})
    new_control = running.expect("control", takeover="later")["pid"]
    new_worker = running.expect("WorkerStarted", pid=new_control)["started"]
    for of, victim in ((control, workers[0]), (new_control, new_worker)):
        os.kill(victim, signal.SIGKILL)
        running.expect("WorkerExited", pid=of, exited=victim)
        running.expect("ready", worker=running.expect("WorkerStarted", pid=of)["started"])


def test_a_control_that_dies_during_an_upgrade_ends_the_attempt(start):
    running = start(tcp())
    control, workers = up(running)
    running.reload({**tcp(), "upgrade": PATIENCE, "never_ready": True})
    new_control = running.expect("control", takeover="later")["pid"]
    os.kill(control, signal.SIGKILL)
    running.expect("adopted", pid=workers[0])
    running.wait_gone(new_control)
    assert "control has ended meanwhile" in running.stderr


def test_a_candidate_ends_with_the_supervisor_that_tries_it(start):
    running = start(tcp())
    up(running)
    running.reload({**tcp(), "upgrade": PATIENCE, "never_ready": True})
    new_control = running.expect("control", takeover="later")["pid"]
    new_worker = running.expect("WorkerStarted", pid=new_control)["started"]
    running.process.kill()
    running.wait_gone(new_control)
    running.wait_gone(new_worker)
