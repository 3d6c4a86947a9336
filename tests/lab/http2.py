"""An HTTP/2 client for tests, on the h2 library as it comes: raw enough to misbehave; it notes all that it hears."""

from collections.abc import Callable
from dataclasses import dataclass, field

import h2.config
import h2.connection
import h2.events
import h2.settings
import trio

from tests.lab.plane import PATIENCE, Client, Plane, client_context

Fields = list[tuple[bytes, bytes]]

GOAWAY = 7


@dataclass(slots=True)
class Answer:
    """What came on one stream."""

    headers: Fields = field(default_factory=list)
    interim: list[Fields] = field(default_factory=list)
    body: bytes = b""
    trailers: Fields = field(default_factory=list)
    ended: bool = False
    reset: int | None = None
    pieces: int = 0

    @property
    def status(self) -> int:
        return int(dict(self.headers)[b":status"])

    def first(self, name: bytes) -> bytes | None:
        return next((value for key, value in self.headers if key == name), None)


class Http2Client:
    """One connection. Nothing is read but by ``until`` and what builds on it."""

    def __init__(self, client: Client, authority: bytes, scheme: bytes, *, grants: bool = True) -> None:
        """``grants``: give back what is received at once."""
        self.client = client
        self.authority = authority
        self.scheme = scheme
        self.grants = grants
        self.h2 = h2.connection.H2Connection(
            h2.config.H2Configuration(header_encoding=None, validate_outbound_headers=False)
        )
        self.answers: dict[int, Answer] = {}
        self.goodbyes: list[tuple[int, int]] = []
        """Last stream and code of every GOAWAY."""
        self.events: list[h2.events.Event] = []
        self._partial = b""
        self._sending = trio.Lock()

    async def start(self, settings: dict[h2.settings.SettingCodes, int] | None = None) -> "Http2Client":
        self.h2.local_settings.update(settings or {})
        self.h2.initiate_connection()
        await self.flush()
        return self

    async def flush(self) -> None:
        async with self._sending:
            data = self.h2.data_to_send()
            if data:
                await self.client.send(data)

    async def ask(
        self,
        path: bytes,
        *fields: tuple[bytes, bytes],
        method: bytes = b"GET",
        body: bytes = b"",
        ended: bool = True,
        authority: bytes | None = None,
        scheme: bytes | None = None,
    ) -> int:
        """Send a request; return its stream."""
        stream = self.h2.get_next_available_stream_id()
        pseudo = [
            (b":method", method),
            (b":scheme", scheme or self.scheme),
            (b":authority", self.authority if authority is None else authority),
            (b":path", path),
        ]
        self.answers[stream] = Answer()
        self.h2.send_headers(stream, [*pseudo, *fields], end_stream=ended and not body)
        if body:
            await self.flush()
            await self.upload(stream, body, ended=ended)
        await self.flush()
        return stream

    async def upload(self, stream: int, body: bytes, *, ended: bool = True) -> None:
        """Send body bytes as windows allow."""
        rest = memoryview(body)
        while rest:
            await self.until(lambda: self.h2.local_flow_control_window(stream) > 0 or self.answers[stream].reset)
            if self.answers[stream].reset is not None:
                return
            size = min(self.h2.local_flow_control_window(stream), self.h2.max_outbound_frame_size, len(rest))
            self.h2.send_data(stream, rest[:size], end_stream=ended and size == len(rest))
            rest = rest[size:]
            await self.flush()

    async def finish(self, stream: int, trailers: Fields | None = None) -> None:
        if trailers:
            self.h2.send_headers(stream, trailers, end_stream=True)
        else:
            self.h2.end_stream(stream)
        await self.flush()

    async def get(self, path: bytes, *fields: tuple[bytes, bytes], **how: object) -> Answer:
        return await self.answer(await self.ask(path, *fields, **how))  # type: ignore[arg-type]

    async def answer(self, stream: int) -> Answer:
        """Wait for the end of a stream, whichever."""
        got = self.answers[stream]
        await self.until(lambda: got.ended or got.reset is not None)
        return got

    async def until(self, condition: Callable[[], object]) -> None:
        """Read until it holds."""
        with trio.fail_after(PATIENCE):
            while not condition():
                assert await self.read(), f"the connection ended; goodbyes: {self.goodbyes}"

    async def rest(self) -> None:
        """Read until the end of the connection."""
        with trio.fail_after(PATIENCE):
            while await self.read():
                pass

    async def read(self) -> bool:
        """Read once; False at the end."""
        if not self.client.waiting and not await self.client.fill():
            return False
        self._partial += self.client._take(len(self.client.waiting))
        while len(self._partial) >= 9:
            end = 9 + int.from_bytes(self._partial[:3], "big")
            if len(self._partial) < end:
                break
            frame, self._partial = self._partial[:end], self._partial[end:]
            if frame[3] == GOAWAY:  # h2 would take nothing more after it
                self.goodbyes.append((int.from_bytes(frame[9:13], "big"), int.from_bytes(frame[13:17], "big")))
                continue
            for event in self.h2.receive_data(frame):
                self._take(event)
        await self.flush()
        return True

    def _take(self, event: h2.events.Event) -> None:
        self.events.append(event)
        got = self.answers.get(getattr(event, "stream_id", None) or 0)
        if got is None:
            return
        if isinstance(event, h2.events.ResponseReceived):
            got.headers = list(event.headers)
        elif isinstance(event, h2.events.InformationalResponseReceived):
            got.interim.append(list(event.headers))
        elif isinstance(event, h2.events.DataReceived):
            got.body += event.data
            got.pieces += 1
            if self.grants and event.flow_controlled_length:
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, h2.events.TrailersReceived):
            got.trailers = list(event.headers)
        elif isinstance(event, h2.events.StreamReset):
            got.reset = int(event.error_code)
        elif isinstance(event, h2.events.StreamEnded):
            got.ended = True


async def open_h2c(plane: Plane, authority: bytes, listener: str = "local", *, grants: bool = True) -> Http2Client:
    """Connect to a gateway by prior knowledge."""
    client = await plane.connect(listener)
    return await Http2Client(client, authority, b"http", grants=grants).start()


async def open_h2(
    plane: Plane, host: str, listener: str = "apps", *, grants: bool = True, start: bool = True
) -> Http2Client:
    """Connect through an intercepted tunnel, by ALPN; without ``start`` nothing was said in it yet."""
    client = await plane.connect(listener)
    assert (await client.tunnel(host.encode() + b":443")).status == 200
    context = client_context()
    context.set_alpn_protocols(["h2", "http/1.1"])
    await client.start_tls(host, context)
    assert isinstance(client.stream, trio.SSLStream)
    assert client.stream.selected_alpn_protocol() == "h2"
    opened = Http2Client(client, host.encode(), b"https", grants=grants)
    return await opened.start() if start else opened
