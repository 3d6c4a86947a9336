"""A live worker inside the test's own loop: the test plays control, the clients and the origins.

async with open_plane(services=(...)) as plane, open_origin() as origin:
    client = await plane.connect()
    await client.send(b"GET http://%b/ HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n" % origin.authority)
    assert (await client.reply()).status == 200

Real sockets, no other process, no fixed port. An exception in a connection's task fails the test.
"""

import contextlib
import dataclasses
import functools
import os
import socket
import ssl
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Self

import h11
import trio
import trustme

from proxyd.core import messages
from proxyd.core.access import Access
from proxyd.core.events import ACCESS, ACCESS_FIELDS, NOTICE
from proxyd.core.service import DERIVED, Auth, AuthPart, BaseUrl, Endpoint, HostPattern, Service
from proxyd.core.snapshot import Egress, Listener, ListenerMode, Snapshot
from proxyd.net import listen
from proxyd.net.frames import FrameLink
from proxyd.net.framing import LinkClosed
from proxyd.wire import ipc
from proxyd.worker import link as worker_link
from proxyd.worker.main import Worker

BLOCK = 64 * 1024
PATIENCE = 15.0
"""Seconds after which a wait that a test relies on is a failure."""
SECRET = b"s3cr3t-of-the-service"


@functools.cache
def authority() -> trustme.CA:
    """The one certificate authority of the lab, of origins and of leaves alike."""
    return trustme.CA(organization_name="proxyd lab")


@functools.cache
def server_context(*hosts: str) -> ssl.SSLContext:
    """A server's context with a leaf for ``hosts``, signed by the lab's authority."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority().issue_cert(*hosts).configure_cert(context)
    return context


def roots() -> bytes:
    return authority().cert_pem.bytes()


def client_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority().configure_trust(context)
    return context


@functools.cache
def leaf(host: str) -> messages.InstallLeaf:
    issued = authority().issue_cert(host)
    chain = b"".join(blob.bytes() for blob in issued.cert_chain_pems)
    return messages.InstallLeaf(host, chain, issued.private_key_pem.bytes(), time.time() + 3600)


# --- origins --------------------------------------------------------------------------------------


@dataclass(slots=True)
class Seen:
    """One request as an independent parser (h11) read it at the origin."""

    method: bytes
    target: bytes
    headers: list[tuple[bytes, bytes]]
    body: bytes = b""
    trailers: list[tuple[bytes, bytes]] = field(default_factory=list)

    def end_to_end(self) -> list[tuple[bytes, bytes]]:
        """The fields without those that every hop makes anew."""
        hop = (b"host", b"via", b"content-length", b"transfer-encoding", b"connection", b"te")
        return [item for item in self.headers if item[0] not in hop]

    def first(self, name: bytes) -> bytes | None:
        return next((value for key, value in self.headers if key == name), None)


class Wire:
    """One end of a connection, raw: what came in is kept, reads never lose bytes."""

    def __init__(self, stream: trio.abc.Stream, news: trio.lowlevel.ParkingLot | None = None) -> None:
        self.stream = stream
        self._news = news
        self.received = bytearray()
        self._taken = 0
        self.ended = trio.Event()
        """The peer closed or reset its side, as a read found out."""
        self.was_reset = False

    @property
    def waiting(self) -> bytes:
        """Received bytes that no read has returned."""
        return bytes(self.received[self._taken :])

    async def send(self, data: bytes, *, bytewise: bool = False) -> None:
        """Send; what the peer no longer takes is dropped."""
        try:
            if not bytewise:
                await self.stream.send_all(data)
                return
            for at in range(len(data)):
                await self.stream.send_all(data[at : at + 1])
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return

    async def fill(self) -> bool:
        """Wait for more bytes; False at the end."""
        if self.ended.is_set():
            return False
        try:
            data = await self.stream.receive_some(BLOCK)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self.was_reset = True
            data = b""
        self.received += data
        if not data:
            self.ended.set()
        if self._news is not None:
            self._news.unpark_all()
        return bool(data)

    async def until(self, mark: bytes) -> bytes:
        """Return all bytes through ``mark``."""
        with trio.fail_after(PATIENCE):
            while (at := self.received.find(mark, self._taken)) < 0:
                assert await self.fill(), f"ended without {mark!r}: {self.waiting!r}"
        return self._take(at + len(mark) - self._taken)

    async def exactly(self, count: int) -> bytes:
        with trio.fail_after(PATIENCE):
            while len(self.received) - self._taken < count:
                assert await self.fill(), f"ended after {self.waiting!r}"
        return self._take(count)

    async def rest(self) -> bytes:
        """Return all bytes until the peer's end."""
        with trio.fail_after(PATIENCE):
            while await self.fill():
                pass
        return self._take(len(self.received) - self._taken)

    async def head(self) -> bytes:
        return await self.until(b"\r\n\r\n")

    async def aclose(self) -> None:
        """Close at once, without TLS ceremony."""
        await trio.aclose_forcefully(self.stream)

    def reset(self) -> None:
        """Close by RST."""
        sock = self.raw_socket
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.close()

    @property
    def raw_socket(self) -> trio.socket.SocketType:
        stream = self.stream
        while isinstance(stream, trio.SSLStream):
            stream = stream.transport_stream
        assert isinstance(stream, trio.SocketStream)
        return stream.socket

    async def finish_writing(self) -> None:
        """Send FIN; go on reading."""
        assert isinstance(self.stream, trio.SocketStream)
        await self.stream.send_eof()

    def _take(self, count: int) -> bytes:
        start, self._taken = self._taken, self._taken + count
        return bytes(self.received[start : self._taken])


