"""What vendors answer when a limit is reached or a credential has expired: vendors.toml, read when it is asked for.

The same table says how such an answer is known: to the faults that imitate it, and to the limits that prevent it.
"""

import functools
import tomllib
from collections.abc import Sequence
from dataclasses import replace
from importlib import resources
from typing import Any, Final

from proxyd.core.fault import FaultAnswer, FaultKind
from proxyd.core.service import HostPattern, Service
from proxyd.core.vendor import VendorDefinition

GENERIC: Final = "generic"
_STATUS: Final = {FaultKind.RATE_LIMIT: 429, FaultKind.EXPIRED: 401}


def vendors() -> tuple[str, ...]:
    """Return the names that ``answer`` takes."""
    return tuple(_table())


def vendor_of(service: Service) -> str:
    """Return the vendor of a service by its hosts, else by its name, else the generic one."""
    for name, entry in _table().items():
        if any(_is_known(pattern, entry["hosts"]) for pattern in service.hosts):
            return name
    return service.name if service.name in _table() else GENERIC


def answer(vendor: str, kind: FaultKind) -> FaultAnswer:
    """Return how ``vendor`` answers. KeyError: there is no such vendor."""
    entry = _table()[vendor]
    said: dict[str, Any] = entry.get(kind.value) or _table()[GENERIC][kind.value]
    return FaultAnswer(said.get("status", _STATUS[kind]), tuple(said["headers"].items()), said["body"], entry["reset"])


def definition(vendor: str) -> VendorDefinition:
    """Return how ``vendor`` says that a limit is reached, beside 429. KeyError: there is no such vendor."""
    said: dict[str, Any] = _table()[vendor].get("limits", {})
    return VendorDefinition(
        vendor, tuple(said.get("statuses", ())), tuple(said.get("codes", ())), float(said.get("pause", 0.0))
    )


def defined(services: Sequence[Service]) -> tuple[Service, ...]:
    """Return the services, those that keep to their vendor's limits with what the vendor is known for."""
    return tuple(
        replace(one, vendor_limits=replace(one.vendor_limits, definition=definition(vendor_of(one))))
        if one.vendor_limits is not None
        else one
        for one in services
    )


def _is_known(pattern: HostPattern, hosts: list[str]) -> bool:
    return any(
        pattern.host == host or (host.startswith("*.") and f".{pattern.host}".endswith(host[1:])) for host in hosts
    )


@functools.cache
def _table() -> dict[str, Any]:
    return tomllib.loads(resources.files("proxyd.catalog").joinpath("vendors.toml").read_text("utf-8"))
