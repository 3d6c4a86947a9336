"""TLS by pyOpenSSL on the descriptor, and on memory BIOs where bytes of the hello were read already.

Contexts carry no Python callbacks: those need writable executable memory, which a hardened unit forbids. So the
server side negotiates no ALPN (every client then speaks HTTP/1.1), and the client side checks names itself.
"""

import hashlib
import os
import socket
from collections.abc import Sequence
from typing import ClassVar, Final

import service_identity
import trio
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from OpenSSL import SSL
from OpenSSL.crypto import X509
from service_identity.pyopenssl import verify_hostname, verify_ip_address
from trio.lowlevel import checkpoint, wait_writable

from proxyd.net.stream import BURST, GONE, LARGE_READ, NO_GOODBYE, SMALL_READ, Broken, Late, Stream, StreamError

ALERT_UNRECOGNIZED_NAME: Final = b"\x15\x03\x03\x00\x02\x02\x70"
"""A fatal unrecognized_name alert in the clear, for refusals before a handshake (RFC 8446 §6, RFC 6066 §3)."""

SYSTEM_ROOTS: Final = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Alpine
    "/etc/pki/tls/certs/ca-bundle.crt",  # Fedora
    "/etc/ssl/ca-bundle.pem",  # openSUSE
)

_MODE: Final = 0x10  # SSL_MODE_RELEASE_BUFFERS: an idle connection keeps no record buffers


class TlsStream(Stream):
    """TLS on a socket's descriptor; ``handshake`` comes first."""

    __slots__ = ("tls",)

    WANT_READ: ClassVar[type[Exception]] = SSL.WantReadError
    WANT_WRITE: ClassVar[type[Exception]] = SSL.WantWriteError
    ENDED: ClassVar[tuple[type[Exception], ...]] = (SSL.ZeroReturnError,)
    """close_notify came."""
    FAILED: ClassVar[tuple[type[Exception], ...]] = (SSL.Error, OSError, trio.ClosedResourceError)

    def __init__(self, sock: socket.socket, tls: SSL.Connection) -> None:
        super().__init__(sock)
        self.tls = tls

    async def handshake(self) -> None:
        """Run the handshake; Broken says in OpenSSL's words why it failed. A fatal alert has gone out then."""
        while True:
            self._check_open()
            try:
                self.tls.do_handshake()
                return
            except self.WANT_READ:
                await self._readable()
            except self.WANT_WRITE:
                await self._writable()
            except self.FAILED as error:
                raise self._failure(error) from None

    async def receive(self, size: int = SMALL_READ) -> bytes:
        """Wait for data unless TLS holds some; ``b""`` is close_notify."""
        if self.ended is None and not self.tls.pending():
            if not self._is_readable():
                await self._edge()
            try:
                return self.tls.recv(size)
            except (self.WANT_READ, self.WANT_WRITE):
                pass  # session tickets, or part of a record
            except self.ENDED:
                return b""
            except self.FAILED as error:
                raise self._failure(error) from None
        return await self._receive(size)

    async def receive_ready(self, size: int = LARGE_READ) -> bytes:
        """Try first, as Stream.receive_ready."""
        self._burst += 1
        if self._burst >= BURST:
            self._burst = 0
            await checkpoint()
        return await self._receive(size)

    async def _receive(self, size: int) -> bytes:
        while True:
            self._check_open()
            try:
                return self.tls.recv(size)
            except self.WANT_READ:
                self._burst = 0
                await self._readable()
            except self.WANT_WRITE:
                await self._writable()
            except self.ENDED:
                return b""
            except self.FAILED as error:
                raise self._failure(error) from None

    def receive_nowait(self, size: int = LARGE_READ) -> bytes | None:
        """Return what can be decrypted now, ``b""`` at the end, None when nothing is there."""
        self._check_open()
        try:
            return self.tls.recv(size)
        except (self.WANT_READ, self.WANT_WRITE):
            return None
        except self.ENDED:
            return b""
        except self.FAILED as error:
            raise self._failure(error) from None

    def send_nowait(self, data: bytes) -> bytes:
        """Send what there is room for now and return the rest."""
        self._check_open()
        try:
            sent = self.tls.send(data)
        except (self.WANT_READ, self.WANT_WRITE):
            return data
        except self.FAILED as error:
            raise self._failure(error) from None
        self.sent += sent
        return b"" if sent == len(data) else data[sent:]

    async def send(self, data: bytes) -> None:
        """Send all of ``data``."""
        rest: bytes | memoryview = data
        while True:
            self._check_open()
            try:
                sent = self.tls.send(rest)
            except self.WANT_WRITE:
                await self._room()
                continue
            except self.WANT_READ:
                await self._readable()
                continue
            except self.FAILED as error:
                raise self._failure(error) from None
            self.sent += sent
            self._burst += 1
            if self._burst >= BURST:
                self._burst = 0
                await checkpoint()
            if sent == len(rest):
                return
            rest = memoryview(rest)[sent:]

    def is_alive(self) -> bool:
        """One non-blocking TLS read: want-read is alive; an end, an error or application bytes are not.

        A read and not a look at the socket: session tickets make a TLS 1.3 client readable without data. Where neither
        the socket nor TLS holds a byte there is nothing to read.
        """
        if self.ended is not None:
            return False
        if not self.tls.pending() and not self._is_readable():
            return True
        try:
            self.tls.recv(1)
        except self.WANT_READ:
            return True
        except self.FAILED:
            return False
        return False

    def shut_write(self) -> None:
        """Send close_notify, then FIN."""
        if self.ended is None:
            self._goodbye()
            super().shut_write()

    def _dispose(self) -> None:
        self._goodbye()
        self.sock.close()

    def _goodbye(self) -> None:
        try:
            self.tls.shutdown()
        except self.FAILED:
            return  # best effort: the peer may be gone, or the handshake unfinished

    def _check_open(self) -> None:
        """Before every use of TLS: OpenSSL knows a number, which is another connection's once ours was closed."""
        if self.ended is not None:
            raise Late(self.ended)

    async def _readable(self) -> None:
        """Wait for bytes, after TLS has found the socket empty."""
        await self._edge()

    async def _room(self) -> None:
        """Wait for room to send, for ``stall`` seconds at the most."""
        deadline, late = self.deadline, self.late
        self._arm_stall(deadline)
        try:
            await self._writable()
        finally:
            self.deadline, self.late = deadline, late

    async def _writable(self) -> None:
        try:
            await wait_writable(self.sock)
        except GONE as error:
            raise self._failure(error) from None

    def _failure(self, error: Exception) -> StreamError:
        if self.ended is not None:
            return Late(self.ended)
        return Broken(_words(error))


