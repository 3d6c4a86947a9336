import math
import socket

import pytest

from proxyd.core.messages import Drain
from proxyd.net.framing import FrameReader, receive_chunk
from proxyd.supervisor.children import Backoff, Worker, describe_exit
from proxyd.supervisor.fleet import DRAIN_GRACE, Fleet
from proxyd.supervisor.link import BufferedLink
from proxyd.wire import ipc


class Stage:
    """Workers that are no processes: pids count up, kills and frames are kept."""

    def __init__(self):
        self.now = 0.0
        self.started = []
        self.killed = []
        self.peers = {}
        self.failures = 0
        self.fleet = Fleet(self.fork, self.hand_over)

    def fork(self, index):
        if self.failures:
            self.failures -= 1
            raise OSError(11, "Resource temporarily unavailable")
        ours, theirs = socket.socketpair()
        theirs.setblocking(False)
        pid = 1000 + len(self.started)
        self.started.append(index)
        self.peers[pid] = theirs
        stage = self

        class Pretended(Worker):
            def kill(self, number=9):
                stage.killed.append(self.pid)

        control_end, other = socket.socketpair()
        other.close()
        return Pretended(f"worker {index}", pid, BufferedLink(ours, 100), self.now, index=index), control_end

    @staticmethod
    def hand_over(_worker, control_end):
        control_end.close()

    def heard(self, pid):
        payloads = FrameReader(1000).feed(*receive_chunk(self.peers[pid], accepts_fds=True))
        return [ipc.decode(payload, ipc.SUPERVISOR_TO_WORKER) for payload in payloads]

    def indexes(self):
        return [worker.index for worker in self.fleet.serving]


@pytest.fixture
def stage():
    made = Stage()
    yield made
    for worker in made.fleet:
        worker.link.close()
    for peer in made.peers.values():
        peer.close()
    made.fleet.counts.close()


def test_growing_and_shrinking_keeps_the_lowest_indexes(stage):
    stage.fleet.resize(3, 5.0, 0.0)
    assert stage.indexes() == [0, 1, 2]
    stage.fleet.resize(1, 5.0, 10.0)
    assert stage.indexes() == [0]
    assert stage.heard(1002) == [Drain(5.0)]
    assert stage.fleet.next_deadline == 10.0 + 5.0 + DRAIN_GRACE


def test_an_index_is_not_shared_with_a_worker_that_still_drains(stage):
    stage.fleet.resize(2, 5.0, 0.0)
    stage.fleet.resize(1, 5.0, 0.0)
    stage.fleet.resize(2, 5.0, 0.0)
    assert stage.indexes() == [0, 2]
    stage.fleet.exited(1001, 0, 1.0)
    stage.fleet.resize(3, 5.0, 1.0)
    assert stage.indexes() == [0, 1, 2]


def test_a_dead_worker_is_replaced_at_once_then_later_and_later(stage):
    stage.fleet.resize(1, 5.0, 0.0)
    waits = []
    for pid in range(1000, 1008):
        stage.fleet.exited(pid, 9, stage.now)
        waits.append(round(stage.fleet.next_deadline - stage.now, 3))
        stage.now = stage.fleet.next_deadline
        stage.fleet.tick(stage.now)
    assert waits == [0, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0]
    stage.now += 60.0
    stage.fleet.exited(1008, 9, stage.now)
    assert stage.fleet.next_deadline == stage.now


def test_a_vacancy_is_filled_no_more_once_it_is_surplus(stage):
    stage.fleet.resize(2, 5.0, 0.0)
    stage.fleet.exited(1001, 9, 0.0)
    stage.fleet.resize(1, 5.0, 0.0)
    assert stage.fleet.next_deadline == math.inf
    assert stage.indexes() == [0]


def test_a_fork_that_fails_is_tried_again(stage, capfd):
    stage.failures = 2
    stage.fleet.resize(1, 5.0, 0.0)
    assert "worker 0 cannot be started" in capfd.readouterr().err
    for _ in range(2):
        stage.fleet.tick(stage.fleet.next_deadline)
    assert stage.indexes() == [0]


def test_a_worker_that_does_not_drain_is_killed_once_after_the_deadline(stage):
    stage.fleet.resize(1, 5.0, 0.0)
    stage.fleet.drain(5.0, 0.0)
    stage.fleet.tick(5.5)
    assert stage.killed == []
    stage.fleet.tick(6.0)
    stage.fleet.tick(7.0)
    assert stage.killed == [1000]
    stage.fleet.exited(1000, 9, 7.0)
    assert len(stage.fleet) == 0
    assert stage.fleet.next_deadline == math.inf


def test_a_worker_that_cannot_be_told_is_killed(stage):
    stage.fleet.resize(1, 5.0, 0.0)
    stage.peers[1000].close()
    stage.fleet.drain(5.0, 0.0)
    assert stage.killed == [1000]


def test_what_is_no_worker_is_nobodys(stage):
    assert stage.fleet.exited(4242, 0, 0.0) is None


def test_a_long_life_makes_up_for_short_ones():
    backoff = Backoff()
    assert [backoff.delay(0.0) for _ in range(3)] == [0.0, 0.1, 0.2]
    assert backoff.delay(100.0) == 0.0
    assert backoff.delay(1.0) == 0.1


@pytest.mark.parametrize(
    ("status", "code", "words"),
    [
        (0, 0, "exit code 0"),
        (78 << 8, 78, "exit code 78"),
        (9, 137, "killed by SIGKILL"),
        (50, 178, "killed by signal 50"),
    ],
)
def test_exits_are_described(status, code, words):
    assert describe_exit(status) == (code, words)


def test_what_a_worker_had_under_way_is_forgotten_when_it_is_reaped(stage):
    stage.fleet.resize(2, 5.0, 0.0)
    counts = stage.fleet.counts
    assert counts.rows_used == 2
    rows = [counts.row(index) for index in range(2)]
    for row in rows:
        row.begin(["a"])
        row.put(8, 5)
        row.publish()
    assert rows[0].others(8) == 5
    stage.fleet.exited(1001, 9, 1.0)
    assert rows[0].others(8) == 0
