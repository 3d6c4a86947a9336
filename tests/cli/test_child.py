import os
import signal
import subprocess
import sys

import pytest

from proxyd.cli import child
from proxyd.cli.exits import CommandError

ENVIRONMENT = dict(os.environ)


def run(*command):
    return child.run(command, ENVIRONMENT, lambda: None)


@pytest.mark.parametrize(
    ("script", "code"),
    [("exit 0", 0), ("exit 7", 7), ("exit 255", 255), ("kill -TERM $$", 143), ("kill -KILL $$", 137)],
)
def test_the_exit_code_is_what_a_shell_would_say(script, code):
    assert run("sh", "-c", script) == code


def test_a_command_that_is_not_there_is_127():
    with pytest.raises(CommandError, match="command not found") as caught:
        run("no-such-command-anywhere")
    assert caught.value.code == 127


def test_a_command_that_cannot_be_executed_is_126(tmp_path):
    (tmp_path / "plain").write_text("")
    with pytest.raises(CommandError) as caught:
        run(str(tmp_path / "plain"))
    assert caught.value.code == 126


def test_the_command_gets_the_environment_and_no_other(capfd):
    assert child.run(["sh", "-c", "echo $ONLY $HOME"], {"ONLY": "this"}, lambda: None) == 0
    assert capfd.readouterr().out == "this\n"


def test_the_command_starts_with_signals_as_a_shell_gives_them(capfd):
    run("sh", "-c", "grep -E 'Sig(Blk|Ign)' /proc/self/status")
    blocked, ignored = [int(line.split()[1], 16) for line in capfd.readouterr().out.splitlines()]
    assert blocked == 0
    assert not ignored & 1 << (signal.SIGPIPE - 1)


def test_the_former_mask_is_set_back():
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    run("true")
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == before


PARENT = """
import os, sys
from proxyd.cli import child
sys.exit(child.run(["sh", "-c", sys.argv[1]], dict(os.environ), lambda: None))
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_to_us_is_sent_on(number):
    script = f"trap 'echo got; exit 9' {number.name.removeprefix('SIG')}; echo ready; while :; do sleep 0.02; done"
    with subprocess.Popen([sys.executable, "-c", PARENT, script], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout.readline() == "ready\n"
        parent.send_signal(number)
        assert parent.stdout.read() == "got\n"
        assert parent.wait(10) == 9


def test_a_child_of_ours_that_ends_is_told_and_the_command_goes_on():
    told = []
    other = subprocess.Popen(["sleep", "0.1"])
    assert child.run(["sleep", "0.4"], ENVIRONMENT, lambda: told.append(other.poll())) == 0
    assert told[-1] == 0


def test_replacing_ourselves_runs_the_command():
    source = "import os; from proxyd.cli import child; child.replace(['sh', '-c', 'echo $A; exit 5'], {'A': 'b'})"
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (5, "b\n")