Answer = Callable[["Origin", Wire], Awaitable[None]]


class Origin:
    """A listening origin: every connection runs ``answer``, which ends with its connection."""

    def __init__(self, port: int, answer: Answer, tls: ssl.SSLContext | None) -> None:
        self.port = port
        self.answer = answer
        self.tls = tls
        self.wires: list[Wire] = []
        self.requests: list[Seen] = []
        self._news = trio.lowlevel.ParkingLot()

    @property
    def authority(self) -> bytes:
        return b"127.0.0.1:%d" % self.port

    @property
    def received(self) -> bytes:
        """All bytes of all connections, in order of the connections."""
        return b"".join(bytes(wire.received) for wire in self.wires)

    async def saw(self, mark: bytes) -> None:
        """Wait until ``mark`` is among the bytes received."""
        with trio.fail_after(PATIENCE):
            while mark not in self.received:
                await self._news.park()

    async def serve(self, stream: trio.SocketStream) -> None:
        wire = Wire(stream, self._news)
        try:
            if self.tls is not None:
                wire.stream = trio.SSLStream(stream, self.tls, server_side=True)
                await wire.stream.do_handshake()
            self.wires.append(wire)
            await self.answer(self, wire)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return  # the peer gave up, or the answer closed
        finally:
            wire.ended.set()
            await trio.aclose_forcefully(wire.stream)


