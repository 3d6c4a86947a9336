"""wrk, with a script that asks a forward proxy for an absolute URL."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

from bench.load.report import LoadError, Report, parse
from bench.ports import LOOPBACK
from bench.processes import plain_environment

SCRIPT = Path(__file__).parent / "forward.lua"
GRACE = 30.0


@dataclass(frozen=True, slots=True)
class Wrk:
    """One thread; ``key`` is sent as X-Api-Key only where no proxy adds it."""

    binary: Path
    port: int
    url: str
    authority: str
    connections: int = 1
    body_bytes: int = 0
    key: str | None = None

    def run(self, seconds: int) -> Report:
        """Make load for ``seconds`` and report."""
        extra = {"BENCH_URL": self.url, "BENCH_AUTHORITY": self.authority, "BENCH_BODY_BYTES": str(self.body_bytes)}
        if self.key:
            extra["BENCH_KEY"] = self.key
        done = subprocess.run(
            [
                str(self.binary),
                "--threads=1",
                f"--connections={self.connections}",
                f"--duration={seconds}s",
                "--timeout=10s",
                f"--script={SCRIPT}",
                f"http://{LOOPBACK}:{self.port}",
            ],
            capture_output=True,
            text=True,
            env=plain_environment(extra),
            timeout=seconds + GRACE,
            check=False,
        )
        if done.returncode:
            raise LoadError(f"wrk failed: {(done.stderr + done.stdout)[-400:].strip()}")
        return parse("wrk", done.stdout)
