"""The admin methods of faults that are injected on purpose."""

from typing import Any, Final

from proxyd.admin.method import Kind, Method, Param
from proxyd.admin.role import Role
from proxyd.admin.session import Session

MAX_FAULT_SECONDS: Final = 86400
PLACES: Final = ("client", "upstream")

_ROW: Final = "id, what happens, to whom, how often it did (`hits`), for how long it still will (`left_seconds`)"


async def _add(session: Session, service: str, **values: Any) -> Any:
    return await session.service.faults.add(service, **values)


async def _clear(session: Session, ids: list[str] | None = None) -> Any:
    return await session.service.faults.clear(ids)


FAULT_METHODS: Final = (
    Method("fault_add", "inject a fault on purpose: exactly one of `delay`, `status`, `rate_limit`, `reset`, "
           "`truncate`, `slow` and `expired`",
           f"`{{ok, id, …}}` as in `fault_list`, once every worker that answers within 2 s knows of it: {_ROW}",
           _add,
           (Param("service", Kind.TEXT, "name of the service that it concerns", required=True),
            Param("method", Kind.TEXTS, "HTTP methods; all without"),
            Param("path", Kind.TEXTS, "prefixes of the path, by whole segments; all without"),
            Param("uid", Kind.WHOLE, "user id of the caller"),
            Param("user", Kind.TEXT, "proxy user"),
            Param("cidr", Kind.TEXT, "network of the caller"),
            Param("share", Kind.NUMBER, "share of these exchanges, above 0 and up to 1; 1 by default"),
            Param("seed", Kind.WHOLE, "seed of the draws; a random one by default", most=2**31 - 1),
            Param("at", Kind.TEXT, "who sees it: the `client` alone (default), or every attempt, as if it were the "
                  "`upstream`'s: retries, breakers and outlier detection act on it", choices=PLACES),
            Param("seconds", Kind.NUMBER, "how long; 600 by default", most=MAX_FAULT_SECONDS),
            Param("delay", Kind.NUMBER, "seconds to wait before the request goes on; 600 at most"),
            Param("status", Kind.WHOLE, "status to answer with", least=400, most=599),
            Param("rate_limit", Kind.TEXT, "answer 429 with the headers of this vendor; empty: the service's own, by "
                  "its hosts or its name"),
            Param("reset", Kind.FLAG, "end the connection by a reset"),
            Param("truncate", Kind.WHOLE, "bytes of the response's body that are let through"),
            Param("slow", Kind.WHOLE, "bytes per second of the response's body"),
            Param("expired", Kind.FLAG, "answer as the vendor does for a credential that has expired")),
           Role.FULL),
    Method("fault_list", "the faults that are injected now", f"a list: {_ROW}",
           lambda session: session.service.faults.rows()),
    Method("fault_clear", "end faults", "`{ok, cleared}`: the ids of those that ended", _clear,
           (Param("ids", Kind.TEXTS, "which; all without"),), Role.FULL),
)  # fmt: skip
