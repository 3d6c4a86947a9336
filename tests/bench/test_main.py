import pytest

from bench.__main__ import chosen, main, parser, round_times
from bench.run import rotated
from bench.scenarios.base import Round


def test_defaults_measure_everything_in_three_rounds():
    options = parser().parse_args([])
    assert (options.scenario, options.rounds, options.peers, options.json) == ("all", 3, None, False)


def test_names_are_taken_in_the_order_given_and_once():
    assert chosen("b, a,b", ["a", "b", "c"], "peer") == ["b", "a"]


def test_an_unknown_name_is_refused_with_those_that_exist():
    with pytest.raises(ValueError, match="no peer is called x; there are a, b"):
        chosen("a,x", ["a", "b"], "peer")


@pytest.mark.parametrize(
    "words",
    [
        ["--scenario", "sideways"],
        ["--peers", "nobody"],
        ["--peers", ","],
        ["--rounds", "0"],
        ["--warmup", "-1"],
        ["--seconds", "many"],
    ],
)
def test_bad_words_end_with_usage(words, capsys):
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2
    assert "usage:" in capsys.readouterr().err


@pytest.mark.parametrize(("seconds", "rounds", "each"), [(15, 3, 5), (1, 3, 1), (10, 4, 2)])
def test_seconds_are_divided_among_the_rounds(seconds, rounds, each):
    assert round_times(seconds, rounds, 1) == Round(each, 1)


def test_each_round_begins_with_another_peer():
    assert [rotated(["a", "b", "c"], turn)[0] for turn in range(4)] == ["a", "b", "c", "a"]
    assert rotated([], 1) == []
