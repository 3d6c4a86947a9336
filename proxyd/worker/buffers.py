"""What bodies on their way may hold in this worker: shares of ``buffered_bytes``, counted and not measured."""

from typing import Final

from proxyd.core.limits import Limits
from proxyd.core.units import KIB

SMALLEST_READ: Final = 4 * KIB


class Buffers:
    """The shares that are out."""

    def __init__(self) -> None:
        self.limits = Limits()
        self._streaming = 0
        self._wide = 0

    def streaming_started(self) -> int:
        """Count one more streaming body; the more there are, the less each may hold. Returns how many bytes."""
        self._streaming += 1
        limits = self.limits
        return max(SMALLEST_READ, min(limits.read_bytes, limits.buffered_bytes // self._streaming))

    def streaming_ended(self) -> None:
        """Count one streaming body less."""
        self._streaming -= 1

    def widen(self, window: int) -> bool:
        """Count one more HTTP/2 connection whose client may send ``window`` ahead; False where no room is left."""
        if self._wide + window > self.limits.buffered_bytes:
            return False
        self._wide += window
        return True

    def narrow(self, window: int) -> None:
        """Count one such connection less."""
        self._wide -= window
