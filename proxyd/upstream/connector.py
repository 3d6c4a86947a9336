"""From a pool key to a connected, verified stream: resolve, guard, dial, TLS."""

import socket
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import trio
from OpenSSL import SSL

from proxyd.core.errors import Flag, ProxyError, Retry, Side
from proxyd.core.exchange import Exchange
from proxyd.core.service import UNIX, Version, written
from proxyd.core.snapshot import Egress
from proxyd.net.dial import dial
from proxyd.net.guard import Guard
from proxyd.net.reaper import Reaper
from proxyd.net.resolve import Resolver
from proxyd.net.stream import NEVER, Late, Stream, StreamError
from proxyd.net.tls import TlsStream, client_context, client_stream, verify_peer
from proxyd.upstream.pool import PoolKey, Told
from proxyd.wire.proxy_protocol import Place, header

_FINE: Final = 1.0
"""Handshakes that may take less than this get a real cancel scope; longer ones are left to the reaper's sweep."""

MAX_SESSIONS: Final = 1024
"""TLS sessions kept for resumption, one per pool key."""

_HTTP2: Final = b"h2"
_OFFERS: Final[Mapping[str, Sequence[bytes]]] = {
    Version.HTTP1.value: (),
    Version.AUTO.value: (_HTTP2, b"http/1.1"),
    Version.HTTP2.value: (_HTTP2,),
}
"""What ALPN offers; nothing: what every context offers."""


Saw = Callable[[str, TlsStream], None]
"""Looks at a connection whose certificate was verified for this name."""


class Connector:
    """Makes upstream streams under one policy of egress and trust."""

    def __init__(
        self, egress: Egress, extra_roots_pem: bytes, resolver: Resolver, reaper: Reaper, saw: Saw | None = None
    ) -> None:
        self._saw = saw
        self.guard = Guard(egress)
        self._extra_roots_pem = extra_roots_pem
        self._resolver = resolver
        self._reaper = reaper
        self.watch = reaper.add
        """Has the reaper look at the deadline of one of many streams on a connection."""
        self._context: SSL.Context | None = None
        self._sessions: dict[PoolKey, SSL.Session] = {}

    async def addresses(self, host: str, port: int, *, configured: bool) -> list[tuple[str, int]]:
        """Resolve and guard; ProxyError 403 when every address is prohibited, 502 or 504 when there is none.

        A Unix socket is one that the configuration names: no client can.
        """
        if configured and host.startswith(UNIX):
            return [(host, 0)]
        allowed = []
        why = ""
        for _, address in await self._resolver.resolve(host, port):
            refusal = self.guard.check(address, port, configured=configured)
            if refusal is None:
                allowed.append((address, port))
            else:
                why = refusal
        if not allowed:
            raise ProxyError(403, Flag.DENIED, "destination_ip_prohibited", f"{host}:{port} is refused: {why}")
        return allowed

    async def connect(
        self, key: PoolKey, exchange: Exchange | None, seconds: float, tls_seconds: float = 0.0
    ) -> tuple[Stream, str]:
        """Return a stream for ``key`` and the ``ip:port`` it goes to, within ``seconds`` for all of it.

        ``tls_seconds`` bound the handshake besides; 0: they do not.
        """
        with trio.move_on_after(seconds or NEVER) as scope:
            if exchange is not None:
                exchange.scope = scope
            try:
                return await self._connect(key, exchange, seconds, tls_seconds)
            finally:
                if exchange is not None:
                    exchange.scope = None
        if exchange is not None and exchange.gone:
            raise ProxyError(
                499, Flag.DOWNSTREAM_DISCONNECT, "connection_terminated", "the client left", side=Side.DOWNSTREAM
            )
        raise ProxyError(
            504,
            Flag.UPSTREAM_CONNECT,
            "connection_timeout",
            f"no connection within {seconds:g} s",
            side=Side.UPSTREAM,
            retry=Retry.ALWAYS,
        )

    async def _connect(
        self, key: PoolKey, exchange: Exchange | None, seconds: float, tls_seconds: float
    ) -> tuple[Stream, str]:
        begin = trio.current_time()
        addresses = await self.addresses(key.address, key.port, configured=key.configured)
        dns = trio.current_time() - begin
        if exchange is not None:
            exchange.connect_steps = (dns, None)
        sock = await dial(addresses, seconds or 3600.0)
        text = key.address if sock.family == socket.AF_UNIX else written(*sock.getpeername()[:2])
        if key.told is not None:
            await _tell(sock, key.told)
        stream = Stream(sock) if not key.name else self._start_tls(sock, key)
        self._reaper.add(stream)
        try:
            if isinstance(stream, TlsStream):
                begin = trio.current_time()
                await self._handshake(stream, key, tls_seconds)
                if exchange is not None:
                    exchange.connect_steps = (dns, trio.current_time() - begin)
        except BaseException:
            stream.close()
            raise
        return stream, text

    def _start_tls(self, sock: socket.socket, key: PoolKey) -> TlsStream:
        if self._context is None:
            self._context = client_context(self._extra_roots_pem)
        stream = client_stream(sock, self._context, key.name, is_ip=_is_ip(key.name), alpn=_OFFERS[key.protocol])
        session = self._sessions.get(_of_all(key))
        if session is not None:
            stream.tls.set_session(session)
        return stream

    async def _handshake(self, stream: TlsStream, key: PoolKey, seconds: float) -> None:
        try:
            await _within(stream, seconds)
            verify_peer(stream, key.name, is_ip=_is_ip(key.name))
            if self._saw is not None:
                self._saw(key.name, stream)
        except Late as error:
            raise ProxyError(
                504,
                Flag.UPSTREAM_CONNECT,
                "connection_timeout",
                f"TLS with {key.name} took longer than `tls` ({seconds:g} s)",
                side=Side.UPSTREAM,
                retry=Retry.ALWAYS,
            ) from error
        except StreamError as error:
            certificate = "certificate" in str(error)
            raise ProxyError(
                502,
                Flag.UPSTREAM_CONNECT,
                "tls_certificate_error" if certificate else "tls_protocol_error",
                f"TLS with {key.name} failed: {error}",
                side=Side.UPSTREAM,
                retry=Retry.NEVER if certificate else Retry.ALWAYS,
            ) from error

    @staticmethod
    def is_http2(key: PoolKey, stream: Stream) -> bool:
        """Whether a connected stream speaks HTTP/2. ProxyError 502 where it must and does not."""
        if key.protocol == Version.HTTP1.value:
            return False
        if not isinstance(stream, TlsStream):
            return key.protocol == Version.HTTP2.value  # prior knowledge, RFC 9113 §3.3
        if stream.tls.get_alpn_proto_negotiated() == _HTTP2:
            return True
        if key.protocol == Version.HTTP2.value:
            detail = f"{key.name} does not speak HTTP/2: TLS chose another protocol (ALPN)"
            raise ProxyError(502, Flag.UPSTREAM_CONNECT, "tls_protocol_error", detail, side=Side.UPSTREAM)
        return False

    def remember(self, key: PoolKey, stream: Stream) -> None:
        """Keep the TLS session for the next handshake (TLS 1.3 tickets come with the first answer)."""
        if isinstance(stream, TlsStream):
            session = stream.tls.get_session()
            if session is not None:
                key = _of_all(key)
                if key not in self._sessions and len(self._sessions) >= MAX_SESSIONS:
                    self._sessions.pop(next(iter(self._sessions)))
                self._sessions[key] = session


