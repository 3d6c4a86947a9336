import pytest

from bench.bars import BARS, Bound, judge
from bench.peers.table import PEERS
from bench.scenarios.table import SCENARIOS


def test_a_ratio_is_held_against_the_peer_that_the_bar_names():
    figures = {"proxyd": {"requests_per_second": 7.0}, "envoy": {"requests_per_second": 10.0}}
    verdict = next(v for v in judge("forward", figures) if v.bar.peer == "envoy")
    assert (verdict.value, verdict.met) == (pytest.approx(0.7), True)


def test_a_peer_that_was_not_measured_leaves_the_bar_open():
    verdicts = judge("forward", {"proxyd": {"requests_per_second": 7.0}})
    assert [v.met for v in verdicts] == [None] * 4


def test_an_absolute_bar_needs_no_peer():
    verdicts = judge("tunnel", {"proxyd": {"neighbour_p99_ms": 5.0}})
    assert next(v.met for v in verdicts if v.bar.metric == "neighbour_p99_ms") is False


@pytest.mark.parametrize(
    ("bound", "below", "equal", "above"),
    [
        (Bound.AT_LEAST, False, True, True),
        (Bound.AT_MOST, True, True, False),
        (Bound.BELOW, True, False, False),
    ],
)
def test_bounds(bound, below, equal, above):
    assert [bound.holds(value, 2.0) for value in (1.0, 2.0, 3.0)] == [below, equal, above]


@pytest.mark.parametrize("bar", BARS, ids=lambda bar: f"{bar.scenario}-{bar.text}")
def test_every_bar_names_a_scenario_that_measures_its_metric_and_its_peer(bar):
    scenario = SCENARIOS[bar.scenario]
    assert bar.metric in scenario.columns
    assert "proxyd" in scenario.peers
    assert bar.peer is None or bar.peer in scenario.peers


def test_every_scenario_names_known_peers():
    assert {peer for scenario in SCENARIOS.values() for peer in scenario.peers} == set(PEERS)
