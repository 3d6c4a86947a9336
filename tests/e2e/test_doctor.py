"""``proxyd doctor`` with the runtimes of this machine: what ``proxyd exec`` promises holds for each of them."""

import json
import os
import sys
from pathlib import Path

import pytest

from tests.lab.daemon import run_proxyd
from tests.lab.tools import require_node, require_tool

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

IN_TIME = {"works", "slow", "untried"}
"""A loaded machine may leave no time; what was tried must work."""


def test_every_runtime_that_is_installed_works_under_exec(tmp_path_factory: pytest.TempPathFactory) -> None:
    require_tool("curl")
    node, _ = require_node()
    folder = tmp_path_factory.mktemp("doctor")
    path = os.pathsep.join([str(Path(node).parent), str(Path(sys.executable).parent), os.environ["PATH"]])
    done = run_proxyd(folder, "doctor", "--json", "{folders}", variables={"PATH": path}, seconds=60)
    document = json.loads(done.stdout)
    outcomes = {entry["runtime"]: entry["exec"]["outcome"] for entry in document["runtimes"]}
    outcomes.pop("npm", None)  # the wheel's npm is no program of its own
    assert {name: outcome for name, outcome in outcomes.items() if outcome not in IN_TIME} == {}, document
    assert outcomes["curl"] in IN_TIME
    assert {"curl", "python-urllib", "python-requests", "node-fetch"} <= outcomes.keys()
    checks = {entry["check"] for entry in document["checks"]}
    assert {"versions", "daemon", "state folder", "clock", "open files", "memory", "proxy variables"} <= checks
