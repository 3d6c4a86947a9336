import pytest

from proxyd.core.messages import Stats
from proxyd.core.metrics import DOWNSTREAM_ACTIVE, DURATION, LEAVES, REQUESTS, RETRIES
from proxyd.telemetry.aggregate import Aggregate

BUCKETS = len(DURATION.buckets) + 1


def stats(counters=(), gauges=(), histograms=()):
    return Stats(list(counters), list(gauges), list(histograms))


def counters(aggregate):
    return {metric.name: dict(series) for metric, series in aggregate.counters() if series}


def gauges(aggregate):
    return {
        metric.name: {w: dict(s) for w, s in by.items() if s} for metric, by in aggregate.gauges() if any(by.values())
    }


def test_counters_are_summed_over_workers():
    aggregate = Aggregate()
    aggregate.add(0, stats([[REQUESTS.name, ["apps", "tickets", "200"], 2]]))
    aggregate.add(1, stats([[REQUESTS.name, ["apps", "tickets", "200"], 3], [LEAVES.name, [], 1]]))
    assert counters(aggregate) == {REQUESTS.name: {("apps", "tickets", "200"): 5}, LEAVES.name: {(): 1}}


def test_histograms_are_summed_over_workers():
    aggregate = Aggregate()
    for worker in (0, 1):
        aggregate.add(worker, stats(histograms=[[DURATION.name, ["tickets"], [1] * BUCKETS, 0.5]]))
    (found,) = [series for metric, series in aggregate.histograms() if metric is DURATION]
    assert found[("tickets",)].buckets == [2] * BUCKETS
    assert found[("tickets",)].sum == 1.0


def test_gauges_are_kept_by_worker_and_leave_with_it():
    aggregate = Aggregate()
    aggregate.add(0, stats([[LEAVES.name, [], 4]], [[DOWNSTREAM_ACTIVE.name, [], 7]]))
    aggregate.add(1, stats(gauges=[[DOWNSTREAM_ACTIVE.name, [], 9]]))
    aggregate.add(1, stats(gauges=[[DOWNSTREAM_ACTIVE.name, [], 8]]))
    assert gauges(aggregate) == {DOWNSTREAM_ACTIVE.name: {0: {(): 7}, 1: {(): 8}}}
    aggregate.forget(0)
    assert gauges(aggregate) == {DOWNSTREAM_ACTIVE.name: {1: {(): 8}}}
    assert counters(aggregate) == {LEAVES.name: {(): 4}}


@pytest.mark.parametrize(
    "frame",
    [
        stats(["text"]),
        stats([[]]),
        stats([[REQUESTS.name, ["a", "b", "c"]]]),
        stats([["proxyd_unknown", [], 1]]),
        stats([[7, [], 1]]),
        stats([[["list"], [], 1]]),
        stats([[DURATION.name, ["tickets"], 1]]),
        stats([[REQUESTS.name, ["a", "b"], 1]]),
        stats([[REQUESTS.name, ["a", "b", 3], 1]]),
        stats([[REQUESTS.name, ["a", "b", ["c"]], 1]]),
        stats([[REQUESTS.name, "abc", 1]]),
        stats([[REQUESTS.name, ["a", "b", "c" * 300], 1]]),
        stats([[REQUESTS.name, ["a", "b", "\ud800"], 1]]),
        stats([[REQUESTS.name, ["a", "b", "c"], -1]]),
        stats([[REQUESTS.name, ["a", "b", "c"], "1"]]),
        stats([[REQUESTS.name, ["a", "b", "c"], True]]),
        stats([[REQUESTS.name, ["a", "b", "c"], float("nan")]]),
        stats([[REQUESTS.name, ["a", "b", "c"], float("inf")]]),
        stats(gauges=[[DOWNSTREAM_ACTIVE.name, [], None]]),
        stats(gauges=[[REQUESTS.name, ["a", "b", "c"], 1]]),
        stats(histograms=[[DURATION.name, ["tickets"], [1], 0.5]]),
        stats(histograms=[[DURATION.name, ["tickets"], [-1] * BUCKETS, 0.5]]),
        stats(histograms=[[DURATION.name, ["tickets"], [1] * BUCKETS, float("nan")]]),
        stats(histograms=[[DURATION.name, ["tickets"], None, 0.5]]),
        stats(histograms=[[DURATION.name, [], [1] * BUCKETS, 0.5]]),
    ],
)
def test_an_entry_that_does_not_fit_is_dropped_and_counted(frame):
    aggregate = Aggregate()
    aggregate.add(0, frame)
    assert aggregate.rejected == 1
    assert counters(aggregate) == {}
    assert gauges(aggregate) == {}
    assert all(not series for _, series in aggregate.histograms())


def test_a_bad_entry_does_not_take_its_frame_along():
    aggregate = Aggregate()
    aggregate.add(0, stats([["nonsense", [], 1], [LEAVES.name, [], 2]]))
    assert counters(aggregate) == {LEAVES.name: {(): 2}}


def test_series_beyond_the_limit_share_one():
    aggregate = Aggregate(series_limit=2)
    aggregate.add(0, stats([[RETRIES.name, [f"service-{n}"], 1] for n in range(5)]))
    aggregate.add(0, stats([[RETRIES.name, ["service-1"], 1]]))
    assert counters(aggregate)[RETRIES.name] == {("service-0",): 1, ("service-1",): 2, ("overflow",): 3}
