"""Idempotency keys as a worker deals with them: questions to control, which holds the store.

A question is repeated until it is answered, with the same claim: whichever control process answers, and however often,
the key is this worker's once.
"""

import itertools
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

import trio

from proxyd.core.idempotency import KeyState
from proxyd.core.messages import KeySettled, SetKey, WantKey

AGAIN_SECONDS: Final = 1.0
LOST_SECONDS: Final = 0.2
"""Between two questions while the store is away."""

PATIENCE: Final = 5.0
"""For so long a request waits for the store."""

LASTING: Final = 120.0
"""For so long an outcome is told again that nobody has taken in."""

MAX_TELLING: Final = 512
"""Outcomes on their way; of more the keys stay as they are, unknown in the end."""


class Keys:
    """Asks and tells."""

    def __init__(self, send: Callable[[WantKey | KeySettled], None], spawn: Callable[..., None]) -> None:
        self._send = send
        self._spawn = spawn
        self._numbers = itertools.count(1)
        self._waiting: dict[int, tuple[trio.Event, list[SetKey]]] = {}
        self._telling = 0
        self._told = trio.Event()

    def answer(self, message: SetKey) -> None:
        """Take what control says."""
        waiting = self._waiting.get(message.number)
        if waiting is not None:
            event, answers = waiting
            answers.append(message)
            event.set()

    async def claim(self, service: str, key: bytes, fingerprint: bytes, claim: bytes) -> SetKey:
        """Return what is known of a key; LOST when nobody says so in time."""
        return await self._ask(WantKey(0, service, key, fingerprint, claim), PATIENCE)

    async def settle(self, message: KeySettled) -> None:
        """Have an outcome written down; return when it is, or after a while when it cannot be had yet."""
        with trio.move_on_after(PATIENCE):
            await self.post(message).wait()

    def post(self, message: KeySettled) -> trio.Event:
        """Have an outcome written down; return what is set when it is."""
        written = trio.Event()
        if self._telling < MAX_TELLING:
            self._telling += 1
            self._spawn(self._tell, message, written)
        return written

    async def flush(self) -> None:
        """Return when every outcome is written down."""
        while self._telling:
            self._told = trio.Event()
            await self._told.wait()

    async def _tell(self, message: KeySettled, written: trio.Event) -> None:
        try:
            if (await self._ask(message, LASTING)).state is KeyState.SETTLED:
                written.set()
        finally:
            self._telling -= 1
            self._told.set()

    async def _ask(self, message: Any, patience: float) -> SetKey:
        number = next(self._numbers)
        question = replace(message, number=number)
        deadline = trio.current_time() + patience
        try:
            while True:
                event, answers = self._waiting[number] = (trio.Event(), [])
                self._send(question)
                with trio.move_on_at(min(deadline, trio.current_time() + AGAIN_SECONDS)):
                    await event.wait()
                if answers and answers[0].state is not KeyState.LOST:
                    return answers[0]
                now = trio.current_time()
                if now + LOST_SECONDS >= deadline:
                    return SetKey(number, KeyState.LOST)
                if answers:
                    await trio.sleep(LOST_SECONDS)
        finally:
            del self._waiting[number]
