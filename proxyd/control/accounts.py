"""What the admin side asks about limits, quotas and caches."""

import difflib
from typing import Any

from proxyd.control.answers import ask_all, row, rows
from proxyd.control.controller import Controller
from proxyd.core.limiting import Limit
from proxyd.core.refusal import Refusal
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
                "reset_seconds": None,
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
        return list(found.values())

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


def words(limit: Limit) -> str:
    """Return what a limit allows, in words."""
    if limit.rate:
        return f"{limit.rate:g}/s, burst {limit.burst}"
    if limit.window:
        return f"{limit.window} within {limit.window_seconds:g} s"
    if limit.quota:
        return f"{limit.quota} a {limit.period.value}"
    return f"{limit.concurrency} at a time"
