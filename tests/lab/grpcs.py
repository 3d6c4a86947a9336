"""A gRPC server and client that know nothing of proxyd: grpcio, messages that are plain bytes."""

import contextlib
import threading
from collections.abc import Iterator
from concurrent import futures
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc

SERVICE = "lab.Lab"
LARGEST = 16 * 1024 * 1024
OPTIONS: tuple[tuple[str, Any], ...] = (
    ("grpc.max_receive_message_length", LARGEST),
    ("grpc.max_send_message_length", LARGEST),
)
PATIENCE = 20.0


@dataclass
class Seen:
    """What the server noticed."""

    metadata: list[dict[str, str | bytes]] = field(default_factory=list)
    cancelled: threading.Event = field(default_factory=threading.Event)
    sent: int = 0
    """Messages of ``Flood`` that were handed to the transport."""
    remaining: float | None = None
    """Seconds that the last call said it had."""
    release: threading.Event = field(default_factory=threading.Event)


class Lab(grpc.GenericRpcHandler):
    """The methods, by name."""

    def __init__(self, demands: str) -> None:
        self.seen = Seen()
        self._demands = demands

    def service(self, handler_call_details: Any) -> Any:
        name = handler_call_details.method.rpartition("/")[2]
        make = {
            "Echo": grpc.unary_unary_rpc_method_handler(self._checked(self.echo)),
            "Fail": grpc.unary_unary_rpc_method_handler(self._checked(self.fail)),
            "Hang": grpc.unary_unary_rpc_method_handler(self._checked(self.hang)),
            "Count": grpc.unary_stream_rpc_method_handler(self._checked_stream(self.count)),
            "Flood": grpc.unary_stream_rpc_method_handler(self._checked_stream(self.flood)),
            "BreakOff": grpc.unary_stream_rpc_method_handler(self._checked_stream(self.break_off)),
            "Join": grpc.stream_unary_rpc_method_handler(self._checked(self.join)),
            "Chat": grpc.stream_stream_rpc_method_handler(self._checked_stream(self.chat)),
            "Tick": grpc.stream_stream_rpc_method_handler(self._checked_stream(self.tick)),
            "Mirror": grpc.unary_unary_rpc_method_handler(self._checked(self.mirror)),
            "Flaky": grpc.unary_unary_rpc_method_handler(self._checked(self.flaky)),
            "FlakyToo": grpc.unary_unary_rpc_method_handler(self._checked(self.flaky)),
            "Sip": grpc.stream_unary_rpc_method_handler(self._checked(self.sip)),
            "Enough": grpc.stream_stream_rpc_method_handler(self._checked_stream(self.enough)),
        }
        return make.get(name)

    def _judge(self, context: Any) -> None:
        metadata = dict(context.invocation_metadata())
        self.seen.metadata.append(metadata)
        self.seen.remaining = context.time_remaining()
        if metadata.get("authorization") != self._demands:
            context.abort(grpc.StatusCode.UNAUTHENTICATED, "who are you?")

    def _checked(self, method: Any) -> Any:
        def call(request: Any, context: Any) -> Any:
            self._judge(context)
            return method(request, context)

        return call

    def _checked_stream(self, method: Any) -> Any:
        def call(request: Any, context: Any) -> Any:
            self._judge(context)
            yield from method(request, context)

        return call

    def echo(self, request: bytes, context: Any) -> bytes:
        context.send_initial_metadata((("x-first", "1"), ("x-first-bin", b"\x00\xff")))
        context.set_trailing_metadata((("x-last", "2"), ("x-last-bin", b"\xfe\x01")))
        return request

    def fail(self, request: bytes, context: Any) -> bytes:
        context.set_trailing_metadata((("x-why", "because"),))
        context.abort(_CODES[request.decode()], "100 % ä wrong")
        raise AssertionError

    def hang(self, request: bytes, context: Any) -> bytes:
        context.add_callback(self.seen.cancelled.set)
        self.seen.cancelled.wait(PATIENCE)
        return b""

    def count(self, request: bytes, context: Any) -> Iterator[bytes]:
        for number in range(int(request)):
            yield b"%d" % number

    def flood(self, request: bytes, context: Any) -> Iterator[bytes]:
        count, size = map(int, request.split())
        context.add_callback(self.seen.cancelled.set)
        self.seen.sent = 0
        for _ in range(count):
            yield bytes(size)
            self.seen.sent += 1

    def break_off(self, request: bytes, context: Any) -> Iterator[bytes]:
        yield b"one"
        yield b"two"
        context.abort(grpc.StatusCode.DATA_LOSS, "that was all")

    def join(self, requests: Iterator[bytes], context: Any) -> bytes:
        return b",".join(requests)

    def chat(self, requests: Iterator[bytes], context: Any) -> Iterator[bytes]:
        context.add_callback(self.seen.cancelled.set)
        for request in requests:
            yield b"re: " + request

    def tick(self, requests: Iterator[bytes], context: Any) -> Iterator[bytes]:
        """Says something ten times in two seconds, and a last word some time after the client has ended."""
        next(requests)
        for _ in range(10):
            self.seen.release.wait(0.2)
            yield b"tick"
        for _ in requests:
            raise AssertionError("nothing more was to come")
        self.seen.release.wait(0.4)
        yield b"last"

    def mirror(self, request: bytes, context: Any) -> bytes:
        """Gives the credential away in all the places that there are."""
        token = dict(context.invocation_metadata())["authorization"]
        context.send_initial_metadata((("x-echo", token),))
        context.set_trailing_metadata((("x-echo-last", token),))
        if request:
            context.abort(grpc.StatusCode.INTERNAL, f"bad token: {token}")
        return b"done"

    def sip(self, requests: Iterator[bytes], context: Any) -> bytes:
        """Takes the first message, and the others when it is told to."""
        size = len(next(requests))
        self.seen.release.wait(PATIENCE)
        return b"%d" % (size + sum(map(len, requests)))

    def flaky(self, request: bytes, context: Any) -> bytes:
        """Works the second time."""
        if len(self.seen.metadata) < 2:
            context.abort(grpc.StatusCode.UNAVAILABLE, "not now")
        return request

    def enough(self, requests: Iterator[bytes], context: Any) -> Iterator[bytes]:
        """Answers the first message, and ends while the client still sends."""
        yield next(requests)


_CODES = {code.name: code for code in grpc.StatusCode}


@dataclass(frozen=True)
class LabServer:
    """A running server."""

    port: int
    lab: Lab
    server: Any


@contextlib.contextmanager
def lab_server(
    demands: str, certificate: Path | None = None, key: Path | None = None, port: int = 0
) -> Iterator[LabServer]:
    """Serve on loopback, by TLS where there is a certificate, to whoever sends ``demands`` as authorization."""
    server = grpc.server(futures.ThreadPoolExecutor(16), options=OPTIONS)
    lab = Lab(demands)
    server.add_generic_rpc_handlers((lab,))
    if certificate is not None and key is not None:
        pair = (key.read_bytes(), certificate.read_bytes())
        port = server.add_secure_port(f"127.0.0.1:{port}", grpc.ssl_server_credentials([pair]))
    else:
        port = server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    try:
        yield LabServer(port, lab, server)
    finally:
        server.stop(0).wait(PATIENCE)
