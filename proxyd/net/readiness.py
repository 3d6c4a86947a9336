"""When sockets become readable: one edge-triggered epoll of our own, and one trio wait for all of it.

trio arms a socket by one system call for every wait and keeps a record of it meanwhile. A proxy waits twice per
exchange, on sockets that live for thousands of them: here a socket is registered once, and a task of trio's wakes
whoever waits for it. What an edge says is kept as a flag until a read has found the socket empty (epoll(7): a short
read of a stream socket says so too), so that no edge is lost, and a stale flag costs one read in vain.
"""

import select
from typing import Final, Protocol

from trio.lowlevel import RunVar, Task, reschedule, spawn_system_task, wait_readable

_EDGES: Final = select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLET
_OVER: Final = select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR

MAX_EDGES: Final = 1024
"""Edges taken at a time; the rest comes right after."""


class Watched(Protocol):
    """What is told of edges."""

    ready: bool
    """Bytes may be there."""
    over: bool
    """The peer's FIN or a failure was seen: a read never finds the socket empty again."""
    waiter: Task | None
    """Who waits; taken when it is woken."""


class Readiness:
    """All watched sockets of one trio run."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._watched: dict[int, Watched] = {}

    def watch(self, descriptor: int, watched: Watched) -> None:
        """Tell ``watched`` of edges from now on, of data that is there already too, instead of a former one."""
        self._watched[descriptor] = watched
        try:
            self._epoll.register(descriptor, _EDGES)
        except FileExistsError:  # the same socket under another stream, or a number whose end nobody told us of
            self._epoll.modify(descriptor, _EDGES)

    def forget(self, descriptor: int, watched: Watched) -> None:
        """Stop; before the descriptor is closed, or its number could be another socket's."""
        if self._watched.get(descriptor) is watched:
            del self._watched[descriptor]
            self._epoll.unregister(descriptor)

    def wake(self) -> None:
        """Wake who waits for what is readable now. Whoever holds the loop for long calls it before giving it up: those
        tasks then run in the loop's next turn, and not in the one after.
        """
        watched = self._watched
        for number, edges in self._epoll.poll(0, MAX_EDGES):
            one = watched[number]
            one.ready = True
            if edges & _OVER:
                one.over = True
            task = one.waiter
            if task is not None:
                one.waiter = None
                reschedule(task)

    async def run(self) -> None:
        """Wake who waits, for ever."""
        descriptor = self._epoll.fileno()
        try:
            while True:
                await wait_readable(descriptor)
                self.wake()
        finally:
            self._watched.clear()  # streams that outlive the run have nothing to take back
            self._epoll.close()


_current: RunVar[Readiness] = RunVar("readiness")


def current() -> Readiness:
    """Return the readiness of this trio run, started when it is first asked for."""
    try:
        return _current.get()
    except LookupError:
        readiness = Readiness()
        _current.set(readiness)
        spawn_system_task(readiness.run)
        return readiness
