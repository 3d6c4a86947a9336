import contextlib
import os
import signal
from collections.abc import Iterator

import pytest

from proxyd.core.counts import MAX_SERVICES, MAX_WORKERS, REQUESTS, Row, SharedCounts, place_of

PLACE = place_of(0, REQUESTS)
assert PLACE is not None


def row(counts: SharedCounts, worker: int, names: list[str], value: int = 0) -> Row:
    counts.assign(worker)
    found = counts.row(worker)
    assert found is not None
    found.begin(names)
    found.put(PLACE, value)
    found.publish()
    return found


@contextlib.contextmanager
def forked(counts: SharedCounts, worker: int, value: int) -> Iterator[int]:
    """A process that writes ``value`` into its row and waits to be killed."""
    counts.assign(worker)
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            own = counts.row(worker)
            assert own is not None
            own.begin(["a"])
            own.put(PLACE, value)
            own.publish()
            os.write(writing, b".")
            while True:
                signal.pause()
        finally:
            os._exit(1)
    try:
        os.close(writing)
        assert os.read(reading, 1) == b"."
        yield pid
    finally:
        os.close(reading)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def test_what_forked_workers_write_is_added_up() -> None:
    counts = SharedCounts()
    own = row(counts, 0, ["a"], 100)
    with forked(counts, 1, 3), forked(counts, 2, 4):
        assert own.others(PLACE) == 7


def test_a_killed_workers_counts_are_zeroed_by_who_reaps_it() -> None:
    counts = SharedCounts()
    own = row(counts, 0, ["a"])
    with forked(counts, 1, 3):
        assert own.others(PLACE) == 3
    assert own.others(PLACE) == 3, "nobody has reaped it yet"

    counts.clear(1)

    assert own.others(PLACE) == 0


def test_rows_of_another_layout_are_left_out() -> None:
    counts = SharedCounts()
    own = row(counts, 0, ["a", "b"])
    row(counts, 1, ["b"], 5)
    assert own.others(PLACE) == 0


def test_a_row_that_is_being_rewritten_is_left_out() -> None:
    counts = SharedCounts()
    own = row(counts, 0, ["a"])
    other = row(counts, 1, ["a"], 5)
    other.begin(["a"])
    assert own.others(PLACE) == 0
    other.put(PLACE, 6)
    other.publish()
    assert own.others(PLACE) == 6


def test_services_and_workers_without_room_have_no_place() -> None:
    assert place_of(MAX_SERVICES - 1, 3) == 1023
    assert place_of(MAX_SERVICES, 0) is None
    assert SharedCounts().row(MAX_WORKERS) is None
    SharedCounts().assign(MAX_WORKERS)


def test_the_memory_can_be_mapped_again_by_its_descriptor() -> None:
    counts = SharedCounts()
    row(counts, 1, ["a"], 5)
    again = SharedCounts(os.dup(counts.fd))
    assert row(again, 0, ["a"]).others(PLACE) == 5
    assert again.rows_used == 2


def test_memory_of_another_size_or_format_is_refused() -> None:
    fd = os.memfd_create("small")
    try:
        with pytest.raises(ValueError, match="another size"):
            SharedCounts(fd)
    finally:
        os.close(fd)
    counts = SharedCounts()
    counts.cells[1] += 1
    with pytest.raises(ValueError, match="another format"):
        SharedCounts(counts.fd)
    counts.close()


def test_the_mean_is_of_workers_that_accept() -> None:
    counts = SharedCounts()
    rows = [row(counts, worker, ["a"]) for worker in range(3)]
    assert rows[0].mean() == 0.0
    for each, connections in zip(rows, (10, 20, 99), strict=True):
        each.holds(connections, is_accepting=each is not rows[2])
    assert rows[0].mean() == 15.0
    counts.clear(0)
    assert rows[1].mean() == 20.0
