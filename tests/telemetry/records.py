"""Records as workers send them."""

from proxyd.core.events import ACCESS, ACCESS_FIELDS
from proxyd.core.records import Intake

VALUES = {
    "time": 1_700_000_000.25, "id": "a-1", "kind": "http", "listener": "apps", "caller": "127.0.0.1:4000", "uid": 1000,
    "user": None, "mode": "plain", "method": b"GET", "scheme": b"https", "authority": "api.example:443",
    "path": b"/v2/x?token=hunter2", "service": "tickets", "credential": "tickets/token", "status": 200, "flags": "",
    "error": None, "detail": None, "origin": "upstream", "endpoint": "192.0.2.1:443", "attempts": 1, "reused": True,
    "request_bytes": 0, "response_bytes": 5, "queue_ms": None, "connect_ms": None, "first_byte_ms": 1.23456,
    "total_ms": 2.0,
}  # fmt: skip


def access(**changes):
    values = {**dict.fromkeys(ACCESS_FIELDS), **VALUES, **changes}
    return [ACCESS, *(values[name] for name in ACCESS_FIELDS)]


def batch(*records, worker=0):
    taken = Intake().take(worker, list(records))
    assert len(taken) == len(records)
    return taken
