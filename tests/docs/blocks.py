"""Cuts the examples out of Markdown: fenced blocks with what stands after the fence, and code between backticks."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs" / "guides").glob("*.md")])

_FENCE = re.compile(r"^```(.*)$")
_INLINE = re.compile(r"`([^`]+)`")


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block."""

    page: Path
    line: int
    kind: str
    """What stands after the fence, such as ``yaml`` or ``sh run``."""
    text: str

    def __str__(self) -> str:
        return f"{self.page.name}:{self.line}"


def blocks(page: Path) -> list[Block]:
    """Return the blocks of a page."""
    found: list[Block] = []
    opened: tuple[int, str, list[str]] | None = None
    for number, line in enumerate(page.read_text().splitlines(), 1):
        fence = _FENCE.match(line.strip())
        if fence is None:
            if opened is not None:
                opened[2].append(line)
        elif opened is None:
            opened = (number, fence[1].strip(), [])
        else:
            found.append(Block(page, opened[0], opened[1], "\n".join(opened[2]) + "\n"))
            opened = None
    assert opened is None, f"{page}: a block is not closed"
    return found


def all_blocks(*kinds: str) -> list[Block]:
    """Return the blocks of every page whose kind begins with one of these words."""
    return [block for page in PAGES for block in blocks(page) if block.kind.split(" ")[0] in kinds]


def prose(page: Path) -> Iterator[tuple[int, str]]:
    """Yield (line, code) for what stands between backticks outside of blocks; it may go over a line's end."""
    text, inside = "", False
    for line in page.read_text().splitlines():
        if _FENCE.match(line.strip()):
            inside = not inside
            text += "\n"
        else:
            text += "\n" if inside else f"{line}\n"
    for match in _INLINE.finditer(text):
        yield text.count("\n", 0, match.start()) + 1, " ".join(match[1].split())