class MemoryTlsStream(TlsStream):
    """TLS on memory BIOs, primed with bytes of the hello that were read from the socket before."""

    __slots__ = ()

    def __init__(self, sock: socket.socket, context: SSL.Context, hello: bytes) -> None:
        super().__init__(sock, SSL.Connection(context, None))
        self.tls.set_accept_state()
        self.tls.bio_write(hello)

    async def handshake(self) -> None:
        """Run the handshake; the queued alert is flushed when it fails."""
        while True:
            try:
                self.tls.do_handshake()
            except self.WANT_READ:
                await self._flush()
                await self._readable()
            except self.FAILED as error:
                await self._flush()
                raise self._failure(error) from None
            else:
                await self._flush()
                return

    async def receive(self, size: int = SMALL_READ) -> bytes:
        """As TlsStream: what is decrypted already comes first."""
        return await self._receive(size)

    def send_nowait(self, data: bytes) -> bytes:
        """Send nothing: the BIO is flushed by ``send``."""
        return data

    async def send(self, data: bytes) -> None:
        """Encrypt and send all of ``data``, in pieces so that the BIO stays small."""
        rest = memoryview(data)
        while rest:
            try:
                sent = self.tls.send(rest[:LARGE_READ])  # OpenSSL takes one record of it
            except self.FAILED as error:
                raise self._failure(error) from None
            self.sent += sent
            rest = rest[sent:]
            await self._flush()
            self._burst += 1
            if self._burst >= BURST:
                self._burst = 0
                await checkpoint()

    def is_alive(self) -> bool:
        """Only upstream connections are asked, and those are never on memory BIOs."""
        return False

    def receive_nowait(self, size: int = LARGE_READ) -> bytes | None:
        """Return what is decrypted now, ``b""`` at the end, None when nothing is."""
        try:
            self._feed(self.sock.recv(LARGE_READ))
        except BlockingIOError:
            pass
        except OSError as error:
            raise self._failure(error) from None
        return super().receive_nowait(size)

    async def _readable(self) -> None:
        """Feed the BIO with the next bytes of the socket."""
        self._feed(await Stream.receive(self, LARGE_READ))

    def _feed(self, data: bytes) -> None:
        if data:
            self.tls.bio_write(data)
        else:
            self.tls.bio_shutdown()

    async def _flush(self) -> None:
        while True:
            try:
                data = self.tls.bio_read(LARGE_READ)
            except self.WANT_READ:
                return
            before = self.sent
            rest = Stream.send_nowait(self, data)
            if rest:
                await self._send_rest(memoryview(rest))
            self.sent = before  # counted in plain bytes

    def _goodbye(self) -> None:
        try:
            self.tls.shutdown()
            self.sock.send(self.tls.bio_read(SMALL_READ))
        except self.FAILED:
            return


