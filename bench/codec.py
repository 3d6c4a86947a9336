"""What HTTP/2 framing costs a side: ``python -m bench.codec``, microseconds of CPU a request, one process, no sockets.

The codec that workers use (proxyd.wire.http2) beside the libraries as they come: h2, and jh2 where it is installed.
Shapes are those of a proxy: a head of eight fields, an answer of eight fields and 1 KB; a gRPC call with trailers; and
16 KB pieces of one body. The median of rounds that take turns: what else the machine does hits all of them.
"""

import argparse
import importlib
import importlib.util
import statistics
import time
from collections.abc import Callable
from typing import Any, Protocol

from proxyd.core.limits import Http2Limits
from proxyd.wire.http2 import Codec, Data
from proxyd.wire.http2_fields import Fields

PIECE = 16 * 1024
BODY = bytes(1024)
GET: Fields = [
    (b":method", b"GET", False),
    (b":scheme", b"http", False),
    (b":authority", b"tickets.localhost:8080", False),
    (b":path", b"/v2/items/12345?expand=1", False),
    (b"user-agent", b"python-httpx/0.28.1", False),
    (b"accept", b"*/*", False),
    (b"accept-encoding", b"gzip, deflate", False),
    (b"x-client", b"billing", False),
]
CALL: Fields = [
    (b":method", b"POST", False),
    (b":scheme", b"http", False),
    (b":authority", b"tickets.localhost:8080", False),
    (b":path", b"/tickets.v2.Tickets/Get", False),
    (b"te", b"trailers", False),
    (b"content-type", b"application/grpc", False),
    (b"user-agent", b"grpc-python/1.76.0", False),
    (b"grpc-timeout", b"10S", False),
]
ANSWER: Fields = [
    (b":status", b"200", False),
    (b"content-type", b"application/json", False),
    (b"date", b"Wed, 25 Nov 2026 03:00:00 GMT", False),
    (b"server", b"nginx", False),
    (b"cache-control", b"no-store", False),
    (b"x-version", b"7", False),
    (b"content-length", b"1024", False),
    (b"via", b"1.1 proxyd", False),
]
STREAMED: Fields = [field for field in ANSWER if field[0] != b"content-length"]
TRAILERS: Fields = [(b"grpc-status", b"0", False), (b"grpc-message", b"", False)]


class Side(Protocol):
    """One end, as little of it as the shapes need."""

    def open(self) -> int: ...
    def head(self, stream: int, fields: Fields, *, ended: bool) -> None: ...
    def data(self, stream: int, data: bytes, *, ended: bool) -> None: ...
    def room(self, stream: int) -> int: ...
    def take(self) -> bytes: ...
    def hear(self, data: bytes) -> None: ...


class Own(Codec):
    """The workers'."""

    def __init__(self, *, client: bool) -> None:
        super().__init__(client=client, limits=Http2Limits())
        self.begin()

    def hear(self, data: bytes) -> None:
        for event in self.receive(data):
            if type(event) is Data:
                self.credit(event.stream, event.credit)


class Library:
    """h2, or its fork, as it comes, without its checks of fields: those are ours in any case."""

    def __init__(self, name: str, *, client: bool) -> None:
        config = importlib.import_module(f"{name}.config").H2Configuration(
            client_side=client,
            header_encoding=None,
            validate_inbound_headers=False,
            normalize_inbound_headers=False,
            validate_outbound_headers=False,
            normalize_outbound_headers=False,
        )
        self._h2: Any = importlib.import_module(f"{name}.connection").H2Connection(config)
        self._data = importlib.import_module(f"{name}.events").DataReceived
        self._h2.initiate_connection()
        self.take = self._h2.data_to_send
        self.open = self._h2.get_next_available_stream_id

    def head(self, stream: int, fields: Fields, *, ended: bool) -> None:
        self._h2.send_headers(stream, [(name, value) for name, value, _ in fields], end_stream=ended)

    def data(self, stream: int, data: bytes, *, ended: bool) -> None:
        self._h2.send_data(stream, data, end_stream=ended)

    def room(self, stream: int) -> int:
        return int(min(self._h2.local_flow_control_window(stream), self._h2.max_outbound_frame_size))

    def hear(self, data: bytes) -> None:
        for event in self._h2.receive_data(data):
            if isinstance(event, self._data):
                self._h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)


Make = Callable[[bool], Side]


def engines() -> dict[str, Make]:
    """What there is to compare."""
    found: dict[str, Make] = {"proxyd.wire.http2": lambda client: Own(client=client)}
    for name in ("h2", "jh2"):
        if importlib.util.find_spec(name) is not None:
            found[f"{name} as it comes"] = lambda client, name=name: Library(name, client=client)  # type: ignore[misc]
    return found


def pair(make: Make) -> tuple[Side, Side]:
    """A client and a server that know each other's settings."""
    client, server = make(True), make(False)
    for _ in range(3):
        server.hear(client.take())
        client.hear(server.take())
    return client, server


def exchange(make: Make, count: int, *, grpc: bool) -> tuple[float, float]:
    """Microseconds a request that server and client spend."""
    client, server = pair(make)
    spent = [0.0, 0.0]
    clock = time.process_time
    for _ in range(count):
        start = clock()
        stream = client.open()
        client.head(stream, CALL if grpc else GET, ended=not grpc)
        if grpc:
            client.data(stream, BODY[:32], ended=True)
        said = client.take()
        middle = clock()
        server.hear(said)
        server.head(stream, STREAMED if grpc else ANSWER, ended=False)
        server.data(stream, BODY[:64] if grpc else BODY, ended=not grpc)
        if grpc:
            server.head(stream, TRAILERS, ended=True)
        said = server.take()
        end = clock()
        client.hear(said)
        said = client.take()
        spent[0] += end - middle
        spent[1] += clock() - end + middle - start
        if said:
            server.hear(said)
            client.hear(server.take())
    return spent[0] / count * 1e6, spent[1] / count * 1e6


def bulk(make: Make, pieces: int) -> float:
    """Megabytes a second of CPU through both sides."""
    client, server = pair(make)
    stream = client.open()
    client.head(stream, GET, ended=True)
    server.hear(client.take())
    server.head(stream, STREAMED, ended=False)
    piece = bytes(PIECE)
    left = size = pieces * PIECE
    start = time.process_time()
    while left:
        while room := min(server.room(stream), left):
            server.data(stream, piece[:room], ended=False)
            left -= room
        client.hear(server.take())
        server.hear(client.take())
    return size / 1e6 / (time.process_time() - start)


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(prog="python -m bench.codec", description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=7, help="rounds that take turns (7)")
    parser.add_argument("--count", type=int, default=1000, help="requests of a round (1000)")
    arguments = parser.parse_args()
    found = engines()
    figures: dict[str, list[tuple[float, ...]]] = {name: [] for name in found}
    for _ in range(arguments.rounds):
        for name, make in found.items():
            get = exchange(make, arguments.count, grpc=False)
            call = exchange(make, arguments.count, grpc=True)
            figures[name].append((*get, *call, bulk(make, arguments.count)))
    titles = ("GET server", "client", "gRPC server", "client", "bulk MB/s")
    print(f"{'us of CPU a request':<20}" + "".join(f"{title:>13}" for title in titles))
    for name, rounds in figures.items():
        medians = [statistics.median(column) for column in zip(*rounds, strict=True)]
        print(f"{name:<20}" + "".join(f"{median:>13.1f}" for median in medians))


if __name__ == "__main__":
    main()
