"""One suite for every store."""

import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest
import trio

from proxyd.store.protocol import MAX_VALUE, Change, Store, update
from proxyd.store.sqlite import open_sqlite
from tests.lab.redis import PROGRAM, Redis


@pytest.fixture
def redis_url(tmp_path: Path) -> Iterator[str]:
    if PROGRAM is None:
        pytest.skip("no Redis on this machine")
    with Redis(tmp_path) as server:
        yield server.url


@pytest.fixture(params=["sqlite", "redis"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    async with _opened(request, tmp_path) as opened:
        yield opened


def _opened(request: pytest.FixtureRequest, tmp_path: Path) -> AbstractAsyncContextManager[Store]:
    if request.param == "sqlite":
        return open_sqlite(tmp_path / "state.db")
    pytest.importorskip("coredis")
    from proxyd.store.redis import open_redis

    return open_redis(request.getfixturevalue("redis_url"), None, None)


async def test_nothing_stands_under_a_key_that_was_never_written(store: Store) -> None:
    entry = await store.read("a")
    assert (entry.value, entry.version) == (b"", 0)
    assert abs(entry.now - time.time()) < 60


async def test_a_value_is_read_back_byte_for_byte(store: Store) -> None:
    value = bytes(range(256)) * 10
    assert await store.swap("a", 0, value, None)
    entry = await store.read("a")
    assert entry.value == value
    assert entry.version > 0


async def test_only_who_saw_the_newest_version_writes(store: Store) -> None:
    assert await store.swap("a", 0, b"1", None)
    assert not await store.swap("a", 0, b"2", None)
    version = (await store.read("a")).version
    assert await store.swap("a", version, b"3", None)
    assert not await store.swap("a", version, b"4", None)
    assert (await store.read("a")).value == b"3"


async def test_values_vanish_after_their_lifetime_and_old_versions_stay_old(store: Store) -> None:
    assert await store.swap("a", 0, b"1", 0.05)
    version = (await store.read("a")).version
    await trio.sleep(0.1)
    assert (await store.read("a")).version == 0
    assert not await store.swap("a", version, b"2", None)
    assert await store.swap("a", 0, b"3", None)
    assert (await store.read("a")).version > version


async def test_a_new_lifetime_replaces_the_old(store: Store) -> None:
    await store.swap("a", 0, b"1", 0.05)
    await store.swap("a", (await store.read("a")).version, b"2", None)
    await trio.sleep(0.1)
    assert (await store.read("a")).value == b"2"


async def test_removed_keys_are_gone(store: Store) -> None:
    await store.swap("a", 0, b"1", None)
    await store.remove("a")
    await store.remove("a")
    assert (await store.read("a")).version == 0


async def test_a_scan_finds_keys_by_their_beginning_taken_literally(store: Store) -> None:
    for key in ("q/1", "q/2", "q*", "r/1"):
        await store.swap(key, 0, key.encode(), None)
    assert await store.scan("q/", 10) == {"q/1": b"q/1", "q/2": b"q/2"}
    assert await store.scan("q*", 10) == {"q*": b"q*"}
    assert len(await store.scan("q", 2)) == 2


async def test_concurrent_updates_lose_nothing(store: Store) -> None:
    def add(value: bytes, now: float) -> tuple[Change, int]:
        total = int(value or b"0") + 1
        return Change(str(total).encode(), None), total

    answers: list[int] = []

    async def work() -> None:
        answers.extend([await update(store, "n", add) for _ in range(10)])

    async with trio.open_nursery() as nursery:
        for _ in range(8):
            nursery.start_soon(work)
    assert sorted(answers) == list(range(1, 81))


async def test_what_is_too_long_is_refused(store: Store) -> None:
    with pytest.raises(ValueError, match="262144"):
        await store.swap("a", 0, bytes(MAX_VALUE + 1), None)
    with pytest.raises(ValueError, match="512"):
        await store.read("k" * 600)


async def test_a_change_that_changes_nothing_writes_nothing(store: Store) -> None:
    assert await update(store, "a", lambda value, now: (Change(None, None), "same")) == "same"
    assert (await store.read("a")).version == 0
