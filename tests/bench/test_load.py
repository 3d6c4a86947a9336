from pathlib import Path

import pytest

from bench.load.connect import Connect
from bench.load.curl import Curl
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
