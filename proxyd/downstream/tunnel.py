"""CONNECT: what can be refused is refused before the 200; then the first bytes decide.

The ClientHello is peeked, so that the same socket can still be spliced, intercepted or refused. Bytes that came in
one segment with CONNECT were read already: they prime a memory BIO, or are written first.
"""

import enum
import socket
from typing import TYPE_CHECKING, Final

import trio
from trio.lowlevel import wait_readable

from proxyd.core.authority import Authority
from proxyd.core.errors import Flag, ProxyError, Side, bad_request, denied
from proxyd.core.exchange import Exchange
from proxyd.core.message import BytesBody, Request
from proxyd.core.route import Route
from proxyd.core.snapshot import UnknownHosts
from proxyd.core.view import View
from proxyd.downstream import target
from proxyd.downstream.http2 import Http2Connection
from proxyd.net.alpn import HTTP2, AlpnStream, MemoryAlpnStream, alpn_stream
from proxyd.net.relay import Tally, relay
from proxyd.net.stream import GONE, NEVER, Late, Stream, StreamError
from proxyd.net.tls import ALERT_UNRECOGNIZED_NAME, TlsStream, server_stream
from proxyd.wire.request_head import RequestHead
from proxyd.wire.sniff import ClientHello, Incomplete, NotTls, sniff

if TYPE_CHECKING:
    from proxyd.downstream.connection import Connection

_ESTABLISHED: Final = b"HTTP/1.1 200 Connection established\r\n\r\n"


class _Silence(enum.Enum):
    """No first bytes came."""

    SILENT = "silent"
    ENDED = "ended"


_First = ClientHello | NotTls | _Silence


async def connect(connection: "Connection", view: View, head: RequestHead, started: float) -> bool:
    """Serve CONNECT; True when requests follow on the same connection (an intercepted tunnel).

    ProxyError before the 200 is answered by the caller.
    """
    if connection.entry.authority is not None:
        raise bad_request("CONNECT within a tunnel is not served", 405)
    if head.length != 0:
        raise bad_request("CONNECT has no body (RFC 9110 §9.3.6)")
    plane = connection.plane
    if connection.entry.listener.users:
        connection.peer.user = plane.authenticate(connection.entry.listener, head.proxy_authorization)
    authority = target.connect(head)
    connection.entry.authority = authority  # refusals name it; a refused connection ends
    route = view.find(authority.host, authority.port)
    exchange = _exchange(connection, view, route, authority, started)
    if route.service is not None and not route.judge.may(connection.peer, authority.host, authority.port):
        raise denied(f"no access rule lets this caller reach {route.name}; see `access:` in the configuration")
    try:
        if route.service is not None:
            await connection.stream.send(_ESTABLISHED)
            return await _service(connection, view, exchange)
        return await _unknown(connection, view, exchange)
    except StreamError as error:
        detail = f"the client's connection failed before its first bytes: {error}"
        gone = ProxyError(499, Flag.DOWNSTREAM_DISCONNECT, "connection_terminated", detail, side=Side.DOWNSTREAM)
        return _report(connection, exchange, 499, gone)


def _exchange(connection: "Connection", view: View, route: Route, authority: Authority, started: float) -> Exchange:
    request = Request(b"CONNECT", b"", authority, b"", [], BytesBody())
    exchange = Exchange(connection.peer, view.snapshot, request, started, "tunnel")
    exchange.id = connection.plane.next_id()
    exchange.route = route
    exchange.service = route.service
    return exchange


async def _service(connection: "Connection", view: View, exchange: Exchange) -> bool:
    """Intercept a service's tunnel, or refuse it; never carry it blindly."""
    service = exchange.route.service
    assert service is not None
    first = await _first_bytes(connection, view, view.limits.head_timeout)
    authority = exchange.request.authority
    if isinstance(first, ClientHello):
        if first.sni is not None and first.sni != authority.host:
            return await _refuse_name(connection, exchange, f"SNI names {first.sni}")
        return await _intercept(connection, view, exchange, first)
    if isinstance(first, NotTls) and not first.is_tls and service.insecure:
        connection.entry.scheme = b"http"
        return True
    if isinstance(first, _Silence):
        detail = "no ClientHello came" if first is _Silence.SILENT else "the client left before its ClientHello"
    else:
        detail = f"a service's tunnel must begin with TLS: {first.why}"
    return _report(connection, exchange, 400, bad_request(detail))


