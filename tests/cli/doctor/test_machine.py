import os
import resource
import time

import pytest

from proxyd.cli.doctor import machine
from proxyd.cli.doctor.findings import Verdict
from proxyd.cli.doctor.machine import clock, files, may_write_and_execute, memory


@pytest.mark.parametrize(("synchronised", "verdict"), [(True, Verdict.OK), (None, Verdict.OK), (False, Verdict.WARN)])
def test_the_clock_is_judged_by_synchronisation(synchronised, verdict):
    assert clock(time.time(), synchronised, []).verdict is verdict


def test_a_clock_behind_our_own_files_fails(tmp_path):
    file = tmp_path / "ca.pem"
    file.touch()
    found = clock(time.time() - 3 * 86400, True, [file, tmp_path / "none"])
    assert found.verdict is Verdict.FAIL
    assert "3 days behind" in found.what
    assert "set the clock" in found.todo


def test_few_descriptors_are_a_warning(monkeypatch):
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1024, 4096))
    found = files(None)
    assert found.verdict is Verdict.WARN
    assert "4096" in found.what


def test_the_daemons_own_limit_counts_when_it_runs():
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    assert str(hard) in files(os.getpid()).what or "any number" in files(os.getpid()).what


def test_denied_memory_names_what_does_not_run(monkeypatch):
    monkeypatch.setattr(machine, "may_write_and_execute", lambda: False)
    (found,) = memory(None)
    assert found.verdict is Verdict.WARN
    assert "Node, Java" in found.what


def test_a_unit_that_denies_it_is_told(monkeypatch):
    monkeypatch.setattr(machine, "_unit", lambda _: "proxyd.service")
    found = memory(1, show=lambda unit: "yes" if unit == "proxyd.service" else "no")
    assert any("proxyd.service denies" in each.what for each in found)


def test_the_kernel_is_really_asked():
    assert may_write_and_execute() in (True, False)
    assert machine.kernel_is_synchronised() in (True, False, None)
    assert machine.processes().verdict in (Verdict.OK, Verdict.WARN)
