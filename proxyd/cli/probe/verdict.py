"""What an answer says of a service: which step failed, in words, and what to do."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from proxyd.cli.probe.send import Reply
from proxyd.cli.tables import printable

TEXT: Final = 300
"""Characters of a vendor's own words that are shown."""

_ERROR: Final = re.compile(r';\s*error=([a-z_]+)(?:[^"]*?;\s*details="((?:[^"\\]|\\.)*)")?')

_STEPS: Final[dict[str, tuple[str, str]]] = {
    "dns_error": ("dns", "look at the host's spelling and at this machine's resolver"),
    "dns_timeout": ("dns", "look at this machine's resolver (/etc/resolv.conf)"),
    "destination_not_found": ("dns", "look at `hosts`, `base_url` and `endpoints` of the service"),
    "destination_ip_prohibited": ("egress", "`egress` says which addresses may be reached"),
    "destination_ip_unroutable": ("tcp", "there is no route to the address: look at this machine's network"),
    "destination_unavailable": ("breaker", "`proxyd endpoints` shows why nothing is sent"),
    "connection_refused": ("tcp", "nothing listens there: look at the host, its port and the firewall"),
    "connection_timeout": ("tcp", "packets are lost on the way: look at firewalls, and at a corporate proxy"),
    "connection_limit_reached": ("limit", "`proxyd limits` and `proxyd pools` show what is in use"),
    "connection_terminated": ("response", "the service ended the connection; `proxyd exchanges` has the detail"),
    "connection_read_timeout": ("timeout", "`timeouts` of the service says how long it may take"),
    "http_response_timeout": ("timeout", "`timeouts` of the service says how long it may take"),
    "tls_certificate_error": (
        "certificate",
        "a private authority goes to `tls.extra_roots`; else the name or the time is wrong, or somebody is in between",
    ),
    "tls_protocol_error": ("tls", "what answers there speaks no TLS, or too old a version"),
    "tls_alert_received": ("tls", "the service refused the handshake; it may want a client certificate"),
    "http_request_denied": ("access", "`access` says who may call what"),
    "proxy_authorization": ("access", "the listener wants a user and password"),
    "proxy_configuration_error": ("credential", "`proxyd secret list` shows what is there"),
    "proxy_loop_detected": ("loop", "the service's address leads back to proxyd"),
}
_OTHER: Final = ("response", "`proxyd exchanges --errors` has the detail")

_WORDS: Final[dict[str, str]] = {
    "refused": "the service refuses the credential",
    "scope": "the credential is known and may not do this: it lacks a scope or a role",
    "limit": "the service's limit is reached",
    "version": "the service does not know the API version that is pinned",
    "missing": "the service has nothing at this place",
    "down": "the service has trouble of its own",
    "unknown": "the service answers in a way that its definition does not know",
}


@dataclass(slots=True)
class Verdict:
    """What came of one service."""

    service: str
    title: str
    outcome: str
    """``ok`` or ``failed``."""
    step: str = ""
    """What failed; empty: nothing."""
    words: str = ""
    what_to_do: str = ""
    status: int | None = None
    url: str = ""
    scopes: str | None = None
    error: str | None = None
    """Type of proxyd's own error (RFC 9209); None: the service itself answered."""
    endpoint: str | None = None
    attempts: int | None = None
    request_id: str | None = None
    """The vendor's number of the request, for its support."""
    timings_ms: dict[str, float | None] = field(default_factory=dict)


def judge(probe: Mapping[str, Any], reply: Reply, record: Mapping[str, Any] | None) -> Verdict:
    """Return the verdict on a probe (an entry of ``probes``); ``record`` is the daemon's of the exchange."""
    verdict = Verdict(probe["service"], printable(probe["title"]), "failed", url=probe["url"])
    verdict.timings_ms = _timings(reply, record)
    if not reply.status:
        verdict.step, verdict.words = "listener", reply.problem
        verdict.what_to_do = "`proxyd status` and `proxyd doctor` look at the daemon"
        return verdict
    verdict.status = reply.status
    if record is not None:
        verdict.endpoint, verdict.attempts = record.get("endpoint"), record.get("attempts")
    error, detail = _own_error(reply, record)
    if error:
        _failed(verdict, probe, error, detail)
    elif probe["definition"] is None:
        _unknown_service(verdict, reply)
    else:
        _answered(verdict, probe, reply)
    return verdict


def _own_error(reply: Reply, record: Mapping[str, Any] | None) -> tuple[str, str]:
    """Return type and detail of the error that proxyd answered with; empty where the service answered."""
    if record is not None:
        is_own = record.get("origin") == "proxyd" and record.get("error")
        return (str(record["error"]), str(record.get("detail") or "")) if is_own else ("", "")
    match = _ERROR.search(reply.headers.get("proxy-status", ""))
    return (match[1], re.sub(r"\\(.)", r"\1", match[2] or "")) if match else ("", "")


