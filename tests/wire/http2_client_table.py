"""What a server may send to an HTTP/2 client that has asked GET on stream 1, section by section of RFC 9113."""

from proxyd.core.limits import Http2Limits
from proxyd.wire.http2 import Code
from tests.wire.http2_frames import (
    ACK,
    ANSWER,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    ENDS,
    GOAWAY,
    HEADERS,
    OK,
    PADDED,
    PING,
    PRIORITY,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    Case,
    Field,
    Outcome,
    block,
    connection,
    frame,
    number,
    setting,
    stream,
)

LIMITS = Http2Limits()
MAX = 2**31 - 1
PROTOCOL, CLOSED, SIZE, FLOW = Code.PROTOCOL_ERROR, Code.STREAM_CLOSED, Code.FRAME_SIZE_ERROR, Code.FLOW_CONTROL_ERROR
COMPRESSION, CALM = Code.COMPRESSION_ERROR, Code.ENHANCE_YOUR_CALM


def head(*more: Field, status: bytes = b"200", flags: int = END_HEADERS, stream_id: int = 1) -> bytes:
    return frame(HEADERS, flags, stream_id, block((b":status", status), *more))


def client_table() -> list[Case]:
    """``answer:200`` stands for a whole response on stream 1."""
    cases: list[Case] = []

    def add(section: str, title: str, *writes: bytes, to: frozenset[Outcome], raw: bool = False) -> None:
        cases.append(Case(section, title, writes, to, raw, sockets=False))

    end = frame(DATA, END_STREAM, 1)
    whole = head(flags=ENDS)
    bare = block((b":status", b"200"))
    add("3.4", "HEADERS before SETTINGS", whole, to=connection(PROTOCOL), raw=True)
    add("3.4", "an ACK as first SETTINGS", frame(SETTINGS, ACK, 0), to=connection(PROTOCOL), raw=True)
    add("3.4", "HTTP/1.1 instead", b"HTTP/1.1 400 Bad Request\r\n\r\n", to=connection(PROTOCOL, SIZE), raw=True)
    add("4.1", "an unknown type", frame(0x99, 0, 1, b"x") + whole, to=ANSWER)
    add("4.2", "HEADERS beyond the largest frame", frame(HEADERS, ENDS, 1, bytes(16_385)), to=connection(SIZE))
    add("4.3", "an index of no entry", frame(HEADERS, ENDS, 1, bare + b"\xbe"), to=connection(COMPRESSION))
    add("4.3", "a block cut off", frame(HEADERS, ENDS, 1, bare[:-1]), to=connection(COMPRESSION))
    add("5.1", "DATA before HEADERS", frame(DATA, 0, 1, b"x"), to=stream(PROTOCOL, CLOSED))
    add("5.1", "DATA on an idle stream", frame(DATA, 0, 3, b"x"), to=connection(PROTOCOL))
    add("5.1", "RST_STREAM on an idle stream", frame(RST_STREAM, 0, 3, number(8)), to=connection(PROTOCOL))
    add("5.1", "WINDOW_UPDATE on an idle stream", frame(WINDOW_UPDATE, 0, 3, number(1)), to=connection(PROTOCOL))
    add("5.1", "DATA after the end", whole + frame(DATA, 0, 1, b"x"), to=stream(CLOSED))
    add("5.1", "HEADERS after the end", whole + whole, to=stream(CLOSED))
    add("5.1", "PRIORITY after the end", whole + frame(PRIORITY, 0, 1, bytes(5)), to=ANSWER)
    add("5.1", "WINDOW_UPDATE after the end", whole + frame(WINDOW_UPDATE, 0, 1, number(1)), to=ANSWER)
    add("5.1", "RST_STREAM after the end", whole + frame(RST_STREAM, 0, 1, number(0)), to=ANSWER)
    add("5.1.1", "a stream that the server opens", head(stream_id=2), to=connection(PROTOCOL))
    add("5.1.1", "a stream that nobody opened", head(stream_id=3), to=connection(PROTOCOL))
    add("5.1.1", "HEADERS on 0", head(stream_id=0), to=connection(PROTOCOL))
    add("6.1", "a body", head() + frame(DATA, 0, 1, b"a") + end, to=ANSWER)
    add("6.1", "padding", head() + frame(DATA, END_STREAM | PADDED, 1, b"\x01a\0"), to=ANSWER)
    add("6.1", "padding longer than the frame", head() + frame(DATA, PADDED, 1, b"\x09a"), to=connection(PROTOCOL))
    add("6.1", "DATA on 0", frame(DATA, 0, 0, b"x"), to=connection(PROTOCOL))
    add("6.2", "PING within a block", head(flags=0) + frame(PING, 0, 0, bytes(8)), to=connection(PROTOCOL))
    add("6.3", "PRIORITY on 0", frame(PRIORITY, 0, 0, bytes(5)), to=connection(PROTOCOL))
    add("6.4", "RST_STREAM", head() + frame(RST_STREAM, 0, 1, number(2)), to=OK)
    add("6.4", "RST_STREAM on 0", frame(RST_STREAM, 0, 0, number(8)), to=connection(PROTOCOL))
    add("6.4", "a short RST_STREAM", frame(RST_STREAM, 0, 1, b"\0"), to=connection(SIZE))
    add("6.5", "SETTINGS on a stream", frame(SETTINGS, 0, 1), to=connection(PROTOCOL))
    add("6.5", "SETTINGS of five bytes", frame(SETTINGS, 0, 0, bytes(5)), to=connection(SIZE))
    add("6.5.2", "ENABLE_PUSH 1 from a server", frame(SETTINGS, 0, 0, setting(2, 1)), to=connection(PROTOCOL))
    add("6.5.2", "ENABLE_PUSH 0 from a server", frame(SETTINGS, 0, 0, setting(2, 0)) + whole, to=ANSWER)
    add("6.5.2", "a window above the maximum", frame(SETTINGS, 0, 0, setting(4, 2**31)), to=connection(FLOW))
    add(
        "6.6",
        "PUSH_PROMISE, which was forbidden",
        frame(PUSH_PROMISE, END_HEADERS, 1, number(2) + block((b":method", b"GET"))),
        to=connection(PROTOCOL),
    )
    add("6.7", "PING on a stream", frame(PING, 0, 1, bytes(8)), to=connection(PROTOCOL))
    add("6.8", "GOAWAY, and the answer", frame(GOAWAY, 0, 0, number(1) + number(0)) + whole, to=ANSWER)
    add("6.8", "GOAWAY on a stream", frame(GOAWAY, 0, 1, bytes(8)), to=connection(PROTOCOL))
    add("6.9", "WINDOW_UPDATE of 0", frame(WINDOW_UPDATE, 0, 0, number(0)), to=connection(PROTOCOL))
    add("6.9", "WINDOW_UPDATE of 0 on a stream", frame(WINDOW_UPDATE, 0, 1, number(0)), to=stream(PROTOCOL))
    add("6.9.1", "a window beyond the maximum", frame(WINDOW_UPDATE, 0, 0, number(MAX)), to=connection(FLOW))
    add(
        "6.9.1",
        "a body beyond the window",
        head() + frame(DATA, 0, 1, bytes(16_384)) * (LIMITS.stream_window // 16_384 + 1),
        to=stream(FLOW),
    )
    add(
        "6.10",
        "a block in two",
        frame(HEADERS, END_STREAM, 1, bare[:3]) + frame(CONTINUATION, END_HEADERS, 1, bare[3:]),
        to=ANSWER,
    )
    add("6.10", "CONTINUATION of nothing", frame(CONTINUATION, END_HEADERS, 1, bare), to=connection(PROTOCOL))
    malformed = stream(PROTOCOL)
    add("8.1", "interim responses", head(status=b"100") + head(status=b"103") + whole, to=ANSWER)
    add("8.1", "an interim response that ends", head(status=b"100", flags=ENDS), to=malformed)
    add("8.1", "an interim response alone", head(status=b"103"), to=OK)
    add(
        "8.1",
        "DATA after an interim response",
        head(status=b"103") + frame(DATA, 0, 1, b"x"),
        to=stream(PROTOCOL, CLOSED),
    )
    add("8.1", "trailers", head() + frame(HEADERS, ENDS, 1, block((b"grpc-status", b"0"))), to=ANSWER)
    add("8.1", "trailers that do not end", head() + frame(HEADERS, END_HEADERS, 1, block((b"x", b"0"))), to=malformed)
    add("8.1", "a pseudo-header in trailers", head() + head(flags=ENDS), to=malformed)
    add("8.1", "DATA after trailers", head() + frame(HEADERS, ENDS, 1, block((b"x", b"0"))) + end, to=stream(CLOSED))
    add("8.1.1", "content-length and no body", head((b"content-length", b"1"), flags=ENDS), to=malformed)
    add(
        "8.1.1", "content-lengths that differ", head((b"content-length", b"1"), (b"content-length", b"2")), to=malformed
    )
    add("8.2.1", "an upper case name", head((b"Server", b"x"), flags=ENDS), to=malformed)
    add("8.2.1", "CRLF in a value", head((b"x", b"a\r\nb: c"), flags=ENDS), to=malformed)
    add("8.2.1", "NUL in a value", head((b"x", b"\0"), flags=ENDS), to=malformed)
    add("8.2.1", "a value that ends with a space", head((b"x", b"a "), flags=ENDS), to=malformed)
    for name in (b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"):
        add("8.2.2", name.decode(), head((name, b"x"), flags=ENDS), to=malformed)
    add("8.3", "an unknown pseudo-header", head((b":x", b"1"), flags=ENDS), to=malformed)
    add("8.3", "a request's pseudo-header", head((b":path", b"/"), flags=ENDS), to=malformed)
    add("8.3.2", "no :status", frame(HEADERS, ENDS, 1, block((b"x", b"1"))), to=malformed)
    add("8.3.2", ":status twice", head((b":status", b"200"), flags=ENDS), to=malformed)
    add("8.3.2", ":status of two digits", head(status=b"20", flags=ENDS), to=malformed)
    add(
        "8.3.2",
        ":status after a field",
        frame(HEADERS, ENDS, 1, block((b"x", b"1"), (b":status", b"200"))),
        to=malformed,
    )
    add("8.6", "101", head(status=b"101"), to=malformed)
    calm = connection(CALM)
    add("10.5", "PING without end", frame(PING, 0, 0, bytes(8)) * (LIMITS.control_frames + 1), to=calm)
    add("10.5", "DATA without data", head() + frame(DATA, 0, 1) * (LIMITS.empty_frames + 1), to=calm)
    add("10.5", "WINDOW_UPDATE without end", frame(WINDOW_UPDATE, 0, 0, number(1)) * 40, to=calm)
    add(
        "10.5.1",
        "a block that unpacks to megabytes",
        frame(HEADERS, END_HEADERS, 1, bare + b"\x40\x01a\x7f\x81\x1e" + b"x" * 3968)
        + frame(HEADERS, ENDS, 1, b"\xbe" * 16_000),
        to=calm,
    )
    return cases
