"""What goes from one supervisor to the next, and what becomes of sockets and links on the way."""

import os
import socket

import pytest

from proxyd.core.messages import Pulse, Reload
from proxyd.net.framing import frame_header
from proxyd.supervisor import state
from proxyd.supervisor.children import Control, Worker
from proxyd.supervisor.link import BufferedLink
from proxyd.supervisor.listeners import Listeners
from proxyd.supervisor.past import past_of
from proxyd.supervisor.state import FORMAT, Estate, Household, SocketsState
from proxyd.wire import ipc


def copies(sockets):
    """The same sockets in other descriptors, as another process would have them."""
    fds = {fd: os.dup(fd) for fd in state.descriptors(sockets)}
    return state.unpack(Estate, state.pack(Estate(FORMAT, 2, sockets, 2)), {**fds, 2: os.dup(2)}).sockets


@pytest.fixture
def held():
    made = []
    yield made
    for listeners in made:
        listeners.close()


def test_a_link_goes_on_in_the_middle_of_frames():
    ours, theirs = socket.socketpair()
    with theirs:
        theirs.settimeout(5)
        link = BufferedLink(ours, ipc.MAX_UP)
        payload = ipc.encode(Pulse())
        frame = frame_header(payload, (), ipc.MAX_UP) + payload
        theirs.sendall(frame[:5])
        assert link.receive() == []
        control = Control("control", 77, link, 1.5)
        control.is_bound = True
        before = state.child_state(control)
        revived = state.revive_control(before, 99.0)
        link._sock.detach()
        theirs.sendall(frame[5:])
        assert revived.link.receive() == [payload]
        assert (revived.pid, revived.started, revived.is_bound, revived.silent_at) == (77, 1.5, True, 99.0)
        revived.tell(Reload())
        assert theirs.recv(100)
        revived.link.close()


def test_what_waits_to_be_sent_is_sent_by_the_next_one():
    ours, theirs = socket.socketpair()
    read, write = os.pipe()
    with theirs:
        link = BufferedLink(ours, ipc.MAX_UP)
        big = bytes(600_000)
        link.send(big)
        link.send(b"with a descriptor", (read,))
        worker = state.revive_worker(state.child_state(Worker("worker 3", 78, link, 0.0, index=3, is_retiring=True)))
        link._sock.detach()
        assert (worker.index, worker.is_retiring, worker.title) == (3, True, "worker 3")
        left = len(big) + 4 + len(b"with a descriptor") + 4
        got = []
        while left:
            worker.link.flush()
            data, fds, _, _ = socket.recv_fds(theirs, 1 << 20, 4)
            left -= len(data)
            got += fds
        assert len(got) == 1
        os.close(got[0])
        worker.link.close()
    os.close(read)
    os.close(write)


def test_a_child_whose_link_has_ended_is_left_to_the_reaper():
    ours, theirs = socket.socketpair()
    theirs.close()
    worker = Worker("worker 0", 78, BufferedLink(ours, ipc.MAX_UP), 0.0)
    worker.link.close()
    assert state.generation_state(1, None, past_of(1, None, [worker]).fleet, 1).workers == []


def test_sockets_that_are_lent_are_neither_closed_nor_removed(tmp_path, held):
    path = tmp_path / "apps.sock"
    listeners = Listeners()
    held.append(listeners)
    listeners.change([("apps", f"unix:{path}"), ("tcp", "127.0.0.1:0")])
    lent, admin = state.borrowed(copies(state.sockets_state(listeners, Listeners())))
    kept = lent.change([("tcp", "127.0.0.1:0")])
    assert kept[0].actual == listeners.listening[1].actual
    lent.close()
    admin.close()
    assert path.is_socket()
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))


def test_sockets_that_are_wanted_no_more_end_with_their_paths(tmp_path, held):
    old, new = tmp_path / "old.sock", tmp_path / "new.sock"
    listeners = Listeners()
    listeners.change([("old", f"unix:{old}"), ("tcp", "127.0.0.1:0")])
    actual = listeners.listening[1].actual
    former = copies(state.sockets_state(listeners, Listeners()))
    candidate, admin = state.borrowed(copies(state.sockets_state(listeners, Listeners())))
    listeners.abandon()
    candidate.change([("tcp", "127.0.0.1:0"), ("new", f"unix:{new}")])
    owned, _ = state.owned(copies(state.sockets_state(candidate, admin)), former)
    candidate.abandon()
    held.append(owned)
    assert [(one.name, one.inherited) for one in owned.listening] == [("tcp", None), ("new", None)]
    assert owned.listening[0].actual == actual
    assert owned.unclaimed == ()
    assert not old.exists()
    assert new.is_socket()
    owned.close()
    assert not new.exists()


@pytest.mark.parametrize("data", [b"", b"\xc1", b"\x01", state.msgpack.packb({"format": FORMAT + 1})])
def test_a_state_of_another_format_is_refused(data):
    with pytest.raises(ValueError, match="the state"):
        state.unpack(Household, data)


def test_a_field_that_is_unknown_is_refused():
    estate = Estate(FORMAT, 2, SocketsState([], []), 2)
    plain = state.msgpack.unpackb(state.pack(estate))
    plain["more"] = 1
    with pytest.raises(ValueError, match="more"):
        state.unpack(Estate, state.msgpack.packb(plain))
