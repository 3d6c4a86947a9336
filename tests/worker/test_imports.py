"""A worker forks from a supervisor that loaded its modules: what they load, every worker carries."""

import subprocess
import sys

BARRED = {
    "aiolimiter",
    "asyncio",
    "backports",
    "brotli",
    "httpx",
    "hypercorn",
    "orjson",
    "prometheus_client",
    "psutil",
    "pydantic",
    "sqlite3",
    "starlette",
    "trio_asyncio",
    "yaml",
}

PROGRAM = "import proxyd.worker.main, sys; print(*sorted(sys.modules), sep='\\n')"


def test_a_worker_loads_nothing_that_is_barred():
    found = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in found.stdout.split()}
    assert "trio" in loaded
    assert not loaded & BARRED
