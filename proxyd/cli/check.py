"""``proxyd check``: every mistake of a configuration file, or one line that says what it holds."""

import json
import sys
from pathlib import Path
from typing import Any

from proxyd.cli.exits import OK, USAGE
from proxyd.cli.tables import printable


def check(config: Path | None, state: Path, runtime: Path, as_json: bool) -> int:
    """Load ``config`` (None: the embedded default) and say what was found."""
    from proxyd.config.load import default_settings, load
    from proxyd.config.problems import ConfigError

    try:
        settings = default_settings() if config is None else load(config, state, runtime)
    except ConfigError as error:
        if as_json:
            _print({"ok": False, "file": str(config), "problems": list(map(_problem, error.problems))})
        else:
            for line in str(error).splitlines():
                print(printable(line), file=sys.stderr)
            count = len(error.problems) + error.left_out
            print(f"{count} {'mistake' if count == 1 else 'mistakes'}; nothing was changed", file=sys.stderr)
        return USAGE
    counts = {
        "listeners": len(settings.listeners),
        "services": len(settings.services),
        "secrets": len(settings.secrets),
        "workers": settings.workers,
    }
    if as_json:
        _print({"ok": True, "file": settings.source, "problems": [], **counts})
    else:
        print(f"{settings.source}: OK ({', '.join(_count(number, name) for name, number in counts.items())})")
    return OK


def _problem(problem: Any) -> dict[str, Any]:
    return {
        "file": problem.file,
        "line": problem.line,
        "column": problem.column,
        "field": problem.field,
        "message": problem.message,
    }


def _count(number: int, plural: str) -> str:
    return f"{number} {plural if number != 1 else plural.removesuffix('s')}"


def _print(document: dict[str, Any]) -> None:
    print(json.dumps(document, indent=2))
