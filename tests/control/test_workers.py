import os
import socket

import pytest
import trio
import trio.testing

from proxyd.control.workers import MAX_QUERIES, Outbox, WorkerLink, settled
from proxyd.core.messages import (
    Answer,
    Applied,
    ApplySnapshot,
    InstallLeaf,
    Query,
    Refused,
    SetCredential,
    SetListener,
)
from proxyd.core.snapshot import Snapshot
from proxyd.net.frames import FrameLink
from proxyd.net.framing import close_fds
from proxyd.wire import ipc


def snapshot(version):
    return ApplySnapshot(Snapshot(version, "p", 0))


def drain(outbox):
    taken = []
    while len(outbox):
        message, fds = outbox.take()
        close_fds(fds)
        taken.append(message)
    return taken


# --- the outbox ------------------------------------------------------------------------------------


def test_newer_message_takes_the_place_of_the_older():
    outbox = Outbox()
    for message in (SetCredential("a", b"1"), SetCredential("b", b"1"), SetCredential("a", b"2")):
        outbox.put(message)
    assert drain(outbox) == [SetCredential("a", b"2"), SetCredential("b", b"1")]


def test_snapshot_stays_behind_what_it_refers_to():
    outbox = Outbox()
    new = InstallLeaf("new.example", b"c", b"k", 1.0)
    for message in (SetCredential("a", b"1"), snapshot(1), SetCredential("a", b"2"), new, snapshot(2)):
        outbox.put(message)
    assert drain(outbox) == [SetCredential("a", b"2"), new, snapshot(2)]


def test_removed_credential_stays_behind_the_snapshot():
    outbox = Outbox()
    for message in (snapshot(1), SetCredential("a", None, "gone")):
        outbox.put(message)
    assert drain(outbox) == [snapshot(1), SetCredential("a", None, "gone")]


def test_outbox_owns_copies_of_descriptors():
    outbox = Outbox()
    ours, theirs = os.pipe()
    before = len(os.listdir("/proc/self/fd"))
    outbox.put(SetListener("a"), ours)
    outbox.put(SetListener("a"), theirs)
    outbox.put(SetListener("b"), ours)
    assert len(os.listdir("/proc/self/fd")) == before + 2
    message, fds = outbox.take()
    assert (message, os.fstat(fds[0]).st_ino) == (SetListener("a"), os.fstat(theirs).st_ino)
    close_fds(fds)
    outbox.close()
    assert len(os.listdir("/proc/self/fd")) == before
    close_fds([ours, theirs])


# --- a link ----------------------------------------------------------------------------------------


class Pair:
    def __init__(self, nursery, index=0):
        ours, theirs = socket.socketpair()
        self.peer = FrameLink(theirs, ipc.MAX_DOWN, max_send=ipc.MAX_UP)
        self.link = WorkerLink(index, 7, FrameLink(ours, ipc.MAX_UP, accepts_fds=False), self.handle)
        self.handled = []
        self.why = None
        nursery.start_soon(self.run)

    async def run(self):
        try:
            self.why = await self.link.run()
        except ValueError as error:
            self.why = error

    def handle(self, link, message):
        self.handled.append(message)

    async def send(self, message):
        await self.peer.send(ipc.encode(message))

    async def receive(self):
        return ipc.decode(await self.peer.receive(), ipc.CONTROL_TO_WORKER)


@pytest.fixture
async def pair(nursery):
    pair = Pair(nursery)
    yield pair
    pair.peer.close()
    pair.link.close()


async def test_question_is_answered(pair, nursery):
    async def answer():
        question = await pair.receive()
        assert question == Query(1, "pools")
        await pair.send(Answer(99, "nobody asked"))
        await pair.send(Answer(1, [1]))

    nursery.start_soon(answer)
    assert await pair.link.ask("pools", 5.0) == [1]


async def test_question_to_a_stopped_worker_takes_its_time_and_no_more(pair, autojump_clock):
    began = trio.current_time()
    assert await pair.link.ask("pools", 5.0) is None
    assert trio.current_time() == began + 5.0


async def test_questions_are_bounded(pair, nursery):
    for _ in range(MAX_QUERIES):
        nursery.start_soon(pair.link.ask, "pools", 1000.0)
    await trio.testing.wait_all_tasks_blocked()
    assert await pair.link.ask("pools", 1000.0) is None


async def test_question_ends_with_the_link(pair, nursery):
    async def close():
        await pair.receive()
        pair.peer.close()

    nursery.start_soon(close)
    assert await pair.link.ask("pools", 1000.0) is None
    assert not pair.link.is_open
    assert await pair.link.ask("pools", 1000.0) is None


async def test_end_of_the_link_is_told_in_words(pair):
    pair.peer.close()
    await trio.testing.wait_all_tasks_blocked()
    assert pair.why == "the peer closed the link"


@pytest.mark.parametrize("payload", [b"\xc1", b"\x92\xa5Drain\x81\xa7seconds\x01", b"\x92\xa7Applied\x80"])
async def test_frame_that_is_no_message_ends_the_link(pair, payload):
    await pair.peer.send(payload)
    await trio.testing.wait_all_tasks_blocked()
    assert isinstance(pair.why, ValueError)
    assert not pair.link.is_open


async def test_refusal_in_a_workers_words_is_cut(pair):
    pair.link.put(snapshot(3))
    await pair.receive()
    await pair.send(Refused(3, "x" * 5000))
    await pair.link.changed.wait()
    assert (pair.link.refused, len(pair.link.why)) == (3, 1024)


async def test_settled_waits_for_all_and_names_the_late(nursery, autojump_clock):
    pairs = [Pair(nursery, index) for index in range(4)]
    applied, refused, gone, late = pairs
    for one in pairs:
        one.link.put(snapshot(3))
    await applied.send(Applied(3))
    await refused.send(Refused(3, "no"))
    gone.peer.close()
    assert await settled([one.link for one in pairs], 3, 10.0) == [late.link]
    await late.send(Applied(3))
    assert await settled([one.link for one in pairs], 3, 10.0) == []
    for one in pairs:
        one.peer.close()


async def test_repr_shows_the_state(pair):
    assert repr(pair.link) == "<WorkerLink 0 pid=7 open applied=0 waiting=0>"
