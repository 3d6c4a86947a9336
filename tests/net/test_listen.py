import errno
import socket

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from proxyd.core.counts import AHEAD, SharedCounts
from proxyd.net import listen
from proxyd.net.listen import ACCEPT_BURST, FULL_PAUSE


class Full(socket.socket):
    """A listener of a process that has no descriptor left for ``failures`` times."""

    failures = 0
    code = errno.EMFILE

    def accept(self):
        if self.failures:
            self.failures -= 1
            raise OSError(self.code, "no room")
        return super().accept()


@pytest.fixture
async def listener():
    sock = Full(socket.AF_INET)
    sock.bind(("127.0.0.1", 0))
    sock.listen(64)
    sock.setblocking(False)
    yield sock
    sock.close()


class Door:
    """What was accepted and what failed."""

    def __init__(self):
        self.socks = []
        self.failures = []
        self.used = trio.Event()

    def accepted(self, sock, address):
        assert address == sock.getpeername()
        self.socks.append(sock)
        self.used.set()


@pytest.fixture
async def door():
    door = Door()
    yield door
    for sock in door.socks:
        sock.close()


@pytest.fixture
async def callers(listener):
    made = []

    def call(count):
        made.extend(socket.create_connection(listener.getsockname()) for _ in range(count))

    yield call
    for sock in made:
        sock.close()


async def test_every_connection_is_accepted_and_does_not_block(listener, door, callers, nursery):
    nursery.start_soon(listen.accept, listener, door.accepted, door.failures.append)
    callers(3)
    await wait_all_tasks_blocked()
    assert len(door.socks) == 3
    assert not any(sock.getblocking() for sock in door.socks)
    callers(2)
    await wait_all_tasks_blocked()
    assert len(door.socks) == 5
    nursery.cancel_scope.cancel()


async def test_after_a_few_connections_others_run(listener, door, callers, nursery):
    seen = []
    callers(ACCEPT_BURST * 2)
    nursery.start_soon(listen.accept, listener, door.accepted, door.failures.append)
    while len(door.socks) < ACCEPT_BURST * 2:
        await trio.lowlevel.checkpoint()
        seen.append(len(door.socks))
    assert ACCEPT_BURST in seen
    nursery.cancel_scope.cancel()


async def test_stopping_ends_the_loop_while_it_waits(listener, door, nursery):
    over = trio.Event()

    async def run():
        await listen.accept(listener, door.accepted, door.failures.append)
        over.set()

    nursery.start_soon(run)
    await wait_all_tasks_blocked()
    listen.stop(listener)
    await over.wait()
    assert door.failures == []


async def test_a_listener_that_others_share_goes_on_there(listener, door, callers, nursery):
    shared = listener.dup()
    shared.setblocking(False)
    nursery.start_soon(listen.accept, shared, door.accepted, door.failures.append)
    await wait_all_tasks_blocked()
    listen.stop(shared)
    await wait_all_tasks_blocked()
    callers(1)
    listener.accept()[0].close()


async def test_a_full_descriptor_table_pauses_counts_and_goes_on(listener, door, callers, nursery, autojump_clock):
    listener.failures = 2
    callers(1)
    nursery.start_soon(listen.accept, listener, door.accepted, door.failures.append)
    began = trio.current_time()
    await door.used.wait()
    assert door.failures == ["EMFILE", "EMFILE"]
    assert trio.current_time() - began >= 2 * FULL_PAUSE
    nursery.cancel_scope.cancel()


async def test_a_connection_that_was_gone_before_it_was_accepted_pauses_nothing(listener, door, callers, nursery):
    listener.failures, listener.code = 1, errno.ECONNABORTED
    callers(1)
    nursery.start_soon(listen.accept, listener, door.accepted, door.failures.append)
    await wait_all_tasks_blocked()
    assert door.failures == ["ECONNABORTED"]
    assert len(door.socks) == 1
    nursery.cancel_scope.cancel()


class TestSharedListener:
    """Two processes that share a socket, played by two tasks."""

    async def test_two_that_share_a_socket_end_near_even(self, listener, callers, nursery):
        doors, shared, counts = [Door(), Door()], [listener.dup(), listener.dup()], SharedCounts()
        arrivals = trio.Semaphore(0)
        for index, (door, sock) in enumerate(zip(doors, shared, strict=True)):
            sock.setblocking(False)
            counts.assign(index)
            nursery.start_soon(self.accept, sock, door, counts.row(index), arrivals)
        for _ in range(40):
            callers(1)
            await arrivals.acquire()
        nursery.cancel_scope.cancel()
        for sock in (*shared, *doors[0].socks, *doors[1].socks):
            sock.close()
        assert max(len(door.socks) for door in doors) <= 20 * AHEAD + 2

    @staticmethod
    async def accept(sock, door, row, arrivals):
        def accepted(client, address):
            door.accepted(client, address)
            row.holds(len(door.socks), is_accepting=True)
            arrivals.release()

        row.holds(0, is_accepting=True)
        await listen.accept(sock, accepted, door.failures.append, row.is_ahead)

    async def test_who_is_ahead_takes_what_nobody_else_takes(self, listener, door, callers, nursery):
        arrivals = trio.Semaphore(0)

        def accepted(sock, address):
            door.accepted(sock, address)
            arrivals.release()

        nursery.start_soon(listen.accept, listener, accepted, door.failures.append, lambda: True)
        callers(ACCEPT_BURST * 2)
        for _ in range(ACCEPT_BURST * 2):
            await arrivals.acquire()
        nursery.cancel_scope.cancel()

    async def test_stopping_ends_the_loop_while_it_defers(self, listener, door, callers, nursery):
        over = trio.Event()
        asked = trio.Event()

        def is_ahead():
            asked.set()
            return True

        async def run():
            await listen.accept(listener, door.accepted, door.failures.append, is_ahead)
            over.set()

        nursery.start_soon(run)
        callers(1)
        await asked.wait()
        listen.stop(listener)
        await over.wait()
        assert door.failures == []
