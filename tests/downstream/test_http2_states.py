"""A state machine between an HTTP/2 client and an origin: whatever is sent, in whatever order, arrives whole or is cut.

Hypothesis chooses what either end does next: a head, a piece, an end, trailers, a reset, a window. The model knows what
was sent and which windows are open; after every step both ends must have what that implies, byte for byte.
"""

import contextlib
import random
import threading
from collections.abc import Awaitable, Callable

import h11
import pytest
import trio
from h2.settings import SettingCodes
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from proxyd.core.service import Version
from proxyd.core.snapshot import Listener, ListenerMode
from tests.lab.http2 import Answer, Http2Client, open_h2c
from tests.lab.http2_origin import Asked, Session, open_http2
from tests.lab.plane import PATIENCE, Origin, Wire, open_origin, open_plane, service

WINDOW = 5000
PIECE = 3000
CANCEL = 8
LISTENERS = (Listener("local", ListenerMode.GATEWAY, "unix:/gateway.sock"),)
TRAILERS = [(b"x-sum", b"1")]

Fields = list[tuple[bytes, bytes]]


class Http1Far:
    """The origin's end of one exchange, on HTTP/1.1."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.received = b""
        self.ended = False
        self.trailers: Fields = []

    @property
    def gone(self) -> bool:
        return self.wire.ended.is_set()

    async def head(self) -> None:
        await self.wire.send(b"HTTP/1.1 200 OK\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n")

    async def body(self, data: bytes) -> None:
        await self.wire.send(b"%x\r\n%b\r\n" % (len(data), data))

    async def end(self, trailers: Fields) -> None:
        await self.wire.send(b"0\r\n" + b"".join(b"%b: %b\r\n" % field for field in trailers) + b"\r\n")

    async def fail(self) -> None:
        await self.wire.aclose()


class Http2Far:
    """The same on HTTP/2."""

    def __init__(self, session: Session, asked: Asked) -> None:
        self.session = session
        self.asked = asked

    @property
    def received(self) -> bytes:
        return self.asked.body

    @property
    def ended(self) -> bool:
        return self.asked.ended.is_set()

    @property
    def gone(self) -> bool:
        return self.asked.reset is not None

    @property
    def trailers(self) -> Fields:
        return self.asked.trailers

    async def head(self) -> None:
        await self.session.head(self.asked.stream)

    async def body(self, data: bytes) -> None:
        await self.session.data(self.asked.stream, data)

    async def end(self, trailers: Fields) -> None:
        if trailers:
            await self.session.trailers(self.asked.stream, *trailers)
        else:
            await self.session.data(self.asked.stream, b"", ended=True)

    async def fail(self) -> None:
        await self.session.reset(self.asked.stream, 2)


class Stream:
    """What was done on a stream, and what must have come of it."""

    def __init__(self, number: int, far: Http1Far | Http2Far, answer: Answer) -> None:
        self.number = number
        self.far = far
        self.answer = answer
        self.asked = b""
        self.asked_all = False
        self.asked_trailers: Fields = []
        self.answered = b""
        self.headed = False
        self.answered_all = False
        self.answered_trailers: Fields = []
        self.granted = 0
        """The client's window, from the beginning on."""
        self.dead = False
        """Reset by the client, or failed by the origin."""

    @property
    def over(self) -> bool:
        return self.dead or self.answered_all


