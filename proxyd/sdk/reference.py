"""Writes docs/events.md and docs/metrics.md from the tables: ``python -m proxyd.sdk.reference [ROOT]``.

With ``--check`` nothing is written and a stale page is an error.
"""

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from proxyd.core.events import SCHEMAS, Author, Field, Schema, Type
from proxyd.core.metrics import METRICS, OWN, Kind, Metric

EVENTS: Final = Path("docs", "events.md")
METRICS_PAGE: Final = Path("docs", "metrics.md")

_EVENTS_HEAD: Final = """\
# Events

Generated from `proxyd/core/events.py` by `python -m proxyd.sdk.reference`; change the table, not this page.

Workers report what happened as events; control checks them and hands them to sinks: the access log, and whatever
[plugins](guides/plugins.md) the configuration names. The access log writes an `access` event as one JSON object with
the names below; its `time` is ISO 8601, and bytes are text in which whatever is no printable ASCII is escaped.

## On the wire

A record is a msgpack array `[schema id, value, value, …]`: positions, not names. Control takes no worker's word for
it: a record whose values have other types than the table says, or are longer, or are no finite numbers, is dropped and
counted (`proxyd_events_malformed_total`).

**chosen by** says who made the bytes. What a client or an upstream chose may hold anything: escape it where you write
it (`proxyd.sdk.printable`).

## How schemas change

- Fields are appended; none is moved, renamed, retyped or removed. The schema's version rises by one, and the field says
  since when it is there.
- An appended field may be nil: a process of an older version leaves it out, and a reader puts nil there. A reader drops
  what stands behind the fields that it knows.
- What would change its meaning becomes a schema with an id of its own; the old one goes on for a while beside it.
"""

_METRICS_HEAD: Final = """\
# Metrics

Generated from `proxyd/core/metrics.py` by `python -m proxyd.sdk.reference`; change the tables, not this page.

`GET /metrics` on `admin.http` answers in Prometheus' text format. Counters end in `_total` there; histograms have
`_bucket`, `_sum` and `_count`. Workers send what they counted each second, and control adds it up, so a counter does
not fall when a worker is replaced; it begins at 0 when control is.

Labels have bounded values: names from the configuration, status codes, flags. A family that has grown too many series
(4,096) puts new ones under one whose labels all say `overflow`.
"""

_COLUMNS: Final = ("| place | field | type | unit | at most | chosen by | meaning | since |", "|" + "---|" * 8)
_METRIC_COLUMNS: Final = ("| metric | type | labels | meaning |", "|" + "---|" * 4)

_TYPES: Final = {
    Type.TEXT: "text",
    Type.BYTES: "bytes",
    Type.INTEGER: "integer",
    Type.NUMBER: "number",
    Type.BOOLEAN: "boolean",
}
_AUTHORS: Final = {
    Author.PROXYD: "proxyd",
    Author.CONFIGURATION: "configuration",
    Author.CLIENT: "**client**",
    Author.UPSTREAM: "**upstream**",
}


def events_page() -> str:
    """Return docs/events.md."""
    return "\n".join([_EVENTS_HEAD, *(_schema(schema) for schema in SCHEMAS.values())])


def metrics_page() -> str:
    """Return docs/metrics.md."""
    workers = _families("What workers count", "Gauges have the label `worker` besides.", METRICS.values())
    own = _families("What control counts and reads", "", OWN)
    return "\n".join([_METRICS_HEAD, workers, own])


def files(root: Path) -> dict[Path, str]:
    """Return what belongs into which file below the project's ``root``."""
    return {root / EVENTS: events_page(), root / METRICS_PAGE: metrics_page()}


def main(arguments: list[str] | None = None) -> int:
    """Write or check the generated pages; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m proxyd.sdk.reference", description=main.__doc__)
    parser.add_argument("root", type=Path, nargs="?", default=Path(), help="the project's folder")
    parser.add_argument("--check", action="store_true", help="write nothing; fail when a page is stale")
    options = parser.parse_args(arguments)
    stale = [
        (path, text)
        for path, text in files(options.root).items()
        if not path.exists() or path.read_text(encoding="utf-8") != text
    ]
    for path, text in stale:
        if options.check:
            sys.stderr.write(f"{path} is stale; run python -m proxyd.sdk.reference\n")
        else:
            path.write_text(text, encoding="utf-8")
    return 1 if options.check and stale else 0


def _schema(schema: Schema) -> str:
    rows = [_field(place, one) for place, one in enumerate(schema.fields, 1)]
    head = f"## `{schema.name}`: id {schema.id}, version {schema.version}\n\n{schema.meaning}\n"
    table = [
        "| place | field | type | unit | at most | chosen by | meaning | since |",
        "|---|---|---|---|---|---|---|---|",
    ]
    return "\n".join([head, *table, *rows, ""])


def _field(place: int, one: Field) -> str:
    kind = _TYPES[one.type] + (" or nil" if one.optional else "")
    longest = f"{one.longest}" if one.type in (Type.TEXT, Type.BYTES) else ""
    return (
        f"| {place} | `{one.name}` | {kind} | {one.unit} | {longest} | {_AUTHORS[one.author]} | {one.meaning} "
        f"| {one.since} |"
    )


def _families(title: str, text: str, metrics: Iterable[Metric]) -> str:
    lines = [
        f"## {title}",
        "",
        *([text, ""] if text else []),
        "| metric | type | labels | meaning |",
        "|---|---|---|---|",
    ]
    return "\n".join([*lines, *(_metric(metric) for metric in metrics), ""])


def _metric(metric: Metric) -> str:
    name = f"{metric.name}_total" if metric.kind is Kind.COUNTER else metric.name
    labels = ", ".join(f"`{label}`" for label in metric.labels)
    bounds = f" Buckets: {', '.join(f'{bound:g}' for bound in metric.buckets)} s." if metric.buckets else ""
    return f"| `{name}` | {metric.kind.value} | {labels} | {metric.help}{bounds} |"


if __name__ == "__main__":
    sys.exit(main())
