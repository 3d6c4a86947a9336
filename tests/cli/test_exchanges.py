import argparse
import time

import pytest

from proxyd.cli.exchanges import conditions, count, filter_options, line, notice_line, rows, since, url
from proxyd.cli.tables import render

EXCHANGE = {
    "time": "2030-01-31T12:00:00.250Z", "id": "a-1", "kind": "http", "listener": "apps", "caller": "127.0.0.1:4000",
    "uid": 1000, "user": None, "mode": "plain", "method": "GET", "scheme": "https", "authority": "api.example:443",
    "path": "/v2/x", "service": "tickets", "status": 200, "flags": "", "detail": None, "response_bytes": 2048,
    "total_ms": 2.5,
}  # fmt: skip

HOSTILE = "\x1b]0;owned\x07\r\n\x00\u202e\u2028\x7f\x9b2J"


@pytest.fixture(autouse=True)
def zone(monkeypatch):
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()


def parsed(*words):
    parser = argparse.ArgumentParser()
    filter_options(parser)
    return conditions(parser.parse_args(words))


def test_a_line_says_what_happened():
    assert line(EXCHANGE) == "12:00:00.250 200 GET https://api.example:443/v2/x tickets 2.5ms 127.0.0.1:4000(uid 1000)"
    failed = {**EXCHANGE, "status": 502, "flags": "UF", "detail": "refused", "user": "ann", "uid": None}
    assert line(failed).endswith(" 2.5ms ann@127.0.0.1:4000 [UF refused]")


def test_a_tunnel_has_no_path():
    assert url({**EXCHANGE, "method": "CONNECT", "path": ""}) == "api.example:443"


def test_rows_have_units():
    text = render(rows([EXCHANGE]))
    assert "01-31 12:00:00" in text
    assert "2.0 KiB" in text


@pytest.mark.parametrize("name", list(EXCHANGE))
def test_whatever_a_client_chose_is_escaped(name):
    hostile = {**EXCHANGE, "user": "ann", "flags": "UF", "detail": "x", name: HOSTILE}
    for text in (line(hostile), render(rows([hostile]))):
        assert all(part.isprintable() for part in text.rstrip("\n").split("\n"))
    assert "\n" not in line(hostile)
    assert render(rows([hostile])).count("\n") == 2


def test_a_notice_is_escaped_too():
    notice = {"time": HOSTILE, "level": "warning", "process": "worker-0", "name": "n", "detail": HOSTILE}
    assert notice_line(notice).isprintable()
    assert notice_line({**notice, "time": EXCHANGE["time"], "detail": "d"}) == "12:00:00.250 warning worker-0 n d"


def test_a_request_that_was_refused_before_it_had_a_host_has_no_url():
    assert url({**EXCHANGE, "authority": "-:0", "path": ""}) == "-"


def test_a_long_url_is_cut():
    assert len(url({**EXCHANGE, "path": "/" + "x" * 9000})) == 120


def test_what_is_absent_or_of_another_type_is_shown_all_the_same():
    assert line({"status": None, "time": 7, "authority": ["x"]}).isprintable()
    assert render(rows([{}])).count("\n") == 2


def test_only_what_is_given_becomes_a_condition():
    assert parsed() == {}
    assert parsed("--service", "-", "--uid", "0", "--errors") == {"service": "-", "uid": 0, "errors": True}


def test_since_takes_spans_and_times():
    assert since("90s") == pytest.approx(time.time() - 90, abs=5)
    assert since("2d") == pytest.approx(time.time() - 2 * 86400, abs=5)
    assert since("2030-01-31T12:00:00Z") == 1896091200.0


@pytest.mark.parametrize("text", ["", "m", "-5m", "5", "5w", "yesterday", "٣m", "99999999999d", "²s"])
def test_since_says_what_it_takes(text):
    with pytest.raises(argparse.ArgumentTypeError, match="is no time: write 90s"):
        since(text)


@pytest.mark.parametrize("text", ["", "-1", "x", "10001", "²", "1e3"])
def test_a_number_of_exchanges_is_bounded(text):
    with pytest.raises(argparse.ArgumentTypeError, match="expected 0 to 10000"):
        count(text)
    assert count("10000") == 10000
