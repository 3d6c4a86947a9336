import http.client

from bench.events import EventOrigin
from bench.origin import KEY_HEADER
from bench.scenarios.stream import Stream


class Through:
    """A peer that is none: the client asks the origin itself."""

    name = "through"

    def __init__(self, target):
        self.target = target

    def start(self):
        self.port = self.target.plain_port

    def cpu_seconds(self):
        return 1.0

    def log_end(self):
        return ""


class Keyed(Stream):
    def _connect(self, peer):
        connection = super()._connect(peer)
        request = connection.request
        connection.request = lambda *words: request(*words, headers={KEY_HEADER: peer.target.key})
        return connection


def test_events_are_timed_from_write_to_read(target):
    sample = Keyed("stream", "about", ("proxyd",)).measure(
        Through(target), None, type("", (), {"warmup": 0, "seconds": 0.1})
    )
    assert 0 < sample["p50_ms"] <= sample["p99_ms"] <= sample["max_ms"] < 10_000


def test_strangers_get_no_events(target):
    with EventOrigin(target, secure=False) as events:
        connection = http.client.HTTPConnection("127.0.0.1", events.port, timeout=10)
        connection.request("GET", "/v2/item")
        assert connection.getresponse().status == 401
        connection.close()
