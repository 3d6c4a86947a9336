import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxyd.upstream.latency import GROWTH, LEAST, SMALLEST, WINDOW, Latencies


def test_a_quantile_is_right_to_the_width_of_a_bucket():
    latencies = Latencies(0.0)
    for number in range(1, 1001):
        latencies.observe(number / 1000, 1.0)
    for share in (0.5, 0.9, 0.97):
        assert latencies.quantile(share, 1.0) == pytest.approx(share, rel=GROWTH - 1 + 0.005)


def test_too_few_samples_say_nothing():
    latencies = Latencies(0.0)
    for _ in range(LEAST - 1):
        latencies.observe(0.1, 1.0)
    assert latencies.quantile(0.97, 1.0) is None


def test_the_past_is_forgotten_after_two_windows():
    latencies = Latencies(0.0)
    for _ in range(100):
        latencies.observe(5.0, 1.0)
    for _ in range(100):
        latencies.observe(0.01, WINDOW + 1)
    assert latencies.quantile(0.97, WINDOW + 2) > 4
    assert latencies.quantile(0.97, 2 * WINDOW + 2) < 0.02
    assert latencies.quantile(0.97, 5 * WINDOW) is None


@given(st.lists(st.floats(0, 1e6), min_size=LEAST, max_size=200), st.floats(0, 1))
def test_no_more_than_the_rest_of_the_samples_is_slower(samples, share):
    latencies = Latencies(0.0)
    for seconds in samples:
        latencies.observe(seconds, 0.0)
    bound = latencies.quantile(share, 0.0)
    slower = sum(min(seconds, 700.0) > bound * 1.0001 for seconds in samples)
    assert bound >= SMALLEST
    assert slower <= len(samples) * (1 - share) + 1
