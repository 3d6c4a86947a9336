"""Exchanges as rows of a table and as lines, and the options that filter them.

Hosts, paths and proxy users were chosen by clients: everything goes through ``printable``.
"""

import argparse
import time
from collections.abc import Iterable, Mapping
from typing import Any, Final

from proxyd.cli.tables import cell, printable

URL_CHARACTERS: Final = 120
"""A longer URL is cut in tables and lines; ``--json`` has all of it."""
MOST: Final = 10_000
"""Exchanges of one answer."""

_NOWHERE: Final = "-:0"
"""Stands for the authority of a request that was refused before it had one."""
_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_FILTERS: Final = ("service", "host", "method", "path", "status", "caller", "uid", "listener", "errors", "since")


def filter_options(parser: argparse.ArgumentParser) -> None:
    """Let exchanges be filtered."""
    parser.add_argument("--service", metavar="NAME", help="of this service; - is no service")
    parser.add_argument("--host", metavar="HOST", help="to this host, with or without its port")
    parser.add_argument("--method", metavar="METHOD", help="with this HTTP method")
    parser.add_argument("--path", metavar="PREFIX", help="whose path begins so")
    parser.add_argument("--status", metavar="STATUS", help="with this status (404) or class (4xx)")
    parser.add_argument("--caller", metavar="CALLER", help="of this address, with or without its port, or proxy user")
    parser.add_argument("--uid", metavar="UID", type=int, help="of callers with this user id")
    parser.add_argument("--listener", metavar="NAME", help="of this listener")
    parser.add_argument("--errors", action="store_true", help="only status 400 and above, or with a response flag")


def conditions(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the parameters that the options of ``filter_options`` stand for."""
    given = {name: getattr(arguments, name, None) for name in _FILTERS}
    return {name: value for name, value in given.items() if value is not None and value is not False}


def since(text: str) -> float:
    """Return the Unix time that ``text`` names: so long ago (``90s``, ``5m``, ``2h``, ``1d``) or ISO 8601."""
    number, unit = text[:-1], text[-1:]
    if unit in _UNITS and number.isascii() and number.isdigit() and len(number) < 10:
        return time.time() - int(number) * _UNITS[unit]
    from datetime import datetime

    try:
        return datetime.fromisoformat(text).astimezone().timestamp()
    except (ValueError, OverflowError):
        raise argparse.ArgumentTypeError(
            f"{text!r} is no time: write 90s, 5m, 2h, 1d or 2030-01-31T12:00:00Z"
        ) from None


def count(text: str, least: int = 0) -> int:
    """Return a number of exchanges."""
    if not (text.isascii() and text.isdigit() and len(text) < 6 and least <= int(text) <= MOST):
        raise argparse.ArgumentTypeError(f"expected {least} to {MOST}, got {text!r}")
    return int(text)


def rows(exchanges: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the columns of a table."""
    return [
        {
            "time": local_time(exchange.get("time"), "%m-%d %H:%M:%S"),
            "status": exchange.get("status"),
            "method": exchange.get("method"),
            "url": url(exchange),
            "service": exchange.get("service"),
            "caller": _caller(exchange),
            "ms": exchange.get("total_ms"),
            "received_bytes": exchange.get("response_bytes"),
            "why": _why(exchange),
        }
        for exchange in exchanges
    ]


def line(exchange: Mapping[str, Any]) -> str:
    """Return one exchange on one line."""
    words = [
        local_time(exchange.get("time"), "%H:%M:%S.%f")[:12],
        cell("", exchange.get("status")),
        cell("", exchange.get("method")),
        url(exchange),
        cell("", exchange.get("service")),
        f"{cell('', exchange.get('total_ms'))}ms",
        _caller(exchange),
    ]
    why = _why(exchange)
    return " ".join([*words, f"[{why}]"] if why else words)


def notice_line(notice: Mapping[str, Any]) -> str:
    """Return one notice on one line."""
    moment = local_time(notice.get("time"), "%H:%M:%S.%f")[:12]
    words = [cell("", notice.get(name)) for name in ("level", "process", "name", "detail")]
    return " ".join([moment, *words])


def url(exchange: Mapping[str, Any]) -> str:
    """Return what was asked for, cut to a readable length."""
    authority = printable(str(exchange.get("authority")))
    if authority == _NOWHERE:
        return "-"
    if exchange.get("method") == "CONNECT":
        return _cut(authority)
    return _cut(f"{printable(str(exchange.get('scheme')))}://{authority}{printable(str(exchange.get('path')))}")


def local_time(stamp: Any, form: str) -> str:
    """Return a time of the daemon (ISO 8601) in this machine's zone; what is no time as it is."""
    from datetime import datetime

    try:
        return datetime.fromisoformat(stamp).astimezone().strftime(form)
    except (TypeError, ValueError, OverflowError):
        return printable(str(stamp))


def _caller(exchange: Mapping[str, Any]) -> str:
    caller = printable(str(exchange.get("caller")))
    if exchange.get("user"):
        caller = f"{printable(str(exchange['user']))}@{caller}"
    return caller if exchange.get("uid") is None else f"{caller}(uid {cell('', exchange['uid'])})"


def _why(exchange: Mapping[str, Any]) -> str:
    return " ".join(printable(str(exchange[name])) for name in ("flags", "detail") if exchange.get(name))


def _cut(text: str) -> str:
    return text if len(text) <= URL_CHARACTERS else text[: URL_CHARACTERS - 1] + "…"
