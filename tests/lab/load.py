"""Steady load from threads that keep their connections, and an honest count of what went wrong."""

import http.client
import threading
from collections import Counter
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

LATE_SECONDS = 20


@dataclass(slots=True)
class Tally:
    """Outcomes of all threads."""

    statuses: Counter[int] = field(default_factory=Counter)
    retried: int = 0
    """GETs whose connection broke: asked once more on a new one, as clients do with what is safe to repeat."""
    errors: list[str] = field(default_factory=list)
    """GETs that failed also then."""


class Load:
    """Threads that GET one absolute-form URL through a forward proxy until the block is left."""

    def __init__(self, proxy: tuple[str, int], url: str, threads: int = 4, *, fresh: bool = False) -> None:
        self.tally = Tally()
        self.threads = threads
        self._proxy = proxy
        self._url = url
        self._fresh = fresh
        """A new connection for each request."""
        self._over = threading.Event()
        self._lock = threading.Condition()
        self._threads = [threading.Thread(target=self._ask, daemon=True) for _ in range(threads)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(LATE_SECONDS * 2)

    def wait_for_more(self, count: int, seconds: float = LATE_SECONDS) -> None:
        """Wait until ``count`` more responses have come."""
        with self._lock:
            target = self.tally.statuses.total() + count
            arrived = self._lock.wait_for(lambda: self.tally.statuses.total() >= target, seconds)
        assert arrived, f"no {count} responses in {seconds:.0f} s: {self.tally}"

    def _ask(self) -> None:
        connection = http.client.HTTPConnection(*self._proxy, timeout=LATE_SECONDS)
        while not self._over.is_set():
            try:
                status = self._once(connection)
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                with self._lock:
                    self.tally.errors.append(repr(error))
                continue
            with self._lock:
                self.tally.statuses[status] += 1
                self._lock.notify_all()
            if self._fresh:
                connection.close()
        connection.close()

    def _once(self, connection: http.client.HTTPConnection) -> int:
        for last in (False, True):
            try:
                connection.request("GET", self._url)
                response = connection.getresponse()
                response.read()
            except (ConnectionError, http.client.BadStatusLine, http.client.IncompleteRead):
                connection.close()
                if last:
                    raise
                with self._lock:
                    self.tally.retried += 1
            else:
                break
        return response.status
