"""Processes that are killed while they write. The long run is ``make crash``."""

import json
import subprocess
import sys

ROUNDS = 60


def run(*words):
    """Run in a process without threads, which may fork."""
    done = subprocess.run([sys.executable, "-m", *words], capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout)


def test_a_writer_that_is_killed_at_a_random_moment_loses_and_tears_nothing():
    summary = run("tests.vault.crash", str(ROUNDS))
    assert summary["kills"] == 2 * ROUNDS


def test_an_act_that_is_killed_before_any_of_its_file_operations_was_done_or_not():
    operations = run("tests.vault.steps")
    assert all(count > 5 for count in operations.values()), operations
