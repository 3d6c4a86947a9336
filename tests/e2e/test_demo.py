"""``make demo`` keeps its promise."""

import subprocess
import sys

import pytest

from tests.lab.origin import ROOT, TOKEN
from tests.lab.tools import require_tool

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


def test_demo_shows_clients_that_the_origin_let_in() -> None:
    require_tool("curl")
    done = subprocess.run(
        [sys.executable, "-m", "tests.lab.demo"], cwd=ROOT, capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "All as it should be" in done.stdout
    assert TOKEN not in done.stdout
