import socket

import pytest
import trio
import trio.testing

from proxyd.core.errors import Flag, ProxyError
from proxyd.net import resolve as resolve_module
from proxyd.net.resolve import LOOKUP_SECONDS, MAX_ADDRESSES, Resolver, interleave, resolve

V4 = int(socket.AF_INET)
V6 = int(socket.AF_INET6)


class Names:
    """A lookup that answers from a table, counts, and can be held back."""

    def __init__(self, table):
        self.table = table
        self.asked = []
        self.gate = trio.Event()
        self.gate.set()

    async def __call__(self, host, port):
        self.asked.append(host)
        await self.gate.wait()
        answer = self.table[host]
        if isinstance(answer, Exception):
            raise answer
        return answer


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


async def test_a_name_is_looked_up_once_and_remembered_for_ten_seconds():
    names, clock = Names({"a.example": [(V4, "192.0.2.1")]}), Clock()
    resolver = Resolver(names, clock)
    for clock.now in (0.0, 9.9):
        assert await resolver.resolve("a.example", 443) == [(V4, "192.0.2.1")]
    assert len(names.asked) == 1
    clock.now = 10.0
    await resolver.resolve("a.example", 443)
    assert len(names.asked) == 2


async def test_a_caller_cannot_change_what_is_remembered():
    resolver = Resolver(Names({"a.example": [(V4, "192.0.2.1")]}), Clock())
    (await resolver.resolve("a.example", 443)).clear()
    assert await resolver.resolve("a.example", 443) == [(V4, "192.0.2.1")]


@pytest.mark.parametrize(
    "failure",
    [socket.gaierror(socket.EAI_NONAME, "Name or service not known"), UnicodeError("label too long"), []],
)
async def test_a_name_without_address_is_502_dns_error_and_remembered_for_one_second(failure):
    names, clock = Names({"a.example": failure}), Clock()
    resolver = Resolver(names, clock)
    for clock.now in (0.0, 0.9):
        with pytest.raises(ProxyError) as caught:
            await resolver.resolve("a.example", 443)
        assert (caught.value.status, caught.value.error, caught.value.flag) == (502, "dns_error", Flag.NO_RESOLUTION)
        assert "a.example" in caught.value.detail
    assert len(names.asked) == 1
    clock.now = 1.0
    names.table["a.example"] = [(V4, "192.0.2.1")]
    assert await resolver.resolve("a.example", 443) == [(V4, "192.0.2.1")]


async def test_a_lookup_that_hangs_is_504_dns_timeout(autojump_clock):
    names = Names({})
    names.gate = trio.Event()
    started = trio.current_time()
    with pytest.raises(ProxyError) as caught:
        await Resolver(names).resolve("a.example", 443)
    assert (caught.value.status, caught.value.error) == (504, "dns_timeout")
    assert trio.current_time() - started == pytest.approx(LOOKUP_SECONDS)


async def test_a_wait_on_another_callers_lookup_is_bounded_too(autojump_clock):
    names = Names({})
    names.gate = trio.Event()
    resolver = Resolver(names)
    ended = []

    async def ask(delay):
        await trio.sleep(delay)
        with pytest.raises(ProxyError):
            await resolver.resolve("a.example", 443)
        ended.append(trio.current_time() - delay)

    started = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask, 0.0)
        nursery.start_soon(ask, 3.0)
    assert all(end - started <= LOOKUP_SECONDS + 0.001 for end in ended)


async def test_concurrent_callers_share_one_lookup():
    names = Names({"a.example": [(V4, "192.0.2.1")], "b.example": [(V4, "192.0.2.2")]})
    names.gate = trio.Event()
    resolver = Resolver(names)
    results = []

    async def ask(host):
        results.append(await resolver.resolve(host, 443))

    async with trio.open_nursery() as nursery:
        for host in ("a.example", "a.example", "b.example", "a.example"):
            nursery.start_soon(ask, host)
        await trio.testing.wait_all_tasks_blocked()
        names.gate.set()
    assert sorted(names.asked) == ["a.example", "b.example"]
    assert len(results) == 4


async def test_a_cancelled_caller_hands_its_lookup_to_the_next():
    names = Names({"a.example": [(V4, "192.0.2.1")]})
    names.gate = trio.Event()
    resolver = Resolver(names)
    scope = trio.CancelScope()
    results = []

    async def first():
        with scope:
            await resolver.resolve("a.example", 443)

    async def second():
        results.append(await resolver.resolve("a.example", 443))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(first)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(second)
        await trio.testing.wait_all_tasks_blocked()
        scope.cancel()
        await trio.testing.wait_all_tasks_blocked()
        names.gate.set()
    assert results == [[(V4, "192.0.2.1")]]
    assert len(names.asked) == 2
    assert not resolver._flights


async def test_remembered_names_are_bounded(monkeypatch):
    monkeypatch.setattr(resolve_module, "MAX_NAMES", 4)
    names = Names({f"{i}.example": [(V4, "192.0.2.1")] for i in range(10)})
    resolver = Resolver(names, Clock())
    for host in names.table:
        await resolver.resolve(host, 443)
    assert list(resolver._answers) == ["6.example", "7.example", "8.example", "9.example"]


@pytest.mark.parametrize(("literal", "family"), [("192.0.2.1", V4), ("2001:db8::1", V6), ("::ffff:192.0.2.1", V6)])
async def test_a_literal_is_never_looked_up(literal, family):
    assert await Resolver(Names({})).resolve(literal, 443) == [(family, literal)]


def test_families_alternate_and_keep_their_order():
    found = [(V6, "::1"), (V6, "::2"), (V6, "::3"), (V4, "1.1.1.1"), (V4, "2.2.2.2"), (V6, "::1")]
    assert interleave(found) == ((V6, "::1"), (V4, "1.1.1.1"), (V6, "::2"), (V4, "2.2.2.2"), (V6, "::3"))
    assert interleave([]) == ()


def test_addresses_of_one_name_are_bounded():
    assert len(interleave([(V4, f"192.0.2.{i}") for i in range(100)])) == MAX_ADDRESSES


async def test_the_system_knows_localhost():
    assert {"127.0.0.1", "::1"} & {address for _, address in await resolve("localhost", 80)}
