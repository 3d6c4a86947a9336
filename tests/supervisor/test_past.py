"""Generations that were succeeded."""

import os
import socket

from proxyd.supervisor.children import Control, Worker
from proxyd.supervisor.link import BufferedLink
from proxyd.supervisor.past import Pasts, past_of
from proxyd.supervisor.state import generation_state
from proxyd.wire import ipc


def link():
    ours, theirs = socket.socketpair()
    theirs.close()
    return BufferedLink(ours, ipc.MAX_UP)


def test_a_generation_whose_last_process_was_about_to_exit_at_an_upgrade_is_over(capfd):
    control = Control("control", 77, link(), 0.0)
    former = past_of(1, control, [])
    control.end_link(0.0)  # it has closed its link, and was not reaped yet
    state = generation_state(former.number, former.control, former.fleet)
    pasts = Pasts()
    pasts.adopt([past_of(state.number, None, [])])
    assert (state.control, state.workers, list(pasts)) == (None, [], [])
    assert "generation 1 has drained" in capfd.readouterr().err
    former.fleet.counts.close()


def test_a_generation_is_over_when_its_last_process_was_reaped(capfd):
    pasts = Pasts()
    pasts.adopt([past_of(1, None, [Worker("worker 0", 78, link(), 0.0)])])
    assert not pasts.exited(79, 0, 0.0)
    assert pasts.exited(78, 0, 0.0)
    assert list(pasts) == []
    assert "generation 1 has drained" in capfd.readouterr().err


def test_the_counts_of_a_generation_that_is_over_are_unmapped():
    before = len(os.listdir("/proc/self/fd"))
    Pasts().adopt([past_of(1, None, [])])
    assert len(os.listdir("/proc/self/fd")) == before
