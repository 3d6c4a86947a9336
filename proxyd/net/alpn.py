"""The server's end of TLS where the client offers ALPN: by the standard library.

Its choice among the client's protocols is made in C, from a list; pyOpenSSL would call back into Python for it, which
needs writable executable memory (net.tls). Streams behave as those of net.tls to the last detail.
"""

import contextlib
import os
import socket
import ssl
from collections.abc import Callable, Sequence
from typing import Final, cast

import trio
from OpenSSL import SSL

from proxyd.core.units import KIB
from proxyd.net.stream import LARGE_READ, NO_GOODBYE, Broken, StreamError
from proxyd.net.tls import MemoryTlsStream, TlsStream

HTTP2: Final = "h2"
HTTP1: Final = "http/1.1"

PROTOCOLS: Final = (HTTP2, HTTP1)
"""What is spoken with applications, the best first."""

MAX_HELD: Final = 256 * KIB
"""Bytes of the peer's that are read when our side ends, and kept for who reads on."""


class _Engine:
    """The standard library's TLS object under the names that pyOpenSSL's has."""

    __slots__ = ("_held", "_incoming", "_outgoing", "do_handshake", "pending", "recv", "send", "tls")

    def __init__(
        self,
        tls: ssl.SSLSocket | ssl.SSLObject,
        incoming: ssl.MemoryBIO | None = None,
        outgoing: ssl.MemoryBIO | None = None,
    ) -> None:
        self.tls = tls
        self._incoming = incoming
        self._outgoing = outgoing
        self._held = b""
        self.recv: Callable[[int], bytes] = tls.read
        self.send = tls.write
        self.pending: Callable[[], int] = tls.pending
        self.do_handshake = tls.do_handshake

    def hold(self) -> None:
        """Read what is there, for later: the library looks for the peer's close_notify with every one of its own, and
        data in its place is a failure. ValueError when there is more than MAX_HELD.
        """
        held = [self._held]
        size = len(self._held)
        try:
            while data := self.tls.read(LARGE_READ):
                held.append(data)
                size += len(data)
                if size > MAX_HELD:
                    raise ValueError("more than is held")
        except OSError:
            pass  # nothing more is there; a failure is met by the next read
        finally:
            self._held = b"".join(held)
            if self._held:
                self.recv, self.pending = self._recv_held, self._pending_held

    def _recv_held(self, size: int) -> bytes:
        data, self._held = self._held[:size], self._held[size:]
        if not self._held:
            self.recv, self.pending = self.tls.read, self.tls.pending
        return data

    def _pending_held(self) -> int:
        return len(self._held)

    def shutdown(self) -> None:
        """Send close_notify."""
        with contextlib.suppress(ssl.SSLError, ValueError):  # the peer's is not there, or both went out before
            self.tls.unwrap()

    def bio_write(self, data: bytes) -> None:
        """Take bytes of the socket."""
        assert self._incoming is not None
        self._incoming.write(data)

    def bio_shutdown(self) -> None:
        """The socket has ended."""
        assert self._incoming is not None
        self._incoming.write_eof()

    def bio_read(self, size: int) -> bytes:
        """Return bytes for the socket; raises as pyOpenSSL where there are none."""
        assert self._outgoing is not None
        data = self._outgoing.read(size)
        if not data:
            raise ssl.SSLWantReadError
        return data


class _Alpn(TlsStream):
    """What both kinds of stream share: the library's exceptions, its ends, and the outcome of the handshake."""

    __slots__ = ()

    WANT_READ = ssl.SSLWantReadError
    WANT_WRITE = ssl.SSLWantWriteError
    ENDED = (ssl.SSLZeroReturnError, ValueError)
    """close_notify came; ValueError: and ours went out as well."""
    FAILED = (OSError, trio.ClosedResourceError)  # ssl.SSLError is an OSError

    @property
    def protocol(self) -> str | None:
        """What ALPN chose, once the handshake is over."""
        return cast("_Engine", self.tls).tls.selected_alpn_protocol()

    def shut_write(self) -> None:
        """As TlsStream; without close_notify where the peer is far ahead."""
        if self.ended is not None:
            return
        with contextlib.suppress(ValueError):
            cast("_Engine", self.tls).hold()
            self._goodbye()
        try:
            socket.socket.shutdown(self.sock, socket.SHUT_WR)  # the library's own would end reading as well
        except OSError:
            self.expire("gone")

    def _failure(self, error: Exception) -> StreamError:
        return super()._failure(_Words(error) if isinstance(error, ssl.SSLError) else error)


class _Words(OSError):
    """An error of TLS in the words of net.tls."""

    def __init__(self, error: ssl.SSLError) -> None:
        ended = isinstance(error, (ssl.SSLEOFError, ssl.SSLSyscallError))
        reason = (error.reason or "failed").lower().replace("_", " ")
        super().__init__(0, NO_GOODBYE if ended else f"TLS: {reason}")


class AlpnStream(_Alpn):
    """TLS on a socket's descriptor."""

    __slots__ = ()

    def __init__(self, sock: socket.socket, context: ssl.SSLContext) -> None:
        try:
            secure = context.wrap_socket(
                sock, server_side=True, do_handshake_on_connect=False, suppress_ragged_eofs=False
            )
        except OSError as error:  # the client has left, and the socket is closed
            raise Broken(error.strerror or "closed") from None
        super().__init__(secure, cast("SSL.Connection", _Engine(secure)))


class MemoryAlpnStream(_Alpn, MemoryTlsStream):
    """TLS on memory BIOs, primed with bytes of the hello that were read from the socket before."""

    __slots__ = ()

    def __init__(self, sock: socket.socket, context: ssl.SSLContext, hello: bytes) -> None:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        engine = _Engine(context.wrap_bio(incoming, outgoing, server_side=True), incoming, outgoing)
        TlsStream.__init__(self, sock, cast("SSL.Connection", engine))
        incoming.write(hello)


def alpn_stream(sock: socket.socket, context: ssl.SSLContext, surplus: bytes) -> AlpnStream | MemoryAlpnStream:
    """Return the server's end of a handshake about to begin; ``surplus`` is what was read of the hello.

    The socket object is taken over: only the stream's own is good from here on.
    """
    return MemoryAlpnStream(sock, context, surplus) if surplus else AlpnStream(sock, context)


def alpn_context(chain_pem: bytes, key_pem: bytes, protocols: Sequence[str]) -> ssl.SSLContext:
    """Return a server context for one leaf and its intermediates, which takes the first of ``protocols`` it can."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(list(protocols))
    descriptor = os.memfd_create("leaf", os.MFD_CLOEXEC)  # the library loads keys from files alone
    try:
        with os.fdopen(descriptor, "wb", closefd=False) as file:
            file.write(key_pem + chain_pem)
        context.load_cert_chain(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)
    return context
