"""What a load program reports."""

import json
from dataclasses import dataclass


class LoadError(Exception):
    """A load program failed, or printed nothing that can be read."""


@dataclass(frozen=True, slots=True)
class Report:
    """Exchanges that ended with 200, those that did not, and latencies in milliseconds."""

    requests: int
    seconds: float
    p50_ms: float
    p99_ms: float
    max_ms: float
    failed: int
    """Broken connections, time-outs and answers other than 2xx."""
    first_error: str = ""


def parse(program: str, output: str) -> Report:
    """Read the JSON object on the last line of ``output`` that holds one."""
    line = next((line for line in reversed(output.splitlines()) if line.startswith("{")), None)
    if line is None:
        raise LoadError(f"{program} printed no figures: {output[-400:].strip()}")
    raw = json.loads(line)
    return Report(
        # wrk counts every complete answer as a request, whatever its status
        requests=raw["requests"] - (raw["refused"] if program == "wrk" else 0),
        seconds=raw["seconds"],
        p50_ms=raw["p50_us"] / 1000,
        p99_ms=raw["p99_us"] / 1000,
        max_ms=raw["max_us"] / 1000,
        failed=raw["errors"] + raw["refused"],
        first_error=raw.get("first_error", ""),
    )
