import os
import socket

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from proxyd.core.messages import (
    Adopt,
    Answer,
    Applied,
    ApplySnapshot,
    CredentialApplied,
    Drain,
    Events,
    InstallLeaf,
    Query,
    Ready,
    Refused,
    SetCredential,
    SetFaults,
    SetListener,
    Stats,
    WantLeaf,
)
from proxyd.core.metrics import REQUESTS
from proxyd.core.snapshot import Snapshot
from proxyd.net.frames import FrameLink
from proxyd.net.framing import LinkClosed
from proxyd.wire import ipc
from proxyd.worker import link as module
from proxyd.worker.link import Links
from proxyd.worker.meter import Meter
from proxyd.worker.observe import EVENTS_PER_FRAME
from proxyd.worker.observe import Events as EventQueue
from tests.worker.packed import records


class Subject:
    """A worker that remembers what was done to it."""

    def __init__(self):
        self.done = []
        self.unusable = None

    def apply(self, snapshot):
        if self.unusable:
            raise ValueError(self.unusable)
        self.done.append(("apply", snapshot))

    def offer_listener(self, name, sock):
        self.done.append(("listener", name, sock.getsockname()))
        sock.close()

    def set_credential(self, message):
        self.done.append(message)

    def install_leaf(self, leaf):
        self.done.append(leaf)

    def set_faults(self, message):
        self.done.append(message)

    def adopted(self):
        self.done.append("adopted")

    def drain(self, seconds, *, gentle):
        self.done.append(("drain", seconds, gentle))

    def answer(self, what, about):
        return {"what": what}


def ends():
    ours, theirs = socket.socketpair()
    return FrameLink(ours, ipc.MAX_UP, max_send=ipc.MAX_DOWN), theirs


class Wired:
    """Links of a subject, and the other ends."""

    def __init__(self):
        self.subject = Subject()
        self.meter = Meter()
        self.events = EventQueue(self.meter)
        self.control, theirs = ends()
        self.links = Links(self.subject, self.meter, self.events, theirs)

    async def send(self, message, *fds):
        await self.control.send(ipc.encode(message), list(fds))

    async def receive(self, kind):
        """Return the next message of ``kind``; what comes between is passed over."""
        with trio.fail_after(5):
            while True:
                message = ipc.decode(await self.control.receive(), ipc.WORKER_TO_CONTROL)
                if isinstance(message, kind):
                    return message


@pytest.fixture
async def wired(nursery, autojump_clock):
    made = Wired()
    nursery.start_soon(made.links.run_control)
    yield made
    nursery.cancel_scope.cancel()
    made.control.close()


async def test_a_worker_says_that_it_is_ready_first(wired):
    assert await wired.receive(Ready) == Ready(os.getpid())


async def test_a_snapshot_is_applied_or_refused_with_the_reason(wired):
    await wired.send(ApplySnapshot(Snapshot(7, "p", 1000)))
    assert await wired.receive(Applied) == Applied(7)
    wired.subject.unusable = "no socket for listener apps"
    await wired.send(ApplySnapshot(Snapshot(8, "p", 1000)))
    assert await wired.receive(Refused) == Refused(8, "no socket for listener apps")
    assert wired.subject.done == [("apply", Snapshot(7, "p", 1000))]


async def test_credentials_leaves_and_drains_reach_the_subject(wired):
    credential = SetCredential("api/token", b"value", "", 3)
    leaf = InstallLeaf("api.example", b"chain", b"key", 1.0)
    await wired.send(credential)
    assert await wired.receive(CredentialApplied) == CredentialApplied("api/token", 3)
    await wired.send(leaf)
    await wired.send(SetFaults([]))
    await wired.send(Drain(2.5))
    await wired.send(Query(9, "pools"))
    assert await wired.receive(Answer) == Answer(9, {"what": "pools"})
    assert wired.subject.done == [credential, leaf, SetFaults([]), ("drain", 2.5, False)]


