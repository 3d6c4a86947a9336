"""curl: one exchange, or one large download; through a proxy's CONNECT where asked."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

from bench.load.report import LoadError
from bench.processes import plain_environment

WRITE_OUT = "%{http_code} %{size_download} %{time_total}"
PATIENCE = 120.0


@dataclass(frozen=True, slots=True)
class Download:
    """One answer: its status, its bytes, and the seconds from the dial to the last byte."""

    status: int
    size: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Curl:
    """One request; ``tunnel`` makes it a CONNECT even for http."""

    binary: Path
    url: str
    proxy: str | None = None
    tunnel: bool = False
    ca: Path | None = None
    header: str = ""
    body_bytes: int = 0

    def command(self) -> list[str]:
        """The command line; the request's body comes from standard input."""
        words = [str(self.binary), "--silent", "--show-error", "--output", "/dev/null", "--write-out", WRITE_OUT]
        words += ["--noproxy", "", "--max-time", str(int(PATIENCE)), "--header", "Expect:"]
        words += ["--proxy", f"http://{self.proxy}"] if self.proxy else []
        words += ["--proxytunnel"] if self.tunnel else []
        words += ["--cacert", str(self.ca)] if self.ca else []
        words += ["--header", self.header] if self.header else []
        words += ["--data-binary", "@-"] if self.body_bytes else []
        return [*words, self.url]

    def run(self) -> Download:
        """Fetch; LoadError where curl could not, whatever the status."""
        done = subprocess.run(
            self.command(),
            input="x" * self.body_bytes,
            capture_output=True,
            text=True,
            env=plain_environment(),
            timeout=PATIENCE + 10,
            check=False,
        )
        if done.returncode:
            raise LoadError(f"curl: {done.stderr.strip()[-400:]}")
        status, size, seconds = done.stdout.split()
        return Download(int(status), int(size), float(seconds))
