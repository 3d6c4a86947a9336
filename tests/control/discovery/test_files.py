import random

import pytest
import trio

from proxyd.control.discovery import files
from proxyd.control.discovery.watch import Watch
from proxyd.core.discovery import Discovery, ListFile
from proxyd.core.service import Endpoint


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(files, "POLL_SECONDS", 0.01)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "endpoints.yaml"


@pytest.fixture
def watch(path, quick, nursery):
    finder = ListFile(str(path))
    made = Watch(Discovery("api", finder), trio.Event(), random.Random(1))
    nursery.start_soon(files.follow, finder, made)
    return made


async def until(condition):
    with trio.fail_after(10):
        while True:
            if condition():
                return
            await trio.sleep(0.005)


async def test_a_file_that_appears_and_is_replaced_by_rename_is_followed(watch, path, tmp_path):
    await watch.heard.wait()
    assert watch.endpoints is None
    assert watch.problems == (f"{path}: the file cannot be read: No such file or directory",)
    for text, expected in (("[192.0.2.1:1]", Endpoint("192.0.2.1", 1)), ('["192.0.2.1:2"]', Endpoint("192.0.2.1", 2))):
        fresh = tmp_path / "fresh"
        fresh.write_text(text)
        fresh.rename(path)
        await until(lambda expected=expected: watch.endpoints == (expected,))
        assert not watch.problems


async def test_a_broken_file_keeps_the_old_list_and_is_told_with_its_line(watch, path):
    path.write_text("- 192.0.2.1:1\n")
    await until(lambda: watch.endpoints)
    path.write_text("- 192.0.2.1:1\n- {address: 192.0.2.2:1, wieght: 2}\n- nonsense\n")
    await until(lambda: watch.problems)
    assert watch.endpoints == (Endpoint("192.0.2.1", 1),)
    assert [text.split(" ")[0] for text in watch.problems] == [f"{path}:2:26:", f"{path}:3:3:"]
    path.write_text("[]\n")
    await until(lambda: watch.endpoints == ())
    assert not watch.problems


async def test_the_swap_of_a_mounted_config_map_is_seen(quick, tmp_path, nursery):
    for name, port in (("first", 1), ("second", 2)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "list.json").write_text(f'[{{"address": "192.0.2.1:{port}"}}]')
    (tmp_path / "..data").symlink_to("first")
    (tmp_path / "list.json").symlink_to("..data/list.json")
    finder = ListFile(str(tmp_path / "list.json"))
    watch = Watch(Discovery("api", finder), trio.Event(), random.Random(1))
    nursery.start_soon(files.follow, finder, watch)
    await until(lambda: watch.endpoints == (Endpoint("192.0.2.1", 1),))
    (tmp_path / "..data_tmp").symlink_to("second")
    (tmp_path / "..data_tmp").rename(tmp_path / "..data")
    await until(lambda: watch.endpoints == (Endpoint("192.0.2.1", 2),))
