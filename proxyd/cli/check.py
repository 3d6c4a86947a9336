"""``proxyd check``: every mistake of a configuration file, or one line that says what it holds."""

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from proxyd.cli.exits import OK, USAGE
from proxyd.cli.tables import printable
from proxyd.core.units import MIB

if TYPE_CHECKING:
    from proxyd.core.settings import SecretSource, Settings


def check(config: Path | None, state: Path, runtime: Path, as_json: bool) -> int:
    """Load ``config`` (None: the embedded default) and say what was found."""
    from proxyd.cli.store import store_warnings
    from proxyd.config.load import default_settings, load
    from proxyd.reading.problems import ConfigError

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
    warnings = [
        *vault_warnings(settings, state),
        *form_warnings(settings, os.environ),
        *store_warnings(settings.store, settings.source),
    ]
    counts = {
        "listeners": len(settings.listeners),
        "services": len(settings.services),
        "secrets": len(settings.secrets),
        "workers": settings.workers,
    }
    if as_json:
        _print({"ok": True, "file": settings.source, "problems": [], "warnings": warnings, **counts})
    else:
        for warning in warnings:
            print(f"warning: {printable(warning)}", file=sys.stderr)
        print(f"{settings.source}: OK ({', '.join(_count(number, name) for name, number in counts.items())})")
    return OK


def vault_warnings(settings: "Settings", state: Path) -> list[str]:
    """Return what is missing in the vault of ``state``; its key is not needed, nor is a value looked at."""
    from proxyd.vault.errors import VaultError
    from proxyd.vault.store import nearest, peek

    wanted = [source for source in settings.secrets if source.vault]
    if not wanted:
        return []
    try:
        names = peek(state) or []
    except VaultError as error:
        return [str(error)]
    found: list[str] = []
    for source in wanted:
        if source.vault in names:
            continue
        others = [each.name for each in settings.secrets if each != source]
        hint = nearest(source.vault, names) or nearest(source.name, others)
        meant = f" (did you mean {hint}?)" if hint else ""
        found.append(
            f"{settings.source}:{source.line}: the vault holds no secret {source.vault}{meant}; store it with: "
            f"proxyd secret set {source.vault}"
        )
    return found


def form_warnings(settings: "Settings", variables: Mapping[str, str]) -> list[str]:
    """Return which secrets of variables and files that are at hand cannot be what their services need."""
    from proxyd.vault.forms import doubt, fault

    found: list[str] = []
    for source in settings.secrets:
        value = _at_hand(source, variables) if source.form is not None else None
        if value is not None and source.form is not None:
            why = fault(source.name, value, source.form) or doubt(source.name, value, source.form)
            found += [f"{settings.source}:{source.line}: {why}"] if why else []
    return found


def _at_hand(source: "SecretSource", variables: Mapping[str, str]) -> bytes | None:
    """Return a value that can be had without the vault's key and without running anything."""
    if source.env:
        return variables[source.env].encode() if variables.get(source.env) else None
    if not source.file:
        return None
    try:
        with open(source.file, "rb") as file:
            return file.read(MIB).removesuffix(b"\n")
    except OSError:
        return None  # whoever runs check need not be whom the file is for


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
