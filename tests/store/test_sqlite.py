"""The store of one machine: its schema's steps, kills at any instant, and a disk that is full."""

import random
import signal
import subprocess
import sys
import threading
from pathlib import Path

import apsw
import pytest
import trio

from proxyd.store.migrations import MIGRATIONS, migrate
from proxyd.store.protocol import StoreError
from proxyd.store.sqlite import open_sqlite

WRITER = """
import sys, trio
from pathlib import Path
from proxyd.store.sqlite import open_sqlite

async def main():
    async with open_sqlite(Path(sys.argv[1])) as store:
        number = int((await store.read("n")).value or b"0")
        while True:
            number += 1
            entry = await store.read("n")
            assert await store.swap("n", entry.version, b"%d" % number, None)
            print(number, flush=True)

trio.run(main)
"""

FULL = """
import resource, sys, trio
from pathlib import Path
from proxyd.store.protocol import StoreError
from proxyd.store.sqlite import open_sqlite

async def main():
    async with open_sqlite(Path(sys.argv[1])) as store:
        await store.swap("kept", 0, b"before", None)
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, resource.RLIM_INFINITY))
        why = ""
        for number in range(200):
            try:
                await store.swap(f"k{number}", 0, bytes(10_000), None)
            except StoreError as error:
                why = str(error)
                break
        print("why:", why)
        print("kept:", (await store.read("kept")).value.decode())
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))

import signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
trio.run(main)
"""


def test_steps_go_up_and_down_and_up_again(tmp_path: Path) -> None:
    connection = apsw.Connection(str(tmp_path / "s.db"))
    for target in (len(MIGRATIONS), 0, len(MIGRATIONS)):
        migrate(connection, target)
        assert next(connection.execute("PRAGMA user_version")) == (target,)
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
        assert tables == ({"entry"} if target else set())
    connection.close()


async def test_a_schema_of_a_later_program_is_refused_with_words_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    connection = apsw.Connection(str(path))
    migrate(connection)
    connection.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    connection.close()
    with pytest.raises(StoreError, match="this program, which is older"):
        async with open_sqlite(path):
            pass
    connection = apsw.Connection(str(path))
    assert next(connection.execute("PRAGMA user_version")) == (len(MIGRATIONS) + 1,)
    connection.close()


def test_what_was_acknowledged_survives_kills(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    acknowledged = 0
    for _ in range(8):
        process = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE)
        assert process.stdout is not None
        for _ in range(random.randint(1, 40)):
            acknowledged = int(process.stdout.readline() or acknowledged)
        process.send_signal(signal.SIGKILL)
        rest, _ = process.communicate()
        acknowledged = max([acknowledged, *map(int, rest.split())])
        found = trio.run(read_number, path)
        assert found >= acknowledged
        acknowledged = found
    connection = apsw.Connection(str(path))
    assert next(connection.execute("PRAGMA integrity_check")) == ("ok",)
    connection.close()


async def read_number(path: Path) -> int:
    async with open_sqlite(path) as store:
        return int((await store.read("n")).value or b"0")


def test_a_full_disk_is_an_error_that_says_so_and_what_was_there_is_read(tmp_path: Path) -> None:
    # a limit on the size of files stands for the disk: writes beyond it fail in the same place
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path / "s.db")], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    why, kept = done.stdout.splitlines()
    assert why != "why: "
    assert kept == "kept: before"


async def test_only_its_owner_reads_the_file(tmp_path: Path) -> None:
    async with open_sqlite(tmp_path / "s.db") as store:
        await store.swap("a", 0, b"1", None)
        await trio.lowlevel.checkpoint()
    assert (tmp_path / "s.db").stat().st_mode & 0o777 == 0o600


async def test_one_that_is_left_while_it_opens_leaves_no_thread(tmp_path: Path) -> None:
    """At whatever checkpoint the cancellation comes, as a control does that ends or is told another store."""
    for checkpoints in range(12):
        async with trio.open_nursery() as nursery:

            async def hold() -> None:
                async with open_sqlite(tmp_path / "state.db"):
                    await trio.sleep_forever()

            nursery.start_soon(hold)
            for _ in range(checkpoints):
                await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
    threads = [thread for thread in threading.enumerate() if thread.name.startswith("trio apsw")]
    for thread in threads:
        await trio.to_thread.run_sync(thread.join, 10.0)
    assert not any(thread.is_alive() for thread in threads)
