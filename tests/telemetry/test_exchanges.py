import json

import pytest

from proxyd.core.events import ACCESS_SCHEMA
from proxyd.telemetry.exchanges import TEXT_CHARACTERS, Filter, exchange_of
from tests.telemetry.records import access


def test_an_exchange_has_the_fields_of_the_access_log_and_no_query():
    exchange = exchange_of(access())
    assert list(exchange) == [one.name for one in ACCESS_SCHEMA.fields if one.since == 1]
    assert exchange_of(access(pid=7))["pid"] == 7
    assert exchange["time"] == "2023-11-14T22:13:20.250Z"
    assert exchange["path"] == "/v2/x?<redacted>"
    assert (exchange["method"], exchange["first_byte_ms"]) == ("GET", 1.235)
    assert "hunter2" not in json.dumps(exchange)


def test_bytes_that_are_no_text_are_escaped_and_long_ones_cut():
    exchange = exchange_of(access(path=b"/\xff\x1b[2J", detail="x" * 9000, time=1e300))
    assert exchange["path"] == "/\\xff\x1b[2J"
    assert exchange["detail"] == "x" * TEXT_CHARACTERS + "…"
    assert exchange["time"] is None


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
    records = [
        access(id="a", time=100.0),
        access(id="b", time=200.0, service=None, authority="[::1]:8080", method=b"POST", path=b"/x", status=404,
               caller="[::1]:9", user="ann", uid=0),
        access(id="c", time=300.0, service="plain", flags="UF", path=b"/y", caller="127.0.0.1:4001", listener="other"),
    ]  # fmt: skip
    assert [record[2] for record in records if wanted.matches(record)] == found


def test_a_query_is_not_to_be_guessed_by_its_beginning():
    assert Filter(path="/v2/x").matches(access())
    assert not Filter(path="/v2/x?").matches(access())
    assert not Filter(path="/v2/x?token=h").matches(access())
