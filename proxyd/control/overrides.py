"""What an operator holds in a state: breakers open or closed, endpoints up or down.

It is kept here and sent to every worker, new ones included; it is gone when the daemon, its control process or its
generation is replaced, and ``status`` shows it for as long as it lasts.
"""

import difflib
from collections.abc import Iterator, Sequence
from typing import Final

from proxyd.core.messages import SetOverrides
from proxyd.core.refusal import Refusal
from proxyd.core.resilience import Hold, Override
from proxyd.core.service import Endpoint, Service, written

MAX_OVERRIDES: Final = 1024
AUTO: Final = "auto"
"""Holds nothing: the policy decides."""

Key = tuple[str, str, int, bool]


class Overrides:
    """All of them."""

    def __init__(self) -> None:
        self._held: dict[Key, Override] = {}

    def __len__(self) -> int:
        return len(self._held)

    @property
    def message(self) -> SetOverrides:
        """What workers are told."""
        return SetOverrides([*self._held.values()])

    def hold_breaker(self, services: Sequence[Service], name: str, state: str, address: str | None) -> None:
        """Hold the breaker of a service, or of one of its endpoints, ``open`` or ``closed``; ``auto`` lets go.

        Refusal: there is no such service or endpoint.
        """
        service = _service(services, name)
        if address is None:
            self._put(name, "", 0, state, is_of_breaker=True)
            return
        if len(service.endpoints) < 2:
            raise Refusal("refused", f"{name} has one endpoint: its breaker is the service's own; name no endpoint")
        endpoint = _endpoint(service, address)
        self._put(name, endpoint.host, endpoint.port, state, is_of_breaker=True)

    def hold_endpoint(self, services: Sequence[Service], name: str, state: str, address: str) -> None:
        """Hold an endpoint ``up`` or ``down``; ``auto`` leaves it to checks. Refusal: there is no such endpoint."""
        endpoint = _endpoint(_service(services, name), address)
        self._put(name, endpoint.host, endpoint.port, state, is_of_breaker=False)

    def keep(self, services: Sequence[Service]) -> bool:
        """Forget what a new configuration has no place for; whether there was some."""
        known = {(service.name, one.host, one.port) for service in services for one in (*_endpoints(service), _WHOLE)}
        former, self._held = self._held, {key: one for key, one in self._held.items() if key[:3] in known}
        return len(former) > len(self._held)

    def problems(self) -> Iterator[str]:
        """Say what is held, for ``status``."""
        for one in self._held.values():
            what = f"the endpoint {written(one.host, one.port)}"
            if one.hold.is_of_breaker:
                what = f"the breaker of {what}" if one.host else "the breaker"
            yield f"{one.service}: {what} is held {one.hold.value} by an operator"

    def _put(self, name: str, host: str, port: int, state: str, *, is_of_breaker: bool) -> None:
        key = (name, host, port, is_of_breaker)
        if state == AUTO:
            self._held.pop(key, None)
        elif key not in self._held and len(self._held) >= MAX_OVERRIDES:
            raise Refusal("refused", f"{MAX_OVERRIDES} breakers and endpoints are held already; let some go first")
        else:
            self._held[key] = Override(name, host, port, Hold(state))


_WHOLE: Final = Endpoint("", 0)
"""Stands for the service's own breaker."""


def _service(services: Sequence[Service], name: str) -> Service:
    known = {service.name: service for service in services}
    if name not in known:
        nearest = next(iter(difflib.get_close_matches(name, known, 1)), None)
        raise Refusal("not_found", f"there is no service {name!r}; `services` lists them", nearest)
    return known[name]


def _endpoints(service: Service) -> Sequence[Endpoint]:
    return service.endpoints or (Endpoint(service.base.host, service.base.port),)


def _endpoint(service: Service, address: str) -> Endpoint:
    known = {one.address: one for one in _endpoints(service)}
    if address not in known:
        nearest = next(iter(difflib.get_close_matches(address, known, 1)), None)
        raise Refusal("not_found", f"{service.name} has no endpoint {address!r}; `endpoints` lists them", nearest)
    return known[address]