async def _within(stream: TlsStream, seconds: float) -> None:
    """Run the handshake within ``seconds``, 0: however long the connection may take. Late when they are over."""
    if not seconds:
        await stream.handshake()
    elif seconds < _FINE:
        with trio.move_on_after(seconds) as scope:
            await stream.handshake()
        if scope.cancelled_caught:
            raise Late("tls")
    else:
        stream.deadline, stream.late = trio.current_time() + seconds, "tls"
        await stream.handshake()
        stream.deadline = NEVER


def _of_all(key: PoolKey) -> PoolKey:
    """Return the key that all clients share: TLS sessions belong to the server."""
    return key if key.told is None else key._replace(told=None)


async def _tell(sock: socket.socket, told: Told) -> None:
    """Say who the connection is for, before everything else. ProxyError 502."""
    source, destination = told.source, None
    if source is not None:
        if sock.family == socket.AF_UNIX:  # it has no address to tell, and the client's counts
            destination = Place("::" if ":" in source.address else "0.0.0.0", 0)  # noqa: S104 - told, not bound
        else:
            destination = Place(*sock.getpeername()[:2])
    rest = header(told.version, source, destination)
    try:
        while rest:
            await trio.lowlevel.wait_writable(sock)
            rest = rest[sock.send(rest) :]
    except OSError as error:
        sock.close()
        detail = f"the connection ended at once: {error.strerror}"
        raise ProxyError(
            502,
            Flag.UPSTREAM_CONNECT,
            "connection_terminated",
            detail,
            side=Side.UPSTREAM,
            retry=Retry.ALWAYS,
        ) from error
    except BaseException:
        sock.close()
        raise


def _is_ip(name: str) -> bool:
    return ":" in name or name.replace(".", "").isdigit()
