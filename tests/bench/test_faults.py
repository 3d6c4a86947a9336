import json

import dns.message
import pytest

from bench.bars import Bound
from bench.faults import __main__ as command
from bench.faults.bars import BARS, judge
from bench.faults.load import parse_head
from bench.faults.nameserver import NameServer
from bench.faults.origin import Cutter
from bench.faults.products import PRODUCTS, Envoy, Logged, Policy, Proxyd, ProxydHedging, amplification
from bench.faults.report import Result, document, table
from bench.faults.rows.table import ROWS
from bench.faults.tally import Kind, Outcome, failures, kinds, last_failure, ledger_errors, unsafe_cuts
from bench.tools import Tools
from proxyd.config.load import load


def outcome(number=0, at=0.0, kind=Kind.GOOD, method="GET", status=200):
    return Outcome(number, method, at, 0.01, kind, status)


POLICY = Policy((("127.0.0.1", 1), ("127.0.0.1", 2)))
NAMED = Policy((), dns=("backend.example", 8080, 5353))


def test_a_request_that_failed_is_any_that_did_not_bring_the_whole_answer():
    outcomes = [outcome(kind=kind) for kind in Kind]
    assert [one.kind for one in failures(outcomes)] == [Kind.REFUSED, Kind.CUT, Kind.BROKEN, Kind.LATE]


def test_outcomes_are_counted_with_their_status():
    assert kinds([outcome(), outcome(kind=Kind.REFUSED, status=503), outcome(kind=Kind.LATE, status=0)]) == {
        "good 200": 1,
        "refused 503": 1,
        "late": 1,
    }


def test_recovery_lasts_until_the_last_failure_after_it():
    outcomes = [outcome(at=1, kind=Kind.BROKEN), outcome(at=4.5, kind=Kind.BROKEN), outcome(at=9)]
    assert last_failure(outcomes, since=3.0) == 1.5
    assert last_failure(outcomes, since=5.0) == 0.0


def test_an_answer_that_breaks_off_is_counted_for_its_method():
    outcomes = [outcome(kind=Kind.CUT), outcome(kind=Kind.CUT, method="POST"), outcome()]
    assert unsafe_cuts(outcomes, "GET") == 1


def test_the_ledger_finds_effects_that_happened_twice_and_those_that_never_did():
    posts = [outcome(1, method="POST"), outcome(2, method="POST"), outcome(3, method="POST", kind=Kind.BROKEN)]
    assert ledger_errors(posts, ["1", "3", "3"]) == (1, 1)


def test_a_failed_post_may_have_had_its_effect_or_not():
    posts = [outcome(1, method="POST", kind=Kind.BROKEN), outcome(2, method="POST", kind=Kind.BROKEN)]
    assert ledger_errors(posts, ["1"]) == (0, 0)


def test_amplification_counts_only_what_began_within_the_fault():
    log = [Logged(200, 1, 0.1, "2026-01-01T00:00:01"), Logged(503, 3, 0.1, "2026-01-01T00:00:05")]
    assert amplification(log) == 2.0
    assert amplification(log, "2026-01-01T00:00:04", "2026-01-01T00:00:06") == 3.0
    assert amplification(log, "2027") == 0.0


def test_every_offset_of_request_and_answer_has_one_turn():
    cutter = Cutter()
    cutter.lengths = {"GET": (3, 2)}
    planned = [cutter.plan("GET") for _ in range(30)]
    assert [offset for offset in planned if offset is not None] == [0, 1, 2, 3, 4]
    assert cutter.covered() == {"GET": [5, 5]}


def test_nothing_is_cut_before_an_exchange_of_its_method_went_through():
    cutter = Cutter()
    cutter.lengths = {"GET": (3, 2)}
    assert {cutter.plan("POST") for _ in range(9)} == {None}


def test_a_head_says_whose_answer_it_is_and_how_long():
    head = b"HTTP/1.1 200 OK\r\nX-Origin: b\r\nContent-Length: 7\r\nConnection: close"
    assert parse_head(head) == (200, "b", 7, False)


def test_the_name_server_answers_with_the_address_of_the_moment():
    with NameServer("127.0.0.11", 2) as server:
        query = dns.message.make_query("backend.example", "A").to_wire()
        server.address = "127.0.0.12"
        (answer,) = dns.message.from_wire(server.answer(query)).answer
    assert (answer.ttl, [record.address for record in answer]) == (2, ["127.0.0.12"])


@pytest.mark.parametrize("policy", [POLICY, NAMED], ids=["listed", "named"])
@pytest.mark.parametrize("product", [Proxyd, ProxydHedging])
def test_proxyd_takes_the_configuration(product, policy, tmp_path):
    made = product(tmp_path / "product", policy, Tools(tmp_path))
    path = tmp_path / "proxyd.yaml"
    path.write_text(json.dumps(made.config()))
    (service,) = load(path, tmp_path, tmp_path).services
    assert (service.resilience.hedge is not None) == (product is ProxydHedging)


@pytest.mark.parametrize("policy", [POLICY, NAMED], ids=["listed", "named"])
def test_envoy_has_the_same_bounds(policy, tmp_path):
    config = Envoy(tmp_path / "product", policy, Tools(tmp_path)).config()
    (cluster,) = config["static_resources"]["clusters"]
    assert cluster["lb_policy"] == "LEAST_REQUEST"
    assert cluster["connect_timeout"] == "1.0s"
    assert (cluster["type"] == "STRICT_DNS") == (policy is NAMED)


def test_envoy_repeats_a_post_only_where_no_connection_came_about(tmp_path):
    config = Envoy(tmp_path / "product", POLICY, Tools(tmp_path)).config()
    manager = config["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]
    gets, others = manager["route_config"]["virtual_hosts"][0]["routes"]
    assert gets["match"]["headers"]
    assert others["route"]["retry_policy"]["retry_on"] == "connect-failure,refused-stream"


@pytest.mark.parametrize("bar", BARS, ids=lambda bar: f"{bar.row}-{bar.text}")
def test_every_bar_names_a_row_that_measures_its_product_and_peer(bar):
    row = ROWS[bar.row]
    assert bar.product in row.products
    assert not bar.peer or bar.peer in row.products


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_a_row_lasts_half_a_minute_at_most_and_knows_its_products(row):
    assert row.seconds <= 30
    assert set(row.products) <= set(PRODUCTS)


def test_a_bar_against_a_peer_is_a_ratio_and_open_without_it():
    figures = {"proxyd": {"p99_ms": 10.0}, "proxyd-hedging": {"p99_ms": 6.0, "extra_load": 0.04}}
    assert [verdict.met for verdict in judge("slow", figures)] == [None, None, True]
    assert [verdict.met for verdict in judge("slow", figures | {"envoy": {"p99_ms": 10.0}})] == [True, False, True]


def test_the_report_says_what_was_met_and_what_was_left_out():
    result = Result(ROWS["kill"](), {"proxyd": {"failed": 1.0}}, {"proxyd": {"good 200": 9, "broken": 1}})
    result.missing["envoy"] = "envoy is missing"
    text = table(result)
    assert "bar failed <= 0: 1: NOT MET" in text
    assert "left out: envoy: envoy is missing" in text
    (fault,) = document({}, [result])["faults"]
    assert fault["bars"][0]["bound"] == Bound.AT_MOST.value
    assert json.dumps(fault)


def test_a_fault_that_is_not_known_is_refused_with_the_names_there_are(capsys):
    with pytest.raises(SystemExit):
        command.main(["--fault", "flood"])
    assert "black-hole" in capsys.readouterr().err
