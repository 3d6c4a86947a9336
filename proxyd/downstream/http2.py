"""One downstream HTTP/2 connection: its streams become exchanges of the same chains as HTTP/1.1's requests.

One task reads and sorts what came into lanes (net.multiplex), one writes, and every exchange has one of its own. A
connection ends when the client leaves, breaks the protocol, asks for nothing for long, or when the worker drains: then
GOAWAY says in two steps which streams are still served (RFC 9113 §6.8).
"""

from collections.abc import Collection
from typing import Final, assert_never

import trio
from trio import current_time
from trio.lowlevel import checkpoint

from proxyd.core.errors import ProxyError, bad_request
from proxyd.core.exchange import Exchange
from proxyd.core.headers import Headers
from proxyd.core.view import View
from proxyd.downstream.entry import Entry, Served
from proxyd.downstream.http2_call import Call
from proxyd.net.lane import Lane
from proxyd.net.multiplex import Multiplex
from proxyd.net.stream import NEVER, Stream, StreamError
from proxyd.net.waiter import Waiter
from proxyd.wire.http2 import (
    Code,
    Codec,
    Data,
    Event,
    Going,
    Head,
    Http2Error,
    Pong,
    Reset,
    Room,
    Settled,
    Trailers,
)
from proxyd.wire.http2_head import MalformedError, request_head, trailers
from proxyd.wire.request_head import RequestHead

GOODBYE_SECONDS: Final = 1.0
"""Between the two steps of GOAWAY, for clients that do not answer the PING between them."""

REST_SECONDS: Final = 1.0
"""Without a stream, until tasks are let go that wait for one."""

BATCH: Final = 16
"""Exchanges begun of one read before other tasks run ..."""

FURTHER: Final = 4
"""... and from there on: who asks for more at a time gives way to the neighbours more often."""

_DRAIN: Final = b"draining"
"""The PING between the two steps of GOAWAY: once it is back, the client has read the first."""


class _Spare:
    """A task that waits for a call."""

    __slots__ = ("_call", "_waiter")

    def __init__(self) -> None:
        self._waiter = Waiter()
        self._call: Call | None = None

    def begin(self, call: Call | None) -> None:
        """Give it one; None: it is to end."""
        self._call = call
        self._waiter.wake()

    async def next(self) -> Call | None:
        """Wait for one."""
        await self._waiter.wait()
        call, self._call = self._call, None
        return call