async def _unknown(connection: "Connection", view: View, exchange: Exchange) -> bool:
    """Tunnel or intercept an unknown host; access, name resolution and the dial come before the 200."""
    authority = exchange.request.authority
    mode = connection.entry.listener.unknown_hosts
    refusal = view.check_port(authority)
    if refusal is not None:
        raise refusal
    judge = exchange.route.judge
    peer = connection.peer
    permitted = judge.may if mode is UnknownHosts.INTERCEPT else judge.tunnel
    if mode is UnknownHosts.DENY or not permitted(peer, authority.host, authority.port):
        raise denied(f"{authority} is no configured service, and unknown hosts are denied to this caller")
    connection.exchange = exchange
    connection.stream.busy_since = exchange.started
    connection.stream.hangup = exchange.abandon
    try:
        upstream, exchange.endpoint = await connection.plane.dial_unknown(exchange, authority.host, authority.port)
    finally:
        connection.stream.busy_since = NEVER
        connection.stream.hangup = None
    try:
        await connection.stream.send(_ESTABLISHED)
        first = await _first_bytes(connection, view, view.limits.silence)
        if isinstance(first, ClientHello):
            if first.sni is not None and first.sni != authority.host and view.names_service(first.sni):
                return await _refuse_name(connection, exchange, f"SNI names the service host {first.sni}")
            if mode is UnknownHosts.INTERCEPT:
                connection.exchange = None
                return await _intercept(connection, view, exchange, first)
        if not judge.tunnel(peer, authority.host, authority.port):
            error = denied("the rules for this host look into requests, which an opaque tunnel hides")
            return _report(connection, exchange, 403, error)
        await _carry(connection, view, exchange, upstream)
        return False
    finally:
        upstream.close()


async def _carry(connection: "Connection", view: View, exchange: Exchange, upstream: Stream) -> None:
    """Relay an opaque tunnel until both sides are done."""
    tally = Tally()
    error: ProxyError | None = None
    try:
        if connection.buffer:
            data, connection.buffer = connection.buffer, b""
            tally.up += len(data)
            await upstream.send(data)
        why = await relay(connection.stream, upstream, view.limits.tunnel_idle, connection.plane.pipes, tally)
        error = cut_short("the tunnel", why)
    except StreamError as failure:
        error = ProxyError(200, Flag.UPSTREAM_DISCONNECT, "connection_terminated", f"the tunnel ended: {failure}")
    finally:
        exchange.request_bytes, exchange.response_bytes = tally.up, tally.down
        _report(connection, exchange, 200, error)


def cut_short(what: str, why: str) -> ProxyError | None:
    """Return the error of a relay that ended for ``why``; None where both sides were done."""
    if why in ("eof", "closed"):
        return None
    flag = Flag.IDLE_TIMEOUT if why == "idle" else Flag.UPSTREAM_DISCONNECT
    return ProxyError(200, flag, "connection_terminated", f"{what} ended: {why}")


async def _intercept(connection: "Connection", view: View, exchange: Exchange, hello: ClientHello) -> bool:
    """Become the server that the client asked for; its requests follow on this connection."""
    host = exchange.request.authority.host
    surplus, connection.buffer = connection.buffer, b""
    try:
        with trio.move_on_after(view.limits.head_timeout):
            offers = connection.entry.listener.http2 and HTTP2.encode() in hello.alpn
            stream = await _tls(connection, host, surplus, offers_http2=offers)
            connection.handover(stream)
            await stream.handshake()
            connection.entry.mode = "intercept"
            connection.entry.scheme = b"https"
            if isinstance(stream, AlpnStream | MemoryAlpnStream) and stream.protocol == HTTP2:
                connection.successor = Http2Connection(stream, connection.entry, opened=exchange)
                return False
            connection.opened = exchange
            return True
        raise ProxyError(408, Flag.DOWNSTREAM_TIMEOUT, "tls_protocol_error", "the TLS handshake took too long")
    except StreamError as error:
        detail = f"TLS with the client failed: {error}"
        if "alert" in detail or "unknown ca" in detail:
            detail += " (does it trust proxyd's CA? `proxyd ca export`)"
        failure = ProxyError(400, Flag.DOWNSTREAM_PROTOCOL, "tls_alert_received", detail, side=Side.DOWNSTREAM)
        return _report(connection, exchange, 400, failure)
    except ProxyError as error:
        return _report(connection, exchange, error.status, error)


