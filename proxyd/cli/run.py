"""``proxyd run``: this process becomes the supervisor."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from proxyd.cli.paths import private
from proxyd.core.counts import SharedCounts


def run(config: Path | None, state: Path, runtime: Path, admin: str) -> int:
    """Run the daemon in the foreground until it is told to stop; return its exit code.

    ``admin`` not empty overrides the configuration's admin socket.
    """
    from proxyd.supervisor.main import run as supervise
    from proxyd.supervisor.options import Options

    return supervise(
        Options(
            control_command=control_command(config, private(state), private(runtime), admin),
            worker_main=_worker_main,
            preload=_preload,
            command=own_command(sys.orig_argv, sys.executable),
            environ=own_environment(),
        )
    )


def own_command(words: Sequence[str], interpreter: str) -> list[str]:
    """Return what starts this very program again from disk; ``words`` is the command line as the kernel got it.

    A script that the kernel has started by its first line is started that way again: an upgrade of the package may
    bring a script that names another interpreter.
    """
    script = Path(words[1]) if len(words) > 1 else None
    if script is not None and script.is_file() and os.access(script, os.X_OK):
        with script.open("rb") as file:
            line = file.readline(512).split()
        if line[:1] == [b"#!" + os.fsencode(words[0])]:
            return [str(script.absolute()), *words[2:]]
    return [interpreter, *words[1:]]


def own_environment() -> dict[str, str]:
    """Return the environment that this program was started with, without what only this start was told."""
    from proxyd.supervisor.activation import VARIABLES
    from proxyd.supervisor.succession import ROLE

    return {name: value for name, value in os.environ.items() if name not in (ROLE, *VARIABLES)}


def control_command(config: Path | None, state: Path, runtime: Path, admin: str) -> list[str]:
    """Return the command line of the control process. ``-P``: modules in the working folder are none of ours."""
    command = [sys.executable, "-P", "-m", "proxyd.cli.control"]
    command += ["--state-dir", str(state.absolute()), "--runtime-dir", str(runtime.absolute())]
    if config is not None:
        command += ["--config", str(config.absolute())]
    if admin:
        command += ["--admin", str(Path(admin).absolute())]
    return command


def _worker_main(index: int, control_fd: int, supervisor_fd: int, counts: SharedCounts) -> int:
    from proxyd.worker.main import main

    return main(index, control_fd, supervisor_fd, counts)


def _preload() -> None:
    from proxyd.worker.main import preload

    preload()
