"""A DNS server on loopback, UDP and TCP on one port, whose zone and mood a test changes while it runs."""

import contextlib
import select
import socket
import struct
import threading
from collections import Counter
from types import TracebackType
from typing import Self

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset

Zone = dict[tuple[str, str], tuple[int, list[str]]]


class NameServer:
    """``zone`` maps (name, type) to (ttl, records). A name that has no records at all does not exist."""

    def __init__(self, zone: Zone) -> None:
        self.zone = zone
        self.rcode: dns.rcode.Rcode | None = None
        """What every question is answered with; None: what the zone says."""
        self.is_silent = False
        self.truncates = False
        """UDP answers are empty and say that TCP has more."""
        self.asked: Counter[str] = Counter()
        """Questions by transport and type, such as ``udp A``."""
        self._tcp = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._tcp.getsockname()[1]
        self._udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._udp.bind(("127.0.0.1", self.port))
        self._wake, self._woken = socket.socketpair()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    @property
    def address(self) -> str:
        """``ip:port``, as the configuration writes it."""
        return f"127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._wake.close()
        self._thread.join(10)
        for sock in (self._tcp, self._udp, self._woken):
            sock.close()

    def _serve(self) -> None:
        while True:
            ready, _, _ = select.select([self._udp, self._tcp, self._woken], [], [])
            if self._woken in ready:
                return
            with contextlib.suppress(OSError, dns.exception.DNSException):
                if self._udp in ready:
                    data, peer = self._udp.recvfrom(65535)
                    if not self.is_silent:
                        self._udp.sendto(self._answer(data, "udp"), peer)
                if self._tcp in ready:
                    self._serve_tcp()

    def _serve_tcp(self) -> None:
        connection, _ = self._tcp.accept()
        with connection:
            connection.settimeout(5)
            (length,) = struct.unpack("!H", connection.recv(2, socket.MSG_WAITALL))
            answer = self._answer(connection.recv(length, socket.MSG_WAITALL), "tcp")
            connection.sendall(struct.pack("!H", len(answer)) + answer)

    def _answer(self, data: bytes, transport: str) -> bytes:
        query = dns.message.from_wire(data)
        (question,) = query.question
        kind = dns.rdatatype.to_text(question.rdtype)
        name = question.name.to_text(omit_final_dot=True).lower()
        self.asked[f"{transport} {kind}"] += 1
        response = dns.message.make_response(query)
        response.flags |= dns.flags.RA
        if self.rcode is not None:
            response.set_rcode(self.rcode)
        elif self.truncates and transport == "udp":
            response.flags |= dns.flags.TC
        elif (name, kind) in self.zone:
            ttl, records = self.zone[name, kind]
            response.answer.append(dns.rrset.from_text(question.name, ttl, "IN", kind, *records))
        elif all(known != name for known, _ in self.zone):
            response.set_rcode(dns.rcode.NXDOMAIN)
        return response.to_wire()