async def polite(origin: Origin, wire: Wire) -> None:
    """Read each request to its end by h11, record it, answer 200 ``ok``."""
    while (seen := await read_request(origin, wire)) is not None:
        body = b"" if seen.method == b"HEAD" else b"ok"
        await wire.send(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n" + body)


async def read_request(origin: Origin, wire: Wire) -> Seen | None:
    """Read one request with h11 and record it once it is complete; None at the end."""
    parser = h11.Connection(h11.SERVER, max_incomplete_event_size=BLOCK * 2)
    if wire.waiting:
        parser.receive_data(wire._take(len(wire.waiting)))
    seen: Seen | None = None
    while True:
        event = parser.next_event()
        if event is h11.NEED_DATA:
            if not await wire.fill():
                return None
            parser.receive_data(wire._take(len(wire.waiting)))
        elif isinstance(event, h11.Request):
            seen = Seen(event.method, event.target, list(event.headers))
        elif isinstance(event, h11.Data):
            assert seen is not None
            seen.body += event.data
        elif isinstance(event, h11.EndOfMessage):
            assert seen is not None
            seen.trailers = list(event.headers)
            wire._taken -= len(parser.trailing_data[0])
            origin.requests.append(seen)
            return seen
        else:
            return None


def scripted(*answers: bytes, bytewise: bool = False, close: bool = False) -> Answer:
    """Answer the nth request of a connection with the nth bytes, the last ones for ever; then perhaps close."""

    async def answer(origin: Origin, wire: Wire) -> None:
        at = 0
        while await read_request(origin, wire) is not None:
            await wire.send(answers[min(at, len(answers) - 1)], bytewise=bytewise)
            at += 1
            if close:
                return

    return answer


@contextlib.asynccontextmanager
async def open_origin(answer: Answer = polite, *, tls: ssl.SSLContext | None = None) -> AsyncIterator[Origin]:
    """An origin on a port of the kernel's choice."""
    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        origin = Origin(listeners[0].socket.getsockname()[1], answer, tls)
        nursery.start_soon(trio.serve_listeners, origin.serve, listeners)
        yield origin
        nursery.cancel_scope.cancel()


# --- clients --------------------------------------------------------------------------------------


@dataclass(slots=True)
class Reply:
    """One response as a client reads it."""

    status: int
    reason: bytes
    headers: list[tuple[bytes, bytes]]
    body: bytes = b""
    trailers: list[tuple[bytes, bytes]] = field(default_factory=list)

    def first(self, name: bytes) -> bytes | None:
        return next((value for key, value in self.headers if key == name), None)


class Client(Wire):
    """An application's end."""

    async def reply(self, method: bytes = b"GET") -> Reply:
        """Read one response, interim ones as well."""
        reply = parse_head(await self.head())
        coding = reply.first(b"transfer-encoding")
        length = reply.first(b"content-length")
        if method == b"HEAD" or reply.status in (204, 304) or reply.status < 200:
            return reply
        if method == b"CONNECT" and reply.status == 200:
            return reply
        if coding is not None:
            assert coding == b"chunked"
            assert length is None
            while size := int(await self.until(b"\r\n"), 16):
                reply.body += await self.exactly(size)
                assert await self.exactly(2) == b"\r\n"
            while (line := await self.until(b"\r\n")) != b"\r\n":
                name, _, value = line[:-2].partition(b": ")
                reply.trailers.append((name, value))
        elif length is not None:
            reply.body = await self.exactly(int(length))
        else:
            reply.body = await self.rest()
        return reply

    async def get(self, url: bytes, *fields: bytes) -> Reply:
        """GET an absolute URL."""
        host = url.split(b"/")[2]
        await self.send(
            b"GET %b HTTP/1.1\r\nHost: %b\r\n" % (url, host) + b"".join(f + b"\r\n" for f in fields) + b"\r\n"
        )
        return await self.reply()

    async def tunnel(self, authority: bytes) -> Reply:
        """CONNECT; the tunnel is ready where the status is 200."""
        await self.send(b"CONNECT %b HTTP/1.1\r\nHost: %b\r\n\r\n" % (authority, authority))
        return await self.reply(b"CONNECT")

    async def start_tls(self, host: str, context: ssl.SSLContext | None = None, *, verify: bool = True) -> Self:
        """Go on over TLS to ``host`` (empty: without SNI)."""
        context = context or client_context()
        if not verify or not host:
            context.check_hostname = False
        if not verify:
            context.verify_mode = ssl.CERT_NONE
        secure = trio.SSLStream(self.stream, context, server_hostname=host or None, https_compatible=True)
        self.stream = secure
        with trio.fail_after(PATIENCE):
            await secure.do_handshake()
        return self

    async def start_tls_by_hand(self, host: str, prefix: bytes = b"", *, bytewise: bool = False) -> "HandTls":
        """Send ``prefix`` and the hello in one segment, or byte by byte; the handshake is to be finished."""
        tls = HandTls(self, host)
        await self.send(prefix + tls.hello, bytewise=bytewise)
        return tls

    async def is_closed(self) -> bool:
        """Whether the proxy ends the connection without another byte."""
        return await self.rest() == b""


class HandTls:
    """TLS whose bytes the test sends itself."""

    def __init__(self, client: Client, host: str, context: ssl.SSLContext | None = None) -> None:
        self.client = client
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = (context or client_context()).wrap_bio(self._in, self._out, server_hostname=host)
        with contextlib.suppress(ssl.SSLWantReadError):
            self._tls.do_handshake()
        self.hello = self._out.read()

    async def handshake(self) -> None:
        await self._run(self._tls.do_handshake)

    async def ask(self, request: bytes, mark: bytes) -> bytes:
        """Send ``request`` and read through ``mark``."""
        self._tls.write(request)
        got = b""
        with trio.fail_after(PATIENCE):
            while mark not in got:
                got += await self._run(lambda: self._tls.read(BLOCK))
        return got

    async def _run(self, step: Callable[[], Any]) -> Any:
        while True:
            try:
                result = step()
            except ssl.SSLWantReadError:
                await self._flush()
                with trio.fail_after(PATIENCE):
                    assert self.client.waiting or await self.client.fill(), "ended"
                self._in.write(self.client._take(len(self.client.waiting)))
            except ssl.SSLError:
                await self._flush()  # the alert
                raise
            else:
                await self._flush()
                return result

    async def _flush(self) -> None:
        if data := self._out.read():
            await self.client.send(data)


def parse_head(raw: bytes) -> Reply:
    line, *lines = raw[:-4].split(b"\r\n")
    version, status, reason = line.split(b" ", 2)
    assert version == b"HTTP/1.1"
    headers = []
    for field_line in lines:
        name, _, value = field_line.partition(b": ")
        headers.append((name.lower(), value))
    return Reply(int(status), reason, headers)


# --- the worker -----------------------------------------------------------------------------------


class Plane:
    """A running worker and its control."""

    def __init__(self, worker: Worker, link: FrameLink, lifeline: FrameLink, snapshot: Snapshot) -> None:
        self.worker = worker
        self.lifeline = lifeline
        """The supervisor's end."""
        self.snapshot = snapshot
        self.events: list[dict[str, Any]] = []
        """Access records, by name of the field."""
        self.notices: list[list[Any]] = []
        self.wanted: list[messages.WantLeaf] = []
        self.answers: dict[int, Any] = {}
        self.counters: dict[tuple[str, ...], int] = {}
        """Sums of the counters' deltas, by name and labels."""
        self.ports: dict[str, int] = {}
        self.paths: dict[str, bytes] = {}
        """Listeners on Unix sockets."""
        self.exited = trio.Event()
        self.exit_code: int | None = None
        self._link = link
        self._changed = trio.Condition()
        self._applied = 0
        self._refused = ""
        self._credentials = 0
        self.questions: list[messages.CredentialRefused | messages.WantToken] = []
        """What the worker asked about tokens."""
        self.ready = 0
        """How many times the worker said that it takes messages."""
        self._clients: list[Client] = []

    # What control does.

    async def send(self, message: messages.Message, *socks: socket.socket) -> None:
        await self._link.send(ipc.encode(message), [sock.fileno() for sock in socks])

    async def listen_unix(self, name: str) -> None:
        """Bind a listener on a Unix socket of the kernel's choice and hand it over."""
        with socket.socket(socket.AF_UNIX) as sock:
            sock.bind("")  # a name in the abstract namespace
            sock.listen(512)
            self.paths[name] = sock.getsockname()
            await self.send(messages.SetListener(name), sock)

    async def listen(self, name: str) -> int:
        """Bind a listener on loopback and hand it over."""
        with socket.create_server(("127.0.0.1", 0), backlog=512) as sock:
            self.ports[name] = sock.getsockname()[1]
            await self.send(messages.SetListener(name), sock)
        return self.ports[name]

    async def set_secret(self, name: str, value: bytes | None, why: str = "") -> None:
        serial = self._credentials + 1
        await self.send(messages.SetCredential(name, value, why, serial))
        await self.wait_for(lambda: self._credentials >= serial)

    async def set_tokens(self, serial: int, values: dict[str, bytes | None], why: str = "") -> None:
        """Say what a renewal brought; taken in once anything sent later is."""
        await self.send(messages.SetCredentials(values, why, serial))

    async def question(self) -> messages.CredentialRefused | messages.WantToken:
        """Return the next thing that the worker asks about tokens."""
        await self.wait_for(lambda: self.questions)
        return self.questions.pop(0)

    async def apply(self, **changes: Any) -> None:
        """Apply the present snapshot with ``changes``; AssertionError where the worker refuses it."""
        self.snapshot = dataclasses.replace(self.snapshot, version=self.snapshot.version + 1, **changes)
        version = self.snapshot.version
        await self.send(messages.ApplySnapshot(self.snapshot))
        await self.wait_for(lambda: self._applied == version or self._refused)
        assert not self._refused, self._refused

    async def ask(self, what: str) -> Any:
        number = len(self.answers) + 1
        await self.send(messages.Query(number, what))
        await self.wait_for(lambda: number in self.answers)
        return self.answers[number]

    # What the test waits for.

    async def wait_for(self, condition: Callable[[], object]) -> None:
        with trio.fail_after(PATIENCE):
            async with self._changed:
                while not condition():
                    await self._changed.wait()

    async def event(self, number: int = 0) -> dict[str, Any]:
        """Return the access record of this number, once it is there."""
        await self.wait_for(lambda: len(self.events) > number)
        return self.events[number]

    async def connect(self, listener: str = "apps") -> Client:
        """Connect a client to a listener."""
        stream = (
            await trio.open_unix_socket(self.paths[listener])
            if listener in self.paths
            else await trio.open_tcp_stream("127.0.0.1", self.ports[listener])
        )
        client = Client(stream)
        self._clients.append(client)
        return client

    async def supervise(self, message: messages.Message, *socks: socket.socket) -> None:
        """Say something on the lifeline."""
        await self.lifeline.send(ipc.encode(message), [sock.fileno() for sock in socks])

    async def lose_control(self) -> None:
        """Control is gone."""
        self._link.close()

    async def adopt(self) -> None:
        """A new control, which has to bring everything again."""
        ours, theirs = socket.socketpair()
        with theirs:
            await self.supervise(messages.Adopt(), theirs)
        self._link = FrameLink(ours, ipc.MAX_UP, max_send=ipc.MAX_DOWN)

    async def receive(self) -> None:
        """Take what the worker says, until its end."""
        try:
            while True:
                message = ipc.decode(await self._link.receive(), ipc.WORKER_TO_CONTROL)
                async with self._changed:
                    self._take(message)
                    self._changed.notify_all()
        except LinkClosed:
            return

    async def close(self) -> None:
        for client in self._clients:
            await trio.aclose_forcefully(client.stream)
        for sock in self.worker._accepting.values():  # a process that ends would close them
            listen.stop(sock)

    def _take(self, message: messages.Message) -> None:
        if isinstance(message, messages.Ready):
            self.ready += 1
        elif isinstance(message, messages.Events):
            for kind, *values in message.events:
                if kind == ACCESS:
                    self.events.append(dict(zip(ACCESS_FIELDS, values, strict=True)))
                elif kind == NOTICE:
                    self.notices.append(values)
        elif isinstance(message, messages.Applied):
            self._applied = message.version
        elif isinstance(message, messages.Refused):
            self._refused = message.why
        elif isinstance(message, messages.CredentialApplied):
            self._credentials = message.serial
        elif isinstance(message, messages.WantLeaf):
            self.wanted.append(message)
        elif isinstance(message, messages.CredentialRefused | messages.WantToken):
            self.questions.append(message)
        elif isinstance(message, messages.Stats):
            for name, labels, delta in message.counters:
                key = (name, *labels)
                self.counters[key] = self.counters.get(key, 0) + delta
        elif isinstance(message, messages.Answer):
            self.answers[message.id] = message.value


def snapshot(**changes: Any) -> Snapshot:
    """A snapshot that lets loopback be reached and everything be done, but for ``changes``."""
    usual: dict[str, Any] = {
        "version": 1,
        "pseudonym": "proxyd-lab",
        "daemon_uid": os.getuid(),
        "listeners": (Listener("apps", ListenerMode.FORWARD, "127.0.0.1:0"),),
        "access": Access(allow_by_default=True),
        "egress": Egress(allow=("127.0.0.0/8",), ports=()),
        "extra_roots_pem": roots(),
        "access_log": True,
    }
    return Snapshot(**(usual | changes))


def service(name: str, host: str, scheme: str, *ports: int, auth: bool = True, **changes: Any) -> Service:
    """A service at ``scheme``://``host`` whose endpoints are loopback ports; its secret is ``<name>/key``."""
    usual: dict[str, Any] = {
        "hosts": (HostPattern(host),),
        "base": BaseUrl(scheme, host, 443 if scheme == "https" else 80),
        "endpoints": tuple(Endpoint("127.0.0.1", port) for port in ports),
        "auths": (Auth("bearer", (AuthPart("authorization", f"{name}/key"),)),) if auth else (),
        "insecure": scheme == "http",
    }
    return Service(name, **(usual | changes))


@contextlib.asynccontextmanager
async def open_plane(*, leaves: tuple[str, ...] = (), **changes: Any) -> AsyncIterator[Plane]:
    """A worker with one listener ``apps`` under ``snapshot(**changes)``; each service's secret is SECRET."""
    ours, theirs = socket.socketpair()
    lifeline, supervisor = socket.socketpair()
    worker = Worker(0)
    link = FrameLink(ours, ipc.MAX_UP, max_send=ipc.MAX_DOWN)
    plane = Plane(worker, link, FrameLink(lifeline, ipc.MAX_UP), snapshot(**changes))
    batching, worker_link.EVENTS_SECONDS = worker_link.EVENTS_SECONDS, 0.01  # tests wait for events
    debug, os.environ["PROXYD_DEBUG"] = os.environ.get("PROXYD_DEBUG"), "1"
    try:
        async with trio.open_nursery() as nursery:

            async def run() -> None:
                plane.exit_code = await worker.run(theirs, supervisor)
                plane.exited.set()

            nursery.start_soon(run)
            nursery.start_soon(plane.receive)
            for listener in plane.snapshot.listeners:
                await (plane.listen_unix if listener.is_unix else plane.listen)(listener.name)
            for item in plane.snapshot.services:
                for name in (name for auth in item.auths for name in auth.secret_names if not name.startswith(DERIVED)):
                    await plane.set_secret(name, SECRET)
            for host in leaves:
                await plane.send(leaf(host))
            await plane.apply()
            try:
                yield plane
            finally:
                await plane.close()
                plane.lifeline.close()
                with trio.move_on_after(PATIENCE, shield=True):
                    await plane.exited.wait()
                nursery.cancel_scope.cancel()
    finally:
        plane.lifeline.close()
        plane._link.close()
        worker_link.EVENTS_SECONDS = batching
        if debug is None:
            os.environ.pop("PROXYD_DEBUG", None)
        else:
            os.environ["PROXYD_DEBUG"] = debug
