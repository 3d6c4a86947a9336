"""Who waits for a limit: callers in turn, each one's requests in the order in which they came."""

from collections import deque

import trio


class Waiter:
    """One request in line."""

    __slots__ = ("caller", "cost", "event", "granted")

    def __init__(self, caller: str, cost: int) -> None:
        self.caller = caller
        self.cost = cost
        self.event = trio.Event()
        self.granted = False


class Line:
    """The waiters of one key of a limit."""

    __slots__ = ("_by_caller", "_turns", "size")

    def __init__(self) -> None:
        self._by_caller: dict[str, deque[Waiter]] = {}
        self._turns: deque[str] = deque()
        self.size = 0

    def __bool__(self) -> bool:
        return self.size > 0

    def join(self, caller: str, cost: int) -> Waiter:
        """Stand in line."""
        waiter = Waiter(caller, cost)
        own = self._by_caller.get(caller)
        if own is None:
            own = self._by_caller[caller] = deque()
            self._turns.append(caller)
        own.append(waiter)
        self.size += 1
        return waiter

    def first(self) -> Waiter | None:
        """Return whose turn it is."""
        return self._by_caller[self._turns[0]][0] if self._turns else None

    def admit(self) -> Waiter:
        """Let the first one go; its caller's next turn comes after the others'."""
        caller = self._turns.popleft()
        own = self._by_caller[caller]
        waiter = own.popleft()
        if own:
            self._turns.append(caller)
        else:
            del self._by_caller[caller]
        self.size -= 1
        waiter.granted = True
        waiter.event.set()
        return waiter

    def dismiss(self) -> None:
        """Send everybody away: those who may not wait have learned that there is nothing."""
        for own in self._by_caller.values():
            for waiter in own:
                waiter.event.set()
        self._by_caller.clear()
        self._turns.clear()
        self.size = 0

    def leave(self, waiter: Waiter) -> None:
        """Stand in line no more; nothing where it was admitted already."""
        own = self._by_caller.get(waiter.caller)
        if own is None or waiter not in own:
            return
        own.remove(waiter)
        self.size -= 1
        if not own:
            del self._by_caller[waiter.caller]
            self._turns.remove(waiter.caller)
