"""h2load: HTTP/2, many streams on each of a few connections; percentiles come from its log of single requests."""

import re
import subprocess
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from bench.load.report import LoadError, Report
from bench.processes import plain_environment
from bench.stats import percentile

GRACE = 30.0
FINISHED = re.compile(r"^finished in ([\d.]+)(us|ms|s),", re.MULTILINE)
REQUESTS = re.compile(r"^requests: .* (\d+) failed, (\d+) errored, (\d+) timeout$", re.MULTILINE)
CODES = re.compile(r"^status codes: (\d+) 2xx, (\d+) 3xx, (\d+) 4xx, (\d+) 5xx$", re.MULTILINE)
UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0}


@dataclass(frozen=True, slots=True)
class H2load:
    """One thread; ``call`` is a gRPC message to POST, else the request is a GET; ``header`` is one more header line."""

    binary: Path
    url: str
    connections: int
    streams: int
    header: str = ""
    call: bytes = b""

    def command(self, seconds: int, log: Path, body: Path) -> list[str]:
        """The command line for ``seconds`` of load; ``body`` is the file that holds ``call``."""
        words = [str(self.binary), f"--clients={self.connections}", f"--max-concurrent-streams={self.streams}"]
        words += ["--threads=1", f"--duration={seconds}", "--connection-inactivity-timeout=10", f"--log-file={log}"]
        words += ["--header", self.header] if self.header else []
        if self.call:
            words += ["--data", str(body), "--header", "content-type: application/grpc", "--header", "te: trailers"]
        return [*words, self.url]

    def run(self, seconds: int) -> Report:
        """Make load for ``seconds`` and report."""
        with tempfile.TemporaryDirectory(prefix="bench-h2load-") as folder:
            log, body = Path(folder) / "log", Path(folder) / "body"
            body.write_bytes(self.call)
            done = subprocess.run(
                self.command(seconds, log, body),
                capture_output=True,
                text=True,
                env=plain_environment(),
                timeout=seconds + GRACE,
                check=False,
            )
            if done.returncode:
                raise LoadError(f"h2load failed: {(done.stderr + done.stdout)[-400:].strip()}")
            with log.open() as lines:
                return parse(done.stdout, lines)


def parse(output: str, log: Iterable[str]) -> Report:
    """The report that h2load prints, and the latencies of ``log``: start, status and microseconds of each request."""
    finished, requests, codes = FINISHED.search(output), REQUESTS.search(output), CODES.search(output)
    if not finished or not requests or not codes:
        raise LoadError(f"h2load printed no figures: {output[-400:].strip()}")
    micros = sorted(int(fields[2]) for line in log if (fields := line.split()) and fields[1].startswith("2")) or [0]
    # what h2load calls failed has a status of 4xx or 5xx
    broken = sum(int(count) for count in requests.groups()[1:])
    return Report(
        requests=int(codes[1]),
        seconds=float(finished[1]) * UNITS[finished[2]],
        p50_ms=percentile(micros, 0.5) / 1000,
        p99_ms=percentile(micros, 0.99) / 1000,
        max_ms=micros[-1] / 1000,
        failed=broken + sum(int(count) for count in codes.groups()[1:]),
    )
