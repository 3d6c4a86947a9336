"""HTTP/2 origins for tests, on the h2 library as it comes: raw enough to misbehave.

async with open_http2(handler) as site, open_plane(services=...) as plane:

``handler(session, asked)`` runs for every request once its head is there; without one, every request is answered 200
``ok`` when it has come to its end. What the peer sends is noted; an exception of a handler fails the test.
"""

import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

import h2.config
import h2.connection
import h2.events
import h2.exceptions
import h2.settings
import trio

from tests.lab.plane import PATIENCE, Origin, Wire, authority, open_origin

CONFIG = h2.config.H2Configuration(
    client_side=False,
    header_encoding=None,
    normalize_inbound_headers=False,
    validate_outbound_headers=False,
    normalize_outbound_headers=False,
)

Fields = list[tuple[bytes, bytes]]
Settings = dict[h2.settings.SettingCodes, int]


def http2_context(*hosts: str, protocols: tuple[str, ...] = ("h2",)) -> ssl.SSLContext:
    """A server's context that negotiates these protocols."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_alpn_protocols(list(protocols))
    authority().issue_cert(*hosts).configure_cert(context)
    return context


@dataclass
class Asked:
    """One request."""

    stream: int
    headers: Fields
    body: bytes = b""
    trailers: Fields = field(default_factory=list)
    ended: trio.Event = field(default_factory=trio.Event)
    reset: int | None = None
    changed: trio.lowlevel.ParkingLot = field(default_factory=trio.lowlevel.ParkingLot)

    def first(self, name: bytes) -> bytes | None:
        return next((value for key, value in self.headers if key == name), None)

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait until it holds."""
        with trio.fail_after(PATIENCE):
            while not condition():
                await self.changed.park()


