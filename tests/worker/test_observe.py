import pytest
import trio

from proxyd.core import metrics
from proxyd.core.authority import Authority
from proxyd.core.errors import Flag, ProxyError
from proxyd.core.events import ACCESS, ACCESS_FIELDS, NOTICE, NOTICE_FIELDS
from proxyd.core.exchange import Exchange, Peer
from proxyd.core.limits import PoolLimits
from proxyd.core.message import BytesBody, Origin, Request, Response
from proxyd.core.route import Route
from proxyd.core.service import BaseUrl, HostPattern, Service, Timeouts
from proxyd.core.snapshot import Snapshot
from proxyd.filters.access import OpenJudge
from proxyd.worker import observe
from proxyd.worker.endings import Endings
from proxyd.worker.meter import Meter
from proxyd.worker.observe import DROPPED_STATUS, Events, Observer
from tests.worker.packed import records

HOST = "api.example"


class Watched:
    """An observer and what it tells."""

    def __init__(self):
        self.meter = Meter()
        self.events = Events(self.meter)
        self.announced = []
        self.observer = Observer(self.meter, self.events, Endings(lambda said: not self.announced.append(said)))

    def counters(self):
        return {(name, *labels): count for name, labels, count in self.meter.collect().counters}

    def record(self):
        [[kind, *values]] = records(self.events)
        assert kind == ACCESS
        return dict(zip(ACCESS_FIELDS, values, strict=True))


@pytest.fixture
async def watched():
    return Watched()


def exchange(status=200, *, access_log=True, known=True, **changes):
    request = Request(b"GET", b"https", Authority(HOST, 443, False), b"/v1?q=1", [], BytesBody())
    snapshot = Snapshot(1, "p", 1000, access_log=access_log)
    peer = Peer("apps", "127.0.0.1", 4000, uid=1000)
    made = Exchange(peer, snapshot, request, trio.current_time() - 2.0, "plain")
    service = Service("api", (HostPattern(HOST),), BaseUrl("https", HOST, 443)) if known else None
    made.route = Route(service, Timeouts(), PoolLimits(), OpenJudge())
    made.ended = made.started + 0.5
    if status is not None:
        made.response = Response(status, [], BytesBody(), origin=Origin.UPSTREAM)
    for name, value in changes.items():
        setattr(made, name, value)
    return made


async def test_an_exchange_is_counted_by_listener_service_and_status(watched):
    for status in (200, 200, 404):
        watched.observer.done(exchange(status))
    counted = watched.counters()
    assert counted[metrics.REQUESTS.name, "apps", "api", "200"] == 2
    assert counted[metrics.REQUESTS.name, "apps", "api", "404"] == 1


async def test_unknown_hosts_are_counted_without_a_name(watched):
    watched.observer.done(exchange(known=False))
    assert (metrics.REQUESTS.name, "apps", "", "200") in watched.counters()
    assert watched.record()["service"] is None


async def test_bytes_retries_and_errors_are_counted(watched):
    error = ProxyError(502, Flag.UPSTREAM_CONNECT, "connection_refused", "nobody listens")
    watched.observer.done(exchange(502, attempts=3, error=error, request_bytes=10, response_bytes=20))
    counted = watched.counters()
    assert counted[metrics.DOWNSTREAM_BYTES.name, "received"] == 10
    assert counted[metrics.DOWNSTREAM_BYTES.name, "sent"] == 20
    assert counted[metrics.RETRIES.name, "api"] == 2
    assert counted[metrics.ERRORS.name, "api", "UF"] == 1


async def test_what_announces_an_end_is_counted_each_time_and_told_once(watched):
    for _ in range(2):
        made = exchange()
        made.response.headers = [(b"sunset", b"Sat, 31 Dec 2033 23:59:59 GMT")]
        made.response.announces = True
        watched.observer.done(made)
    assert watched.counters()[metrics.ANNOUNCED.name, "api"] == 2
    assert [(said.service, said.method, said.path) for said in watched.announced] == [("api", "GET", "/v1")]


