import os
import selectors
import socket

import pytest

from proxyd.net.framing import FrameReader, LinkClosed, frame_header, receive_chunk
from proxyd.supervisor.link import MAX_QUEUED, BufferedLink


@pytest.fixture
def pair():
    left, right = socket.socketpair()
    right.setblocking(False)
    yield left, right
    left.close()
    right.close()


@pytest.fixture
def link(pair):
    made = BufferedLink(pair[0], 1000)
    yield made
    made.close()


def drain(sock, reader):
    payloads = []
    while True:
        try:
            payloads += reader.feed(*receive_chunk(sock, accepts_fds=True))
        except BlockingIOError:
            return payloads


def test_frames_and_descriptors_go_at_once_while_there_is_room(link, pair):
    link.send(b"x", [0])
    reader = FrameReader(100)
    assert drain(pair[1], reader) == [b"x"]
    os.close(reader.take_fds(1)[0])
    assert link.interest == selectors.EVENT_READ


def test_what_the_peer_does_not_take_is_queued_with_its_descriptors(link, pair):
    payloads = [bytes([n]) * 100_000 for n in range(1, 8)]
    read, write = os.pipe()
    for payload in payloads:
        link.send(payload, [write])
    os.close(write)
    assert link.interest == selectors.EVENT_READ | selectors.EVENT_WRITE
    reader = FrameReader(100_000)
    got = drain(pair[1], reader)
    while link.interest & selectors.EVENT_WRITE:
        link.flush()
        got += drain(pair[1], reader)
    assert got == payloads
    for fd in reader.take_fds(len(payloads)):
        os.close(fd)
    assert os.read(read, 1) == b""  # no copy is left anywhere
    os.close(read)


def test_a_peer_that_never_reads_ends_the_link_and_nothing_leaks(link):
    read, write = os.pipe()
    sent = 0
    with pytest.raises(LinkClosed, match="the peer does not read"):  # noqa: PT012 - which send raises is the kernel's
        while sent < 4 * MAX_QUEUED:
            link.send(b"x" * 10_000, [write])
            sent += 10_000
    link.close()
    os.close(write)
    with pytest.raises(LinkClosed, match="closed on this side"):
        link.send(b"x")
    assert not link.is_open
    os.close(read)


def test_a_peer_that_is_gone_is_said(link, pair):
    pair[1].close()
    with pytest.raises(LinkClosed, match="the peer is gone"):
        link.send(b"x")


def test_reading_gives_frames_nothing_or_the_end(link, pair):
    assert link.receive() == []
    pair[1].send(frame_header(b"a", (), 10) + b"a" + frame_header(b"b", (), 10)[:2])
    assert link.receive() == [b"a"]
    pair[1].close()
    assert link.receive() is None


def test_an_end_with_unread_bytes_is_an_end(link, pair):
    link.send(b"unread")
    pair[1].close()
    assert link.receive() is None


def test_frames_before_a_violation_are_given(link, pair):
    pair[1].send(frame_header(b"a", (), 10) + b"a" + b"\xff" * 4)
    assert link.receive() == [b"a"]
    assert "a frame of 4294967295 bytes" in link.violation


def test_descriptors_are_never_accepted(link, pair):
    socket.send_fds(pair[1], [frame_header(b"a", (), 10) + b"a"], [0])
    with pytest.raises(LinkClosed, match="descriptors"):
        link.receive()
