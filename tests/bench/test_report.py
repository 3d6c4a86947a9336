import json

import pytest

from bench.report import document, table
from bench.run import Outcome
from bench.scenarios.table import SCENARIOS


@pytest.fixture
def outcome():
    outcome = Outcome(SCENARIOS["forward"])
    outcome.samples = {
        "proxyd": [{"requests_per_second": value, "p50_ms": 1.0} for value in (700.0, 800.0, 720.0)],
        "envoy": [{"requests_per_second": value, "p50_ms": 2.0} for value in (1000.0, 1100.0, 900.0)],
    }
    outcome.versions = {"proxyd": "0.1.0", "envoy": "1.40.0"}
    outcome.missing = {"squid": "squid is missing"}
    return outcome


def test_the_document_holds_rounds_medians_ratios_and_bars(outcome):
    made = json.loads(json.dumps(document({"cores": 2}, {"rounds": 3}, [outcome])))
    (scenario,) = made["scenarios"]
    envoy = scenario["peers"]["envoy"]
    assert envoy["median"]["requests_per_second"] == 1000.0
    assert envoy["ratio"] == {"requests_per_second": pytest.approx(0.72), "p50_ms": 0.5}
    assert len(envoy["rounds"]) == 3
    assert scenario["missing"] == {"squid": "squid is missing"}
    assert [bar["met"] for bar in scenario["bars"]] == [True, None, None, None]


def test_the_table_says_of_each_bar_whether_it_is_met(outcome):
    text = table(outcome)
    assert "bar requests_per_second >= 0.7 x envoy: 0.72: met" in text
    assert "bar requests_per_second >= 1 x squid: -: not measured" in text
    assert "left out: squid: squid is missing" in text


def test_a_bar_that_is_missed_stands_out(outcome):
    outcome.samples["proxyd"] = [{"requests_per_second": 100.0}]
    assert "0.1: NOT MET" in table(outcome)


def test_nothing_measured_is_a_table_all_the_same():
    assert "not measured" in table(Outcome(SCENARIOS["start"]))
