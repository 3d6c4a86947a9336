import errno
import socket

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

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
