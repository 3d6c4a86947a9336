"""Writes docs/cli.md from the parser: ``python -m proxyd.cli.reference [ROOT]``.

With ``--check`` nothing is written and a stale page is an error.
"""

import argparse
import sys
from pathlib import Path
from typing import Final

from proxyd.cli.main import EPILOG, build_parser
from proxyd.cli.tree import Node, Word, tree

PAGE: Final = Path("docs", "cli.md")

_HEAD: Final = """\
# Command line

Generated from the parser by `python -m proxyd.cli.reference`; change the commands under `proxyd/cli/commands`, not this
page.

Commands that ask a running daemon find its admin socket by `--admin`, else `PROXYD_ADMIN`, else in the runtime folder.
`--admin` may stand before and after a command's own words. Tables are for people: sizes and times are rounded, and
whatever a client chose (hosts, paths, names) is printed with control characters escaped. `--json` prints one JSON
document with exact values, the fields of [the admin methods](admin-socket.md); `tail --json` alone prints one JSON line
per exchange, as the access log does, until it is interrupted.

```
{epilog}```
"""


def page_text() -> str:
    """Return the page: a section for each command."""
    root = tree(build_parser())
    leaves = [node for node in root.walk() if not node.commands]
    lines = [_HEAD.format(epilog=EPILOG), "| command | |", "|---|---|"]
    lines += [f"| [`{_title(node)}`](#{_anchor(node)}) | {_cell(node.help)} |" for node in leaves]
    return "\n".join([*lines, "", *map(_section, leaves)]).rstrip() + "\n"


def main(arguments: list[str] | None = None) -> int:
    """Write or check the page; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m proxyd.cli.reference", description=main.__doc__)
    parser.add_argument("root", type=Path, nargs="?", default=Path(), help="the project's folder")
    parser.add_argument("--check", action="store_true", help="write nothing; fail when the page is stale")
    options = parser.parse_args(arguments)
    page, text = options.root / PAGE, page_text()
    if page.exists() and page.read_text(encoding="utf-8") == text:
        return 0
    if options.check:
        sys.stderr.write(f"{page} is stale; run python -m proxyd.cli.reference\n")
        return 1
    page.write_text(text, encoding="utf-8")
    return 0


def _section(node: Node) -> str:
    lines = [f"## `{_title(node)}`", "", (node.parser.description or node.help).strip(), ""]
    words = [word for word in node.options if word.names not in (("-h", "--help"), ("--admin",))]
    usage = " ".join([_title(node), *map(_usage, words), *map(_usage, node.arguments)])
    lines += ["```", usage, "```", ""]
    rows = [f"| `{_spelled(word)}` | {_cell(word.help)}{_choices(word)} |" for word in (*node.arguments, *words)]
    if rows:
        lines += ["| | |", "|---|---|", *rows, ""]
    if node.parser.epilog:
        lines += ["```", node.parser.epilog.rstrip(), "```", ""]
    return "\n".join(lines)


def _title(node: Node) -> str:
    return " ".join(("proxyd", *node.path))


def _anchor(node: Node) -> str:
    return "-".join(("proxyd", *node.path))


def _spelled(word: Word) -> str:
    return ", ".join(f"{name} {word.value}".rstrip() for name in word.names) or word.value


def _usage(word: Word) -> str:
    if not word.names:
        return word.value if word.required or word.rest else f"[{word.value}]"
    spelled = f"{word.names[0]} {word.value}".rstrip()
    return spelled if word.required else f"[{spelled}]"


def _choices(word: Word) -> str:
    return f": {', '.join(f'`{choice}`' for choice in word.choices)}" if word.choices else ""


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    sys.exit(main())
