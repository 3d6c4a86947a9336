from proxyd.core.metrics import DURATION, MASKED, REQUESTS, Kind, Metric
from proxyd.worker.meter import Meter

WAIT = Metric("proxyd_wait_seconds", Kind.HISTOGRAM, "Seconds.", (), (0.1, 1.0))


def test_a_cell_is_one_per_label_set():
    meter = Meter()
    assert meter.counter(REQUESTS, "main", "api", "200") is meter.counter(REQUESTS, "main", "api", "200")
    assert meter.counter(REQUESTS, "main", "api", "200") is not meter.counter(REQUESTS, "main", "api", "500")
    assert meter.histogram(DURATION, "api") is meter.histogram(DURATION, "api")


def test_counters_are_told_as_what_came_since_the_last_frame():
    meter = Meter()
    cell = meter.counter(REQUESTS, "main", "api", "200")
    meter.counter(MASKED, "api")
    cell.value += 2
    cell.add(3)
    assert meter.collect().counters == [[REQUESTS.name, ["main", "api", "200"], 5]]
    assert meter.collect().counters == []
    cell.value += 1
    assert meter.collect().counters == [[REQUESTS.name, ["main", "api", "200"], 1]]


def test_a_histograms_bound_belongs_to_its_bucket_and_the_last_bucket_has_none():
    meter = Meter()
    histogram = meter.histogram(WAIT)
    for seconds in (0.0, 0.1, 0.2, 1.0, 1.1):
        histogram.observe(seconds)
    [[name, labels, counts, total]] = meter.collect().histograms
    assert (name, labels, counts) == (WAIT.name, [], [2, 2, 1])
    assert round(total, 6) == 2.4


def test_a_frame_that_was_told_does_not_change_when_more_is_observed():
    meter = Meter()
    histogram = meter.histogram(WAIT)
    histogram.observe(0.5)
    told = meter.collect().histograms
    assert meter.collect().histograms == []
    histogram.observe(0.5)
    assert told == [[WAIT.name, [], [0, 1, 0], 0.5]]
    assert meter.collect().histograms == [[WAIT.name, [], [0, 1, 0], 0.5]]


def test_gauges_are_read_for_every_frame():
    meter = Meter()
    values = iter([1.0, 7.0])
    meter.gauge(WAIT, lambda: next(values))
    assert meter.collect().gauges == [[WAIT.name, [], 1.0]]
    assert meter.collect().gauges == [[WAIT.name, [], 7.0]]
