"""Responses to bytes: framing for this client, and the replies that proxyd makes itself."""

from typing import Final

from proxyd.core.errors import ProxyError
from proxyd.core.exchange import Exchange
from proxyd.core.headers import Headers, is_grpc
from proxyd.core.message import BytesBody, Origin, Response
from proxyd.core.units import KIB
from proxyd.downstream import grpc
from proxyd.net.stream import Stream
from proxyd.wire import encode

ONE_WRITE: Final = 64 * KIB
"""Head and a body of up to this size leave in one write."""

_BODILESS: Final = frozenset({204, 304})


def error_response(exchange: Exchange, error: ProxyError) -> Response:
    """Turn an error into the response for it: the only place where that happens (RFC 9457, RFC 9209)."""
    told: Headers = [
        (b"proxy-status", encode.proxy_status(exchange.snapshot.pseudonym, error.error, error.detail)),
        (b"x-request-id", exchange.id.encode("ascii")),
        (b"cache-control", b"no-store"),
    ]
    if exchange.request.version == 20 and is_grpc(exchange.request.headers):
        return Response(200, grpc.fields(error.status, error.detail) + told, BytesBody(), origin=Origin.PROXYD)
    headers: Headers = [(b"content-type", b"application/problem+json"), *told]
    if error.status == 401:  # of the gateway; RFC 9110 §15.5.2 demands a challenge
        headers.append((b"www-authenticate", b'Proxyd-Token realm="proxyd"'))
    if error.status == 407:
        headers.append((b"proxy-authenticate", b'Basic realm="proxyd"'))
    if error.headers:
        headers += error.headers
    elif error.status == 503:
        headers.append((b"retry-after", b"1"))
    body = BytesBody(encode.problem(error.status, error.detail, error.error, exchange.id))
    return Response(error.status, headers, body, origin=Origin.PROXYD)


async def write(stream: Stream, exchange: Exchange, response: Response, via: bytes, *, keep: bool) -> bool:
    """Send a response; True when the connection can be kept. Errors leave through the stream or the body."""
    request = exchange.request
    body = response.body
    modern = request.version == 11
    exchange.response_started = True
    if response.origin is Origin.PROXYD:
        via = b""
    if request.method == b"HEAD" or response.status in _BODILESS:
        if response.origin is Origin.PROXYD and body.length is not None and request.method == b"HEAD":
            via += b"content-length: %d\r\n" % body.length
        body.abandon()
        await stream.send(_head(response, via, modern=modern, keep=keep))
        return keep
    ready = body.take_ready()
    if ready is not None:
        via += b"content-length: %d\r\n" % len(ready)
        lines = response.lines
        if keep and modern and lines is not None and lines.headers is response.headers:
            head = encode.response_head_of(response.status, lines.data, via)
        elif keep and modern:
            head = encode.response_head(response.status, response.reason, response.headers, via)
        else:
            head = _head(response, via, modern=modern, keep=keep)
        exchange.response_bytes = len(ready)
        if len(ready) <= ONE_WRITE:
            rest = stream.send_nowait(head + ready)
            if rest:
                await stream.send(rest)
        else:
            await stream.send(head)
            await stream.send(ready)
        return keep
    return await _write_streaming(stream, exchange, response, via, modern=modern, keep=keep)


async def _write_streaming(
    stream: Stream, exchange: Exchange, response: Response, via: bytes, *, modern: bool, keep: bool
) -> bool:
    body = response.body
    chunked = body.length is None and modern
    if body.length is not None:
        framing = b"content-length: %d\r\n" % body.length
    elif chunked:
        framing = b"transfer-encoding: chunked\r\n"
    else:
        framing = b""
        keep = False
    head = _head(response, via + framing, modern=modern, keep=keep)
    piece = body.take_pending()
    exchange.response_bytes += len(piece)
    if piece:
        head += encode.chunk(piece) if chunked else piece
    await stream.send(head)
    while piece := await body.read():
        exchange.response_bytes += len(piece)
        await stream.send(encode.chunk(piece) if chunked else piece)
    if chunked:
        await stream.send(encode.last_chunk(body.trailers))
    return keep


def _head(response: Response, extra: bytes, *, modern: bool, keep: bool) -> bytes:
    if not keep:
        extra += b"connection: close\r\n"
    elif not modern:
        extra += b"connection: keep-alive\r\n"
    return encode.response_head(response.status, response.reason, response.headers, extra)
