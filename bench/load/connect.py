"""connect.go: kept-alive or new connections, CONNECT and TLS where the URL is https, at a fixed rate if wanted."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.load.report import LoadError, Report, parse
from bench.processes import plain_environment

GRACE = 30.0


@dataclass(frozen=True, slots=True)
class Connect:
    """Load on ``url``, by way of ``proxy`` (host:port) or straight to ``dial``; ``header`` is one more header line."""

    binary: Path
    url: str
    proxy: str | None = None
    dial: str | None = None
    ca: Path | None = None
    connections: int = 1
    new: bool = False
    rate: float = 0.0
    streams: int = 0
    """Exchanges at a time on each connection, by HTTP/2; 0: HTTP/1.1."""
    header: str = ""

    def command(self, seconds: float) -> list[str]:
        """The command line for ``seconds`` of load."""
        words = [str(self.binary), "-url", self.url, "-connections", str(self.connections), "-seconds", str(seconds)]
        options = {"-proxy": self.proxy, "-dial": self.dial, "-ca": self.ca, "-header": self.header}
        for option, value in options.items():
            words += [option, str(value)] if value else []
        words += ["-rate", str(self.rate)] if self.rate else []
        words += ["-streams", str(self.streams)] if self.streams else []
        return [*words, "-new"] if self.new else words

    def run(self, seconds: float) -> Report:
        """Make load for ``seconds`` and report."""
        with self.beside(seconds) as running:
            return running.wait()

    @contextmanager
    def beside(self, seconds: float) -> Iterator["Running"]:
        """Make load while the caller does something else; it ends with the block."""
        process = subprocess.Popen(
            self.command(seconds),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=plain_environment({"GOMAXPROCS": "1"}),
        )
        try:
            yield Running(process, seconds)
        finally:
            process.kill()
            process.communicate()


@dataclass(frozen=True, slots=True)
class Running:
    """A load that is under way."""

    process: "subprocess.Popen[str]"
    seconds: float

    def end(self) -> Report:
        """End the load now; its report."""
        self.process.terminate()
        return self.wait()

    def wait(self) -> Report:
        """The report, once the load is over."""
        output, errors = self.process.communicate(timeout=self.seconds + GRACE)
        if self.process.returncode:
            raise LoadError(f"the load failed: {errors[-400:].strip()}")
        return parse("connect", output)
