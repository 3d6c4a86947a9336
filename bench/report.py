"""Figures for people (a table) and for programs (one JSON document)."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from bench.bars import OURS, Verdict, judge
from bench.run import Outcome
from bench.stats import Sample, medians, ratio, spread

FORMAT = 1


def document(
    machine: Mapping[str, object], settings: Mapping[str, object], outcomes: Sequence[Outcome]
) -> dict[str, Any]:
    """All that was measured: medians, each round's sample, ratios, bars."""
    return {
        "format": FORMAT,
        "machine": dict(machine),
        "settings": dict(settings),
        "scenarios": [_scenario(outcome) for outcome in outcomes],
    }


def table(outcome: Outcome) -> str:
    """One scenario's medians as text, the ratios of proxyd's main figure beside, then its bars."""
    scenario = outcome.scenario
    main = scenario.columns[0]
    figures = _figures(outcome)
    header = ["peer", *scenario.columns, "spread", f"{OURS} / peer"]
    rows = [header]
    for name, figure in figures.items():
        own = ratio(figures.get(OURS, {}).get(main), figure.get(main)) if name != OURS else None
        cells = [number(figure.get(column)) for column in scenario.columns]
        rows.append([name, *cells, _percent(spread(outcome.samples[name], main)), number(own)])
    lines = [f"{scenario.name}: {scenario.about}", *aligned(rows)]
    lines += [_sentence(verdict) for verdict in judge(scenario.name, figures)]
    lines += [f"  left out: {name}: {reason}" for name, reason in outcome.missing.items()]
    return "\n".join(lines) + "\n"


def _figures(outcome: Outcome) -> dict[str, Sample]:
    return {name: medians(samples) for name, samples in outcome.samples.items()}


def _scenario(outcome: Outcome) -> dict[str, Any]:
    figures = _figures(outcome)
    main = outcome.scenario.columns[0]
    own = figures.get(OURS, {})
    return {
        "scenario": outcome.scenario.name,
        "about": outcome.scenario.about,
        "peers": {
            name: {
                "version": outcome.versions.get(name, "unknown"),
                "median": figure,
                "spread": spread(outcome.samples[name], main),
                "rounds": outcome.samples[name],
                "ratio": {metric: ratio(own.get(metric), value) for metric, value in figure.items()},
            }
            for name, figure in figures.items()
        },
        "missing": outcome.missing,
        "bars": [_bar(verdict) for verdict in judge(outcome.scenario.name, figures)],
    }


def _bar(verdict: Verdict) -> dict[str, Any]:
    return asdict(verdict.bar) | {"bound": verdict.bar.bound.value, "value": verdict.value, "met": verdict.met}


def _sentence(verdict: Verdict) -> str:
    word = {None: "not measured", True: "met", False: "NOT MET"}[verdict.met]
    return f"  bar {verdict.bar.text}: {number(verdict.value)}: {word}"


def number(value: float | None) -> str:
    """A figure in three digits, a dash where there is none."""
    if value is None:
        return "-"
    if value == 0 or abs(value) >= 1000:
        return f"{value:.0f}"
    return f"{value:.3g}"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value * 100:.0f} %"


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a table whose first column is text and the others numbers."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  "
        + "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