async def _tls(connection: "Connection", host: str, surplus: bytes, *, offers_http2: bool) -> TlsStream:
    """Return the server's end of a handshake about to begin, by the library that can answer this client."""
    plane, caller = connection.plane, connection.peer.caller
    if offers_http2:
        alpn = await plane.alpn_leaf(host, caller)
        connection.stream.unwatch()  # while the socket still has its number
        return alpn_stream(connection.stream.sock, alpn, surplus)
    context = await plane.leaf(host, caller)
    return server_stream(connection.stream.sock, context, surplus)


async def _refuse_name(connection: "Connection", exchange: Exchange, why: str) -> bool:
    """Refuse a hello for another host with the alert unrecognized_name (RFC 6066 §3)."""
    authority = exchange.request.authority
    try:
        await connection.stream.send(ALERT_UNRECOGNIZED_NAME)
        connection.stream.shut_write()
    except StreamError:
        pass  # reported below all the same
    return _report(connection, exchange, 421, target.misdirected(f"{why} within a tunnel to {authority}"))


def _report(connection: "Connection", exchange: Exchange, status: int, error: ProxyError | None) -> bool:
    exchange.error = error
    connection.exchange = None
    connection.plane.tunnel_finished(exchange, "tunnel", status)
    return False


async def _first_bytes(connection: "Connection", view: View, silence: float) -> _First:
    """Wait ``silence`` seconds for a first byte, then up to ``head_timeout`` for a whole hello."""
    limits = view.limits
    if connection.buffer:
        return await _first_buffered(connection, view)
    stream = connection.stream
    sock = stream.sock
    stream.deadline = NEVER
    try:
        with trio.move_on_after(silence) as scope:
            await wait_readable(sock)
        if scope.cancelled_caught:
            return _Silence.SILENT
        if sock.family == socket.AF_UNIX:  # SO_RCVLOWAT does nothing there: peeking at half a hello would spin
            return await _first_buffered(connection, view)
        with trio.move_on_after(limits.head_timeout):
            return await _peek(sock, limits.hello_bytes)
        return NotTls("an incomplete ClientHello", True)
    except GONE:
        raise Late(stream.ended or "closed") from None


async def _peek(sock: socket.socket, limit: int) -> _First:
    """Peek until the hello is whole; SO_RCVLOWAT keeps a hello that drips from waking us for every byte."""
    seen = -1
    try:
        while True:
            try:
                data = sock.recv(2 * limit + 16384, socket.MSG_PEEK)
            except BlockingIOError:
                await wait_readable(sock)
                continue
            if not data:
                return _Silence.ENDED
            result = sniff(data, limit)
            if not isinstance(result, Incomplete):
                return result
            if len(data) == seen:
                return NotTls("the client left within its ClientHello", True)
            seen = len(data)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, len(data) + result.missing)
            await wait_readable(sock)
    finally:
        if seen >= 0 and sock.fileno() >= 0:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)


async def _first_buffered(connection: "Connection", view: View) -> _First:
    """The hello, or its beginning, came with CONNECT: read on into the buffer until it is whole."""
    limits = view.limits
    with trio.move_on_after(limits.head_timeout):
        while True:
            result = sniff(connection.buffer, limits.hello_bytes)
            if not isinstance(result, Incomplete):
                return result
            data = await connection.stream.receive(limits.hello_bytes)
            if not data:
                return NotTls("the client left within its ClientHello", True) if connection.buffer else _Silence.ENDED
            connection.buffer += data
    return NotTls("an incomplete ClientHello", True)
