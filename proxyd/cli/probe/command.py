"""What ``proxyd test`` does: who is asked, how many at a time, and how it is told."""

import contextlib
import difflib
import os
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from proxyd.cli import rpc
from proxyd.cli.context import print_json
from proxyd.cli.exits import FAILURE, OK, USAGE, CommandError
from proxyd.cli.private import PrivateDaemon
from proxyd.cli.probe.send import Reply, Way, record_of
from proxyd.cli.probe.verdict import Verdict, judge

AT_ONCE: Final = 8
"""Services that are asked beside each other."""

RECORD_SECONDS: Final = 2.0
"""For so long the daemon's record of an exchange is waited for; workers send them now and then."""

_PAUSE: Final = 0.05


def test(admin: Path, explicit: bool, names: Sequence[str], *, everything: bool, as_json: bool) -> int:
    """Ask the services of the daemon on ``admin``, and say how each answers."""
    with rpc.Connection(admin, any_owner=explicit) as connection:
        chosen = _chosen(connection.call("probes"), names, everything=everything)
        way = Way(connection.call("environment"))
    with ThreadPoolExecutor(min(AT_ONCE, max(1, len(chosen)))) as pool:
        verdicts = list(pool.map(lambda probe: _ask(admin, explicit, way, probe), chosen))
    if as_json:
        print_json([asdict(verdict) for verdict in verdicts])
    else:
        print("\n".join(lines(verdicts)))
    return OK if all(verdict.outcome == "ok" for verdict in verdicts) else FAILURE


@contextlib.contextmanager
def private_daemon(config: Path, state: Path, runtime: Path) -> Iterator[Path]:
    """Run a daemon with ``config`` meanwhile; yields its admin socket."""
    with PrivateDaemon(config, state, runtime, os.environ) as daemon:
        yield daemon.admin


def lines(verdicts: Sequence[Verdict]) -> Iterator[str]:
    """Yield what a person reads."""
    if not verdicts:
        yield "no services are configured"
    width = max((len(verdict.service) for verdict in verdicts), default=0)
    for verdict in verdicts:
        sign = "ok    " if verdict.outcome == "ok" else "FAILED"
        step = f"{verdict.step}: " if verdict.step else ""
        status = f"{verdict.status} " if verdict.status and verdict.error is None else ""
        yield f"{verdict.service.ljust(width)}  {sign}  {status}{step}{verdict.words} ({_spans(verdict)})"
        indent = " " * (width + 10)
        if verdict.scopes is not None:
            yield f"{indent}scopes: {verdict.scopes or 'none'}"
        if verdict.what_to_do:
            yield f"{indent}{verdict.what_to_do}"
        if verdict.request_id and verdict.outcome != "ok":
            yield f"{indent}the vendor's number of the request: {verdict.request_id}"


def _spans(verdict: Verdict) -> str:
    spans = verdict.timings_ms
    shown = [f"{name.replace('_', ' ')} {value:.0f}" for name, value in spans.items() if value is not None]
    return ", ".join(shown) + " ms"


def _chosen(probes: Sequence[Mapping[str, Any]], names: Sequence[str], *, everything: bool) -> list[Mapping[str, Any]]:
    if everything:
        return list(probes)
    known = {probe["service"]: probe for probe in probes}
    for name in names:
        if name not in known:
            nearest = difflib.get_close_matches(name, known, 3)
            hint = f"did you mean {' or '.join(nearest)}?" if nearest else "`proxyd services` lists them"
            raise CommandError(f"test: there is no service {name!r}; {hint}", USAGE)
    return [known[name] for name in names]


def _ask(admin: Path, explicit: bool, way: Way, probe: Mapping[str, Any]) -> Verdict:
    begun = time.time()
    reply = way.send(probe)
    return judge(probe, reply, _record(admin, explicit, reply, probe, begun))


def _record(
    admin: Path,
    explicit: bool,
    reply: Reply,
    probe: Mapping[str, Any],
    begun: float,
) -> dict[str, Any] | None:
    """Return the daemon's record; None: it keeps none, or had none in time."""
    if not reply.status:
        return None
    wanted = {"service": probe["service"], "since": begun - 1, "limit": 100}
    pause = threading.Event()
    deadline = time.monotonic() + RECORD_SECONDS
    with contextlib.suppress(rpc.CallError), rpc.Connection(admin, any_owner=explicit) as connection:
        while time.monotonic() < deadline:
            found = record_of(reply, connection.call("exchanges", wanted))
            if found is not None:
                return found
            pause.wait(_PAUSE)
    return None
