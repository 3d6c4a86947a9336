"""Counts that workers share without a round trip: a mapping with a row per worker.

The supervisor makes the mapping before it forks, so that all workers of a generation have it. A row has one writer,
its worker; readers add rows up. Two workers that both see one free place may both take it: a bound is overshot by
``workers - 1`` at most. The supervisor zeroes the row of a worker that died, before another worker gets it.

A row says first under which layout it was written: the names of the services, in order, as a checksum. Rows of
another layout are left out: for the moments of a reload workers count alone, and never another service's numbers.

The memory is a memfd's, since the mapping must outlive the exec of an upgrade; nothing but touched pages costs memory.
"""

import mmap
import os
import zlib
from collections.abc import Sequence
from typing import Final

MAX_WORKERS: Final = 1024
"""Rows; workers beyond count alone."""
KINDS: Final = 4
"""Counts of one service."""
CONNECTIONS, PENDING, REQUESTS, RETRIES = range(KINDS)

ROW: Final = 1024
"""Cells of a row: 8 KiB, so that workers share no page."""
MAX_SERVICES: Final = 254
"""Services that a row has room for; those beyond are counted per worker."""

FORMAT: Final = 1
"""Rises when a cell changes its meaning: another version of the program may have made the mapping."""
AHEAD: Final = 1.25
"""Times the mean: who holds more connections leaves new ones to others."""

_CELL: Final = 8
_HEADER: Final = 512
"""Cells before the first row: a page of the supervisor's."""
_ROWS_USED: Final = 0
"""In the header: one more than the highest row that was ever given out."""

_FORMAT: Final = 1
"""In the header: FORMAT."""

_LAYOUT: Final = 0
_ACCEPTING: Final = 1
_DOWNSTREAM: Final = 2
_SERVICES: Final = 8
"""Where a row's services begin."""
_SIZE: Final = (_HEADER + MAX_WORKERS * ROW) * _CELL


class SharedCounts:
    """The mapping. ``fd`` is its memory; ValueError where one that is given holds something else."""

    def __init__(self, fd: int | None = None) -> None:
        if fd is None:
            fd = os.memfd_create("proxyd-counts", os.MFD_CLOEXEC)
            os.ftruncate(fd, _SIZE)
            is_new = True
        else:
            is_new = False
            if os.fstat(fd).st_size != _SIZE:
                raise ValueError("the shared counts are of another size")
        self.fd = fd
        self.cells = memoryview(mmap.mmap(fd, _SIZE)).cast("q")
        if is_new:
            self.cells[_FORMAT] = FORMAT
        elif self.cells[_FORMAT] != FORMAT:
            raise ValueError("the shared counts are of another format")

    def __repr__(self) -> str:
        return f"<SharedCounts rows={self.rows_used}>"

    def close(self) -> None:
        """Let go of the descriptor: the memory lives as long as somebody has it mapped."""
        os.close(self.fd)

    @property
    def rows_used(self) -> int:
        """How many rows readers have to look at."""
        return self.cells[_ROWS_USED]

    def assign(self, worker: int) -> None:
        """Make a row ready for a worker that is about to be forked; the supervisor's."""
        self.clear(worker)
        if worker < MAX_WORKERS:
            self.cells[_ROWS_USED] = max(self.rows_used, worker + 1)

    def clear(self, worker: int) -> None:
        """Forget what a worker that is dead had under way; the supervisor's."""
        if worker < MAX_WORKERS:
            start = _HEADER + worker * ROW
            self.cells[start : start + ROW] = _NOTHING

    def row(self, worker: int) -> "Row | None":
        """Return the worker's own row; None where it has none."""
        return Row(self.cells, worker) if worker < MAX_WORKERS else None


class Row:
    """One worker's row, and its view of the others'."""

    __slots__ = ("_cells", "_layout", "_others", "_rows", "_start")

    def __init__(self, cells: memoryview, worker: int) -> None:
        self._cells = cells
        self._start = _HEADER + worker * ROW
        self._layout = 0
        self._rows = 0
        """Rows that were in use when ``_others`` was made: where the others begin."""
        self._others: list[int] = []

    def __repr__(self) -> str:
        return f"<Row {(self._start - _HEADER) // ROW} layout={self._layout}>"

    def begin(self, names: Sequence[str]) -> None:
        """Start anew under a layout: ``put`` what runs, then ``publish``."""
        start = self._start
        self._cells[start + _LAYOUT] = 0
        self._cells[start + _SERVICES : start + ROW] = _NOTHING[: ROW - _SERVICES]
        self._layout = 1 + zlib.crc32("\0".join(names[:MAX_SERVICES]).encode("utf-8", "surrogateescape"))

    def publish(self) -> None:
        """Let others count this row."""
        self._cells[self._start + _LAYOUT] = self._layout

    def put(self, place: int, value: int) -> None:
        """Say how many of the kind at ``place`` (``place_of``) this worker has."""
        self._cells[self._start + place] = value

    def others(self, place: int) -> int:
        """Return what all other workers have at ``place``."""
        cells, layout = self._cells, self._layout
        if cells[_ROWS_USED] != self._rows:
            self._look_around()
        total = 0
        for start in self._others:
            if cells[start] == layout:
                total += cells[start + place]
        return total

    def _look_around(self) -> None:
        self._rows = self._cells[_ROWS_USED]
        starts = range(_HEADER, _HEADER + self._rows * ROW, ROW)
        self._others = [start for start in starts if start != self._start]

    # --- downstream connections -------------------------------------------------------------------

    def holds(self, connections: int, *, is_accepting: bool) -> None:
        """Say how many downstream connections this worker has; only those of workers that take more are compared."""
        self._cells[self._start + _ACCEPTING] = is_accepting
        self._cells[self._start + _DOWNSTREAM] = connections

    def mean(self) -> float:
        """Return the mean number of downstream connections of workers that take some; 0 where nobody does."""
        cells = self._cells
        total = workers = 0
        for start in range(_HEADER, _HEADER + cells[_ROWS_USED] * ROW, ROW):
            if cells[start + _ACCEPTING]:
                workers += 1
                total += cells[start + _DOWNSTREAM]
        return total / workers if workers else 0.0

    def is_ahead(self) -> bool:
        """Whether this worker has so many connections that others should take the next ones."""
        return self._cells[self._start + _DOWNSTREAM] > AHEAD * self.mean() + 1


def place_of(service: int, kind: int) -> int | None:
    """Return the place of a service's count in a row, by the service's position in the snapshot."""
    return _SERVICES + service * KINDS + kind if service < MAX_SERVICES else None


_NOTHING: Final = memoryview(bytes(ROW * _CELL)).cast("q")
