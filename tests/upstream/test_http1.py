import socket

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from proxyd.core.authority import Authority
from proxyd.core.errors import Flag, ProxyError, Retry
from proxyd.core.exchange import Exchange, Peer
from proxyd.core.limits import Limits, PoolLimits
from proxyd.core.message import BytesBody, Request
from proxyd.core.route import Route
from proxyd.core.service import Timeouts
from proxyd.core.snapshot import Snapshot
from proxyd.filters.access import OpenJudge
from proxyd.net.reaper import Reaper
from proxyd.net.stream import Stream
from proxyd.upstream.http1 import Connection
from proxyd.upstream.pool import Pool, PoolKey

HOST = "origin.example"
VIA = b"via: 1.1 p\r\n"
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


class Upload:
    """A request body that comes piece by piece."""

    replayable = False

    def __init__(self, *pieces, length=None, trailers=()):
        self.pieces = list(pieces)
        self.length = length
        self.trailers = list(trailers)

    async def read(self):
        await trio.lowlevel.checkpoint()
        piece = self.pieces.pop(0) if self.pieces else b""
        if isinstance(piece, Exception):
            raise piece
        return piece

    def take_ready(self):
        return None


class Line:
    """One connection whose far end the test plays."""

    def __init__(self, timeouts=None):
        near, self.far = socket.socketpair()
        near.setblocking(False)
        self.far.setblocking(False)
        self.pool = Pool(PoolKey("192.0.2.1", 80, "", False, "p"), PoolLimits())
        assert self.pool.reserve()
        self.connection = Connection(Stream(near), self.pool, "192.0.2.1:80")
        self.route = Route(None, timeouts or Timeouts(), PoolLimits(), OpenJudge())
        self.limits = Limits()

    def exchange(self, method=b"GET", body=None, upgrade=None, nursery=None):
        request = Request(method, b"http", Authority(HOST, 80, False), b"/", [], body or BytesBody(), upgrade=upgrade)
        made = Exchange(Peer("apps", "127.0.0.1"), Snapshot(1, "p", 1000), request, trio.current_time(), "plain")
        made.route = self.route
        made.attempts = 1
        made.nursery = nursery
        return made

    async def ask(self, exchange):
        return await self.connection.round_trip(exchange, HOST.encode(), [(b"a", b"b")], b"/p?q", VIA, self.limits)

    def sent(self):
        try:
            return self.far.recv(1 << 20)
        except BlockingIOError:
            return b""

    @property
    def state(self):
        """``idle``, ``lent`` or ``closed``."""
        if self.pool.open == 0:
            assert self.connection.stream.ended is not None
            return "closed"
        return "idle" if self.pool.idle else "lent"


@pytest.fixture
async def line():
    made = Line()
    yield made
    made.connection.close()
    made.far.close()


async def read_all(response):
    pieces = []
    while piece := await response.body.read():
        pieces.append(piece)
    return b"".join(pieces)


async def test_a_request_goes_out_in_one_piece_and_the_connection_comes_back(line):
    line.far.send(OK)
    response = await line.ask(line.exchange())
    assert line.sent() == b"GET /p?q HTTP/1.1\r\nhost: origin.example\r\na: b\r\nvia: 1.1 p\r\n\r\n"
    assert (response.status, await read_all(response)) == (200, b"ok")
    assert line.state == "idle"


@pytest.mark.parametrize(
    ("method", "body", "framing"),
    [
        (b"POST", b"abc", b"content-length: 3\r\n\r\nabc"),
        (b"POST", b"", b"content-length: 0\r\n\r\n"),
        (b"DELETE", b"", b"via: 1.1 p\r\n\r\n"),
        (b"GET", b"abc", b"content-length: 3\r\n\r\nabc"),
    ],
)
async def test_a_body_in_memory_is_framed_by_its_length(line, method, body, framing):
    line.far.send(OK)
    await line.ask(line.exchange(method, BytesBody(body)))
    assert line.sent().endswith(framing)


@pytest.mark.parametrize(
    ("body", "framing"),
    [
        (Upload(b"ab", b"c", length=3), b"content-length: 3\r\n\r\nabc"),
        (Upload(b"ab", b"c"), b"transfer-encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n"),
        (Upload(b"ab", trailers=[(b"x", b"y")]), b"\r\n\r\n2\r\nab\r\n0\r\nx: y\r\n\r\n"),
    ],
)
async def test_a_streaming_body_is_sent_piece_by_piece(line, nursery, body, framing):
    exchange = line.exchange(b"POST", body, nursery=nursery)
    nursery.start_soon(line.ask, exchange)
    await wait_all_tasks_blocked()
    assert line.sent().endswith(framing)
    line.far.send(OK)
    await wait_all_tasks_blocked()
    assert line.state == "idle"  # and not closed, as a connection whose upload had not ended would be


