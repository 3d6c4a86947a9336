"""``proxyd run``: this process becomes the supervisor."""

import sys
from pathlib import Path

from proxyd.cli.paths import private


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
        )
    )


def control_command(config: Path | None, state: Path, runtime: Path, admin: str) -> list[str]:
    """Return the command line of the control process. ``-P``: modules in the working folder are none of ours."""
    command = [sys.executable, "-P", "-m", "proxyd.cli.control"]
    command += ["--state-dir", str(state.absolute()), "--runtime-dir", str(runtime.absolute())]
    if config is not None:
        command += ["--config", str(config.absolute())]
    if admin:
        command += ["--admin", str(Path(admin).absolute())]
    return command


def _worker_main(index: int, control_fd: int, supervisor_fd: int) -> int:
    from proxyd.worker.main import main

    return main(index, control_fd, supervisor_fd)


def _preload() -> None:
    from proxyd.worker.main import preload

    preload()
