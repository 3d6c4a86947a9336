"""What waits for one sink: filled by control's loop, emptied by the sink's, which may be another one."""

from collections import deque
from typing import Final

import trio

from proxyd.core.records import Batch
from proxyd.core.units import MIB

MAX_RECORDS: Final = 10_000
"""Some 15 MiB of exchanges of usual size."""
MAX_SIZE: Final = 8 * MIB
"""Characters and bytes of text."""


class Feed:
    """A bounded queue of batches. What is counted on one side is written by that side alone, so nothing is locked."""

    def __init__(self, *, max_records: int = MAX_RECORDS, max_size: int = MAX_SIZE) -> None:
        self._max_records = max_records
        self._max_size = max_size
        self._batches: deque[Batch] = deque()
        self._put = self._put_size = 0
        self._taken = self._taken_size = 0
        self._bell: trio.Event | None = None
        self._token: trio.lowlevel.TrioToken | None = None

    @property
    def waiting(self) -> int:
        """Records that were put and not taken."""
        return self._put - self._taken

    def put(self, batch: Batch) -> bool:
        """Queue a batch, which is not empty, and ring; False: there is no room, and it is dropped."""
        count = len(batch)
        size = self._put_size - self._taken_size
        if self.waiting and (self.waiting + count > self._max_records or size + batch.size > self._max_size):
            return False
        self._put += count
        self._put_size += batch.size
        self._batches.append(batch)
        self.ring()
        return True

    def take(self) -> Batch | None:
        """Remove and return the oldest batch."""
        try:
            batch = self._batches.popleft()
        except IndexError:
            return None
        self._taken += len(batch)
        self._taken_size += batch.size
        return batch

    def attach(self, *, elsewhere: bool) -> None:
        """Have ``ring`` wake this loop; ``elsewhere``: it is not the one that puts."""
        self._bell = trio.Event()
        self._token = trio.lowlevel.current_trio_token() if elsewhere else None

    async def wait(self) -> None:
        """Return when it has been rung since the last time; for the attached loop."""
        if self._bell is None:
            raise AssertionError("attach comes first")
        await self._bell.wait()
        self._bell = trio.Event()

    def ring(self) -> None:
        """Wake the sink's loop, from control's."""
        if self._token is None:
            self._set()
            return
        try:
            self._token.run_sync_soon(self._set, idempotent=True)
        except trio.RunFinishedError:
            return  # the sink has ended

    def _set(self) -> None:
        if self._bell is not None:
            self._bell.set()
