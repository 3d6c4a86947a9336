"""``python -m proxyd.cli.control``: the control process, which the supervisor executes. Not for people."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import trio

from proxyd.admin import server
from proxyd.admin.bind import Tcp
from proxyd.admin.service import Service
from proxyd.control.main import Options, StartError, run


async def serve_admin(
    service: Service,
    socket: str,
    http: Tcp | None,
    report: Callable[[str, str], None],
    takeover: str,
    *,
    task_status: trio.TaskStatus[server.Addresses] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve the admin addresses; StartError when one cannot be had."""
    try:
        await server.serve(service, socket, http, report, takeover, task_status=task_status)
    except server.BindError as error:
        raise StartError(str(error)) from error


def main() -> int:
    """Parse what cli.run wrote and be the control process; return its exit code."""
    parser = argparse.ArgumentParser(prog="proxyd.cli.control", allow_abbrev=False)
    parser.add_argument("--config", type=Path)
    parser.add_argument("--state-dir", type=Path, required=True)
    parser.add_argument("--runtime-dir", type=Path, required=True)
    parser.add_argument("--admin", default="")
    words = parser.parse_args()
    return run(Options(words.config, words.state_dir, words.runtime_dir, words.admin), serve_admin)


if __name__ == "__main__":
    sys.exit(main())
