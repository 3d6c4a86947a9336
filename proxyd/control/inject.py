"""What the admin side asks about faults: a call's parameters become a fault, and faults become rows."""

import difflib
import ipaddress
import random
import re
import time
from typing import Any, Final

from proxyd.catalog import vendors
from proxyd.control.answers import ask_all, row
from proxyd.control.controller import Controller
from proxyd.core.access import Rule
from proxyd.core.fault import BODIES, Fault, FaultAnswer, FaultKind, FaultPlace
from proxyd.core.refusal import Refusal
from proxyd.core.service import Service
from proxyd.core.units import DAY, GIB

DEFAULT_SECONDS: Final = 600.0
MAX_SECONDS: Final = DAY
MAX_DELAY: Final = 600.0
SEEDS: Final = 2**31

_METHOD: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,32}")
_KINDS: Final = ("delay", "status", "rate_limit", "reset", "truncate", "slow", "expired")


class FaultDesk:
    """Adds, lists and clears faults."""

    def __init__(self, control: Controller) -> None:
        self._control = control

    async def add(self, service: str, **values: Any) -> dict[str, Any]:
        """Inject a fault; return it once every worker that answers knows of it. Refusal: it is not possible."""
        control = self._control
        if control.is_draining:
            raise Refusal("refused", "another generation has taken over, or proxyd is shutting down")
        fault = control.faults.add(read(self._service(service), values, time.time()))
        control.tools.log.warning("fault_added", fault=fault.id, detail=f"{fault.what} for {fault.where}")
        return {"ok": True, **_row(fault, await self._hits(), time.time())}

    async def rows(self) -> list[dict[str, Any]]:
        """Return the faults that are injected now."""
        hits = await self._hits()
        return [_row(fault, hits, time.time()) for fault in self._control.faults]

    async def clear(self, ids: list[str] | None = None) -> dict[str, Any]:
        """End some faults, or all; return once every worker that answers knows. Refusal: one is not there."""
        cleared = self._control.faults.clear(ids or ())
        for name in cleared:
            self._control.tools.log.warning("fault_cleared", fault=name)
        await self._hits()
        return {"ok": True, "cleared": cleared}

    def _service(self, name: str) -> Service:
        settings = self._control.settings
        known = {service.name: service for service in (settings.services if settings else ())}
        if name not in known:
            nearest = next(iter(difflib.get_close_matches(name, known, 1)), None)
            raise Refusal("not_found", f"there is no service {name[:64]!r}; `services` lists them", nearest)
        return known[name]

    async def _hits(self) -> dict[str, int]:
        """Return how often each fault was injected. The question stands behind what workers were told before."""
        hits: dict[str, int] = {}
        for answer in (await ask_all(list(self._control.links.values()), "faults")).values():
            for name, count in row(answer).items():
                if isinstance(count, int):
                    hits[name] = hits.get(name, 0) + count
        return hits


def read(service: Service, values: dict[str, Any], now: float) -> Fault:
    """Return the fault that a call's parameters describe. Refusal."""
    kinds = [name for name in _KINDS if values.get(name, False) is not False]
    if len(kinds) != 1:
        given = f"got {' and '.join(kinds)}" if kinds else "got none"
        raise _bad(f"exactly one of {', '.join(_KINDS)} says what happens; {given}")
    kind = FaultKind(kinds[0])
    place = FaultPlace(values.get("at", "client"))
    if place is FaultPlace.UPSTREAM and kind in BODIES:
        raise _bad(f"{kind.value} with at=upstream: no attempt looks at the body; leave `at` out")
    share = float(values.get("share", 1.0))
    if not 0 < share <= 1:
        raise _bad("share: expected more than 0 and at most 1, such as 0.1 for 10 %")
    seconds = float(values.get("seconds", DEFAULT_SECONDS))
    if not 0 < seconds <= MAX_SECONDS:
        raise _bad("seconds: a fault lasts more than 0 and at most 86400 (24 h)")
    vendor, answer = _answer(service, kind, values)
    return Fault(
        "",
        kind,
        _scope(service, values),
        expires=now + seconds,
        place=place,
        share=share,
        seed=int(values.get("seed", random.randrange(SEEDS))),  # noqa: S311 - a share, not secrecy
        seconds=_delay(values["delay"]) if kind is FaultKind.DELAY else 0.0,
        amount=_amount(kind, values[kind.value]) if kind in BODIES else 0,
        vendor=vendor,
        answer=answer,
    )


def _delay(seconds: float) -> float:
    if not 0 < seconds <= MAX_DELAY:
        raise _bad(f"delay: expected more than 0 and at most {MAX_DELAY:.0f} seconds")
    return float(seconds)


def _amount(kind: FaultKind, amount: int) -> int:
    least = 1 if kind is FaultKind.SLOW else 0
    if not least <= amount <= GIB:
        raise _bad(f"{kind.value}: expected {least} to {GIB} bytes")
    return amount


def _answer(service: Service, kind: FaultKind, values: dict[str, Any]) -> tuple[str, FaultAnswer | None]:
    """Return the vendor and the response of kinds that answer in the upstream's place."""
    if kind is FaultKind.STATUS:
        return "", FaultAnswer(values["status"])
    if kind not in (FaultKind.RATE_LIMIT, FaultKind.EXPIRED):
        return "", None
    vendor = (values["rate_limit"] if kind is FaultKind.RATE_LIMIT else "") or vendors.vendor_of(service)
    try:
        return vendor, vendors.answer(vendor, kind)
    except KeyError:
        known = vendors.vendors()
        nearest = next(iter(difflib.get_close_matches(vendor, known, 1)), None)
        raise Refusal("not_found", f"no vendor {vendor[:64]!r} is known; known: {', '.join(known)}", nearest) from None


def _scope(service: Service, values: dict[str, Any]) -> Rule:
    methods, paths = values.get("method", ()), values.get("path", ())
    for method in methods:
        if not _METHOD.fullmatch(method):
            raise _bad(f"method: {method[:64]!r} is no HTTP method")
    for path in paths:
        if not path.startswith("/"):
            raise _bad(f"path: {path[:64]!r} does not begin with a slash")
    cidr = values.get("cidr")
    if cidr is not None:
        try:
            cidr = str(ipaddress.ip_network(cidr))
        except ValueError as error:
            raise _bad(f"cidr: {error}") from None
    return Rule(
        True,
        (service.name,),
        methods=tuple(method.upper() for method in methods),
        paths=tuple(paths),
        uids=(values["uid"],) if "uid" in values else (),
        users=(values["user"],) if "user" in values else (),
        cidrs=(cidr,) if cidr is not None else (),
    )


def _row(fault: Fault, hits: dict[str, int], now: float) -> dict[str, Any]:
    scope = fault.scope
    return {
        "id": fault.id,
        "kind": fault.kind.value,
        "what": fault.what,
        "service": fault.service,
        "methods": list(scope.methods),
        "paths": list(scope.paths),
        "uids": list(scope.uids),
        "users": list(scope.users),
        "cidrs": list(scope.cidrs),
        "at": fault.place.value,
        "share": fault.share,
        "seed": fault.seed,
        "hits": hits.get(fault.id, 0),
        "left_seconds": round(max(0.0, fault.expires - now), 3),
    }


def _bad(text: str) -> Refusal:
    return Refusal("invalid_params", text)
