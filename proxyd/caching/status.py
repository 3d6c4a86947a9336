"""Cache-Status (RFC 9211): what the cache did with a request, for whoever looks at the answer."""

from proxyd.caching.policy import Decision, Verdict


def forwarded(name: str, decision: Decision, *, status: int, stored: bool, collapsed: bool = False) -> bytes:
    """Return the field for an answer that the upstream was asked for, ``status`` being its own."""
    reason = decision.reason
    forward = {"stale-no-cache": "stale", "only-if-cached": "uri-miss"}.get(reason, reason)
    parts = [f"{name}; fwd={forward}"]
    if decision.verdict is Verdict.VALIDATE:
        parts.append(f"fwd-status={status}")
    if stored:
        parts.append("stored")
    if collapsed:
        parts.append("collapsed")
    return "; ".join(parts).encode("ascii")


def unsatisfied(name: str) -> bytes:
    """Return the field for ``only-if-cached`` without an entry."""
    return f"{name}; detail=only-if-cached".encode("ascii")