async def test_a_response_before_the_bodys_end_costs_the_connection(line, nursery):
    release = trio.Event()

    class Slow(Upload):
        async def read(self):
            await release.wait()
            return b""

    line.far.send(OK)
    response = await line.ask(line.exchange(b"POST", Slow(), nursery=nursery))
    assert response.status == 200
    assert line.state == "closed"
    release.set()


async def test_a_client_that_fails_within_its_body_fails_the_exchange_with_its_error(line, nursery):
    failure = ProxyError(400, Flag.DOWNSTREAM_PROTOCOL, "http_request_error", "a bad chunk")
    with pytest.raises(ProxyError) as caught:
        await line.ask(line.exchange(b"POST", Upload(b"ab", failure), nursery=nursery))
    assert caught.value is failure
    assert line.state == "closed"


@pytest.mark.parametrize(
    ("head", "body", "state"),
    [
        (b"content-length: 5\r\n", b"hello", "idle"),
        (b"transfer-encoding: chunked\r\n", b"5\r\nhello\r\n0\r\n\r\n", "idle"),
        (b"content-length: 5\r\nconnection: close\r\n", b"hello", "closed"),
    ],
)
@pytest.mark.parametrize("bytewise", [False, True])
async def test_a_body_ends_as_its_framing_says(line, nursery, head, body, state, bytewise):
    data = b"HTTP/1.1 200 OK\r\n" + head + b"\r\n" + body
    got = []

    async def run():
        got.append(await read_all(await line.ask(line.exchange())))

    nursery.start_soon(run)
    for piece in [data[at : at + 1] for at in range(len(data))] if bytewise else [data]:
        line.far.send(piece)
        await wait_all_tasks_blocked()
    assert got == [b"hello"]
    assert line.state == state


async def test_bytes_after_the_response_cost_the_connection(line):
    line.far.send(OK + b"HTTP/1.1 408 Request Timeout\r\n\r\n")
    assert await read_all(await line.ask(line.exchange())) == b"ok"
    assert line.state == "closed"


async def test_bytes_that_come_later_make_it_useless(line):
    line.far.send(OK)
    await line.ask(line.exchange())
    assert line.connection.is_alive()
    line.far.send(b"HTTP/1.1 408 Request Timeout\r\n\r\n")
    assert not line.connection.is_alive()


async def test_a_body_until_close_ends_with_the_connection(line):
    line.far.send(b"HTTP/1.1 200 OK\r\n\r\nhello")
    line.far.shutdown(socket.SHUT_WR)
    assert await read_all(await line.ask(line.exchange())) == b"hello"
    assert line.state == "closed"


@pytest.mark.parametrize("framing", [b"content-length: 9", b"transfer-encoding: chunked"])
async def test_a_body_that_breaks_off_is_an_error_and_no_end(line, framing):
    line.far.send(b"HTTP/1.1 200 OK\r\n" + framing + b"\r\n\r\n5\r\nhe")
    line.far.shutdown(socket.SHUT_WR)
    response = await line.ask(line.exchange())
    with pytest.raises(ProxyError) as caught:
        await read_all(response)
    assert (caught.value.status, caught.value.error) == (502, "http_response_incomplete")
    assert caught.value.retry is Retry.NEVER
    assert line.state == "closed"


async def test_a_malformed_chunk_is_an_error(line):
    line.far.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
    response = await line.ask(line.exchange())
    line.far.send(b"xyz\r\n")
    with pytest.raises(ProxyError, match="malformed"):
        await response.body.read()
    assert line.state == "closed"