class Ends:
    """Both ends and the worker between them, in a loop of their own: one task that does what it is told."""

    def __init__(self, http2: bool) -> None:
        self.http2 = http2
        self.news = trio.lowlevel.ParkingLot()
        self.fars: dict[bytes, Http1Far | Http2Far] = {}
        self.client: Http2Client
        self._ready = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        self._ready.wait()

    def do(self, what: Callable[[], Awaitable[None]]) -> None:
        """Run it in the loop; what fails there fails here."""
        try:
            trio.from_thread.run(what, trio_token=self._token)
        except trio.RunFinishedError:
            raise self._failure or AssertionError("the loop ended") from None

    def close(self) -> None:
        with contextlib.suppress(trio.RunFinishedError):
            trio.from_thread.run_sync(self._closing.set, trio_token=self._token)
        self._thread.join()
        if self._failure is not None:
            raise self._failure

    def _run(self) -> None:
        try:
            trio.run(self._main)
        except BaseException as error:
            self._failure = error
        finally:
            self._ready.set()

    async def _main(self) -> None:
        async with contextlib.AsyncExitStack() as stack:
            if self.http2:
                origin = (await stack.enter_async_context(open_http2(self._on_http2))).origin
            else:
                origin = await stack.enter_async_context(open_origin(self._on_http1))
            plain = service(
                "plain", "plain.example", "http", origin.port, protocol=Version.HTTP2 if self.http2 else Version.HTTP1
            )
            plane = await stack.enter_async_context(open_plane(services=(plain,), listeners=LISTENERS))
            nursery = await stack.enter_async_context(trio.open_nursery())
            self.client = await open_h2c(plane, b"plain", grants=False)
            self.client.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: WINDOW})
            self.client.h2.increment_flow_control_window(1_000_000_000)
            await self.client.flush()
            nursery.start_soon(self._listen)
            self._token = trio.lowlevel.current_trio_token()
            self._closing = trio.Event()
            self._ready.set()
            await self._closing.wait()
            nursery.cancel_scope.cancel()

    async def _listen(self) -> None:
        while await self.client.read():
            self.news.unpark_all()

    async def _on_http1(self, origin: Origin, wire: Wire) -> None:
        parser = h11.Connection(h11.SERVER)
        far: Http1Far | None = None
        while await wire.fill():
            if far is None or not far.ended:
                parser.receive_data(wire._take(len(wire.waiting)))
            while not isinstance(event := parser.next_event(), type) and not (far is not None and far.ended):
                if isinstance(event, h11.Request):
                    far = self.fars[event.target] = Http1Far(wire)
                elif far is not None and isinstance(event, h11.Data):
                    far.received += bytes(event.data)
                elif far is not None and isinstance(event, h11.EndOfMessage):
                    far.ended, far.trailers = True, list(event.headers)
            self.news.unpark_all()
        self.news.unpark_all()

    async def _on_http2(self, session: Session, asked: Asked) -> None:
        path = asked.first(b":path")
        assert path is not None
        self.fars[path] = Http2Far(session, asked)
        while True:
            self.news.unpark_all()
            await asked.changed.park()

    async def until(self, condition: Callable[[], object]) -> None:
        with trio.fail_after(PATIENCE):
            while not condition():
                await self.news.park()


