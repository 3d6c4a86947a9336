from proxyd.core.limits import Limits
from proxyd.core.units import KIB, MIB
from proxyd.worker.buffers import SMALLEST_READ, Buffers


def test_the_more_bodies_there_are_the_less_each_may_hold():
    buffers = Buffers()
    buffers.limits = Limits(read_bytes=64 * KIB, buffered_bytes=128 * KIB)
    assert [buffers.streaming_started() for _ in range(4)] == [64 * KIB, 64 * KIB, 128 * KIB // 3, 32 * KIB]
    for _ in range(3):
        buffers.streaming_ended()
    assert buffers.streaming_started() == 64 * KIB
    for _ in range(100):
        buffers.streaming_started()
    assert buffers.streaming_started() == SMALLEST_READ


def test_large_windows_are_given_out_while_there_is_room_for_them():
    buffers = Buffers()
    buffers.limits = Limits(buffered_bytes=2 * MIB)
    assert [buffers.widen(1 * MIB) for _ in range(3)] == [True, True, False]
    buffers.narrow(1 * MIB)
    assert not buffers.widen(2 * MIB)
    assert buffers.widen(1 * MIB)
