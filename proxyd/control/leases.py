"""Lends parts of shared limits to workers, and keeps the account in the store.

What must outlive this process or is shared with other hosts stands in the store: windows, quotas, and all limits of a
fleet. Rates of one machine stand in memory. A worker's question is not trusted: limits are found by their names, and
numbers are bounded.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import trio

from proxyd.catalog import vendors
from proxyd.control import estimates
from proxyd.core.limiting import Limit
from proxyd.core.messages import SetLease, WantLease
from proxyd.core.service import Service
from proxyd.core.vendor import ACCOUNT_LIMIT
from proxyd.limiting.buckets import Bucket, Grant, Quota, QuotaBucket, Rate, RateBucket, Spent, Window, WindowBucket
from proxyd.limiting.periods import bounds
from proxyd.store.memory import MemoryStore
from proxyd.store.protocol import Change, Store, StoreError, update
from proxyd.telemetry.log import Log

LIFETIME: Final = 5.0
"""Seconds that a lease is good for without being settled."""

OPENING_SECONDS: Final = 1.0
"""For so long a question waits for a store that is being opened."""

MEMBER_SECONDS: Final = 30.0
"""A member that says nothing for so long is no member any more."""

MAX_QUESTIONS: Final = 4096
"""Questions of workers that wait; more are not answered, and the worker asks again."""

ANSWERERS: Final = 8
MAX_COPIES: Final = 4096
"""States that are kept here besides, of limits that stand in a store."""

MAX_WANT: Final = 100_000
MAX_KEY: Final = 400
MAX_SPENT: Final = 128

_NO_END: Final = 2**50
"""What a soft quota lends up to: it counts and tells."""

_PREFIX: Final = "limit/"
_MEMBERS: Final = "member/"


@dataclass(slots=True)
class _Question:
    message: WantLease
    worker: str
    reply: Callable[[SetLease], None]


class Leases:
    """Answers workers' questions."""

    def __init__(self, log: Log, member: str, wall: Callable[[], float] = time.time) -> None:
        self._log = log
        self._member = member
        """This host's name among those that share the store."""
        self.store: Store | None = None
        """What is shared or must be kept; None: it cannot be reached."""
        self.is_fleet = False
        self.tried = trio.Event()
        """Set once the store has been opened, or could not be."""
        self._configured = trio.Event()
        self._memory = MemoryStore(wall)
        self._wall = wall
        self._copies: dict[str, tuple[bytes, float]] = {}
        """States, and when they were so."""
        self._limits: dict[tuple[str, str], Limit] = {}
        self._estimates = estimates.Estimates()
        self._questions_in, self._questions = trio.open_memory_channel[_Question](MAX_QUESTIONS)
        self._members = 1
        self._names: frozenset[str] | None = None
        """Of the members; None: nobody has looked yet."""
        self._told: set[tuple[str, str, str, float, float]] = set()
        """Warnings that were given: service, limit, key, share, period."""
        self.failure = ""
        """Why the store did not do what it was asked, until it does again."""

    def configure(self, services: Sequence[Service]) -> None:
        """Bring in the limits of a configuration."""
        self._limits = {(service.name, limit.name): limit for service in services for limit in service.limits}
        self._estimates.configure(vendors.defined(services))
        self._configured.set()

    def ask(self, message: WantLease, worker: str, reply: Callable[[SetLease], None]) -> None:
        """Take a worker's question. ValueError: it breaks a rule."""
        if len(message.key) > MAX_KEY or not 0 <= message.want <= MAX_WANT or not 0 <= message.kept <= MAX_WANT:
            raise ValueError("WantLease: out of range")
        if len(message.spent) > MAX_SPENT:
            raise ValueError("WantLease: too many entries")
        estimates.check(message)
        try:
            self._questions_in.send_nowait(_Question(message, worker, reply))
        except trio.WouldBlock:
            return

    async def run(self) -> None:
        """Answer for ever; workers that were there before are not told that nothing is known yet."""
        await self._configured.wait()
        async with trio.open_nursery() as nursery:
            for _ in range(ANSWERERS):
                nursery.start_soon(self._answer_all)
            nursery.start_soon(self._be_member)

    async def _answer_all(self) -> None:
        async for question in self._questions:
            question.reply(await self._answer(question))

    async def _answer(self, question: _Question) -> SetLease:
        message = question.message
        if message.limit == ACCOUNT_LIMIT and self._estimates.knows(message.service):
            return await self._answer_account(question)
        limit = self._limits.get((message.service, message.limit))
        if limit is None:  # of a configuration that is gone
            return _nothing(message, wait=1.0)
        if not self.tried.is_set() and self._is_stored(limit):
            with trio.move_on_after(OPENING_SECONDS):
                await self.tried.wait()
        try:
            grant, bucket = await self._lend(limit, message, f"{self._member}/{question.worker}")
        except StoreError as error:
            self.failed(str(error))
            return _nothing(message, wait=1.0, is_lost=True)
        self.recovered()
        if isinstance(bucket, QuotaBucket):
            self._warn(limit, message, bucket)
        return SetLease(
            message.service, message.limit, message.key, grant.tokens, LIFETIME, grant.wait, grant.left, grant.reset,
            self._members,
        )  # fmt: skip

    async def _answer_account(self, question: _Question) -> SetLease:
        """Answer for a vendor's own limits."""
        message = question.message
        member = f"{self._member}/{question.worker}/{message.service}"
        store = self.store if self.is_fleet else self._memory
        try:
            if store is None:
                raise StoreError("the store is not there")
            answer = await self._estimates.lend(message, member, store, LIFETIME, self._members, question.reply)
        except StoreError as error:
            self.failed(str(error))
            return _nothing(message, wait=1.0, is_lost=True)
        self.recovered()
        return answer

    async def _lend(self, limit: Limit, message: WantLease, member: str) -> tuple[Grant, Bucket]:
        spent = [Spent(max(0, tokens), max(0.0, ago)) for tokens, ago in message.spent]

        where = _PREFIX + place(message.service, limit, message.key)

        def change(value: bytes, now: float) -> tuple[Change, tuple[Grant, Bucket]]:
            bucket = opened(limit, value, now) if value else self._restored(limit, where, now)
            bucket.settle(member, spent, message.kept, now, LIFETIME)
            grant = bucket.take(member, message.want, now, LIFETIME)
            return Change(bucket.encode(), bucket.lifetime(now)), (grant, bucket)

        store = self._store_of(limit)
        grant, bucket = await update(store, where, change)
        if store is not self._memory:
            self._remember(where, bucket)
        return grant, bucket

    def _remember(self, where: str, bucket: Bucket) -> None:
        """Keep a copy for a store that forgets: a Redis that was restarted without its data must not begin anew."""
        if where not in self._copies and len(self._copies) >= MAX_COPIES:
            self._copies.pop(next(iter(self._copies)))
        self._copies[where] = (bucket.encode(), self._wall())

    def _restored(self, limit: Limit, where: str, now: float) -> Bucket:
        """Return a limit's state where the store has none: a new one, or what is known of one that was there."""
        value, when = self._copies.get(where, (b"", 0.0))
        bucket = opened(limit, value, now)
        age = self._wall() - when
        if value and age < bucket.lifetime(now):
            bucket.distrust(now - age, now)
            return bucket
        return opened(limit, b"", now)

    def _store_of(self, limit: Limit) -> Store:
        return self.opened_store if self._is_stored(limit) else self._memory

    def _is_stored(self, limit: Limit) -> bool:
        return self.is_fleet or not limit.rate

    @property
    def opened_store(self) -> Store:
        """What is shared or must be kept. StoreError: it cannot be reached."""
        if self.store is None:
            raise StoreError("the store is not there")
        return self.store

    # --- members ----------------------------------------------------------------------------------

    async def _be_member(self) -> None:
        """Say that this host is there, and count who else is."""
        while True:
            if self.store is not None and self.is_fleet:
                try:
                    await self._beat(self.store)
                    self.recovered()
                except StoreError as error:
                    self.failed(str(error))
            await trio.sleep(MEMBER_SECONDS / 3)

    async def _beat(self, store: Store) -> None:
        def here(value: bytes, now: float) -> tuple[Change, None]:
            return Change(b"1", MEMBER_SECONDS), None

        await update(store, _MEMBERS + self._member, here)
        names = await store.scan(_MEMBERS, 10_000)
        self._names = frozenset(name.removeprefix(_MEMBERS) for name in names)
        self._members = max(1, len(names))

    def is_member(self, name: str) -> bool:
        """Whether a host takes part, as far as is known."""
        return self._names is None or name in self._names

    def failed(self, why: str) -> None:
        """The store did not do what it was asked: say so once."""
        if not self.failure:
            self._log.warning("store_lost", detail=why)
        self.failure = why

    def recovered(self) -> None:
        """It did."""
        if self.failure:
            self.failure = ""
            self._log.info("store_back")

    # --- quotas -----------------------------------------------------------------------------------

    def _warn(self, limit: Limit, message: WantLease, bucket: QuotaBucket) -> None:
        """Say once per period that a share of a quota is used."""
        used = bucket.used / (limit.quota + bucket.extra)
        for share in limit.warn:
            sign = (message.service, limit.name, message.key, share, bucket.start)
            if used >= share and sign not in self._told:
                self._told.add(sign)
                self._log.warning(
                    "quota_warning", service=message.service, limit=limit.name, key=message.key,
                    used=bucket.used, quota=limit.quota + bucket.extra, share=share,
                )  # fmt: skip

    async def quotas(self) -> list[dict[str, object]]:
        """Return every quota that anything is known of, and those that nothing was used of."""
        found: list[dict[str, object]] = []
        for (service, _), limit in self._limits.items():
            if not limit.quota:
                continue
            stored = await self._read(_PREFIX + place(service, limit, ""))
            rows = [_quota_row(service, limit, key, value) for key, value in stored.items()]
            found += rows or [_quota_row(service, limit, "", b"")]
        return found

    async def revise(
        self, service: str, name: str, key: str, change: Callable[[QuotaBucket], None]
    ) -> dict[str, object]:
        """Change a quota's account. KeyError: there is no such quota. StoreError."""
        limit = self._limits[service, name]
        if not limit.quota:
            raise KeyError(name)

        def revised(value: bytes, now: float) -> tuple[Change, bytes]:
            bucket = opened(limit, value, now)
            assert isinstance(bucket, QuotaBucket)
            change(bucket)
            state = bucket.encode()
            return Change(state, bucket.lifetime(now)), state

        state = await update(self._store_of(limit), _PREFIX + place(service, limit, key), revised)
        self._told.clear()
        return _quota_row(service, limit, key, state)

    async def _read(self, prefix: str) -> dict[str, bytes]:
        return {key[len(prefix) :]: value for key, value in (await self.opened_store.scan(prefix, 10_000)).items()}