class Streams(RuleBasedStateMachine):
    """Steps of both ends."""

    http2 = False

    def __init__(self) -> None:
        super().__init__()
        self.streams: list[Stream] = []
        self.random = random.Random(1)

    @initialize()
    def start(self) -> None:
        self.ends = Ends(self.http2)

    def teardown(self) -> None:
        if not hasattr(self, "ends"):
            return
        try:
            self.ends.do(self._finish)
        finally:
            self.ends.close()

    # --- steps ------------------------------------------------------------------------------------

    @rule(ended=st.booleans())
    def ask(self, ended: bool) -> None:
        async def step() -> None:
            path = b"/%d" % len(self.streams)
            number = await self.ends.client.ask(path, method=b"POST", ended=ended)
            await self.ends.until(lambda: path in self.ends.fars)
            stream = Stream(number, self.ends.fars[path], self.ends.client.answers[number])
            stream.asked_all = ended
            stream.granted = WINDOW
            self.streams.append(stream)

        self.ends.do(step)

    @precondition(lambda self: any(not one.asked_all and not one.over for one in self.streams))
    @rule(data=st.data(), size=st.integers(1, PIECE), padding=st.sampled_from([None, 0, 200]))
    def send(self, data: st.DataObject, size: int, padding: int | None) -> None:
        stream = data.draw(st.sampled_from([one for one in self.streams if not one.asked_all and not one.over]))

        async def step() -> None:
            conn = self.ends.client.h2
            piece = self.random.randbytes(size)
            await self.ends.until(lambda: conn.local_flow_control_window(stream.number) >= size + 256)
            conn.send_data(stream.number, piece, pad_length=padding)
            stream.asked += piece
            await self._settle()

        self.ends.do(step)

    @precondition(lambda self: any(not one.asked_all and not one.over for one in self.streams))
    @rule(data=st.data(), trailers=st.booleans())
    def end_request(self, data: st.DataObject, trailers: bool) -> None:
        stream = data.draw(st.sampled_from([one for one in self.streams if not one.asked_all and not one.over]))

        async def step() -> None:
            await self.ends.client.finish(stream.number, TRAILERS if trailers else None)
            stream.asked_all, stream.asked_trailers = True, TRAILERS if trailers else []
            await self._settle()

        self.ends.do(step)

    @precondition(lambda self: any(not one.over for one in self.streams))
    @rule(data=st.data(), size=st.integers(1, PIECE))
    def answer(self, data: st.DataObject, size: int) -> None:
        stream = data.draw(st.sampled_from([one for one in self.streams if not one.over]))

        async def step() -> None:
            piece = self.random.randbytes(size)
            await self._head(stream)
            await stream.far.body(piece)
            stream.answered += piece
            await self._settle()

        self.ends.do(step)

    @precondition(lambda self: any(not one.over for one in self.streams))
    @rule(data=st.data(), trailers=st.booleans())
    def end_answer(self, data: st.DataObject, trailers: bool) -> None:
        stream = data.draw(st.sampled_from([one for one in self.streams if not one.over]))

        async def step() -> None:
            await self._head(stream)
            await stream.far.end(TRAILERS if trailers else [])
            stream.answered_all, stream.answered_trailers = True, TRAILERS if trailers else []
            await self._settle()

        self.ends.do(step)

    @precondition(lambda self: any(not one.over for one in self.streams))
    @rule(data=st.data())
    def reset(self, data: st.DataObject) -> None:
        stream = data.draw(st.sampled_from([one for one in self.streams if not one.over]))

        async def step() -> None:
            self.ends.client.h2.reset_stream(stream.number, CANCEL)
            await self.ends.client.flush()
            stream.dead = True
            await self.ends.until(lambda: stream.far.gone)

        self.ends.do(step)

    @precondition(lambda self: any(one.headed and not one.over for one in self.streams))
    @rule(data=st.data())
    def fail(self, data: st.DataObject) -> None:
        stream = data.draw(st.sampled_from([one for one in self.streams if one.headed and not one.over]))

        async def step() -> None:
            await stream.far.fail()
            stream.dead = True

        self.ends.do(step)

    @precondition(lambda self: any(not one.over for one in self.streams))
    @rule(data=st.data(), size=st.integers(1, 3 * PIECE))
    def grant(self, data: st.DataObject, size: int) -> None:
        stream = data.draw(st.sampled_from([one for one in self.streams if not one.over]))

        async def step() -> None:
            await self._grant(stream, size)
            await self._settle()

        self.ends.do(step)

    # --- what must hold ---------------------------------------------------------------------------

    async def _head(self, stream: Stream) -> None:
        if not stream.headed:
            stream.headed = True
            await stream.far.head()

    async def _grant(self, stream: Stream, size: int) -> None:
        stream.granted += size
        self.ends.client.h2.increment_flow_control_window(size, stream.number)
        await self.ends.client.flush()

    async def _settle(self) -> None:
        """Wait until both ends have what was sent, as far as windows let it."""
        await self.ends.client.flush()
        for stream in self.streams:
            if not stream.dead:
                await self.ends.until(lambda stream=stream: self._is_settled(stream))
                self._check(stream)

    def _is_settled(self, stream: Stream) -> bool:
        answer, far = stream.answer, stream.far
        due = min(len(stream.answered), stream.granted)
        if len(answer.body) < due or (stream.headed and not answer.headers):
            return False
        if stream.answered_all:
            return due < len(stream.answered) or answer.ended
        return len(far.received) >= len(stream.asked) and far.ended == stream.asked_all

    def _check(self, stream: Stream) -> None:
        answer, far = stream.answer, stream.far
        assert answer.body == stream.answered[: stream.granted]
        assert stream.asked.startswith(far.received)
        if not stream.answered_all:
            assert far.received == stream.asked
            assert far.trailers == stream.asked_trailers
            assert not answer.ended
            assert answer.reset is None
        elif answer.ended:
            assert answer.body == stream.answered
            assert answer.trailers == stream.answered_trailers
            assert answer.reset in (None, 0)

    async def _finish(self) -> None:
        """Open all windows and end what is open: nothing may be missing, and the connection serves on."""
        for stream in self.streams:
            if stream.dead:
                assert stream.answered.startswith(stream.answer.body)
                assert not stream.answer.ended
                continue
            if len(stream.answered) > stream.granted:
                await self._grant(stream, len(stream.answered) - stream.granted)
            if not stream.answered_all:
                await self._head(stream)
                await stream.far.end([])
                stream.answered_all = True
        await self._settle()
        path = b"/%d" % len(self.streams)
        number = await self.ends.client.ask(path)
        await self.ends.until(lambda: path in self.ends.fars)
        last = Stream(number, self.ends.fars[path], self.ends.client.answers[number])
        last.asked_all, last.granted = True, WINDOW
        self.streams.append(last)
        await self._head(last)
        await last.far.end([])
        last.answered_all = True
        await self._settle()


@pytest.mark.parametrize("http2", [False, True], ids=["to HTTP/1.1", "to HTTP/2"])
def test_streams_in_any_order_arrive_whole_or_are_cut(http2: bool) -> None:
    machine = type("Streams", (Streams,), {"http2": http2})
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        machine,
        settings=settings(
            max_examples=25, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
