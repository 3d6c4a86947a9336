import json
import math

import pytest

from proxyd.core.events import ACCESS, ACCESS_FIELDS, NOTICE
from proxyd.core.records import Batch, Intake
from proxyd.telemetry.recent import (
    BUFFER_BYTES,
    KINDS,
    SUBSCRIBERS,
    TEXT_CHARACTERS,
    Filter,
    Recent,
    TooManySubscribers,
    exchange_of,
)

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


def ids(found):
    return [exchange["id"] for exchange in found]


def test_an_exchange_has_the_fields_of_the_access_log_and_no_query():
    exchange = exchange_of(access())
    assert list(exchange) == list(ACCESS_FIELDS)
    assert exchange["time"] == "2023-11-14T22:13:20.250Z"
    assert exchange["path"] == "/v2/x?<redacted>"
    assert (exchange["method"], exchange["first_byte_ms"]) == ("GET", 1.235)
    assert "hunter2" not in json.dumps(exchange)


def test_bytes_that_are_no_text_are_escaped_and_long_ones_cut():
    exchange = exchange_of(access(path=b"/\xff\x1b[2J", detail="x" * 9000, time=1e300))
    assert exchange["path"] == "/\\xff\x1b[2J"
    assert exchange["detail"] == "x" * TEXT_CHARACTERS + "…"
    assert exchange["time"] is None


def test_the_latest_are_returned_oldest_first():
    recent = Recent()
    recent.take(batch(*(access(id=str(n)) for n in range(3))))
    recent.take(batch(*(access(id=str(n)) for n in range(3, 5))))
    assert ids(recent.find(Filter(), 100)) == ["0", "1", "2", "3", "4"]
    assert ids(recent.find(Filter(), 2)) == ["3", "4"]


def test_no_more_than_size_are_kept_and_told():
    recent = Recent(size=5)
    for start in range(0, 30, 3):
        recent.take(batch(*(access(id=str(n)) for n in range(start, start + 3))))
    assert recent.count == 5
    assert ids(recent.find(Filter(), 100)) == ["25", "26", "27", "28", "29"]
    recent.resize(2)
    assert ids(recent.find(Filter(), 100)) == ["28", "29"]
    recent.resize(0)
    assert (recent.count, recent.bytes, recent.find(Filter(), 100)) == (0, 0, [])


def test_no_more_bytes_are_kept_than_allowed():
    recent = Recent(kept_bytes=20_000)
    for n in range(100):
        recent.take(batch(access(id=str(n), path=b"/" + b"x" * 2000)))
    assert recent.bytes <= 20_000
    assert ids(recent.find(Filter(), 1)) == ["99"]
    assert 5 < recent.count < 10


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (Filter(), ["a", "b", "c"]),
        (Filter(service="tickets"), ["a"]),
        (Filter(service="-"), ["b"]),
        (Filter(host="api.example"), ["a", "c"]),
        (Filter(host="API.example:443"), ["a", "c"]),
        (Filter(host="::1"), ["b"]),
        (Filter(host="[::1]:8080"), ["b"]),
        (Filter(host="example"), []),
        (Filter(method="POST"), ["b"]),
        (Filter(path="/v2/"), ["a"]),
        (Filter(status="404"), ["b"]),
        (Filter(status="4xx"), ["b"]),
        (Filter(status="2xx"), ["a", "c"]),
        (Filter(caller="127.0.0.1"), ["a", "c"]),
        (Filter(caller="127.0.0.1:4000"), ["a"]),
        (Filter(caller="ann"), ["b"]),
        (Filter(uid=0), ["b"]),
        (Filter(listener="other"), ["c"]),
        (Filter(since=150.0), ["b", "c"]),
        (Filter(errors=True), ["b", "c"]),
        (Filter(errors=True, service="plain"), ["c"]),
    ],
)
def test_filters(wanted, found):
    recent = Recent()
    recent.take(
        batch(
            access(id="a", time=100.0),
            access(id="b", time=200.0, service=None, authority="[::1]:8080", method=b"POST", path=b"/x", status=404,
                   caller="[::1]:9", user="ann", uid=0),
            access(id="c", time=300.0, service="plain", flags="UF", path=b"/y", caller="127.0.0.1:4001",
                   listener="other"),
        )
    )  # fmt: skip
    assert ids(recent.find(wanted, 10)) == found


async def test_a_subscriber_gets_what_it_asked_for_until_it_closes():
    recent = Recent()
    subscription = recent.subscribe(Filter(service="tickets"), KINDS)
    recent.take(batch(access(id="a"), access(id="b", service=None), [NOTICE, 1.0, "warning", "w", "detail"], worker=3))
    items, dropped = await subscription.take()
    assert [(kind, item.get("id"), item.get("name")) for kind, item in items] == [
        ("exchange", "a", None),
        ("notice", None, "w"),
    ]
    assert items[1][1]["process"] == "worker-3"
    assert dropped == 0
    subscription.close()
    assert recent.subscribers == 0
    assert await subscription.take() == ([], 0)


async def test_what_does_not_fit_a_buffer_is_dropped_and_told():
    recent = Recent()
    slow, quick = recent.subscribe(buffer=2), recent.subscribe()
    recent.take(batch(*(access(id=str(n)) for n in range(5))))
    assert len((await quick.take())[0]) == 5
    items, dropped = await slow.take()
    assert (ids(item for _, item in items), dropped) == (["0", "1"], 3)
    recent.take(batch(access(id="5")))
    items, dropped = await slow.take()
    assert (ids(item for _, item in items), dropped) == (["5"], 0)


async def test_a_buffer_is_bounded_in_bytes_too():
    recent = Recent()
    subscription = recent.subscribe(buffer=8192)
    record = access(path=b"/" + b"x" * 4000)
    for _ in range(40):
        recent.take(batch(*([record] * 50)))
    items, dropped = await subscription.take()
    assert len(items) <= BUFFER_BYTES / 6000
    assert len(items) + dropped == 2000


def test_places_of_subscribers_are_bounded():
    recent = Recent()
    held = [recent.subscribe() for _ in range(SUBSCRIBERS)]
    with pytest.raises(TooManySubscribers):
        recent.subscribe()
    held[0].close()
    held[0].close()
    recent.subscribe()


def test_exchanges_are_passed_on_even_if_none_are_kept():
    recent = Recent(size=0)
    subscription = recent.subscribe()
    recent.take(batch(access()))
    assert recent.count == 0
    assert repr(subscription) == "<Subscription exchange waiting=1 dropped=0>"


def test_an_empty_batch_costs_nothing():
    recent = Recent()
    recent.take(Batch())
    assert repr(recent) == f"<Recent 0 of {recent.size} bytes=0 subscribers=0>"
    assert math.isfinite(recent.size)