def opened(limit: Limit, value: bytes, now: float) -> Bucket:
    """Return the state of a limit."""
    if limit.rate:
        return RateBucket.decode(Rate(limit.rate, limit.burst), value, now)
    if limit.window:
        return WindowBucket.decode(Window(limit.window, limit.window_seconds), value, now)
    begin, end = bounds(limit, now)
    return QuotaBucket.decode(Quota(_NO_END if limit.is_soft else limit.quota, begin, end), value, now)


def place(service: str, limit: Limit, key: str) -> str:
    """Return where the state of a limit stands; a limit that was redefined begins anew."""
    kind = "rate" if limit.rate else "window" if limit.window else "quota"
    return f"{service}/{limit.name}/{kind}/{key}"


def _quota_row(service: str, limit: Limit, key: str, value: bytes) -> dict[str, object]:
    now = time.time()
    bucket = opened(limit, value, now)
    assert isinstance(bucket, QuotaBucket)
    begin, end = bounds(limit, now)
    elapsed = max(1.0, now - begin)
    rate = bucket.used / elapsed
    left = max(0, limit.quota + bucket.extra - bucket.used)
    exhausted = now + left / rate if rate and left / rate < end - now else None
    return {
        "service": service,
        "limit": limit.name,
        "key": key.replace("\x1f", " "),
        "period": limit.period.value,
        "quota": limit.quota,
        "granted": bucket.extra,
        "used": bucket.used,
        "lent": bucket.lent,
        "remaining": left,
        "reset": end,
        "reset_seconds": round(end - now, 1),
        "exhausted": exhausted,
        "mode": "soft" if limit.is_soft else "hard",
    }


def _nothing(message: WantLease, *, wait: float, is_lost: bool = False) -> SetLease:
    return SetLease(message.service, message.limit, message.key, 0, LIFETIME, wait, 0, wait, 1, is_lost)
