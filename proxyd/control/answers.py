"""What workers answer to questions, made safe: rows of scalars, whatever a worker sent."""

from collections.abc import Sequence
from typing import Any, Final

import trio

from proxyd.control.workers import WorkerLink

ASK_SECONDS: Final = 2.0
"""What a worker's answer is waited for; a stopped one is left out."""
MAX_ROWS: Final = 4096
"""Rows of a worker's answer; what is over is dropped."""
TEXT_CHARACTERS: Final = 256

Scalar = str | int | float | bool | None


async def ask_all(links: list[WorkerLink], what: str, about: Sequence[str] = ()) -> dict[int, Any]:
    """Ask every worker at once; return what came, by pid, not checked yet."""
    answers: dict[int, Any] = {}

    async def one(link: WorkerLink) -> None:
        answers[link.pid] = await link.ask(what, ASK_SECONDS, about)

    async with trio.open_nursery() as nursery:
        for link in links:
            nursery.start_soon(one, link)
    return answers


def rows(answer: Any) -> list[dict[str, Scalar]]:
    """Return a worker's answer as rows of scalars; what is anything else is left out: workers are not trusted."""
    return [row(item) for item in answer[:MAX_ROWS] if isinstance(item, dict)] if isinstance(answer, list) else []


def row(answer: Any) -> dict[str, Scalar]:
    """Return a map of scalars, empty where the answer is none."""
    if not isinstance(answer, dict):
        return {}
    return {
        str(name)[:TEXT_CHARACTERS]: value[:TEXT_CHARACTERS] if isinstance(value, str) else value
        for name, value in list(answer.items())[:TEXT_CHARACTERS]
        if value is None or isinstance(value, str | int | float | bool)
    }
