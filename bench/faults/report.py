"""Figures for people (a table for each row) and for programs (one JSON document)."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from bench.faults.bars import Verdict, judge
from bench.faults.load import RATE
from bench.faults.rows.base import Row
from bench.report import aligned, number
from bench.stats import Sample

FORMAT = 1


@dataclass(slots=True)
class Result:
    """One row: each product's figures, how its requests ended, and what could not be measured."""

    row: Row
    figures: dict[str, Sample] = field(default_factory=dict)
    kinds: dict[str, dict[str, int]] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)


def document(machine: Mapping[str, object], results: Sequence[Result]) -> dict[str, Any]:
    """All that was measured."""
    return {
        "format": FORMAT,
        "machine": dict(machine),
        "requests_per_second": RATE,
        "faults": [
            {
                "fault": result.row.name,
                "about": result.row.about,
                "products": {
                    name: {"figures": figures, "outcomes": result.kinds[name]}
                    for name, figures in result.figures.items()
                },
                "missing": result.missing,
                "bars": [_bar(verdict) for verdict in judge(result.row.name, result.figures)],
            }
            for result in results
        ],
    }


def table(result: Result) -> str:
    """One row's figures as text, then its bars."""
    columns = result.row.columns
    rows = [["product", *columns]]
    rows += [[name, *(number(figures.get(one)) for one in columns)] for name, figures in result.figures.items()]
    lines = [f"{result.row.name}: {result.row.about}", *aligned(rows)]
    for name, kinds in result.kinds.items():
        lines.append(f"  {name}: " + ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items())))
    lines += [_sentence(verdict) for verdict in judge(result.row.name, result.figures)]
    lines += [f"  left out: {name}: {reason}" for name, reason in result.missing.items()]
    return "\n".join(lines) + "\n"


def _bar(verdict: Verdict) -> dict[str, Any]:
    return asdict(verdict.bar) | {"bound": verdict.bar.bound.value, "value": verdict.value, "met": verdict.met}


def _sentence(verdict: Verdict) -> str:
    word = {None: "not measured", True: "met", False: "NOT MET"}[verdict.met]
    return f"  bar {verdict.bar.text}: {number(verdict.value)}: {word}"
