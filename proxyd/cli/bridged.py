"""A bridge of its own for ``proxyd exec``, where the daemon listens on Unix sockets alone."""

import contextlib
import os
import selectors
import subprocess
from collections.abc import Iterator
from typing import Any, Final

from proxyd.cli.exits import CommandError
from proxyd.cli.private import PROGRAM, die_with

START_SECONDS: Final = 10.0
STOP_SECONDS: Final = 5.0


def needs_bridge(answer: Any) -> bool:
    """Whether a client finds a Unix socket only; ``answer`` is the daemon's to ``environment``."""
    return not answer.get("proxy") and bool(answer.get("proxy_socket"))


@contextlib.contextmanager
def bridged(answer: Any) -> Iterator[Any]:
    """Within the block ``answer`` names a proxy in any case: a bridge to the Unix socket where there is no other."""
    if not needs_bridge(answer):
        yield answer
        return
    parent = os.getpid()
    process = subprocess.Popen(
        [*PROGRAM, "bridge", "--socket", str(answer["proxy_socket"])],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        start_new_session=True,  # Ctrl-C is for the command
        preexec_fn=lambda: die_with(parent),  # noqa: PLW1509 - there is one thread
    )
    try:
        yield {**answer, "proxy": _url(process)}
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()


def _url(process: "subprocess.Popen[bytes]") -> str:
    """Return what the bridge prints when it listens."""
    assert process.stdout is not None
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        line = process.stdout.readline().decode().strip() if selector.select(START_SECONDS) else ""
    if not line:
        raise CommandError("the bridge to the daemon's Unix socket did not start")
    return line
