"""One running supervisor with fakes, and what its processes report."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
PATIENCE = 30.0
"""Seconds before a wait counts as failed; nothing that passes takes long."""


class Running:
    """Starts the supervisor, collects reports and, at the end, leaves no process behind."""

    def __init__(self, folder, plan, *, environment=None, command=None, pass_fds=()):
        self.folder = folder
        self.plan_path = folder / "plan.json"
        self.change(plan)
        self.reports = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.reports.bind(str(folder / "reports"))
        self.seen = []
        self.reported = []
        """All reports, those taken off ``seen`` too."""
        self.pids = set()
        self.stderr_path = folder / "stderr"
        with self.stderr_path.open("wb") as stderr:
            self.process = subprocess.Popen(
                command or [sys.executable, "-m", "tests.supervisor.fakes", "supervisor"],
                cwd=ROOT,
                env={
                    **os.environ,
                    "FAKE_PLAN": str(self.plan_path),
                    "FAKE_REPORT": str(folder / "reports"),
                    "PYTHONPATH": str(ROOT),
                    **(environment or {}),
                },
                stderr=stderr,
                pass_fds=pass_fds,
            )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.collect()
        for pid in self.pids:
            if self.is_ours(pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        self.reports.close()

    @property
    def stderr(self):
        return self.stderr_path.read_text()

    def change(self, plan):
        fresh = self.plan_path.with_suffix(".new")
        fresh.write_text(json.dumps(plan))
        fresh.replace(self.plan_path)  # the fakes may be reading it

    def signal(self, number):
        self.process.send_signal(number)

    def reload(self, plan):
        self.change(plan)
        self.signal(signal.SIGHUP)

    def collect(self, timeout=0.0):
        """Take in the next report; False when none came."""
        self.reports.settimeout(timeout)
        try:
            report = json.loads(self.reports.recv(65536))
        except (BlockingIOError, TimeoutError):
            return False
        self.seen.append(report)
        self.reported.append(report)
        self.pids.add(report["pid"])
        return True

    def expect(self, event, **fields):
        """Wait for a report that has these fields and take it off the list."""
        deadline = time.monotonic() + PATIENCE
        while True:
            for place, report in enumerate(self.seen):
                if report["event"] == event and fields.items() <= report.items():
                    return self.seen.pop(place)
            remaining = deadline - time.monotonic()
            if remaining <= 0 or not self.collect(remaining):
                raise AssertionError(f"no report {event} {fields}; seen {self.seen}; stderr {self.stderr}")

    def exit_code(self):
        return self.process.wait(PATIENCE)

    def is_ours(self, pid):
        try:
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            return False
        return b"tests.supervisor.fakes" in command

    @property
    def bound_socket(self):
        """Where the first listener of the last Bound listens."""
        return [report for report in self.reported if report["event"] == "Bound"][-1]["sockets"][0]

    @staticmethod
    def parent_of(pid):
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])

    def wait_gone(self, pid):
        """Wait until no process has this pid any more (nobody but the reaper can say so sooner)."""
        deadline = time.monotonic() + PATIENCE
        while self.is_ours(pid):
            assert time.monotonic() < deadline, f"process {pid} lives on"
            time.sleep(0.01)  # noqa: TID251 - the test has no loop to keep free
