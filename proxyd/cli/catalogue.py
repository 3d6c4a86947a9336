"""``proxyd services --catalogue``: the services that proxyd knows. Neither a daemon nor a configuration is asked."""

from typing import Any, Final

from proxyd.catalog.summary import rows
from proxyd.cli.context import print_json
from proxyd.cli.exits import OK
from proxyd.cli.tables import render

_SHOWN_HOSTS: Final = 2


def catalogue(*, everything: bool, as_json: bool) -> int:
    """Print the catalogue."""
    found = rows(everything=everything)
    if as_json:
        return print_json(found)
    print(render([_row(one) for one in found], "the catalogue is empty"), end="")
    return OK


def _row(one: dict[str, Any]) -> dict[str, Any]:
    hosts: list[str] = one["hosts"]
    shown = hosts[:_SHOWN_HOSTS] + (["…"] if len(hosts) > _SHOWN_HOSTS else [])
    return {
        "name": one["name"],
        "title": one["title"],
        "category": one["category"],
        "schemes": " ".join(one["schemes"]),
        "hosts": " ".join(shown),
    }