async def test_a_listener_arrives_with_its_descriptor(wired):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        await wired.send(SetListener("apps"), listener.fileno())
        await wired.send(Query(1, "x"))
        await wired.receive(Answer)
        assert wired.subject.done == [("listener", "apps", listener.getsockname())]


async def test_events_go_in_order_and_in_bounded_frames(wired):
    for number in range(EVENTS_PER_FRAME + 1):
        wired.events.add([number])
    assert (await wired.receive(Events)).events == [[number] for number in range(EVENTS_PER_FRAME)]
    assert (await wired.receive(Events)).events == [[EVENTS_PER_FRAME]]


async def test_counters_are_told_each_second(wired):
    cell = wired.meter.counter(REQUESTS, "apps", "", "200")
    await wired.receive(Stats)
    cell.value += 2
    assert (await wired.receive(Stats)).counters == [[REQUESTS.name, ["apps", "", "200"], 2]]


async def test_leaves_are_asked_for(wired):
    wired.links.want_leaf("api.example", "uid:1")
    assert await wired.receive(WantLeaf) == WantLeaf("api.example", "uid:1")


async def test_a_full_queue_of_questions_is_noticed_and_waits_for_nobody(monkeypatch):
    monkeypatch.setattr(module, "MAX_WANTS", 1)
    wired = Wired()
    for _ in range(3):
        wired.links.want_leaf("api.example", "uid:1")
    assert [record[3] for record in records(wired.events)] == ["leaf_questions_full"] * 2
    wired.control.close()
    wired.links._control.close()


async def test_a_control_that_breaks_a_rule_is_cut_off_and_the_worker_goes_on(wired, nursery):
    await wired.control.send(ipc.encode(Ready(1)))
    with pytest.raises(LinkClosed):
        await wired.receive(Adopt)
    assert any(record[3] == "control_frame" for record in records(wired.events))
    await adopt_and_ask(wired, nursery)


async def test_a_lost_control_is_replaced_by_the_one_that_is_adopted(wired, nursery):
    await wired.receive(Ready)
    wired.control.close()
    await wait_all_tasks_blocked()
    wired.events.add([1])
    await adopt_and_ask(wired, nursery)
    assert (await wired.receive(Events)).events == [[1]]


async def test_a_control_that_hangs_is_replaced_as_well(wired, nursery):
    await wired.receive(Ready)
    former = wired.control
    await adopt_and_ask(wired, nursery)
    former.close()


async def adopt_and_ask(wired, nursery):
    supervisor, lifeline = ends()
    nursery.start_soon(wired.links.run_supervisor, lifeline)
    wired.control, theirs = ends()
    with theirs:
        await supervisor.send(ipc.encode(Adopt()), [theirs.fileno()])
    assert await wired.receive(Ready) == Ready(os.getpid())
    await wired.send(Query(1, "pools"))
    assert await wired.receive(Answer) == Answer(1, {"what": "pools"})
    supervisor.close()


async def test_the_lifeline_drains_and_its_end_is_the_order_to_exit(nursery):
    wired = Wired()
    supervisor, lifeline = ends()
    over = trio.Event()

    async def run():
        await wired.links.run_supervisor(lifeline)
        over.set()

    nursery.start_soon(run)
    await supervisor.send(ipc.encode(Drain(4.0, gentle=True)))
    await wait_all_tasks_blocked()
    assert wired.subject.done == [("drain", 4.0, True)]
    assert not over.is_set()
    supervisor.close()
    await over.wait()
    wired.control.close()
    wired.links._control.close()


async def test_what_waits_is_flushed_before_the_end():
    wired = Wired()
    wired.events.add([1])
    wired.meter.counter(REQUESTS, "apps", "", "200").value += 1
    await wired.links.flush()
    assert (await wired.receive(Events)).events == [[1]]
    assert (await wired.receive(Stats)).counters == [[REQUESTS.name, ["apps", "", "200"], 1]]
    wired.control.close()
    await wired.links.flush()
    wired.links._control.close()
