"""What vendors answer when a limit is reached or a credential has expired, as their definitions say.

The same definitions say how such an answer is known: to the faults that imitate it, and to the limits that prevent it.
They are read when somebody asks, which few daemons do.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from proxyd.core.fault import FaultAnswer, FaultKind
from proxyd.core.service import HostPattern, Service
from proxyd.core.vendor import VendorDefinition

GENERIC: Final = "generic"
_STATUS: Final = {FaultKind.RATE_LIMIT: 429, FaultKind.EXPIRED: 401}
_GENERIC_RESET: Final = 30
_EXPIRED: Final = 'Bearer error="invalid_token", error_description="The access token expired"'  # RFC 6750 §3.1
_GENERIC: Final[dict[str, dict[str, Any]]] = {
    "rate_limit": {
        "headers": {"content-type": "application/json", "retry-after": "$reset_seconds"},
        "body": '{"error":"rate_limited","message":"Too many requests"}',
    },
    "expired": {
        "headers": {"content-type": "application/json", "www-authenticate": _EXPIRED},
        "body": '{"error":"invalid_token","error_description":"The access token expired"}',
    },
}


@dataclass(frozen=True, slots=True)
class Vendor:
    """What is known of one."""

    hosts: tuple[str, ...] = ()
    """Patterns, those below which customers choose labels among them."""
    answers: dict[str, Any] | None = None
    limits: VendorDefinition = field(default_factory=VendorDefinition)


def vendors() -> tuple[str, ...]:
    """Return the names that ``answer`` takes."""
    return tuple(_table())


def vendor_of(service: Service) -> str:
    """Return the vendor of a service by its hosts, of several the one of its name; else by its name alone."""
    found = [
        name for name, vendor in _table().items() if any(_is_known(pattern, vendor.hosts) for pattern in service.hosts)
    ]
    if found and service.name not in found:
        return found[0]
    return service.name if service.name in _table() else GENERIC


def answer(vendor: str, kind: FaultKind) -> FaultAnswer:
    """Return how ``vendor`` answers. KeyError: there is no such vendor."""
    answers = _table()[vendor].answers or {}
    said: dict[str, Any] = answers.get(kind.value) or _GENERIC[kind.value]
    reset = int(answers.get("reset", _GENERIC_RESET))
    return FaultAnswer(said.get("status", _STATUS[kind]), tuple(said["headers"].items()), said["body"], reset)


def definition(vendor: str) -> VendorDefinition:
    """Return how ``vendor`` says that a limit is reached, beside 429. KeyError: there is no such vendor."""
    return _table()[vendor].limits


def defined(services: Sequence[Service]) -> tuple[Service, ...]:
    """Return the services, those that keep to their vendor's limits with what the vendor is known for."""
    return tuple(
        replace(one, vendor_limits=replace(one.vendor_limits, definition=definition(vendor_of(one))))
        if one.vendor_limits is not None and not one.vendor_limits.definition.vendor
        else one
        for one in services
    )


def _is_known(pattern: HostPattern, hosts: Sequence[str]) -> bool:
    return any(
        pattern.host == host or (host.startswith("*.") and f".{pattern.host}".endswith(host[1:])) for host in hosts
    )


@functools.cache
def _table() -> dict[str, Vendor]:
    from proxyd.catalog.shelf import Shelf
    from proxyd.catalog.summary import plain  # the YAML parser, which a daemon needs for nothing else

    shelf = Shelf()
    found = {GENERIC: Vendor()}
    for path in filter(None, map(shelf.find, shelf.names())):
        said = plain(path)
        found[said["name"]] = _vendor(said)
    return found


def _vendor(said: dict[str, Any]) -> Vendor:
    from proxyd.catalog.summary import ANY_HOST, hosts
    from proxyd.core.quantities import duration

    limits = said.get("limits") or {}
    own = [host for host in hosts(said) if host != ANY_HOST]
    return Vendor(
        (*own, *(said.get("your_hosts") or {}).get("suffixes", ())),
        said.get("answers"),
        VendorDefinition(
            said["name"],
            tuple(limits.get("statuses", ())),
            tuple(limits.get("codes", ())),
            float(duration(limits["pause"])) if "pause" in limits else 0.0,
        ),
    )
