"""What the admin side asks about limits, quotas and caches."""

import difflib
import math
from collections.abc import Mapping, Sequence
from typing import Any

from proxyd.control.answers import ask_all, row, rows
from proxyd.control.controller import Controller
from proxyd.core.limiting import Limit
from proxyd.core.refusal import Refusal
from proxyd.core.vendor import ACCOUNT_LIMIT
from proxyd.limiting.buckets import QuotaBucket
from proxyd.store.protocol import StoreError

MAX_TOKENS = 1_000_000_000


class AccountDesk:
    """Shows and revises what is counted."""

    def __init__(self, control: Controller) -> None:
        self._control = control

    async def limits(self) -> list[dict[str, Any]]:
        """Return every limit, what it has refused, and what is left where one thing is counted."""
        found: dict[tuple[Any, Any], dict[str, Any]] = {}
        for service, limit in self._limits():
            found[service, limit.name] = {
                "service": service, "limit": limit.name, "scope": list(limit.scope), "allows": words(limit),
                "mode": limit.mode.value, "waiting": 0, "waited": 0, "refused": 0, "remaining": None,
                "reset_seconds": None, "exhausted": None,
            }  # fmt: skip
        for answer in (await ask_all(list(self._control.links.values()), "limits")).values():
            for one in rows(answer):
                entry = found.get((one.get("service"), one.get("limit")))
                if entry is None:
                    continue
                for name in ("waiting", "waited", "refused"):
                    entry[name] += one.get(name) or 0
                for name in ("remaining", "reset_seconds"):
                    value = one.get(name)
                    if isinstance(value, int | float):
                        entry[name] = max(entry[name] or 0, value)
        await self._add_quotas(found)
        return list(found.values()) + await self._vendors()

    async def _add_quotas(self, found: dict[tuple[Any, Any], dict[str, Any]]) -> None:
        """Add what the store says of quotas; of several keys the one with the least left."""
        if not any(limit.quota for _, limit in self._limits()):
            return
        try:
            quotas: list[dict[str, Any]] = await self._control.lending.quotas()
        except StoreError:
            return  # status says that the store is away
        for one in sorted(quotas, key=lambda one: -one["remaining"]):
            entry = found.get((one["service"], one["limit"]))
            if entry is not None:
                entry |= {name: one[name] for name in ("remaining", "reset_seconds", "exhausted")}

    async def _vendors(self) -> list[dict[str, Any]]:
        """Return a row for every window that a vendor has told of: what its last word leaves, and who spends it."""
        settings = self._control.settings
        policies = {
            service.name: service.vendor_limits
            for service in (settings.services if settings else ())
            if service.vendor_limits is not None
        }
        if not policies:
            return []
        answers = await ask_all(list(self._control.links.values()), "vendor_limits")
        told = [one for answer in answers.values() for one in rows(answer) if one.get("service") in policies]
        found = estimate_rows(told, {name: policy.mode.value for name, policy in policies.items()})
        known = {one["service"] for one in found}
        return found + [_estimate_row(name, policies[name].mode.value) for name in policies if name not in known]

    async def quotas(self) -> list[dict[str, Any]]:
        """Return every quota. Refusal: the store cannot be reached."""
        try:
            return await self._control.lending.quotas()
        except StoreError as error:
            raise Refusal("unavailable", f"the quotas cannot be read: {error}") from error

    async def set_used(self, service: str, limit: str, used: int, key: str = "") -> dict[str, Any]:
        """Say how much of a quota is used in this period."""

        def change(bucket: QuotaBucket) -> None:
            bucket.used = used + bucket.lent

        return await self._revise(service, limit, key, change)

    async def reset(self, service: str, limit: str, key: str = "") -> dict[str, Any]:
        """Begin a quota's period anew: nothing is used, nothing granted besides."""

        def change(bucket: QuotaBucket) -> None:
            bucket.used, bucket.extra = bucket.lent, 0

        return await self._revise(service, limit, key, change)

    async def grant(self, service: str, limit: str, tokens: int, key: str = "") -> dict[str, Any]:
        """Allow so many more in this period."""

        def change(bucket: QuotaBucket) -> None:
            bucket.extra = min(MAX_TOKENS, bucket.extra + tokens)

        return await self._revise(service, limit, key, change)

    async def caches(self) -> list[dict[str, Any]]:
        """Return what is kept of every service, by worker."""
        found = []
        for pid, answer in (await ask_all(list(self._control.links.values()), "cache")).items():
            index = self._control.links[pid].index if pid in self._control.links else None
            found += [{"worker": index, **one} for one in rows(answer)]
        return found

    async def purge(self, service: str, path: str = "", tag: str = "") -> dict[str, Any]:
        """Have workers forget what they keep of a service. Refusal: there is none of this name."""
        settings = self._control.settings
        known = [each.name for each in (settings.services if settings else ())]
        if service not in known:
            nearest = next(iter(difflib.get_close_matches(service, known, 1)), None)
            raise Refusal("not_found", f"there is no service {service!r}; `services` lists them", nearest)
        answers = await ask_all(list(self._control.links.values()), "purge", [service, path, tag])
        gone = [row(answer).get("purged") for answer in answers.values()]
        late = [pid for pid, answer in answers.items() if answer is None]
        purged = sum(count for count in gone if isinstance(count, int))
        self._control.tools.log.info("cache_purged", service=service, path=path, tag=tag, entries=purged)
        return {"ok": not late, "purged": purged}

    async def _revise(self, service: str, limit: str, key: str, change: Any) -> dict[str, Any]:
        try:
            revised = await self._control.lending.revise(service, limit, key, change)
        except KeyError:
            known = [f"{name} {one.name}" for name, one in self._limits() if one.quota]
            nearest = next(iter(difflib.get_close_matches(f"{service} {limit}", known, 1)), None)
            raise Refusal("not_found", f"{service} has no quota {limit}; `quota show` lists them", nearest) from None
        except StoreError as error:
            raise Refusal("unavailable", f"the quota was not changed: {error}") from error
        self._control.tools.log.info("quota_changed", service=service, limit=limit, key=key, used=revised["used"])
        return {"ok": True, **revised}

    def _limits(self) -> list[tuple[str, Limit]]:
        settings = self._control.settings
        return [
            (service.name, limit) for service in (settings.services if settings else ()) for limit in service.limits
        ]


