"""Upgrades, seen from the supervisor that serves: one trial at a time, and the exec at its good end."""

import math
import time
from typing import Final, Protocol

from proxyd.core.messages import Message, Upgrade, Upgraded
from proxyd.supervisor import candidate, state, successor
from proxyd.supervisor.candidate import TEXT_CHARACTERS, Candidate
from proxyd.supervisor.notice import say
from proxyd.supervisor.options import Options
from proxyd.supervisor.past import Past
from proxyd.supervisor.state import Legacy, SocketsState
from proxyd.supervisor.succession import Note

PROMOTE_SECONDS: Final = 5.0
"""What a new control may take to get the admin addresses before the upgrade's caller is answered all the same."""


class Serving(Protocol):
    """What an upgrade needs of the supervisor."""

    options: Options
    """How this program is started."""

    @property
    def generation(self) -> int:
        """The number of the generation that serves."""
        ...

    @property
    def drain_timeout(self) -> float:
        """What the workers of a candidate that failed may take to end."""
        ...

    @property
    def is_running(self) -> bool:
        """Whether nobody has told us to end."""
        ...

    @property
    def sockets(self) -> SocketsState:
        """All listening sockets."""
        ...

    def tell_control(self, message: Message) -> None:
        """Send something to the control that serves, if there is one."""
        ...

    def take_signals(self) -> list[int]:
        """Return the signals that came and were not acted on."""
        ...

    def on_signal(self, number: int) -> None:
        """Act on a signal."""
        ...

    def legacy(self, one: Candidate, request: Upgrade) -> Legacy:
        """Describe all that goes through the exec."""
        ...


class Upgrades:
    """The trial that is under way, if any, and the answer that its caller waits for."""

    def __init__(self, serving: Serving) -> None:
        self.candidate: Candidate | None = None
        """Until it was reaped."""
        self._serving = serving
        self._answer: tuple[Past, Upgraded] | None = None
        self._answer_at = math.inf

    @property
    def is_under_way(self) -> bool:
        """Whether a candidate may still succeed us."""
        return self.candidate is not None and not self.candidate.has_failed

    @property
    def errors(self) -> int:
        """The descriptor on which a candidate complains, -1 when there is none."""
        return self.candidate.errors if self.candidate else -1

    @property
    def next_deadline(self) -> float:
        """When ``tick`` has something to do."""
        one = self.candidate
        return min(self._answer_at, one.kill_at if one else math.inf, one.deadline if one else math.inf)

    def begin(self, request: Upgrade, obstacle: str = "") -> None:
        """Start a candidate, or say why that is not possible."""
        serving = self._serving
        problem = obstacle or self._obstacle()
        if not problem:
            try:
                self.candidate = candidate.start(serving.options, request, serving.generation + 1, serving.sockets)
            except OSError as error:
                problem = f"{serving.options.command[0]} cannot be executed: {error.strerror}"
        if problem:
            self.answer_failure(request.id, problem)
        else:
            say(f"upgrade: generation {serving.generation + 1} is started, {request.seconds:g} s at most")

    def overhear(self) -> None:
        """Read what a candidate writes to standard error."""
        if self.candidate and self.candidate.errors >= 0:
            self.candidate.overhear()

    def on_note(self, one: Candidate, note: Note) -> None:
        """Act on what a candidate says. ValueError: it does not say such things."""
        match note.word:
            case "failed":
                one.why = note.data.decode(errors="backslashreplace")[:TEXT_CHARACTERS]
                self.fail(one.why)
            case "ready" if not one.has_failed:
                one.tell_note(Note("review", state.pack(self._serving.legacy(one, one.request))))
            case "agreed" if not one.has_failed:
                one.is_agreed = True
            case "ready" | "agreed":
                pass  # it was too late
            case word:
                raise ValueError(f"a candidate does not say {word}")

    def tick(self, now: float) -> None:
        """Give up on a candidate that is late, kill one that does not end, become one that is ready."""
        if self._answer_at <= now:
            self.answer()
        one = self.candidate
        if one is None:
            return
        if one.kill_at <= now:
            one.kill_at = math.inf
            one.abort("it did not end in time")
        elif one.deadline <= now:
            self.fail(one.reason(f"generation {self._serving.generation + 1} was not ready in time"))
        elif one.is_agreed and one.link.is_open and self._serving.is_running:
            self._become(one)

    def fail(self, why: str) -> None:
        """The candidate is not to succeed us: have it end, and say why. Nothing else changes."""
        one = self.candidate
        if one is not None and not one.has_failed:
            one.dismiss(time.monotonic(), self._serving.drain_timeout)
            self.answer_failure(one.request.id, why)

    def exited(self, pid: int, words: str) -> bool:
        """Note that a process was reaped; False when it was no candidate."""
        one = self.candidate
        if one is None or pid != one.pid:
            return False
        one.overhear_all()
        one.link.close()
        self.candidate = None
        if not one.has_failed:
            why = one.reason(f"generation {self._serving.generation + 1} has ended: {words}")
            self.answer_failure(one.request.id, why)
        return True

    def answer_failure(self, number: int, why: str) -> None:
        """Tell whoever called for the upgrade why all is as it was."""
        say(f"upgrade failed, generation {self._serving.generation} goes on: {why}")
        self._serving.tell_control(Upgraded(number, self._serving.generation, why))

    def answer_later(self, former: Past, answer: Upgraded, now: float) -> None:
        """Keep an answer until the new control has the admin addresses: who hears it finds that one there."""
        former.kept_until = math.inf
        self._answer, self._answer_at = (former, answer), now + PROMOTE_SECONDS

    def answer(self) -> None:
        """Give the answer that was kept."""
        if self._answer:
            former, answer = self._answer
            self._answer, self._answer_at = None, math.inf
            former.kept_until = time.monotonic() + self._serving.options.control_answers
            if former.control and former.control.link.is_open:
                former.control.tell(answer)

    def _obstacle(self) -> str:
        if not self._serving.is_running:
            return "proxyd is shutting down"
        if not self._serving.options.command:
            return "nobody has said how this program is started again"
        if self.candidate:
            return "the last attempt is still ending" if self.candidate.has_failed else "an upgrade is under way"
        return "the last upgrade is not complete yet" if self._answer else ""

    def _become(self, one: Candidate) -> None:
        """Become the next program, unless a signal is to be heard first; ``Supervisor.succeed`` goes on there."""
        serving = self._serving
        with successor.signals_kept():
            numbers = serving.take_signals()
            if not numbers:
                self._execute(one)
        for number in numbers:
            serving.on_signal(number)

    def _execute(self, one: Candidate) -> None:
        one.close_errors()
        serving = self._serving
        try:
            successor.execute(serving.options, serving.legacy(one, one.request))
        except OSError as error:
            self.fail(f"{serving.options.command[0]} cannot be executed: {error.strerror}")
