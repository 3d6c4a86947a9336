import pytest

from bench.stats import medians, ratio, spread


def test_medians_are_taken_per_metric_over_the_rounds_that_have_it():
    samples = [{"a": 1.0, "b": 5.0}, {"a": 9.0}, {"a": 2.0, "b": 7.0}]
    assert medians(samples) == {"a": 2.0, "b": 6.0}


def test_no_samples_have_no_medians():
    assert medians([]) == {}


def test_spread_is_the_range_over_the_median():
    assert spread([{"a": 8.0}, {"a": 10.0}, {"a": 12.0}], "a") == pytest.approx(0.4)


def test_spread_of_a_metric_that_nobody_has_is_unknown():
    assert spread([{"a": 1.0}], "b") is None


@pytest.mark.parametrize(
    ("own", "other", "expected"), [(3.0, 2.0, 1.5), (None, 2.0, None), (3.0, None, None), (3.0, 0.0, None)]
)
def test_ratio_is_unknown_where_a_side_is_missing_or_zero(own, other, expected):
    assert ratio(own, other) == expected
