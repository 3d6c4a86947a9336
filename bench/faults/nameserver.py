"""A DNS server on loopback with one name, whose address changes while it runs."""

import contextlib
import select
import socket
import threading

import dns.exception
import dns.flags
import dns.message
import dns.rdatatype
import dns.rrset

from bench.ports import LOOPBACK


class NameServer:
    """Answers A for every name with ``address``; use it as a context manager."""

    def __init__(self, address: str, ttl: int) -> None:
        self.address = address
        self._ttl = ttl
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((LOOPBACK, 0))
        self.port: int = self._socket.getsockname()[1]
        self._wake, self._woken = socket.socketpair()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> "NameServer":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._wake.close()
        self._thread.join(5)
        self._woken.close()
        self._socket.close()

    def answer(self, data: bytes) -> bytes:
        """The response to one query."""
        query = dns.message.from_wire(data)
        (question,) = query.question
        response = dns.message.make_response(query)
        response.flags |= dns.flags.RA
        if question.rdtype == dns.rdatatype.A:
            response.answer.append(dns.rrset.from_text(question.name, self._ttl, "IN", "A", self.address))
        return response.to_wire()

    def _serve(self) -> None:
        while True:
            ready, _, _ = select.select([self._socket, self._woken], [], [])
            if self._woken in ready:
                return
            with contextlib.suppress(OSError, dns.exception.DNSException):
                data, peer = self._socket.recvfrom(65535)
                self._socket.sendto(self.answer(data), peer)
