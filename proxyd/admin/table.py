"""The admin methods. docs/admin-socket.md is generated from this table (``python -m proxyd.admin.reference``).

Results are plain maps, lists and scalars; secrets appear as names, never as values. A new method, parameter or field
leaves ``PROTOCOL`` as it is; one that goes or changes its meaning raises it.
"""

import re
from typing import Any, Final

import proxyd
from proxyd.admin.accounts import ACCOUNT_METHODS
from proxyd.admin.faults import FAULT_METHODS
from proxyd.admin.method import Kind, Method, Param
from proxyd.admin.role import Role
from proxyd.admin.secrets import SECRET_METHODS
from proxyd.admin.session import Session
from proxyd.core.refusal import Refusal
from proxyd.telemetry.exchanges import Filter
from proxyd.telemetry.recent import BUFFER, KINDS, MAX_BUFFER

PROTOCOL: Final = 1
"""Version of the methods."""
LEVELS: Final = ("debug", "info", "warning", "error")
EXCHANGES: Final = 100
"""Returned where no limit is named."""

UPGRADE_SECONDS: Final = 60
MAX_UPGRADE_SECONDS: Final = 600
MAX_DRAIN_SECONDS: Final = 7 * 86400

_STATUS: Final = re.compile(r"[1-5](xx|[0-9]{2})")

_HELD: Final = "`{ok, held}`: all that is held, in words; it lasts until the daemon or its control process is replaced"

_FILTERS: Final = (
    Param("service", Kind.TEXT, "name of a service, or `-`: of no service"),
    Param("host", Kind.TEXT, "host that was asked for, with or without its port"),
    Param("method", Kind.TEXT, "HTTP method, exactly"),
    Param("path", Kind.TEXT, "beginning of the path"),
    Param("status", Kind.TEXT, "status (`404`) or class of statuses (`4xx`)", most=3),
    Param("caller", Kind.TEXT, "address of the caller, with or without its port, or its proxy user"),
    Param("uid", Kind.WHOLE, "user id of the caller"),
    Param("listener", Kind.TEXT, "name of a listener"),
    Param("errors", Kind.FLAG, "only what has a status from 400 on or a response flag"),
)


async def _hello(session: Session) -> dict[str, Any]:
    return {
        "name": "proxyd",
        "version": proxyd.__version__,
        "protocol": PROTOCOL,
        "role": session.role.value,
        "uid": session.uid,
        "methods": list(METHODS),
    }


async def _version(session: Session) -> dict[str, Any]:
    return {"version": proxyd.__version__, "protocol": PROTOCOL}


async def _methods(session: Session) -> list[dict[str, Any]]:
    return [method.describe() for method in METHODS.values()]


async def _exchanges(session: Session, limit: int = EXCHANGES, **conditions: Any) -> Any:
    return await session.service.exchanges(_filter(conditions), limit)


async def _subscribe(
    session: Session, kinds: list[str] | None = None, buffer: int = BUFFER, **conditions: Any
) -> dict[str, Any]:
    return {"subscription": session.subscribe(_filter(conditions), kinds or KINDS, buffer)}


async def _unsubscribe(session: Session, subscription: int) -> dict[str, Any]:
    return {"ok": session.unsubscribe(subscription)}


async def _upgrade(session: Session, seconds: float = UPGRADE_SECONDS, drain: float | None = None) -> dict[str, Any]:
    return await session.service.upgrade(float(seconds), drain)


async def _ca(session: Session) -> dict[str, str]:
    return {"pem": await session.service.ca_pem()}


def _filter(conditions: dict[str, Any]) -> Filter:
    status = conditions.get("status")
    if status is not None and not _STATUS.fullmatch(status):
        raise Refusal("invalid_params", "status: expected a status such as 404 or a class such as 4xx")
    return Filter(**conditions)


