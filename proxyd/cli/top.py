"""The screen of ``proxyd top``: two answers of the daemon make rates, rates make lines."""

import argparse
import os
import select
import shutil
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from proxyd.cli.context import connect
from proxyd.cli.exits import OK
from proxyd.cli.rpc import Connection
from proxyd.cli.tables import cell, printable, table

ONCE_SECONDS: Final = 1.0
"""Between the two answers of a screen that is printed once."""

_ENTER: Final = "\x1b[?1049h\x1b[?25l"  # the terminal's second screen, no cursor
_LEAVE: Final = "\x1b[?25h\x1b[?1049l"
_HOME: Final = "\x1b[H"
_REST_OF_LINE: Final = "\x1b[K"
_REST_OF_SCREEN: Final = "\x1b[J"


@dataclass(frozen=True, slots=True)
class Sample:
    """What the daemon said at one time."""

    taken: float
    """Monotonic seconds."""
    status: Mapping[str, Any]
    services: list[Mapping[str, Any]]


def top(arguments: argparse.Namespace) -> int:
    """Show screens until q or Ctrl-C, one where standard output is no terminal; return the exit code."""
    with connect(arguments) as connection:
        if not sys.stdout.isatty():
            former = take(connection)
            _wait(min(arguments.interval, ONCE_SECONDS), None)
            print("\n".join(screen(former, take(connection))))
            return OK
        with _Terminal() as terminal:
            try:
                _refresh(connection, terminal, arguments.interval)
            except KeyboardInterrupt:
                pass
    return OK


def take(connection: Connection) -> Sample:
    """Ask the daemon."""
    status = connection.call("status")
    return Sample(time.monotonic(), status, connection.call("services"))


def screen(former: Sample, latter: Sample) -> list[str]:
    """Return the lines of one screen; rates are those between both samples."""
    seconds = max(latter.taken - former.taken, 0.001)
    status, totals = latter.status, latter.status.get("totals", {})
    rate = {name: _rate(former.status.get("totals", {}), totals, name, seconds) for name in ("requests", "errors")}
    head = (
        f"proxyd {cell('', status.get('version'))}  {cell('', status.get('state'))}  "
        f"up {cell('up_seconds', status.get('uptime_seconds'))}  {cell('', status.get('config'))}"
    )
    sums = (
        f"{rate['requests']:.1f} requests/s  {rate['errors']:.1f} errors/s  "
        f"{cell('', totals.get('active'))} connections  {cell('', totals.get('requests'))} requests  "
        f"{cell('', totals.get('errors'))} errors  {cell('', totals.get('tunnels'))} tunnels"
    )
    lines = [head, sums, "", *_services(former, latter, seconds), "", *_workers(former, latter, seconds)]
    problems = [printable(str(problem)) for problem in status.get("problems", ())]
    return [*lines, *(["", "problems:", *(f"  {problem}" for problem in problems)] if problems else [])]


def _services(former: Sample, latter: Sample, seconds: float) -> list[str]:
    before = {service.get("name"): service for service in former.services}
    rows = [
        {
            "service": service.get("name"),
            "requests/s": round(_rate(before.get(service.get("name"), {}), service, "requests", seconds), 1),
            "errors/s": round(_rate(before.get(service.get("name"), {}), service, "errors", seconds), 1),
            "requests": service.get("requests"),
            "errors": service.get("errors"),
        }
        for service in latter.services
    ]
    busiest = sorted(rows, key=lambda row: (-float(row["requests/s"] or 0), str(row["service"])))
    return table(busiest) if rows else ["no services are configured"]


def _workers(former: Sample, latter: Sample, seconds: float) -> list[str]:
    before = {worker.get("pid"): worker for worker in former.status.get("workers", ())}
    rows = [
        {
            "worker": worker.get("index"),
            "pid": worker.get("pid"),
            "cpu %": round(100 * _rate(before.get(worker.get("pid"), worker), worker, "cpu_seconds", seconds), 1),
            "connections": worker.get("connections"),
            "rss_bytes": worker.get("rss_bytes"),
        }
        for worker in latter.status.get("workers", ())
    ]
    return table(rows) if rows else ["no workers"]


def _rate(before: Mapping[str, Any], now: Mapping[str, Any], name: str, seconds: float) -> float:
    """Return the growth per second; a counter that began again counts from zero, one that is not there stands still."""
    latter, former = now.get(name), before.get(name)
    if not isinstance(latter, int | float):
        return 0.0
    if not isinstance(former, int | float) or former > latter:
        former = 0
    return (latter - former) / seconds


def _refresh(connection: Connection, terminal: "_Terminal", interval: float) -> None:
    former = take(connection)
    latter = former
    while True:
        terminal.show(screen(former, latter))
        if terminal.wait(interval):
            return
        former, latter = latter, take(connection)


class _Terminal:
    """The second screen of standard output, and the keys of standard input; both are given back."""

    def __init__(self) -> None:
        self._input = sys.stdin.fileno() if sys.stdin is not None and sys.stdin.isatty() else None
        self._former: list[Any] = []

    def __enter__(self) -> "_Terminal":
        if self._input is not None:
            import termios
            import tty

            self._former = termios.tcgetattr(self._input)
            tty.setcbreak(self._input)
        sys.stdout.write(_ENTER)
        return self

    def __exit__(self, *_: object) -> None:
        if self._input is not None:
            import termios

            termios.tcsetattr(self._input, termios.TCSADRAIN, self._former)
        sys.stdout.write(_LEAVE)
        sys.stdout.flush()

    def show(self, lines: list[str]) -> None:
        """Replace the screen; what does not fit is cut."""
        size = shutil.get_terminal_size()
        shown = [line[: size.columns] for line in lines[: max(1, size.lines - 1)]]
        body = "".join(f"{line}{_REST_OF_LINE}\r\n" for line in shown)
        sys.stdout.write(f"{_HOME}{body}{_REST_OF_SCREEN}")
        sys.stdout.flush()

    def wait(self, seconds: float) -> bool:
        """Wait; True when q was pressed."""
        return _wait(seconds, self._input)


def _wait(seconds: float, keys: int | None) -> bool:
    """Wait until the time is over, or q (True) comes from the descriptor ``keys``."""
    deadline = time.monotonic() + seconds
    while True:
        left = deadline - time.monotonic()
        if left <= 0:
            return False
        readable, _, _ = select.select([] if keys is None else [keys], [], [], left)
        if readable and keys is not None:
            pressed = os.read(keys, 64)
            if not pressed:  # the terminal is gone
                return True
            if pressed[:1] in (b"q", b"Q", b"\x03"):
                return True
