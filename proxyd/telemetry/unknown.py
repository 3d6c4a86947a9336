"""Hosts that are no service and were asked for: how often, and whether clients sent credentials of their own there."""

import time
from dataclasses import dataclass, field
from typing import Any, Final

from proxyd.core.events import ACCESS, ACCESS_SCHEMA
from proxyd.core.records import Batch

MOST: Final = 1000
"""Hosts that are remembered; when there are more, the one that was asked for least lately goes."""

MAX_SENT: Final = 8
"""Kinds of credentials that are remembered for a host."""

_AT: Final = ACCESS_SCHEMA.place
_SERVICE, _AUTHORITY, _KIND = _AT["service"], _AT["authority"], _AT["kind"]
_TIME, _SENT, _STATUS = _AT["time"], _AT["own_credential"], _AT["status"]
_NOWHERE: Final = "-:0"


@dataclass(slots=True)
class _Host:
    first: float
    last: float
    requests: int = 0
    tunnels: int = 0
    sent: dict[str, None] = field(default_factory=dict)


class UnknownHosts:
    """A table of them; ``take`` is a tap."""

    def __init__(self) -> None:
        self._hosts: dict[str, _Host] = {}

    def take(self, batch: Batch) -> None:
        """Count what is of no service."""
        for record in batch.of(ACCESS):
            if record[_SERVICE] is None and record[_AUTHORITY] != _NOWHERE and record[_STATUS] != 400:
                self._count(record)

    def rows(self) -> list[dict[str, Any]]:
        """Describe them, the most asked for first."""
        found = sorted(self._hosts.items(), key=lambda item: (-item[1].requests - item[1].tunnels, item[0]))
        return [
            {
                "host": name,
                "requests": host.requests,
                "tunnels": host.tunnels,
                "first_seen": _moment(host.first),
                "last_seen": _moment(host.last),
                "own_credentials": list(host.sent),
            }
            for name, host in found
        ]

    def _count(self, record: list[Any]) -> None:
        name, moment = record[_AUTHORITY].removesuffix(":443"), record[_TIME]
        host = self._hosts.pop(name, None)
        if host is None:
            if len(self._hosts) >= MOST:
                self._hosts.pop(next(iter(self._hosts)))
            host = _Host(moment, moment)
        self._hosts[name] = host  # at the end: the latest
        host.last = max(host.last, moment)
        if record[_KIND] == "tunnel":
            host.tunnels += 1
        else:
            host.requests += 1
        sent = record[_SENT]
        if sent is not None and len(host.sent) < MAX_SENT:
            host.sent[sent] = None


def _moment(stamp: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(stamp))
