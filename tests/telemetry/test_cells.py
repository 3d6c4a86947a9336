import pytest

from proxyd.core.metrics import NOTICES_DROPPED, REQUESTS, SINK_FAILURES, Kind, Metric
from proxyd.telemetry.cells import Cells

SENT = Metric("sent", Kind.COUNTER, "Sent.", ("to",))


def test_a_cell_is_found_again_by_its_labels():
    cells = Cells()
    cells.cell(SENT, "a").value += 2
    cells.cell(Metric("sent", Kind.COUNTER, "Sent.", ("to",)), "a").value += 1
    cells.cell(SENT, "b").value += 5
    cells.cell(NOTICES_DROPPED).value += 1
    assert list(cells) == [(SENT, ("a",), 3), (SENT, ("b",), 5), (NOTICES_DROPPED, (), 1)]


@pytest.mark.parametrize(
    ("metric", "labels", "words"),
    [
        (SENT, (), "sent has the labels to, not 0"),
        (SINK_FAILURES, ("a", "b"), "proxyd_sink_failures has the labels sink, not 2"),
        (REQUESTS, ("a", "b", "c"), "another metric is called proxyd_requests"),
        (Metric("proxyd_build_info", Kind.GAUGE, "Mine."), (), "another metric is called proxyd_build_info"),
        (Metric("sent", Kind.GAUGE, "Mine.", ("to",)), ("a",), "another metric is called sent"),
        (Metric("a b", Kind.COUNTER, "Mine."), (), "names are letters, digits and underscores"),
        (Metric("ab", Kind.COUNTER, "Mine.", ("a-b",)), ("x",), "names are letters, digits and underscores"),
        (Metric("took", Kind.HISTOGRAM, "Mine.", (), (1.0,)), (), "a cell holds a counter or a gauge"),
    ],
)
def test_what_would_spoil_the_page_is_refused(metric, labels, words):
    cells = Cells()
    cells.cell(SENT, "a")
    with pytest.raises(ValueError, match=words):
        cells.cell(metric, *labels)
