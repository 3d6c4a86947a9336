import json
import re

import pytest
import trio

from proxyd.control.discovery import names
from proxyd.control.discovery.desk import DEBOUNCE, FIRST_SECONDS, Discoveries
from proxyd.control.discovery.memory import FILE, Memory
from proxyd.control.discovery.records import Records
from proxyd.control.discovery.watch import DiscoveryError
from proxyd.core.discovery import Discovery, Dns
from proxyd.core.service import Endpoint
from proxyd.telemetry.log import Log

TTL = 5.0
ONE = Discovery("one", Dns("one.example", 443))
TWO = Discovery("two", Dns("two.example", 443))


class Zone(dict):
    """A name to its address; ``None`` never answers, an exception is raised."""

    async def __call__(self, name, kind, servers):
        found = self.get(name)
        if found is None:
            await trio.sleep_forever()
        if isinstance(found, Exception):
            raise found
        return ((found,) if kind == "A" else ()), TTL


@pytest.fixture
def zone(monkeypatch):
    monkeypatch.setattr(names, "_has_route", lambda address: True)
    return Zone({"one.example": "192.0.2.1", "two.example": "192.0.2.2"})


@pytest.fixture
def log(tmp_path):
    with open(tmp_path / "log", "wb") as file:
        yield Log("control", descriptor=file.fileno(), human=False)


@pytest.fixture
async def desk(zone, log, nursery):
    made = Discoveries(log, records=Records(zone))
    nursery.start_soon(made.run)
    return made


def at(address):
    return (Endpoint(address, 443),)


async def test_a_configuration_begins_with_the_lists_that_are_found_at_once(desk, autojump_clock):
    began = trio.current_time()
    await desk.prime([ONE, TWO])
    assert trio.current_time() == began
    assert desk.found([ONE, TWO]) == {"one": at("192.0.2.1"), "two": at("192.0.2.2")}


async def test_a_list_that_is_not_found_is_not_waited_for_long_and_is_missing(desk, zone, autojump_clock):
    zone["two.example"] = None
    began = trio.current_time()
    await desk.prime([ONE, TWO])
    assert trio.current_time() == began + FIRST_SECONDS
    assert desk.found([ONE, TWO]) == {"one": at("192.0.2.1")}
    assert [*desk.problems] == ["two: discovery by dns two.example:443: no answer has come yet (no endpoint is known)"]


async def test_a_new_address_is_told_within_its_time_to_live_and_a_second(desk, zone, autojump_clock):
    await desk.prime([ONE])
    await desk.change()
    zone["one.example"] = "192.0.2.9"
    began = trio.current_time()
    await desk.change()
    assert trio.current_time() <= began + TTL + 1.0
    assert desk.found([ONE]) == {"one": at("192.0.2.9")}


async def test_changes_that_come_together_are_told_together(desk, zone, autojump_clock):
    await desk.prime([ONE, TWO])
    began = trio.current_time()
    await desk.change()
    assert DEBOUNCE <= trio.current_time() - began <= 1.5 * DEBOUNCE
    with trio.move_on_after(60):
        await desk.change()
        raise AssertionError("nothing has changed")


async def test_what_leaves_the_configuration_is_looked_for_no_longer(desk, autojump_clock):
    await desk.prime([ONE, TWO])
    desk.commit([TWO])
    assert [watch.discovery for watch in desk] == [TWO]
    assert desk.found([ONE, TWO]) == {"two": at("192.0.2.2")}


async def test_problems_say_what_goes_on(desk, zone, autojump_clock):
    zone["two.example"] = DiscoveryError("SERVFAIL")
    await desk.prime([ONE, TWO])
    zone["one.example"] = DiscoveryError("SERVFAIL")
    await trio.sleep(TTL + 1)
    assert [re.sub("[0-9]+ s ago", "N s ago", text) for text in desk.problems] == [
        "one: discovery by dns one.example:443: SERVFAIL (the endpoints found N s ago go on)",
        "two: discovery by dns two.example:443: SERVFAIL (no endpoint is known)",
    ]


async def test_a_failure_is_logged_once_and_so_is_its_end(desk, zone, autojump_clock, tmp_path):
    zone["one.example"] = DiscoveryError("SERVFAIL")
    await desk.prime([ONE])
    await trio.sleep(100)
    zone["one.example"] = "192.0.2.1"
    await trio.sleep(100)
    events = [json.loads(line)["event"] for line in (tmp_path / "log").read_text().splitlines()]
    assert events == ["discovery_failed", "discovery_recovered"]


async def test_a_finder_that_crashes_is_told_and_begun_again(desk, zone, autojump_clock):
    zone["one.example"] = RuntimeError("unforeseen")
    await desk.prime([ONE])
    assert "unforeseen" in "".join(desk.problems)
    zone["one.example"] = "192.0.2.1"
    await trio.sleep(2)
    assert desk.found([ONE]) == {"one": at("192.0.2.1")}
    assert not [*desk.problems]


async def until(path, text):
    while not path.exists() or text not in path.read_text():  # noqa: ASYNC110 - a file says nothing
        await trio.sleep(0.5)


async def test_a_new_process_goes_on_with_what_the_former_found(zone, log, tmp_path, nursery, autojump_clock):
    async with trio.open_nursery() as inner:
        former = Discoveries(log, records=Records(zone), memory=Memory(tmp_path))
        inner.start_soon(former.run)
        await former.prime([ONE])
        await until(tmp_path / FILE, "192.0.2.1")
        inner.cancel_scope.cancel()
    zone["one.example"] = DiscoveryError("SERVFAIL")
    desk = Discoveries(log, records=Records(zone), memory=Memory(tmp_path))
    nursery.start_soon(desk.run)
    await desk.prime([ONE])
    assert desk.found([ONE]) == {"one": at("192.0.2.1")}
    (problem,) = desk.problems
    assert "(the endpoints found" in problem
    assert problem.endswith("ago go on)")


async def test_a_list_that_changes_is_written_down(zone, log, tmp_path, nursery, autojump_clock):
    desk = Discoveries(log, records=Records(zone), memory=Memory(tmp_path))
    nursery.start_soon(desk.run)
    await desk.prime([ONE])
    await until(tmp_path / FILE, "192.0.2.1")
    zone["one.example"] = "192.0.2.9"
    await until(tmp_path / FILE, "192.0.2.9")


async def test_a_disk_that_is_full_is_told_and_stops_nothing(zone, log, tmp_path, nursery, autojump_clock):
    desk = Discoveries(log, records=Records(zone), memory=Memory(tmp_path / "missing"))
    nursery.start_soon(desk.run)
    await desk.prime([ONE])
    await until(tmp_path / "log", "discovery_memory")
    assert desk.found([ONE]) == {"one": at("192.0.2.1")}


async def test_without_discoveries_nothing_is_written(log, tmp_path, nursery, autojump_clock):
    desk = Discoveries(log, memory=Memory(tmp_path))
    nursery.start_soon(desk.run)
    await desk.prime([])
    await trio.sleep(5)
    assert not (tmp_path / FILE).exists()
