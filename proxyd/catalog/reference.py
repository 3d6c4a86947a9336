"""Writes docs/services.md and conf/catalogue.schema.json: ``python -m proxyd.catalog.reference ROOT``.

With ``--check`` nothing is written and a stale file is an error. The results of the proofs are read from
tests/catalogue/results.
"""

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from proxyd.catalog.definition import FORM
from proxyd.catalog.summary import CATEGORIES, rows

RESULTS: Final = Path("tests", "catalogue", "results")

_HEAD: Final = """\
# Services of the catalogue

Generated from `proxyd/catalog/services/` by `python -m proxyd.catalog.reference`; change the definitions, not this
page. `proxyd services --catalogue` prints the same, with `--json` all of it. How a definition is used is in
[the guide on services and credentials](guides/services-and-credentials.md), how one is written in
[the guide on the catalogue](guides/catalogue.md).

A proof is a test that drives the vendor's official clients, which hold nothing but a placeholder, through proxyd:
against the real server where one can be installed, otherwise against a double that checks the credential by the
vendor's documented rule. `make test-catalogue` runs them.
"""

_NOT_YET: Final = "not yet"


def services_text(results: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the page; ``results`` of proofs by service."""
    found = rows()
    lines = [_HEAD]
    for category in CATEGORIES:
        of_it = [one for one in found if one["category"] == category]
        lines += [f"## {category.capitalize()} ({len(of_it)})", ""]
        lines += ["| service | `use` | hosts | schemes | fields | proof | date |", "|---|---|---|---|---|---|---|"]
        lines += [_row(one, results.get(one["name"], {})) for one in of_it]
        lines.append("")
    others = [one for one in rows(everything=True) if one["category"] not in CATEGORIES]
    if others:
        named = ", ".join(f"`{one['name']}`" for one in others)
        lines += ["## Others", "", f"Known besides, and not proved with their clients: {named}.", ""]
    return "\n".join(lines).rstrip() + "\n"


def schema_text() -> str:
    """Return the JSON schema of a definition."""
    return json.dumps(FORM.schema, indent=2, ensure_ascii=False) + "\n"


def results_below(root: Path) -> dict[str, dict[str, Any]]:
    """Return the results of the proofs by service."""
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted((root / RESULTS).glob("*.json"))}


def files(root: Path) -> dict[Path, str]:
    """Return what belongs into which file below the project's ``root``."""
    return {
        root / "docs" / "services.md": services_text(results_below(root)),
        root / "conf" / "catalogue.schema.json": schema_text(),
    }


def main(arguments: list[str] | None = None) -> int:
    """Write or check the generated files; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m proxyd.catalog.reference", description=main.__doc__)
    parser.add_argument("root", type=Path, nargs="?", default=Path(), help="the project's folder")
    parser.add_argument("--check", action="store_true", help="write nothing; fail when a file is stale")
    options = parser.parse_args(arguments)
    wanted = files(options.root)
    stale = [path for path, text in wanted.items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    for path in stale:
        if options.check:
            sys.stderr.write(f"{path} is stale; run python -m proxyd.catalog.reference\n")
        else:
            path.write_text(wanted[path], encoding="utf-8")
    return 1 if options.check and stale else 0


def _row(one: Mapping[str, Any], result: Mapping[str, Any]) -> str:
    hosts = [f"`{host}`" for host in one["hosts"][:3]] + (["…"] if len(one["hosts"]) > 3 else [])
    fields = [f"`{field['name']}`" for field in one["fields"]]
    proof = f"{', '.join(result['clients'])} ({result['against']})" if result.get("passed") else _NOT_YET
    date = result["date"] if result.get("passed") else ""
    title = f"[{one['title']}]({one['documentation'][0]})"
    cells = [
        title,
        f"`{one['name']}`",
        " ".join(hosts),
        ", ".join([*one["presented"], *one["flows"]]),
        " ".join(fields),
        proof,
        date,
    ]
    return "| " + " | ".join(cells) + " |"


if __name__ == "__main__":
    sys.exit(main())
