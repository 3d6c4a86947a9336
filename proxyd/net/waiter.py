"""One task that waits until another wakes it, without an object for each time."""

from trio.lowlevel import Abort, RaiseCancelT, Task, current_task, reschedule, wait_task_rescheduled


class Waiter:
    """One task that waits: for a lane, for the writer's turn, for something to do."""

    __slots__ = ("task",)

    def __init__(self) -> None:
        self.task: Task | None = None

    async def wait(self) -> None:
        """Wait until woken."""
        assert self.task is None, "one task waits"
        self.task = current_task()
        await wait_task_rescheduled(self._withdraw)

    def wake(self) -> None:
        """Let the task go on, if one waits."""
        task, self.task = self.task, None
        if task is not None:
            reschedule(task)

    def _withdraw(self, _: RaiseCancelT) -> Abort:
        self.task = None
        return Abort.SUCCEEDED
