"""``proxyd exec``: a command whose traffic goes through proxyd, its own or the one that runs."""

import contextlib
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from proxyd.cli import child, rpc
from proxyd.cli.bridged import bridged, needs_bridge
from proxyd.cli.clients import make_client
from proxyd.cli.exits import BY_SIGNAL
from proxyd.cli.private import PrivateDaemon
from proxyd.cli.variables import child_environment


def execute(
    command: Sequence[str], *, config: Path | None, admin: Path, explicit: bool, state: Path, runtime: Path
) -> int:
    """Run ``command`` and return its exit code.

    With ``config`` a private daemon is started for it. Without, the daemon on ``admin`` serves it; when nobody
    answers there, and nobody asked for that socket (``explicit``), a private one does.
    """
    if config is None:
        answer = _running(admin, explicit)
        if answer is not None:
            if not needs_bridge(answer):
                client = make_client(answer, runtime, os.environ)
                child.replace(command, child_environment(os.environ, client))
            with _orderly_end(), bridged(answer) as reachable:
                client = make_client(reachable, runtime, os.environ)
                return child.run(command, child_environment(os.environ, client), lambda: None)
        child.warn(
            f"no daemon answers on {admin}, so this command has a private one without services: no credential is "
            "added (-c FILE gives it a configuration)"
        )
    with (
        _orderly_end(),
        PrivateDaemon(config, state, runtime, os.environ) as daemon,
        bridged(daemon.environment()) as reachable,
    ):
        client = make_client(reachable, runtime, os.environ)
        told = False

        def look() -> None:
            nonlocal told
            if daemon.has_ended and not told:
                told = True
                child.warn(f"the private proxyd has ended:\n{daemon.output()}")

        return child.run(command, child_environment(os.environ, client), look)


@contextlib.contextmanager
def _orderly_end() -> Iterator[None]:
    """Until the command runs, have SIGTERM and SIGHUP unwind this process, so that the private daemon ends too."""

    def leave(number: int, frame: object) -> None:
        sys.exit(BY_SIGNAL + number)

    former = {number: signal.signal(number, leave) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


def _running(admin: Path, explicit: bool) -> Any:
    try:
        return rpc.call(admin, "environment", any_owner=explicit)
    except rpc.Unreachable:
        if explicit:
            raise
        return None
