import pytest

from proxyd.core.authority import Authority
from proxyd.core.exchange import Exchange, Peer
from proxyd.core.message import BytesBody, Request
from proxyd.core.service import PinnedVersion
from proxyd.core.snapshot import Snapshot
from proxyd.filters.version import VersionFilter

HEADER = PinnedVersion("x-api-version", "2026-01-01")
QUERY = PinnedVersion("api-version", "2026-01-01", in_query=True)


@pytest.mark.parametrize(
    ("version", "path", "headers", "sent"),
    [
        (HEADER, b"/a", [], (b"/a", [(b"x-api-version", b"2026-01-01")])),
        (HEADER, b"/a", [(b"x-api-version", b"2020")], (b"/a", [(b"x-api-version", b"2020")])),
        (QUERY, b"/a", [], (b"/a?api-version=2026-01-01", [])),
        (QUERY, b"/a?b=c", [], (b"/a?b=c&api-version=2026-01-01", [])),
        (QUERY, b"/a?api%2Dversion=2020", [], (b"/a?api%2Dversion=2020", [])),
    ],
)
def test_the_version_is_added_where_the_client_asks_for_none(version, path, headers, sent):
    request = Request(b"GET", b"https", Authority("api.example", 443, False), path, headers, BytesBody())
    exchange = Exchange(Peer("main", "127.0.0.1"), Snapshot(1, "p", 1000), request, 0.0, "plain")
    VersionFilter(version).request(exchange)
    assert (request.path, request.headers) == sent