def server_stream(sock: socket.socket, context: SSL.Context, surplus: bytes) -> TlsStream:
    """Return the server's end of a handshake about to begin; ``surplus`` is what was read of the hello."""
    if surplus:
        return MemoryTlsStream(sock, context, surplus)
    tls = SSL.Connection(context, sock)
    tls.set_accept_state()
    return TlsStream(sock, tls)


def client_stream(
    sock: socket.socket, context: SSL.Context, host: str, *, is_ip: bool, alpn: Sequence[bytes] = ()
) -> TlsStream:
    """Return the client's end; SNI is sent for names only (RFC 6066 §3). ``alpn`` is offered in place of http/1.1."""
    tls = SSL.Connection(context, sock)
    tls.set_connect_state()
    if alpn:
        tls.set_alpn_protos(list(alpn))
    if not is_ip:
        tls.set_tlsext_host_name(host.encode("ascii"))
    return TlsStream(sock, tls)


def verify_peer(stream: TlsStream, host: str, *, is_ip: bool) -> None:
    """Check that the certificate is for ``host`` (RFC 9525); Broken says what it is for instead."""
    try:
        if is_ip:
            verify_ip_address(stream.tls, host)
        else:
            verify_hostname(stream.tls, host)
    except (service_identity.VerificationError, service_identity.CertificateError) as error:
        raise Broken(f"the certificate is not for {host}: {type(error).__name__}") from None


def shown_certificate(stream: TlsStream) -> x509.Certificate | None:
    """Return the certificate of the other end; None: it has shown none, or one that cannot be read."""
    try:
        return stream.tls.get_peer_certificate(as_cryptography=True)
    except ValueError:
        return None


def client_context(extra_roots_pem: bytes) -> SSL.Context:
    """Return a verifying client context: TLS 1.2 or newer, ALPN http/1.1, system roots and ``extra_roots_pem``."""
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    context.set_verify(SSL.VERIFY_PEER)
    context.set_options(SSL.OP_NO_RENEGOTIATION)
    context.set_mode(_MODE)
    context.set_alpn_protos([b"http/1.1"])
    context.set_session_cache_mode(SSL.SESS_CACHE_CLIENT)
    roots = system_roots()
    if roots is not None:
        context.load_verify_locations(roots)
    if extra_roots_pem:
        store = context.get_cert_store()
        assert store is not None
        for certificate in x509.load_pem_x509_certificates(extra_roots_pem):
            store.add_cert(X509.from_cryptography(certificate))
    return context


def system_roots() -> str | None:
    """Return the path of the system's bundle of roots: SSL_CERT_FILE, else where distributions keep it."""
    for path in (os.environ.get("SSL_CERT_FILE", ""), *SYSTEM_ROOTS):
        if path and os.path.isfile(path):
            return path
    return None


def server_context(chain_pem: bytes, key_pem: bytes) -> SSL.Context:
    """Return a server context for one leaf and its intermediates."""
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    context.set_options(SSL.OP_NO_RENEGOTIATION)
    context.set_mode(_MODE)
    leaf, *intermediates = x509.load_pem_x509_certificates(chain_pem)
    context.use_certificate(leaf)
    for intermediate in intermediates:
        context.add_extra_chain_cert(intermediate)
    key = load_pem_private_key(key_pem, None)
    context.use_privatekey(key)  # type: ignore[arg-type]
    context.set_session_id(hashlib.sha256(chain_pem).digest())
    return context


def _words(error: Exception) -> str:
    if isinstance(error, SSL.SysCallError):
        return NO_GOODBYE
    if isinstance(error, SSL.Error):
        reasons = [str(item[2]) for item in (error.args[0] if error.args else ()) if len(item) > 2]
        return "TLS: " + ("; ".join(filter(None, reasons)) or "failed")
    if isinstance(error, OSError):
        return error.strerror or "closed"
    return "closed"