class Http2Connection:
    """A client's connection; to the reaper it is a stream of its own, whose deadline is that of idleness."""

    def __init__(self, stream: Stream, entry: Entry, first: bytes = b"", opened: Exchange | None = None) -> None:
        """``first`` is what was read already; ``opened`` the intercepted tunnel that no request has come through."""
        self.stream = stream
        self.entry = entry
        self.plane = entry.plane
        self._limits = self.plane.view.limits.http2
        self.codec = Codec(client=False, limits=self._limits)
        self.multiplex = Multiplex(stream, self.codec, self._limits.output_bytes, self.plane.reaper.add)
        self.deadline = self._idle = current_time() + self.plane.view.limits.head_timeout
        self.late = "preface"
        self.busy_since = NEVER
        self.ended: str | None = None
        """Why nothing more is read, once that is so."""
        self._first = first
        self._opened = opened
        self._calls: dict[int, Call] = {}
        self._spare: list[_Spare] = []
        """Tasks without a call."""
        self._wide = False
        """It has a large window of its own: a request brought a body."""
        self._resting = False
        """No task is kept for a further call."""
        self._going = False
        """A first GOAWAY went out."""
        self._heard = False
        """The client knows of it."""
        self._gone = False
        """The final one did: further streams are refused."""

    def __repr__(self) -> str:
        return f"<Http2Connection {self.entry!r} streams={len(self._calls)} ended={self.ended!r}>"

    @property
    def exchanges(self) -> Collection[Exchange]:
        """The exchanges that run now."""
        return [call.exchange for call in self._calls.values()]

    async def serve(self) -> Served | None:
        """Serve until the end; the stream is closed then."""
        self.plane.reaper.add(self)
        self.codec.begin(wide=False)
        self.multiplex.touch(0)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._write)
                async with trio.open_nursery() as self._nursery:
                    await self._read()
                nursery.cancel_scope.cancel()
        finally:
            self.ended = self.ended or "closed"
            self.stream.close()
            if self._wide:
                self.plane.buffers.narrow(self._limits.connection_window)
            if self._opened is not None and not self.plane.draining:
                self.entry.unused(self._opened)
        return None

    # --- in ---------------------------------------------------------------------------------------

    async def _read(self) -> None:
        """Read until the client has left, or until it has heard GOAWAY and nothing is under way."""
        data, self._first = self._first, b""
        left = self.plane.view.limits.linger_bytes
        try:
            while self.ended is None:
                if data:
                    await self._take(data)
                data = await self.multiplex.read()
                if not data:
                    break
            while left > 0 and (data := await self.multiplex.read()):  # as HTTP/1.1 lingers: a reset would eat GOAWAY
                left -= len(data)
        except StreamError:
            pass  # the client left, or the reaper ended the connection
        self._abandon("gone")
        self.stream.close()

    async def _take(self, data: bytes) -> None:
        try:
            events = self.codec.receive(data)
        except Http2Error as error:
            self.multiplex.touch(0)
            self._end("protocol error")
            self._abandon(f"the client broke HTTP/2: {error}")
            return
        started = self.plane.now()
        begun = 0
        for event in events:
            self._sort(event, started)
            if isinstance(event, Head):
                begun += 1
                if begun >= BATCH and begun % FURTHER == 0:
                    await checkpoint()
        if self._heard and not self._gone:  # streams that came with the PING are served
            self._finish()
        elif not self._calls and not self._going:
            self._wait_for_more()
        self.multiplex.touch(0)

    def _wait_for_more(self) -> None:
        """Nothing is under way: what has begun to come has as long as a head may take, else there is idle time."""
        if not self.codec.is_midway:
            if self.late == "head":
                self.deadline, self.late = self._idle, "idle"
        elif self.late != "head":
            head_timeout = self.plane.view.limits.head_timeout
            self.deadline, self.late = min(self._idle, self.plane.now() + head_timeout), "head"

    def _sort(self, event: Event, started: float) -> None:
        match event:
            case Data(number, data, credit, ended):
                lane = self.multiplex.lanes.get(number)
                if lane is not None:
                    lane.arrive(data, credit, ended=ended)
                else:
                    self.multiplex.credit(number, credit)
                    self.codec.forget(number)
            case Head():
                self._begin(event, started)
            case Trailers(number, fields):
                self._trailers(number, fields)
            case Reset(number, code):
                call = self._calls.get(number)
                if call is not None:
                    call.reset(code)
            case Room(number):
                self.multiplex.opened(number)
            case Pong(payload):
                self._heard = self._heard or (payload == _DRAIN and self._going)
            case Settled():
                if self.late == "preface" and not self._calls:
                    self._rest()
            case Going():
                pass  # a client that says goodbye is served on until it leaves
            case _:
                assert_never(event)

    def _begin(self, event: Head, started: float) -> None:
        """A request came: start its exchange, or the answer that refuses it."""
        number = event.stream
        plane, entry = self.plane, self.entry
        view = plane.view
        limits = view.limits
        head: RequestHead | None = None
        try:
            head = request_head(
                event.fields,
                ended=event.ended,
                scheme=entry.scheme,
                limit=self._limits.head_bytes,
                uri_limit=limits.uri_bytes,
                max_fields=limits.head_fields,
            )
            if not entry.peer.looked_up:
                plane.identify(entry.peer, self.stream)
            if head.method == b"CONNECT":
                raise bad_request("CONNECT is served on HTTP/1.1 alone", 501)
            exchange = entry.exchange(view, head, started)
        except MalformedError as error:
            self._malformed(view, number, started, str(error))
            return
        except ProxyError as error:
            method = head.method if head is not None else b"-"
            exchange, head = entry.refusal(view, error, started, method, head), None
        self._opened = None
        lane = Lane(self.multiplex, number)
        lane.finished = event.ended
        self.multiplex.add(lane)
        call = self._calls[number] = Call(self, lane, view, exchange, head)
        if not self._going:
            self.deadline = NEVER
        if not event.ended and not self._wide and plane.buffers.widen(self._limits.connection_window):
            self._wide = True
            self.codec.widen()
        if self._spare:
            self._spare.pop().begin(call)
        else:
            self._nursery.start_soon(self._work, call)
        if plane.draining:
            self.drain(gentle=True)

    async def _work(self, call: Call | None) -> None:
        """Run a call, and then others: a task that is there already costs a quarter of a new one."""
        spare = _Spare()
        while call is not None:
            await call.run()
            if self._resting:
                return
            self._spare.append(spare)
            call = await spare.next()

    def _malformed(self, view: View, number: int, started: float, detail: str) -> None:
        """End a stream whose request is none (RFC 9113 §8.1.1); the log has the status that HTTP/1.1 would answer."""
        self.codec.reset(number, Code.PROTOCOL_ERROR)
        self.plane.finished(self.entry.refusal(view, bad_request(detail), started))

    def _trailers(self, number: int, fields: Headers) -> None:
        call = self._calls.get(number)
        if call is None or call.lane.ended is not None:
            return
        try:
            fields = trailers(fields, limit=self._limits.head_bytes, max_fields=self.plane.view.limits.head_fields)
        except MalformedError as error:
            call.cut(f"the trailers are malformed: {error}", Code.PROTOCOL_ERROR)
        else:
            call.lane.finish(fields)

    # --- out and ends -----------------------------------------------------------------------------

    async def _write(self) -> None:
        """Write until all is said; then tell the client by FIN, and give it a while to leave."""
        try:
            await self.multiplex.run_writer()
            self.stream.deadline = current_time() + self.plane.view.limits.linger_seconds
            self.stream.shut_write()
        except StreamError:
            self.stream.close()
            self.multiplex.fail("gone")

    def said(self) -> None:
        """A call has said all: that goes out at once where no other may add to it."""
        if len(self._calls) == 1:
            self.multiplex.flush()

    def over(self, call: Call) -> None:
        """A call has come to its end."""
        del self._calls[call.lane.id]
        if not self._calls:
            if self._gone:
                self._end("drain")
            elif not self._going:
                self._rest()

    def drain(self, *, gentle: bool) -> None:
        """Say goodbye in two steps: what the client sends before it has heard the first is served."""
        if self._going or self.ended is not None:
            return
        self._going = True
        self.codec.going(final=False)
        self.codec.ping(_DRAIN)
        self.multiplex.touch(0)
        self.deadline, self.late = current_time() + GOODBYE_SECONDS, "drain"

    def cut(self, exchange: Exchange) -> None:
        """End an exchange that is not allowed any more."""
        for call in self._calls.values():
            if call.exchange is exchange:
                call.cut("revoked")

    def expire(self, reason: str) -> None:
        """The reaper: nothing has come for a while or for long, or the client did not answer our goodbye."""
        if reason == "rest":
            self._dismiss()
            self.deadline, self.late = self._idle, "idle"
        elif self.ended is None:
            self._finish()

    def _rest(self) -> None:
        """Nothing is under way: idle time counts from here."""
        now = self.plane.now()
        self._idle = now + self.plane.view.limits.idle_timeout
        self.deadline, self.late = min(now + REST_SECONDS, self._idle), "rest"

    def _dismiss(self) -> None:
        """Let spare tasks end."""
        while self._spare:
            self._spare.pop().begin(None)

    def _finish(self) -> None:
        """Take no further stream, and end with the last one that was taken."""
        self.deadline = NEVER
        self._going = self._gone = True
        self.codec.going()
        self.multiplex.touch(0)
        if not self._calls:
            self._end("drain")

    def _end(self, reason: str) -> None:
        """Write what is queued, and no more is read for its meaning."""
        if self.ended is None:
            self.ended = reason
            self.multiplex.finish()

    def _abandon(self, reason: str) -> None:
        """Whatever runs is in vain."""
        self._resting = True
        self._dismiss()
        self.multiplex.fail(reason)
        for call in self._calls.values():
            call.exchange.abandon()
