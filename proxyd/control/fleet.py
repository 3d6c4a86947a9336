"""The workers together: each is adopted when the supervisor has started it, greeted, served and let go.

What a worker does wrong costs it its life, never control's: whoever breaks a rule, or ends its link and lives on, is
killed, and the supervisor starts another.
"""

from collections.abc import Callable, Iterator
from typing import Final

import trio

from proxyd.control.tools import Tools
from proxyd.control.workers import Down, WorkerLink
from proxyd.core.messages import Message
from proxyd.net.frames import FrameLink
from proxyd.wire import ipc

LEAVING_SECONDS: Final = 5.0
"""A worker whose link ended has this long to exit."""


class Fleet:
    """Links to live workers by pid. ``greet`` tells a new one everything, ``hear`` takes what one says."""

    def __init__(
        self,
        tools: Tools,
        greet: Callable[[WorkerLink], None],
        hear: Callable[[WorkerLink, Message], None],
        links: dict[int, WorkerLink] | None = None,
    ) -> None:
        self.links: dict[int, WorkerLink] = links if links is not None else {}
        """The caller may keep the map to look at it."""
        self.nursery: trio.Nursery | None = None
        """Where links are served."""
        self.is_draining = False
        """Whether workers end as they should, and none comes after."""
        self.changed = trio.Event()
        """Set, and replaced, when a worker has come, gone, or said how far it is."""
        self._tools = tools
        self._greet = greet
        self._hear = hear

    def __repr__(self) -> str:
        return f"<Fleet of {len(self.links)}{' draining' if self.is_draining else ''}>"

    def __iter__(self) -> Iterator[WorkerLink]:
        return iter(self.links.values())

    def __len__(self) -> int:
        return len(self.links)

    def put(self, message: Down) -> None:
        """Tell every worker."""
        for link in self:
            link.put(message)

    def started(self, index: int, pid: int, fd: int) -> None:
        """The supervisor has started a worker; ``fd`` is control's end of its link, owned from now on."""
        if self.nursery is None:
            raise AssertionError("the supervisor's link is served within the nursery")
        frames = FrameLink.from_fd(fd, ipc.MAX_UP, max_send=ipc.MAX_DOWN, accepts_fds=False)
        link = self.links[pid] = WorkerLink(index, pid, frames, self._hear)
        self._greet(link)
        self.nursery.start_soon(self._serve, link)
        self.nursery.start_soon(self._watch, link)

    def exited(self, index: int, pid: int, why: str) -> None:
        """A worker is gone."""
        former = self.links.pop(pid, None)
        if former is not None:
            former.close()
        if all(other.index != index for other in self):
            self._tools.reports.forget(index)
        self._tools.log.info("worker_exited", worker=index, pid=pid, detail=why)
        self._tell()

    def retire(self) -> None:
        """No worker comes any more."""
        self.is_draining = True
        self._tell()

    async def leave(self, seconds: float) -> None:
        """Take what workers say last: return when all links have ended, after ``seconds`` at the latest."""
        self.is_draining = True
        with trio.move_on_after(seconds):
            while self.links:
                await self.changed.wait()

    async def _watch(self, link: WorkerLink) -> None:
        while link.is_open:
            await link.changed.wait()
            self._tell()

    async def _serve(self, link: WorkerLink) -> None:
        log, kill = self._tools.log, self._tools.kill
        try:
            why = await link.run()
        except ValueError as error:
            log.error("worker_link", worker=link.index, pid=link.pid, detail=str(error))
            kill(link.pid)
            return
        if self.links.get(link.pid) is link and not self.is_draining:
            log.debug("worker_link_ended", worker=link.index, pid=link.pid, detail=why)
            await trio.sleep(LEAVING_SECONDS)
            if self.links.get(link.pid) is link:  # it lives, and nothing will ever reach it
                kill(link.pid)
        elif self.links.get(link.pid) is link:
            del self.links[link.pid]
            self._tell()

    def _tell(self) -> None:
        self.changed.set()
        self.changed = trio.Event()
