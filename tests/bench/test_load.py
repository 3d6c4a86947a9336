from pathlib import Path

import pytest

from bench.load.connect import Connect
from bench.load.curl import Curl
from bench.load.h2load import H2load
from bench.load.h2load import parse as parse_h2load
from bench.load.report import LoadError, parse

WRK = """Running 1s test
  Requests/sec:   100.00

{"requests": 100, "seconds": 1.000000, "p50_us": 250.0, "p99_us": 900.0, "max_us": 1200.0, "errors": 1, "refused": 4}
"""


def test_wrk_counts_refusals_as_requests_and_they_are_taken_out():
    report = parse("wrk", WRK)
    assert (report.requests, report.failed, report.p50_ms, report.p99_ms) == (96, 5, 0.25, 0.9)


def test_output_without_figures_is_an_error_that_shows_it():
    with pytest.raises(LoadError, match="unable to connect"):
        parse("wrk", "unable to connect to 127.0.0.1")


def test_connect_says_only_what_is_set():
    command = Connect(Path("load"), "https://a.example/", proxy="127.0.0.1:1", new=True).command(2)
    assert command == [
        "load", "-url", "https://a.example/", "-connections", "1", "-seconds", "2", "-proxy", "127.0.0.1:1", "-new"
    ]  # fmt: skip


def test_curl_tunnels_only_through_a_proxy_that_is_asked_for():
    assert "--proxytunnel" not in Curl(Path("curl"), "http://a.example/").command()
    tunnelled = Curl(Path("curl"), "http://a.example/", "127.0.0.1:1", tunnel=True).command()
    assert "--proxytunnel" in tunnelled
    assert "http://127.0.0.1:1" in tunnelled


H2LOAD = """starting benchmark...

finished in 2.01s, 1500.00 req/s, 1.6MB/s
requests: 3000 total, 3040 started, 3000 done, 2990 succeeded, 9 failed, 1 errored, 2 timeout
status codes: 2990 2xx, 0 3xx, 8 4xx, 1 5xx
traffic: 3.2MB (1) total, 1KB (1) headers (space savings 90.00%), 3.0MB (1) data
"""
H2LOAD_LOG = ["1700000000000000\t200\t1000\n", "1700000000000001\t200\t3000\n", "1700000000000002\t401\t9\n"]


def test_h2load_counts_what_was_refused_and_what_broke_as_failed():
    report = parse_h2load(H2LOAD, H2LOAD_LOG)
    assert (report.requests, report.seconds, report.failed) == (2990, 2.01, 12)


def test_h2load_latencies_are_those_of_good_answers():
    report = parse_h2load(H2LOAD, H2LOAD_LOG)
    assert (report.p50_ms, report.max_ms) == (1.0, 3.0)


def test_h2load_output_without_figures_is_an_error_that_shows_it():
    with pytest.raises(LoadError, match="could not resolve"):
        parse_h2load("could not resolve address", [])


def test_h2load_posts_a_call_only_where_there_is_one(tmp_path):
    get = H2load(Path("h2load"), "http://a.example/", 4, 10).command(1, tmp_path / "log", tmp_path / "body")
    call = H2load(Path("h2load"), "http://a.example/", 4, 10, call=b"x").command(1, tmp_path / "log", tmp_path / "body")
    assert "--data" not in get
    assert call[-7:-1] == [
        "--data", str(tmp_path / "body"), "--header", "content-type: application/grpc", "--header", "te: trailers"
    ]  # fmt: skip


def test_connect_asks_for_streams_only_where_there_are_some():
    assert "-streams" not in Connect(Path("load"), "https://a.example/").command(1)
    assert Connect(Path("load"), "https://a.example/", streams=10).command(1)[-2:] == ["-streams", "10"]
