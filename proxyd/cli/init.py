"""``proxyd init``: a configuration file for what this machine holds already."""

import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from proxyd.cli.exits import OK, USAGE, CommandError
from proxyd.cli.tables import printable


def init(target: Path, variables: Mapping[str, str], home: Path, *, force: bool, stdout: bool, as_json: bool) -> int:
    """Write ``target`` (or print it), and say what was found. Nothing that is there is replaced without ``force``."""
    from proxyd.catalog import files
    from proxyd.catalog import variables as environment
    from proxyd.catalog.document import document
    from proxyd.catalog.found import Findings

    if not stdout and not force and os.path.lexists(target):
        raise CommandError(f"{target} exists; --force replaces it, -o names another file, --stdout prints", USAGE)
    findings = Findings()
    environment.search(variables, findings)
    files.search(home, variables, findings)
    findings.settle()
    text = document(findings)
    _verify(text, target)
    if not stdout:
        _write(target, text)
    if as_json:
        summary = {"file": None if stdout else str(target), **_plain(findings)}
        print(json.dumps(summary | ({"configuration": text} if stdout else {}), indent=2))
    elif stdout:
        print(text, end="")
    else:
        _tell(target, findings)
    return OK


def _verify(text: str, target: Path) -> None:
    """Load what is about to be written; a file that `proxyd check` refuses helps nobody."""
    from proxyd.config.load import load_text
    from proxyd.reading.problems import ConfigError

    nowhere = Path("/")
    try:
        load_text(text, str(target), nowhere, nowhere, nowhere)
    except ConfigError as error:
        raise CommandError(f"init made a file that check refuses, which is a fault of proxyd:\n{error}") from None


def _write(target: Path, text: str) -> None:
    """Put the whole file in place at once, mode 0600."""
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(8)}")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with open(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise CommandError(f"{target}: {error.strerror}; -o names another file, --stdout prints") from None


def _plain(findings: Any) -> dict[str, Any]:
    return {
        "services": [
            {
                "name": proposal.service,
                "found": proposal.found,
                "hosts": list(proposal.hosts),
                "secrets": [
                    {"name": source.secret, "source": _kind(source), "env": source.env or None}
                    for source in proposal.sources
                ],
            }
            for proposal in findings.proposals
        ],
        "not_used": [{"found": remark.found, "why": remark.why} for remark in findings.remarks],
        "unknown_variables": findings.unknown,
    }


def _kind(source: Any) -> str:
    return "env" if source.env else "file" if source.file else "command"


def _tell(target: Path, findings: Any) -> None:
    print(f"{target}: written")
    for proposal in findings.proposals:
        print(printable(f"  service {proposal.service}: {', '.join(proposal.hosts)} (from {proposal.found})"))
    for remark in findings.remarks:
        print(printable(f"  not used: {remark.found}: {remark.why}"))
    for name in findings.unknown:
        print(printable(f"  unknown:  {name} looks like a credential; the file says what to do with it"))
    if not findings.proposals:
        print("  no credential was found; the file shows how a service is written")
    print(f"\nNext: proxyd run -c {printable(str(target))}, then proxyd doctor")