async def test_a_body_given_up_closes_its_connection_once(line):
    line.far.send(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhe")
    response = await line.ask(line.exchange())
    assert line.state == "lent"
    response.body.abandon()
    response.body.abandon()
    assert (line.state, line.pool.open) == ("closed", 0)


async def test_interim_responses_are_passed_on_up_to_their_number(line):
    passed = []

    async def interim(status, headers):
        passed.append((status, headers))

    line.limits = Limits(interim_responses=2)
    exchange = line.exchange()
    exchange.interim = interim
    line.far.send(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" + OK)
    assert (await line.ask(exchange)).status == 200
    assert passed == [(100, []), (103, [(b"link", b"x")])]
    line.far.send(b"HTTP/1.1 103 Early Hints\r\n\r\n" * 3 + OK)
    with pytest.raises(ProxyError, match="more than 2 interim"):
        await line.ask(line.exchange())


async def test_a_switch_that_was_asked_for_hands_the_stream_over_with_its_first_bytes(line):
    line.far.send(b"HTTP/1.1 101 Switching\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n\x81\x00")
    response = await line.ask(line.exchange(upgrade=b"websocket"))
    assert b"connection: upgrade\r\nupgrade: websocket\r\n" in line.sent()
    assert (response.status, response.body.surplus) == (101, b"\x81\x00")
    assert response.body.stream is line.connection.stream
    assert line.state == "lent"
    response.body.abandon()
    assert line.state == "closed"


@pytest.mark.parametrize(("asked", "given"), [(None, b"websocket"), (b"websocket", b"h2c")])
async def test_any_other_switch_is_refused(line, asked, given):
    line.far.send(b"HTTP/1.1 101 Switching\r\nconnection: upgrade\r\nupgrade: " + given + b"\r\n\r\n")
    with pytest.raises(ProxyError) as caught:
        await line.ask(line.exchange(upgrade=asked))
    assert (caught.value.status, caught.value.error) == (502, "http_upgrade_failed")
    assert line.state == "closed"


async def test_a_head_that_never_ends_is_cut_at_its_limit(line):
    line.limits = Limits(head_bytes=1000)
    line.far.send(b"HTTP/1.1 200 OK\r\nx: " + b"y" * 2000)
    with pytest.raises(ProxyError) as caught:
        await line.ask(line.exchange())
    assert caught.value.error == "http_response_header_section_size"
    assert line.state == "closed"


@pytest.mark.parametrize(("requests", "retry"), [(0, Retry.NEVER), (1, Retry.IF_REUSED)])
async def test_an_end_before_the_response_may_be_retried_where_the_connection_was_used(line, requests, retry):
    line.connection.requests = requests
    line.far.shutdown(socket.SHUT_WR)
    with pytest.raises(ProxyError) as caught:
        await line.ask(line.exchange())
    assert (caught.value.status, caught.value.flag, caught.value.retry) == (502, Flag.UPSTREAM_DISCONNECT, retry)
    assert line.state == "closed"


@pytest.mark.parametrize(
    ("requests", "idle", "begun", "stale"),
    [(1, 2.0, b"", True), (1, 0.1, b"", False), (0, 2.0, b"", False), (1, 2.0, b"HTTP/1.1", False)],
    ids=["kept alive", "amid traffic", "new", "an answer had begun"],
)
async def test_the_death_of_a_kept_connection_is_not_the_upstreams_trouble(line, requests, idle, begun, stale):
    line.connection.requests = requests
    line.connection.idle_since = trio.current_time() - idle
    if begun:
        line.far.send(begun)
    line.far.shutdown(socket.SHUT_WR)
    with pytest.raises(ProxyError) as caught:
        await line.ask(line.exchange())
    assert caught.value.stale is stale


async def test_a_request_of_which_no_byte_went_out_may_always_be_retried(line):
    line.far.close()
    with pytest.raises(ProxyError) as caught:
        await line.ask(line.exchange(b"POST", BytesBody(b"abc")))
    assert caught.value.retry is Retry.ALWAYS


@pytest.mark.parametrize(
    ("timeouts", "answer", "flag"),
    [
        (Timeouts(first_byte=2.0), b"", Flag.UPSTREAM_TIMEOUT),
        (Timeouts(first_byte=0.5), b"", Flag.UPSTREAM_TIMEOUT),
        (Timeouts(idle=2.0), b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhe", Flag.IDLE_TIMEOUT),
    ],
)
async def test_an_origin_that_stops_is_given_up_on(nursery, autojump_clock, timeouts, answer, flag):
    line = Line(timeouts)
    reaper = Reaper()
    reaper.add(line.connection.stream)
    nursery.start_soon(reaper.run)
    line.far.send(answer)
    with pytest.raises(ProxyError) as caught:
        await read_all(await line.ask(line.exchange()))
    assert (caught.value.status, caught.value.flag) == (504, flag)
    assert line.state == "closed"
    line.far.close()
    nursery.cancel_scope.cancel()


async def test_a_client_that_leaves_ends_the_wait(line, nursery):
    exchange = line.exchange()
    errors = []

    async def run():
        try:
            await line.ask(exchange)
        except ProxyError as error:
            errors.append(error.status)

    nursery.start_soon(run)
    await wait_all_tasks_blocked()
    exchange.abandon()
    await wait_all_tasks_blocked()
    assert errors == [499]
    assert line.state == "closed"


async def test_a_cancelled_round_trip_gives_its_place_back(line):
    with trio.move_on_after(0):
        await line.ask(line.exchange())
    assert line.state == "closed"
