"""The policies against failure on a virtual clock: what must hold, over many seeds, and what they are worth."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench.simulate.__main__ import main, play
from bench.simulate.scenarios import SCENARIOS

ROOT = Path(__file__).parents[2]
SEEDS = 75
"""Of each scenario; of all together more than a thousand."""
REQUESTS = 40


def test_a_thousand_seeds_are_played():
    assert SEEDS * len(SCENARIOS) >= 1000


@pytest.mark.parametrize("name", SCENARIOS)
def test_what_must_hold_holds_under_every_policy(name):
    broken = {}
    for seed in range(SEEDS):
        document = play(name, seed, REQUESTS)
        assert document["requests"] == REQUESTS
        if document["violations"]:
            broken[seed] = document["violations"]
    assert not broken, f"python -m bench.simulate --scenario {name} --brief {REQUESTS} --seed {next(iter(broken))}"


def test_a_seed_gives_the_same_document_in_another_process():
    command = [sys.executable, "-m", "bench.simulate", "--brief", "40", "--seed", "7"]
    seen = {
        subprocess.run(
            command, check=True, cwd=ROOT, env={"PYTHONHASHSEED": salt}, capture_output=True, timeout=100
        ).stdout
        for salt in ("1", "2")
    }
    assert len(seen) == 1
    assert json.loads(seen.pop()) == {name: play(name, 7, 40) for name in SCENARIOS}
    assert play("resets", 7, 40) != {**play("resets", 8, 40), "seed": 7}


@pytest.mark.parametrize("name", ["steady", "kill_one", "two_down", "one_slow", "hedged", "flapping", "moved"])
def test_no_request_that_may_be_repeated_fails_while_one_endpoint_is_well(name):
    document = play(name, 1)
    assert document["failed"] == document["failed_posts"] <= 3
    assert document["amplification"] <= 1.05
    assert not document["violations"]


@pytest.mark.parametrize(
    ("name", "availability", "amplification"),
    [
        ("one_errors", 0.995, 1.2),
        ("one_limits", 0.995, 1.01),
        ("black_hole", 0.99, 1.05),
        ("backup", 0.99, 1.1),
        ("brownout", 0.7, 1.3),
    ],
)
def test_the_defaults_are_worth_it(name, availability, amplification):
    document = play(name, 1)
    assert document["availability"] >= availability
    assert document["amplification"] <= amplification
    assert not document["violations"]


def test_bodies_that_cannot_be_sent_twice_fail_at_most_and_others_are_repeated():
    document = play("streams", 1)
    assert document["failed"] == document["failed_posts"]
    assert document["availability"] >= 0.97
    assert not document["violations"]


def test_after_a_restart_handshakes_do_not_keep_a_server_from_working():
    document = play("handshakes", 1)
    assert document["failed_until_s"] < 4 + 2
    assert not document["violations"]


def test_an_outage_of_all_is_not_made_worse_and_over_soon_after_its_end():
    document = play("all_down", 1)
    assert document["amplification"] <= 1.25
    assert document["failed_until_s"] < 13 + 2
    assert document["failure_latency_ms"]["p90"] < 1


@pytest.mark.parametrize(("name", "availability"), [("crowded", 0.7), ("crowded_one", 0.7), ("overload", 0.4)])
def test_an_overloaded_upstream_is_left_to_work_on_what_it_can_carry(name, availability):
    """A breaker that is open or closed and nothing between left it idle: 0.5, 0.5 and 0.1 of the requests."""
    documents = [play(name, seed) for seed in range(3)]
    assert min(document["availability"] for document in documents) >= availability
    assert not any(document["violations"] for document in documents)


def test_the_breaker_clears_a_queue_in_which_requests_only_time_out():
    document = play("queueing", 1)
    assert document["availability"] >= 0.6, "0.29 without a breaker"


@pytest.mark.parametrize(("name", "availability"), [("adaptive", 0.72), ("adaptive_slower", 0.55)])
def test_adaptive_concurrency_keeps_to_what_the_server_carries_without_a_queue_and_does_not_drift(name, availability):
    document = play(name, 1)
    limits = document["concurrency_limits"]
    assert document["availability"] >= availability, "0.8 and 0.64 are possible"
    assert document["latency_ms"]["p50"] < 150, "1,200 without"
    assert not document["violations"]
    assert 4 <= sum(limits[-40:]) / 40 < 20, "four slots"
    assert max(limits) < 40


def test_the_command_prints_one_object_and_says_what_there_is(capsys):
    assert main(["--scenario", "kill_one", "--seed", "3", "--brief", "20"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert {"availability", "amplification", "latency_ms"} <= document.keys()
    assert (document["scenario"], document["seed"]) == ("kill_one", 3)
    assert main(["--list"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == list(SCENARIOS)


def test_an_unknown_scenario_is_refused_with_the_names_of_all(capsys):
    with pytest.raises(SystemExit):
        main(["--scenario", "nothing"])
    assert "kill_one" in capsys.readouterr().err