_TABLE: Final = (
    Method("hello", "who answers, what it speaks, and what the caller may do",
           "`{name, version, protocol, role, uid, methods}`: `role` is the caller's, `reader` or `full`; `methods` are "
           "names", _hello),
    Method("version", "the daemon's version", "`{version, protocol}`", _version),
    Method("methods", "this list", "`[{name, help, role, params}]`", _methods),
    Method("status", "the daemon at a glance",
           "a map: state (`starting`, `ready`, `drained`, `draining`), processes, listeners as bound, totals, workers, "
           "problems in words",
           lambda session: session.service.status()),
    Method("services", "the configured services",
           "a list: hosts, base URL, endpoints, the state of their secrets, what they have served",
           lambda session: session.service.services()),
    Method("service", "one service in detail",
           "a map: what `services` says, and limits, requests by status, errors by response flag, latency, pools and "
           "the latest errors",
           lambda session, name: session.service.service(name),
           (Param("name", Kind.TEXT, "name of the service", required=True),)),
    Method("pools", "upstream connections", "a list: one entry per pool of every worker that answers within 2 s",
           lambda session: session.service.pools()),
    Method("endpoints", "the endpoints of services, and whether they are used",
           "a list: one entry per endpoint and worker: weight, priority, source, health, ejection, breaker, latency "
           "estimate, attempts that wait; `admitted` is the share that a breaker admits, `concurrency_limit` and "
           "`min_rtt_ms` are those of `adaptive_concurrency`",
           lambda session: session.service.endpoints()),
    Method("probes", "how each service is asked whether it takes its credential",
           "a list: one entry per service: request (`method`, `url`, `headers`, `body`), how its answer is read, and "
           "where the vendor shows the credential; `proxyd test` sends them",
           lambda session: session.service.probes()),
    Method("tokens", "tokens that issuers gave",
           "a list: one entry per service with a flow: `state` (`fresh`, `renewing`, `stale`: it serves and no newer "
           "one is to be had, `missing`), seconds until its end and its renewal, whether it came from the issuer or "
           "from the store, and what failed; never a value",
           lambda session: session.service.tokens()),
    Method("unknown_hosts", "hosts that are no service and were asked for",
           "a list, the most asked for first: host, requests, tunnels, when it was first and last seen, and the fields "
           "in which clients sent credentials of their own; `proxyd discover` looks them up in the catalogue",
           lambda session: session.service.unknown_hosts()),
    Method("breaker", "hold a breaker open or closed, or let its policy decide again",
           f"{_HELD}; a breaker that is held open answers 503",
           lambda session, **values: session.service.hold_breaker(**values),
           (Param("service", Kind.TEXT, "name of the service", required=True),
            Param("state", Kind.TEXT, "what to hold it in", required=True, choices=("open", "closed", "auto")),
            Param("endpoint", Kind.TEXT, "`host:port`: the breaker of one of several endpoints")),
           Role.FULL),
    Method("endpoint", "hold an endpoint up or down, or let checks and ejections decide again",
           f"{_HELD}; one that is held down gets nothing, even where no other is left",
           lambda session, **values: session.service.hold_endpoint(**values),
           (Param("service", Kind.TEXT, "name of the service", required=True),
            Param("state", Kind.TEXT, "what to hold it in", required=True, choices=("up", "down", "auto")),
            Param("endpoint", Kind.TEXT, "`host:port`, as `endpoints` shows it", required=True)),
           Role.FULL),
    Method("exchanges", "recent exchanges and tunnels, filtered",
           "a list, the oldest first: the fields of a line of the access log; `telemetry.recent` says how many are "
           "kept",
           _exchanges,
           (*_FILTERS,
            Param("since", Kind.NUMBER, "Unix time: only what began then or later"),
            Param("limit", Kind.WHOLE, f"the latest so many; {EXCHANGES} by default", least=1, most=10_000))),
    Method("subscribe", "have exchanges and notices sent as they happen",
           "`{subscription}`: a number; notifications follow (Subscriptions)",
           _subscribe,
           (*_FILTERS,
            Param("kinds", Kind.TEXTS, "what to send; both by default. The filters are for exchanges alone",
                  choices=KINDS),
            Param("buffer", Kind.WHOLE, f"notifications that may wait for the client; {BUFFER} by default",
                  least=1, most=MAX_BUFFER))),
    Method("unsubscribe", "end a subscription of this connection", "`{ok}`: whether there was one", _unsubscribe,
           (Param("subscription", Kind.WHOLE, "the number that `subscribe` returned", required=True),)),
    Method("certificates", "every certificate in play, the one that ends first on top",
           "a list: status (`ok`, `expiring`, `expired`, `not yet valid`), days that are left, kind (`root`, "
           "`intermediate` and `leaf` of the local CA, `server`, `client`, `chain` and `trusted` of listeners and "
           "services, `crl`, `upstream`, `secret`), name: where it is used, subject, names, issuer, serial, SHA-256 "
           "fingerprint, not before, not after",
           lambda session: session.service.certificates()),
    *SECRET_METHODS,
    *FAULT_METHODS,
    *ACCOUNT_METHODS,
    Method("config", "the configuration in use, secrets as names", "a map: every setting, defaults included",
           lambda session: session.service.config()),
    Method("workers", "the workers in detail",
           "a list: one entry per worker: process, snapshot, connections, memory, CPU, what waits for it",
           lambda session: session.service.workers()),
    Method("memory", "memory of all processes and what is kept in it",
           "a map: `processes` with PSS and RSS, `control` with its allocator and the sizes of its tables, `workers` "
           "with theirs",
           lambda session: session.service.memory()),
    Method("log_level", "the level of the daemon's log",
           "`{level}`: the level in use; a level that is given holds until the control process ends",
           lambda session, level=None: session.service.log_level(level),
           (Param("level", Kind.TEXT, "level to use from now on", choices=LEVELS, role=Role.FULL),)),
    Method("environment", "what a client's environment needs",
           "`{proxy, proxy_socket, gateway_socket, gateway_url, gateway_token_file, ca_bundle, ca, secret_variables}`: "
           "what `proxyd exec` and `proxyd env` are made of",
           lambda session: session.service.environment()),
    Method("ca", "the certificate that clients must trust", "`{pem}`", _ca),
    Method("reload", "read the configuration again",
           "`{ok, version, problems}`, once every worker uses it or it was refused; ends a drain",
           lambda session: session.service.reload(), role=Role.FULL),
    Method("drain", "stop accepting connections, let those that are open finish, and end if told so",
           "`{ok, exit, seconds}`, at once with `exit`, else once no worker accepts; the daemon stays, answers here, "
           "and accepts again after `reload`, or when its control process is replaced",
           lambda session, **values: session.service.drain(**values),
           (Param("exit", Kind.FLAG, "end when what runs has finished, or `seconds` are over"),
            Param("seconds", Kind.NUMBER, "how long what runs may still take; `drain_timeout` by default",
                  most=MAX_DRAIN_SECONDS)),
           Role.FULL),
    Method("upgrade", "have the program on disk take over",
           "`{ok, generation}` and `drain_seconds` or `problem`, once the new generation serves or has failed",
           _upgrade,
           (Param("seconds", Kind.NUMBER, f"how long the new generation may take to get ready; {UPGRADE_SECONDS} by "
                  "default", least=1, most=MAX_UPGRADE_SECONDS),
            Param("drain", Kind.NUMBER, "seconds that connections of this generation may go on; `upgrade_drain` by "
                  "default", most=MAX_DRAIN_SECONDS)),
           Role.FULL, seconds=MAX_UPGRADE_SECONDS + 60.0),
    Method("stop", "drain and end", "`{ok, drain_seconds}`, at once", lambda session: session.service.stop(),
           role=Role.FULL),
)  # fmt: skip

METHODS: Final = {method.name: method for method in _TABLE}
"""All methods by name."""