def estimate_rows(told: Sequence[Mapping[str, Any]], modes: dict[str, str]) -> list[dict[str, Any]]:
    """Return what workers know of vendors' windows as one row each: the latest word, and the sums of what they did."""
    found: dict[tuple[Any, Any, Any], dict[str, Any]] = {}
    latest: dict[tuple[Any, Any, Any], float] = {}
    for one in told:
        place = (one.get("service"), one.get("account"), one.get("window"))
        row = found.get(place)
        if row is None:
            row = found[place] = _estimate_row(str(place[0]), modes[str(place[0])])
            row["scope"] = [str(place[1]), *([str(place[2])] if place[2] else [])]
        for name in ("waiting", "waited", "refused", "refusals"):
            row[name] += one.get(name) or 0
        for text in filter(None, str(one.get("callers") or "").split(",")):
            caller, _, count = text.rpartition("=")
            row["spenders"][caller] = row["spenders"].get(caller, 0) + (int(count) if count.isdecimal() else 0)
        age = one.get("seen_seconds")
        if isinstance(age, int | float) and age < latest.get(place, math.inf):
            latest[place] = age
            row["remaining"], row["reset_seconds"] = one.get("remaining"), one.get("reset_seconds")
            row["allows"] = _allows(one.get("limit") or 0, one.get("length") or 0.0)
        row["paused_seconds"] = max(row["paused_seconds"], one.get("paused_seconds") or 0.0)
    return list(found.values())


def _estimate_row(service: str, mode: str) -> dict[str, Any]:
    return {
        "service": service, "limit": ACCOUNT_LIMIT, "scope": [], "allows": "nothing was told yet", "mode": mode,
        "waiting": 0, "waited": 0, "refused": 0, "remaining": None, "reset_seconds": None, "refusals": 0,
        "paused_seconds": 0.0, "spenders": {},
    }  # fmt: skip


def _allows(limit: int, length: float) -> str:
    if not limit:
        return "as the vendor tells"
    return f"{limit} within {length:g} s, as the vendor tells" if length else f"{limit}, as the vendor tells"


def words(limit: Limit) -> str:
    """Return what a limit allows, in words."""
    if limit.rate:
        return f"{limit.rate:g}/s, burst {limit.burst}"
    if limit.window:
        return f"{limit.window} within {limit.window_seconds:g} s"
    if limit.quota:
        return f"{limit.quota} a {limit.period.value}"
    return f"{limit.concurrency} at a time"