async def test_a_client_that_left_before_a_response_is_499(watched):
    watched.observer.done(exchange(None))
    assert (metrics.REQUESTS.name, "apps", "api", str(DROPPED_STATUS)) in watched.counters()
    record = watched.record()
    assert (record["status"], record["origin"]) == (DROPPED_STATUS, "proxyd")


async def test_durations_are_of_the_whole_exchange(watched):
    watched.observer.done(exchange())
    [[name, labels, _, total]] = watched.meter.collect().histograms
    assert (name, labels, total) == (metrics.DURATION.name, ["api"], pytest.approx(0.5))


async def test_a_record_tells_what_happened_in_milliseconds(watched):
    watched.observer.done(
        exchange(
            201,
            id="id-1",
            endpoint="192.0.2.1:443",
            attempts=1,
            reused=True,
            queue_seconds=0.25,
            first_byte_seconds=0.125,
        )
    )
    record = watched.record()
    expected = {
        "id": "id-1",
        "kind": "http",
        "listener": "apps",
        "caller": "127.0.0.1:4000",
        "uid": 1000,
        "mode": "plain",
        "method": b"GET",
        "authority": "api.example:443",
        "path": b"/v1?q=1",
        "service": "api",
        "credential": None,
        "status": 201,
        "flags": "",
        "error": None,
        "endpoint": "192.0.2.1:443",
        "reused": True,
        "queue_ms": 250.0,
        "connect_ms": None,
        "first_byte_ms": 125.0,
    }
    assert {name: record[name] for name in expected} == expected
    assert record["total_ms"] == pytest.approx(500.0)


async def test_where_the_access_log_is_off_nothing_is_recorded(watched):
    watched.observer.done(exchange(access_log=False))
    watched.observer.tunnel(exchange(access_log=False), "tunnel", 200)
    assert watched.events.waiting == 0


@pytest.mark.parametrize(("endpoint", "origin"), [(None, "proxyd"), ("192.0.2.1:443", "upstream")])
async def test_a_tunnel_is_counted_and_recorded_as_one(watched, endpoint, origin):
    error = ProxyError(403, Flag.DENIED, "http_request_denied", "no rule")
    watched.observer.tunnel(exchange(None, endpoint=endpoint, error=error, request_bytes=5), "tunnel", 200)
    record = watched.record()
    assert (record["kind"], record["mode"], record["status"], record["origin"]) == ("tunnel", "tunnel", 200, origin)
    assert record["total_ms"] == pytest.approx(2000.0, abs=1000.0)
    counted = watched.counters()
    assert counted[metrics.TUNNELS.name, "apps", "api"] == 1
    assert counted[metrics.ERRORS.name, "api", "UAEX"] == 1
    assert counted[metrics.DOWNSTREAM_BYTES.name, "received"] == 5


def test_events_past_the_bound_are_dropped_and_counted_and_the_oldest_kept(monkeypatch):
    monkeypatch.setattr(observe, "MAX_EVENTS", 3)
    meter = Meter()
    events = Events(meter)
    for number in range(5):
        events.add([number])
    assert meter.collect().counters == [[metrics.EVENTS_DROPPED.name, ["worker_queue_full"], 2]]
    assert records(events) == [[0], [1], [2]]
    assert events.take() is None


def test_events_leave_in_frames_of_a_bounded_number():
    events = Events(Meter())
    for number in range(observe.EVENTS_PER_FRAME + 1):
        events.add([number])
    assert [count for count, _ in iter(events.take, None)] == [observe.EVENTS_PER_FRAME, 1]
    assert events.waiting == 0


def test_text_that_is_no_unicode_loses_its_odd_characters_and_no_record():
    events = Events(Meter())
    events.add(["\udcff"])
    events.add(["x"])
    assert records(events) == [["?"], ["x"]]


def test_a_notice_has_its_fields():
    events = Events(Meter())
    events.notice("warning", "name", "detail")
    [[kind, *values]] = records(events)
    assert kind == NOTICE
    assert dict(zip(NOTICE_FIELDS, values, strict=True)) | {"time": 0} == {
        "time": 0,
        "level": "warning",
        "name": "name",
        "detail": "detail",
    }
