"""The faults that are injected now: what workers are told, and what ``status`` says.

They live in this process alone: a control process that is replaced, and another generation, begin without any, and
tell the workers so. Each ends by itself in the workers, whatever becomes of control.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from proxyd.core.fault import MAX_FAULTS, Fault
from proxyd.core.messages import SetFaults
from proxyd.core.refusal import Refusal


class Faults:
    """Faults by id, the oldest first. ``tell`` sends a message to every worker."""

    def __init__(self, tell: Callable[[SetFaults], None], clock: Callable[[], float] = time.time) -> None:
        self._tell = tell
        self._clock = clock
        self._faults: dict[str, Fault] = {}
        self._number = 0

    def __iter__(self) -> Iterator[Fault]:
        now = self._clock()
        return iter([fault for fault in self._faults.values() if fault.expires > now])

    def message(self) -> SetFaults:
        """Return what a worker is to know."""
        return SetFaults(list(self))

    def add(self, fault: Fault) -> Fault:
        """Inject a fault and return it with its id. Refusal: there are too many."""
        self._faults = {one.id: one for one in self}
        if len(self._faults) >= MAX_FAULTS:
            raise Refusal("refused", f"{MAX_FAULTS} faults are injected already: clear some (fault_clear)")
        self._number += 1
        fault = replace(fault, id=f"f{self._number}")
        self._faults[fault.id] = fault
        self._tell(self.message())
        return fault

    def clear(self, ids: Iterable[str] = ()) -> list[str]:
        """End these faults, all without ids; return the ids of those that ended. Refusal: one is not there."""
        known = {fault.id: fault for fault in self}
        wanted = list(dict.fromkeys(ids)) or list(known)
        absent = [name for name in wanted if name not in known]
        if absent:
            raise Refusal(
                "not_found", f"there is no fault {absent[0][:64]!r}, or it has expired; fault_list names them"
            )
        self._faults = {name: fault for name, fault in known.items() if name not in wanted}
        if wanted:
            self._tell(self.message())
        return wanted

    def problems(self, now: float) -> Iterable[str]:
        """Say of each fault what it does, and for how long."""
        for fault in self:
            share = "" if fault.share >= 1 else f"{fault.share:.2%} of ".replace(".00%", "%")
            left = max(1, round(fault.expires - now))
            yield (
                f"fault {fault.id} is injected on purpose: {fault.what} for {share}{fault.where}, "
                f"{left} s more (proxyd fault clear {fault.id})"
            )
