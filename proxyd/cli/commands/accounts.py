"""Limits, quotas and caches: what is left, who waits, and what an operator may change."""

import argparse
import time
from collections.abc import Sequence
from typing import Any, Final

from proxyd.cli.context import call, print_json
from proxyd.cli.exits import OK
from proxyd.cli.parser import Commands, command, group, json_option
from proxyd.cli.tables import render

_OF_VENDORS: Final = ("refusals", "spenders")
_LIMIT: Final = (
    "service", "limit", "scope", "allows", "mode", "remaining", "reset_seconds", "exhausted", "waiting", "waited",
    "refused", *_OF_VENDORS,
)  # fmt: skip
_QUOTA: Final = (
    "service", "limit", "key", "period", "quota", "granted", "used", "lent", "remaining", "reset_seconds",
    "exhausted",
)  # fmt: skip


def add(commands: Commands) -> None:
    """Add the commands of this module."""
    limits = command(commands, "limits", "limits on requests: what is left, who waits, what was refused", _limits)
    json_option(limits)
    verbs = group(commands, "quota", "quotas: show them, or change what is counted", _quotas)
    json_option(command(verbs, "show", "every quota: used, remaining, when it ends", _quotas))
    change = _change(verbs, "set", "say how much is used in this period", "quota_set")
    change.add_argument("amount", metavar="USED", type=int, help="tokens")
    _change(verbs, "reset", "begin the period anew: nothing is used", "quota_reset")
    change = _change(verbs, "grant", "allow so many more in this period", "quota_grant")
    change.add_argument("amount", metavar="TOKENS", type=int, help="how many more")
    verbs = group(commands, "cache", "kept answers: show how many, or forget them", _caches)
    json_option(command(verbs, "show", "entries and bytes by service and worker", _caches))
    purge = command(verbs, "purge", "forget what is kept of a service", _purge)
    purge.add_argument("service", metavar="SERVICE", help="the service")
    purge.add_argument("--path", metavar="PATH", default="", help="only this path; with a slash at the end all beneath")
    purge.add_argument("--tag", metavar="TAG", default="", help="only what Cache-Tag or Surrogate-Key names so")
    json_option(purge)


def _change(verbs: Commands, name: str, text: str, method: str) -> argparse.ArgumentParser:
    parser = command(verbs, name, text, _revise)
    parser.add_argument("service", metavar="SERVICE", help="the service")
    parser.add_argument("limit", metavar="QUOTA", help="its quota")
    parser.add_argument("--key", metavar="KEY", default="", help="what it counts by, as 'quota show' prints it")
    parser.set_defaults(method=method, amount=None)
    json_option(parser)
    return parser


def _limits(arguments: argparse.Namespace) -> int:
    found = call(arguments, "limits")
    if arguments.json:
        return print_json(found)
    names = _LIMIT if any(one.get("limit") == "vendor" for one in found) else _LIMIT[: -len(_OF_VENDORS)]
    print(render([_shown(one, names) for one in found], "no service has limits"), end="")
    return OK


def _shown(one: dict[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """Return a row as people read it: the time when nothing will be left, at this pace, by the clock on the wall."""
    row = {name: one.get(name) for name in names}
    if isinstance(row.get("exhausted"), int | float):
        row["exhausted"] = time.strftime("%Y-%m-%d %H:%M", time.localtime(row["exhausted"]))
    return row


def _quotas(arguments: argparse.Namespace) -> int:
    found = call(arguments, "quotas")
    if arguments.json:
        return print_json(found)
    print(render([_shown(one, _QUOTA) for one in found], "no service has a quota"), end="")
    return OK


def _revise(arguments: argparse.Namespace) -> int:
    amount = [] if arguments.amount is None else [arguments.amount]
    revised = call(arguments, arguments.method, arguments.service, arguments.limit, *amount, arguments.key)
    if arguments.json:
        return print_json(revised)
    print(render([_shown(revised, _QUOTA)]), end="")
    return OK


def _caches(arguments: argparse.Namespace) -> int:
    return _show(arguments, call(arguments, "caches"), "nothing is kept")


def _purge(arguments: argparse.Namespace) -> int:
    result = call(arguments, "cache_purge", arguments.service, arguments.path, arguments.tag)
    if arguments.json:
        return print_json(result)
    print(f"{result['purged']} entries forgotten")
    return OK


def _show(arguments: argparse.Namespace, value: Any, empty: str) -> int:
    if arguments.json:
        return print_json(value)
    print(render(value, empty), end="")
    return OK
