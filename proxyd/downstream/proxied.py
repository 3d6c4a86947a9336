"""A connection that begins with a proxy's word about its client (PROXY protocol), whatever it speaks after that.

The header is peeked at and taken byte for byte, so what follows is still in the socket when the connection itself
begins, be it HTTP, SOCKS or TLS: there is no surplus to hand over.
"""

import socket
from collections.abc import Callable, Collection
from typing import Final

from trio import current_time
from trio.lowlevel import wait_readable

from proxyd.core.exchange import Exchange
from proxyd.downstream.entry import Served
from proxyd.net.stream import GONE, NEVER, Late, Stream
from proxyd.wire.proxy_protocol import MAX_V2, Header, MalformedHeader, Reader

HEAD: Final = "head"
"""Why a stream ended whose header did not come in time."""


class Proxied:
    """Reads the header, then lets the connection itself go on."""

    __slots__ = ("_refused", "_seconds", "_told", "connection", "entry", "stream")

    exchanges: Collection[Exchange] = ()

    def __init__(
        self, connection: Served, seconds: float, told: Callable[[Header], bool], refused: Callable[[str], None]
    ) -> None:
        """``told`` takes what a header says and returns whether the connection may go on; ``refused`` is told why not.

        ``seconds`` are how long the header may take.
        """
        self.connection = connection
        self.entry = connection.entry
        self.stream = connection.stream
        self._seconds = seconds
        self._told = told
        self._refused = refused

    def __repr__(self) -> str:
        return f"<Proxied {self.connection!r}>"

    async def serve(self) -> Served | None:
        """Return the connection once its header was taken; close it where none comes, or one that is refused."""
        stream = self.stream
        stream.deadline, stream.late = current_time() + self._seconds, HEAD
        try:
            header = await _receive(stream)
        except MalformedHeader as error:
            self._refused(str(error))
        except Late as error:
            if error.reason == HEAD:
                self._refused(f"no whole header came within {self._seconds:g} s")
        else:
            stream.deadline = NEVER
            if self._told(header):
                return self.connection
        stream.close()
        return None

    def drain(self, *, gentle: bool) -> None:
        """Close: nothing was asked yet. ``gentle`` leaves it to its first request, as an idle connection."""
        if gentle:
            self.connection.drain(gentle=True)
        else:
            self.stream.expire("drain")

    def cut(self, exchange: Exchange) -> None:
        """There is no exchange yet."""


async def _receive(stream: Stream) -> Header:
    """Take the header from the socket and not one byte more. MalformedHeader; Late where the stream was closed."""
    reader = Reader()
    sock = stream.sock
    try:
        while reader.header is None:
            await wait_readable(sock)
            try:
                seen = sock.recv(MAX_V2, socket.MSG_PEEK)
            except BlockingIOError:
                continue
            if not seen:
                raise MalformedHeader("the connection ended before it")
            sock.recv(reader.take(seen))
    except GONE:
        raise Late(stream.ended or "closed") from None
    return reader.header
