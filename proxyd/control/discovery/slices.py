"""EndpointSlices (discovery.k8s.io/v1) to endpoints: what the API says, checked, without any network.

An endpoint is used while it is ready; where none is, those that still serve while they terminate are (as kube-proxy
does). Within one endpoint the addresses are interchangeable, and the first is used.
"""

from typing import Any, Final

from proxyd.control.discovery.watch import DiscoveryError
from proxyd.core.authority import normalise_host
from proxyd.core.service import Endpoint

MAX_SLICES: Final = 1000
"""Of one service; a slice holds at most 1000 endpoints."""
MAX_PER_SLICE: Final = 1000

_READY: Final = "ready"
_SERVING: Final = "serving"


class SliceSet:
    """The slices of one service, by name. DiscoveryError for what is no EndpointSlice."""

    def __init__(self, slice_port: str) -> None:
        self._slice_port = slice_port
        self._slices: dict[str, list[tuple[Endpoint, str]]] = {}

    def put(self, item: Any) -> None:
        """Take in a slice that is new or changed."""
        name = text(item, "metadata", "name")
        if name not in self._slices and len(self._slices) >= MAX_SLICES:
            raise DiscoveryError(f"the service has more than {MAX_SLICES} EndpointSlices")
        ports = {port for port in map(self._number, items(item, "ports")) if port}
        self._slices[name] = [
            (Endpoint(address, port), state)
            for entry in items(item, "endpoints")[:MAX_PER_SLICE]
            for address, state in _usable(entry)
            for port in sorted(ports)
        ]

    def drop(self, item: Any) -> None:
        """Forget a slice that was deleted."""
        self._slices.pop(text(item, "metadata", "name"), None)

    def endpoints(self) -> list[Endpoint]:
        """Return what is to be used, in an order that does not depend on the API's."""
        found = [entry for slice_ in self._slices.values() for entry in slice_]
        ready = {endpoint for endpoint, state in found if state == _READY}
        chosen = ready or {endpoint for endpoint, state in found if state == _SERVING}
        return sorted(chosen, key=lambda endpoint: (endpoint.host, endpoint.port))

    def _number(self, port: Any) -> int:
        """Return the number of a slice's port where it is the wanted one, else 0."""
        if not isinstance(port, dict) or port.get("protocol", "TCP") != "TCP":
            return 0
        number = port.get("port")
        if number is None and self._slice_port.isdecimal():
            return int(self._slice_port)  # "If this is not specified, ports are not restricted"
        if type(number) is not int or not 0 < number < 65536:
            return 0
        return number if self._slice_port in (port.get("name") or "", str(number)) else 0


def _usable(entry: Any) -> list[tuple[str, str]]:
    """Return the address of an endpoint and its state; nothing where it is not to be used."""
    conditions = entry.get("conditions") if isinstance(entry, dict) else None
    conditions = conditions if isinstance(conditions, dict) else {}
    address = _address(next(iter(items(entry, "addresses")), None))
    if not address:
        return []
    if conditions.get("ready") is not False:  # "A nil value should be interpreted as true"
        return [(address, _READY)]
    if conditions.get("terminating") and conditions.get("serving"):
        return [(address, _SERVING)]
    return []


def _address(value: Any) -> str:
    """Return an address or a name in canonical form; empty for anything else."""
    try:
        return normalise_host(value)[0] if isinstance(value, str) else ""
    except ValueError:
        return ""


def items(value: Any, key: str) -> list[Any]:
    """Return a list out of an answer; it may be missing or null."""
    found = value.get(key) if isinstance(value, dict) else None
    if found is None:
        return []
    if not isinstance(found, list):
        raise DiscoveryError(f"the API's answer makes no sense: {key} is no list")
    return found


def text(value: Any, *keys: str) -> str:
    """Return text out of an answer."""
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    if not isinstance(value, str):
        raise DiscoveryError(f"the API's answer makes no sense: {'.'.join(keys)} is no text")
    return value