def _failed(verdict: Verdict, probe: Mapping[str, Any], error: str, detail: str) -> None:
    verdict.error = error
    verdict.step, verdict.what_to_do = _STEPS.get(error, _OTHER)
    verdict.words = printable(detail[:TEXT]) or error.replace("_", " ")
    if error == "connection_timeout" and detail.startswith("TLS"):
        verdict.step, verdict.what_to_do = _STEPS["tls_protocol_error"]
    if verdict.step == "credential":
        if any(name.startswith("token:") and name in detail for name in probe["secrets"]):
            verdict.step = "token"
            verdict.what_to_do = "`proxyd status` says what the issuer answered"
            if broken := [one for one in probe["fields"] if one["secret"] and one["why"]]:  # the issuer was not asked
                verdict.words = printable(broken[0]["why"][:TEXT])
                verdict.what_to_do = f"proxyd secret set {broken[0]['secret']}{_shown_at(broken[:1])}"
        elif named := [one for one in probe["fields"] if one["secret"] and one["secret"] in detail]:
            verdict.what_to_do = f"proxyd secret set {named[0]['secret']}{_shown_at(named[:1])}"


def _unknown_service(verdict: Verdict, reply: Reply) -> None:
    """Judge a service without a definition: it is told from a status alone what it can be told from."""
    if reply.status in (401, 407):
        verdict.step, verdict.words = "refused", _WORDS["refused"]
    elif reply.status == 429:
        verdict.step, verdict.words = "limit", _WORDS["limit"]
    elif reply.status >= 500:
        verdict.step, verdict.words = "down", _WORDS["down"]
    else:
        verdict.outcome = "ok"
        verdict.words = "it answers; whether it takes the credential is not known, since no definition says how to ask"


def _answered(verdict: Verdict, probe: Mapping[str, Any], reply: Reply) -> None:
    word = _meaning(probe, reply)
    scopes = reply.headers.get(probe["scopes"].lower()) if probe["scopes"] else None
    verdict.scopes = printable(scopes[:TEXT]) if scopes is not None else None
    request_id = reply.headers.get(probe["request_id"].lower()) if probe["request_id"] else None
    verdict.request_id = printable(request_id[:TEXT]) if request_id else None
    if not word:
        verdict.outcome, verdict.words = "ok", "the credential is accepted"
        return
    verdict.step, verdict.words = word, _WORDS[word]
    said = _said(probe, reply.body)
    if said:
        verdict.words += f": {said}"
    verdict.what_to_do = _advice(word, probe, reply)


def _meaning(probe: Mapping[str, Any], reply: Reply) -> str:
    """Return one of the keys of _WORDS; empty: all is well."""
    if reply.status in probe["expect"]:
        text = "".join(reply.body.decode("utf-8", "replace").split())
        return next((word for sign, word in probe["body_says"].items() if "".join(sign.split()) in text), "")
    usual = {"401": "refused", "403": "scope", "404": "missing", "429": "limit"}
    known = {**usual, **probe["says"]}.get(str(reply.status))
    return known or ("down" if reply.status >= 500 else "unknown")


def _advice(word: str, probe: Mapping[str, Any], reply: Reply) -> str:
    if word == "refused":
        names = " and ".join(one["secret"] for one in probe["fields"] if one["secret"]) or "the credential"
        return f"look at {names}{_shown_at(probe['fields'])}"
    if word == "scope":
        return f"give it the scope that {probe['method']} {probe['url']} needs, or use another one"
    if word == "limit":
        after = reply.headers.get("retry-after", "")
        return f"try again in {printable(after[:32])} s" if after.isdigit() else "try again later"
    if word == "version":
        return "`version` of the service pins another one"
    if word == "down" and probe["status_page"]:
        return f"see {probe['status_page']}"
    return f"see {probe['documentation'][0]}" if probe["documentation"] else ""


def _shown_at(fields: Sequence[Mapping[str, Any]]) -> str:
    where = next((one["where"] for one in fields if one["secret"] and one["where"]), "")
    return f"; the vendor shows it at {where}" if where else ""


def _said(probe: Mapping[str, Any], body: bytes) -> str:
    """Return the vendor's own words, from where its definition says that they stand."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return ""
    code, message = _at(found, probe["error_code"]), _at(found, probe["error_message"])
    return printable(" ".join(part for part in (code, message) if part)[:TEXT])


def _at(value: Any, path: str) -> str:
    if not path:
        return ""
    for step in path.split("."):
        if isinstance(value, list):
            value = value[int(step)] if step.isdigit() and int(step) < len(value) else None
        else:
            value = value.get(step) if isinstance(value, dict) else None
    return str(value) if isinstance(value, str | int) else ""


def _timings(reply: Reply, record: Mapping[str, Any] | None) -> dict[str, float | None]:
    known = record or {}
    dns, tls, connect = known.get("dns_ms"), known.get("tls_ms"), known.get("connect_ms")
    tcp = connect - (dns or 0.0) - (tls or 0.0) if connect is not None else None
    return {
        "queue": known.get("queue_ms"),
        "dns": dns,
        "tcp": round(max(0.0, tcp), 3) if tcp is not None else None,
        "tls": tls,
        "first_byte": known.get("first_byte_ms"),
        "total": known.get("total_ms") or round(reply.seconds * 1000, 3),
    }
