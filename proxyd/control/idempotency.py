"""Idempotency keys: workers ask before they send a request that has one, and say what came of it.

What is written stands in the store before a worker hears of it. Questions about one key are answered one after the
other, in the order in which they came.
"""

from collections.abc import Callable, Sequence
from typing import Final

import trio

from proxyd.control.leases import Leases
from proxyd.core.idempotency import CLAIM_BYTES, HASH_BYTES, IdempotencyPolicy, KeyState
from proxyd.core.messages import KeySettled, SetKey, WantKey
from proxyd.core.service import Service
from proxyd.core.units import KIB, MINUTE
from proxyd.net.process import is_running
from proxyd.store.claims import Claimant, Record, ask, settle
from proxyd.store.protocol import Change, StoreError, update

LANES: Final = 8
MAX_QUESTIONS: Final = 64
"""Questions that wait in each lane; more are not answered, and the worker asks again."""

LONGEST: Final = 10 * MINUTE
"""A request without ``total`` counts as under way for so long."""

MAX_ANSWER: Final = 256 * KIB
MAX_FIELDS: Final = 512

_PREFIX: Final = "idempotency/"

Reply = Callable[[SetKey], None]
Question = tuple[WantKey | KeySettled, str, Reply]


class Idempotency:
    """Answers workers' questions about keys."""

    def __init__(self, lending: Leases, member: str, is_running: Callable[[int], bool] = is_running) -> None:
        """``is_running`` says whether there is a process of this id: a worker of this or of another generation."""
        self._lending = lending
        self._member = member
        self._is_running = is_running
        self._policies: dict[str, tuple[IdempotencyPolicy, float]] = {}
        lanes = [trio.open_memory_channel[Question](MAX_QUESTIONS) for _ in range(LANES)]
        self._in = [send for send, _ in lanes]
        self._out = [receive for _, receive in lanes]

    def configure(self, services: Sequence[Service]) -> None:
        """Bring in the policies of a configuration."""
        self._policies = {
            one.name: (one.idempotency, one.timeouts.total or LONGEST) for one in services if one.idempotency
        }

    def take(self, message: WantKey | KeySettled, worker: str, reply: Reply) -> None:
        """Take a worker's question or word. ValueError: it breaks a rule."""
        kind = type(message).__name__
        lengths = (len(message.key), len(message.fingerprint), len(message.claim))
        if lengths != (HASH_BYTES, HASH_BYTES, CLAIM_BYTES):
            raise ValueError(f"{kind}: a hash or a claim of another length")
        if isinstance(message, KeySettled) and (
            len(message.body) > MAX_ANSWER or len(message.headers) > MAX_FIELDS or not 0 <= message.status < 1000
        ):
            raise ValueError(f"{kind}: out of range")
        try:
            self._in[message.key[0] % LANES].send_nowait((message, worker, reply))
        except trio.WouldBlock:
            return

    async def run(self) -> None:
        """Answer for ever."""
        async with trio.open_nursery() as nursery:
            for lane in self._out:
                nursery.start_soon(self._serve, lane)

    async def _serve(self, lane: "trio.MemoryReceiveChannel[Question]") -> None:
        async for message, worker, reply in lane:
            try:
                if isinstance(message, WantKey):
                    state, record = await self._ask(message, worker)
                    reply(_told(message.number, state, record))
                else:
                    reply(SetKey(message.number, await self._settle(message, worker)))
            except StoreError as error:
                self._lending.failed(str(error))
                reply(SetKey(message.number, KeyState.LOST))
            else:
                self._lending.recovered()

    async def _ask(self, message: WantKey, worker: str) -> tuple[KeyState, Record | None]:
        policy, seconds = self._policies.get(message.service) or (IdempotencyPolicy(), LONGEST)
        who = self._claimant(message, worker, seconds)

        def change(value: bytes, now: float) -> tuple[Change, tuple[KeyState, Record | None]]:
            return ask(value, now, who, policy.window, self._is_alive)

        return await update(self._lending.opened_store, _PREFIX + message.key.hex(), change)

    async def _settle(self, message: KeySettled, worker: str) -> KeyState:
        policy, seconds = self._policies.get(message.service) or (IdempotencyPolicy(), LONGEST)
        who = self._claimant(message, worker, seconds)
        answer = (message.status, message.headers, message.body)

        def change(value: bytes, now: float) -> tuple[Change, bool]:
            return settle(value, now, who, message.outcome, policy.window, answer)

        await update(self._lending.opened_store, _PREFIX + message.key.hex(), change)
        return KeyState.SETTLED

    def _claimant(self, message: WantKey | KeySettled, worker: str, seconds: float) -> Claimant:
        return Claimant(message.claim, f"{self._member}/{worker}", message.fingerprint, seconds)

    def _is_alive(self, owner: str) -> bool:
        """Whether a claim's owner may still be at it; a store of one machine has no members elsewhere."""
        member, _, worker = owner.rpartition("/")
        if member == self._member or not self._lending.is_fleet:
            return worker.isascii() and worker.isdigit() and self._is_running(int(worker))
        return self._lending.is_member(member)


def _told(number: int, state: KeyState, record: Record | None) -> SetKey:
    if record is None:
        return SetKey(number, state)
    return SetKey(number, state, record.status, record.headers, record.body)
