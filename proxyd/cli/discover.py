"""What ``proxyd discover`` prints."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from proxyd.catalog.recognise import Found, recognise
from proxyd.cli.context import print_json
from proxyd.cli.exits import OK
from proxyd.cli.tables import printable


def discover(seen: Sequence[Mapping[str, Any]], *, as_json: bool) -> int:
    """Print what the hosts of ``seen`` (the daemon's ``unknown_hosts``) are."""
    by_host = {printable(one["host"]): one for one in seen}
    found, unknown = recognise(by_host)
    if as_json:
        known = [_row(one.name, one.title, one.hosts, by_host, one.section, one.where) for one in found]
        return print_json([*known, *(_row(None, "", [host], by_host, "", {}) for host in unknown)])
    print("\n".join(_lines(found, unknown, by_host)))
    return OK


def _row(
    service: str | None,
    title: str,
    hosts: Sequence[str],
    by_host: Mapping[str, Mapping[str, Any]],
    configuration: str,
    where: Mapping[str, str],
) -> dict[str, Any]:
    seen = [by_host[host] for host in hosts]
    return {
        "service": service,
        "title": title,
        "hosts": list(hosts),
        "requests": sum(one["requests"] for one in seen),
        "tunnels": sum(one["tunnels"] for one in seen),
        "last_seen": max(one["last_seen"] for one in seen),
        "own_credentials": sorted({sent for one in seen for sent in one["own_credentials"]}),
        "configuration": configuration,
        "fields": dict(where),
    }


def _lines(found: Sequence[Found], unknown: Sequence[str], by_host: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    if not found and not unknown:
        yield "# No host was asked for that is no service."
        return
    if found:
        yield "# Known to the catalogue and not configured. Add what you want, store the secrets (proxyd secret"
        yield "# set NAME), and run proxyd check."
        yield "services:"
    for one in found:
        row = _row(one.name, one.title, one.hosts, by_host, one.section, one.where)
        yield f"  # {one.title}: {', '.join(one.hosts)}; {_counts(row)}"
        if one.others:
            yield f"  #   or it is {' or '.join(one.others)}: a host belongs to one service"
        yield from (f"  #   {name}: {where}" for name, where in one.where.items())
        yield one.section.rstrip("\n")
    if unknown:
        yield "# Not known to the catalogue:"
        for host in unknown:
            yield f"#   {host}: {_counts(_row(None, '', [host], by_host, '', {}))}"


def _counts(row: Mapping[str, Any]) -> str:
    counts = [f"{row[what]} {what if row[what] != 1 else what[:-1]}" for what in ("requests", "tunnels") if row[what]]
    sent = row["own_credentials"]
    keys = [f"clients send their own credential ({printable(', '.join(sent))})"] if sent else []
    return ", ".join([*counts, *keys, f"last at {row['last_seen']}"])