class Session:
    """One connection."""

    def __init__(self, site: "Http2Site", wire: Wire) -> None:
        self.site = site
        self.wire = wire
        self.h2 = h2.connection.H2Connection(CONFIG)
        self.asked: dict[int, Asked] = {}
        self.events: list[h2.events.Event] = []
        self.goodbyes: list[tuple[int, int]] = []
        self.windows = trio.lowlevel.ParkingLot()
        self.news = trio.lowlevel.ParkingLot()
        self.grants = site.grants
        self._sending = trio.Lock()

    async def flush(self, raw: bytes = b"") -> None:
        """Send what the library has queued, then ``raw``."""
        async with self._sending:
            data = self.h2.data_to_send() + raw
            if data:
                await self.wire.send(data)

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait until it holds; looked at whenever something comes."""
        with trio.fail_after(PATIENCE):
            while not condition():
                await self.news.park()

    async def head(self, stream: int, status: int = 200, *fields: tuple[bytes, bytes], ended: bool = False) -> None:
        self.h2.send_headers(stream, [(b":status", b"%d" % status), *fields], end_stream=ended)
        await self.flush()

    async def data(self, stream: int, data: bytes, *, ended: bool = False) -> None:
        """Send body bytes as windows allow."""
        rest = memoryview(data)
        while True:
            size = min(self.h2.local_flow_control_window(stream), self.h2.max_outbound_frame_size, len(rest))
            if size or not rest:
                self.h2.send_data(stream, rest[:size], end_stream=ended and size == len(rest))
                await self.flush()
                rest = rest[size:]
                if not rest:
                    return
            else:
                await self.windows.park()

    async def trailers(self, stream: int, *fields: tuple[bytes, bytes]) -> None:
        self.h2.send_headers(stream, list(fields), end_stream=True)
        await self.flush()

    async def answer(self, stream: int, status: int = 200, *fields: tuple[bytes, bytes], body: bytes = b"ok") -> None:
        await self.head(stream, status, *fields, ended=not body)
        if body:
            await self.data(stream, body, ended=True)

    async def reset(self, stream: int, code: int) -> None:
        self.h2.reset_stream(stream, code)
        await self.flush()

    async def goodbye(self, last: int, code: int = 0) -> None:
        """Send GOAWAY and go on."""
        payload = last.to_bytes(4, "big") + code.to_bytes(4, "big")
        await self.flush(len(payload).to_bytes(3, "big") + b"\x07\0\0\0\0\0" + payload)

    async def serve(self, nursery: trio.Nursery) -> None:
        self.h2.local_settings.update(self.site.settings)
        self.h2.local_settings.acknowledge()  # else the library sends its defaults
        self.h2.initiate_connection()
        if self.site.is_prompt:
            await self.flush()
        while await self.wire.fill():
            data = self.wire._take(len(self.wire.waiting))
            try:
                events = self.h2.receive_data(data)
            except h2.exceptions.ProtocolError:
                await self.flush()
                raise
            for event in events:
                await self._take(event, nursery)
            await self.flush()

    async def _take(self, event: h2.events.Event, nursery: trio.Nursery) -> None:
        self.events.append(event)
        self.news.unpark_all()
        if isinstance(event, h2.events.ConnectionTerminated):
            self.goodbyes.append((event.last_stream_id or 0, int(event.error_code or 0)))
            return
        if isinstance(event, h2.events.RequestReceived):
            asked = self.asked[event.stream_id] = Asked(event.stream_id, list(event.headers))
            self.site.asked.append(asked)
            self.site.news.unpark_all()
            nursery.start_soon(self.site.handler, self, asked)
        if isinstance(event, h2.events.WindowUpdated | h2.events.RemoteSettingsChanged):
            self.windows.unpark_all()
        asked_or_none = self.asked.get(getattr(event, "stream_id", None) or 0)
        if asked_or_none is None:
            return
        asked = asked_or_none
        if isinstance(event, h2.events.DataReceived):
            asked.body += event.data
            if self.grants and event.flow_controlled_length:
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, h2.events.TrailersReceived):
            asked.trailers = list(event.headers)
        elif isinstance(event, h2.events.StreamEnded):
            asked.ended.set()
        elif isinstance(event, h2.events.StreamReset):
            asked.reset = int(event.error_code)
        asked.changed.unpark_all()


Handler = Callable[[Session, Asked], Awaitable[None]]


async def polite(session: Session, asked: Asked) -> None:
    """Answer 200 ``ok`` once the request has ended."""
    await asked.ended.wait()
    await session.answer(asked.stream, body=b"" if asked.first(b":method") == b"HEAD" else b"ok")


class Http2Site:
    """A listening origin."""

    def __init__(self, handler: Handler, settings: Settings, *, grants: bool, is_prompt: bool) -> None:
        self.handler = handler
        self.settings = settings
        self.grants = grants
        self.is_prompt = is_prompt
        self.sessions: list[Session] = []
        self.asked: list[Asked] = []
        self.news = trio.lowlevel.ParkingLot()
        self.origin: Origin

    @property
    def port(self) -> int:
        return self.origin.port

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait until it holds; looked at whenever a request comes."""
        with trio.fail_after(PATIENCE):
            while not condition():
                await self.news.park()

    async def __call__(self, origin: Origin, wire: Wire) -> None:
        session = Session(self, wire)
        self.sessions.append(session)
        self.news.unpark_all()
        async with trio.open_nursery() as nursery:
            await session.serve(nursery)
            nursery.cancel_scope.cancel()


@contextlib.asynccontextmanager
async def open_http2(
    handler: Handler = polite,
    *,
    tls: ssl.SSLContext | None = None,
    settings: Settings | None = None,
    grants: bool = True,
    is_prompt: bool = True,
) -> AsyncIterator[Http2Site]:
    """Serve HTTP/2, in the clear by prior knowledge or by TLS. ``grants``: give back what is received at once.

    ``is_prompt``: send SETTINGS at once; else whoever tests does.
    """
    site = Http2Site(handler, settings or {}, grants=grants, is_prompt=is_prompt)
    async with open_origin(site, tls=tls) as site.origin:
        yield site
