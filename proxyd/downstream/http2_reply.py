"""Responses to frames of one stream."""

from typing import Final

from proxyd.core.exchange import Exchange
from proxyd.core.message import Origin, Response
from proxyd.net.lane import Lane
from proxyd.net.stream import Late
from proxyd.wire.http2 import Codec
from proxyd.wire.http2_fields import Fields, response_fields, trailer_fields

_BODILESS: Final = frozenset({204, 304})


def send_head(codec: Codec, lane: Lane, fields: Fields, *, ended: bool) -> None:
    """Queue a head or trailers. Late when the stream is over."""
    if lane.ended is not None:
        raise Late(lane.ended)
    try:
        codec.head(lane.id, fields, ended=ended)
    except KeyError:
        raise Late("closed") from None
    lane.touch()


async def write(codec: Codec, lane: Lane, exchange: Exchange, response: Response, via: bytes) -> None:
    """Send a response; errors leave through the lane or the body, and the stream is not ended then."""
    body = response.body
    status = response.status
    if response.origin is Origin.PROXYD:
        via = b""
    exchange.response_started = True
    if exchange.request.method == b"HEAD" or status in _BODILESS:
        own = response.origin is Origin.PROXYD and status not in _BODILESS
        fields = response_fields(status, response.headers, length=body.length if own else None, via=via)
        body.abandon()
        send_head(codec, lane, fields, ended=True)
        return
    ready = body.take_ready()
    length = body.length if ready is None else len(ready)
    fields = response_fields(status, response.headers, length=length, via=via)
    if ready is not None:
        exchange.response_bytes = len(ready)
        send_head(codec, lane, fields, ended=not ready and not body.trailers)
        if ready:
            await lane.send(ready, ended=not body.trailers)
    else:
        send_head(codec, lane, fields, ended=False)
        while piece := body.take_pending() or await body.read():
            exchange.response_bytes += len(piece)
            await lane.send(piece)
        if not body.trailers:
            await lane.send(b"", ended=True)
    if body.trailers:
        send_head(codec, lane, trailer_fields(body.trailers), ended=True)
