"""What an HTTP/2 server is asked, section by section of RFC 9113, and what it may answer."""

from proxyd.core.limits import Http2Limits
from proxyd.wire.http2 import PREFACE, Code
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
    WITH_PRIORITY,
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
SLACK = 200
"""What a budget earns by time while a case runs."""
PROTOCOL, CLOSED, SIZE, FLOW = Code.PROTOCOL_ERROR, Code.STREAM_CLOSED, Code.FRAME_SIZE_ERROR, Code.FLOW_CONTROL_ERROR
COMPRESSION, REFUSED, CALM = Code.COMPRESSION_ERROR, Code.REFUSED_STREAM, Code.ENHANCE_YOUR_CALM
PONG = frame(PING, 0, 0, b"12345678")
NO_SETTINGS = frame(SETTINGS, 0, 0)


def server_table(scheme: bytes, authority: bytes, path: bytes = b"/") -> list[Case]:
    """Cases for a server at which ``path`` is answered 200 with a short body, once the request has ended."""
    pseudo = [(b":method", b"GET"), (b":scheme", scheme), (b":authority", authority), (b":path", path)]

    def fields(*more: Field, **changes: bytes | None) -> list[Field]:
        named = [(name, changes.get(name[1:].decode(), value)) for name, value in pseudo]
        return [(name, value) for name, value in named if value is not None] + list(more)

    def get(stream_id: int = 1, *more: Field, **changes: bytes | None) -> bytes:
        return frame(HEADERS, ENDS, stream_id, block(*fields(*more, **changes)))

    def post(stream_id: int = 1, *more: Field) -> bytes:
        return frame(HEADERS, END_HEADERS, stream_id, block(*fields(*more, method=b"POST")))

    whole = block(*fields())
    cases: list[Case] = []

    def add(
        section: str,
        title: str,
        *writes: bytes,
        to: frozenset[Outcome],
        raw: bool = False,
        codec: bool = True,
        sockets: bool = True,
        answered: tuple[int, ...] = (),
    ) -> None:
        cases.append(Case(section, title, writes, to, raw, codec, sockets, answered))

    # --- 3: starting
    add("3.4", "preface and SETTINGS", PREFACE + NO_SETTINGS + get(), to=ANSWER, raw=True)
    add("3.4", "a preface that is none", PREFACE[:-1] + b"x", to=connection(PROTOCOL), raw=True, sockets=False)
    add("3.4", "HTTP/1.1 instead", b"GET / HTTP/1.1\r\n\r\n", to=connection(PROTOCOL), raw=True, sockets=False)
    add("3.4", "PING before SETTINGS", PREFACE + PONG, to=connection(PROTOCOL), raw=True)
    add("3.4", "HEADERS before SETTINGS", PREFACE + get(), to=connection(PROTOCOL), raw=True)
    add("3.4", "an ACK as first SETTINGS", PREFACE + frame(SETTINGS, ACK, 0), to=connection(PROTOCOL), raw=True)
    add("3.4", "unknown frame before SETTINGS", PREFACE + frame(0x99, 0, 0), to=connection(PROTOCOL), raw=True)

    # --- 4: frames
    add("4.1", "an unknown type is ignored", frame(0x99, 0xFF, 0, b"x") + get(), to=ANSWER)
    add("4.1", "an unknown type on a stream", post() + frame(0x99, 0xFF, 1, b"x") + frame(DATA, 1, 1), to=ANSWER)
    add("4.1", "an unknown type on an idle stream", frame(0x99, 0, 77, b"x") + get(), to=ANSWER)
    add("4.1", "undefined flags are ignored", frame(PING, 0xFE, 0, bytes(8)) + get(), to=ANSWER)
    add("4.1", "undefined flags on HEADERS", frame(HEADERS, ENDS | 0xD2, 1, whole), to=ANSWER)
    add("4.1", "the reserved bit is ignored", frame(HEADERS, ENDS, 0x80000001, whole), to=ANSWER)
    add("4.2", "the largest frame", post() + frame(DATA, END_STREAM, 1, bytes(16_384)), to=ANSWER)
    add("4.2", "DATA beyond the largest frame", post() + frame(DATA, 0, 1, bytes(16_385)), to=stream(SIZE))
    add("4.2", "HEADERS beyond it", frame(HEADERS, ENDS, 1, whole + bytes(16_385)), to=connection(SIZE))
    add("4.2", "an unknown type beyond it", frame(0x99, 0, 0, bytes(16_385)), to=connection(SIZE))
    add("4.2", "SETTINGS beyond it", frame(SETTINGS, 0, 0, bytes(16_386)), to=connection(SIZE))
    add("4.3", "an index of no entry", frame(HEADERS, ENDS, 1, whole + b"\xbe"), to=connection(COMPRESSION))
    add("4.3", "index 0", frame(HEADERS, ENDS, 1, whole + b"\x80"), to=connection(COMPRESSION))
    add("4.3", "a block cut off", frame(HEADERS, ENDS, 1, whole[:-1]), to=connection(COMPRESSION))
    add("4.3", "an endless integer", frame(HEADERS, ENDS, 1, whole + b"\xff" * 12), to=connection(COMPRESSION))
    add(
        "4.3",
        "EOS in Huffman code",
        frame(HEADERS, ENDS, 1, b"\0\x84" + b"\xff" * 4 + b"\0"),
        to=connection(COMPRESSION),
    )
    add("4.3", "a table made smaller", frame(HEADERS, ENDS, 1, b"\x20" + whole), to=ANSWER)
    add("4.3", "a table made too large", frame(HEADERS, ENDS, 1, b"\x3f\xe2\x1f" + whole), to=connection(COMPRESSION))
    add("4.3", "a table resized late", frame(HEADERS, ENDS, 1, whole + b"\x20"), to=connection(COMPRESSION))
    add(
        "4.3",
        "the table is kept for bad requests",
        frame(HEADERS, ENDS, 3, block(*fields((b"A", b"b"))) + b"\x40\x01x\x01y")
        + frame(HEADERS, ENDS, 5, whole + b"\xbe"),
        to=frozenset({"rst:PROTOCOL_ERROR"}),
    )

    # --- 5.1: states
    add("5.1", "DATA on an idle stream", frame(DATA, END_STREAM, 1, b"x"), to=connection(PROTOCOL))
    add("5.1", "RST_STREAM on an idle stream", frame(RST_STREAM, 0, 1, number(8)), to=connection(PROTOCOL))
    add("5.1", "WINDOW_UPDATE on an idle stream", frame(WINDOW_UPDATE, 0, 1, number(1)), to=connection(PROTOCOL))
    add("5.1", "CONTINUATION on an idle stream", frame(CONTINUATION, END_HEADERS, 1, whole), to=connection(PROTOCOL))
    add("5.1", "PRIORITY on an idle stream", frame(PRIORITY, 0, 1, bytes(5)) + get(), to=ANSWER)
    add("5.1", "DATA after the end", get() + frame(DATA, 0, 1, b"x"), to=stream(CLOSED))
    add("5.1", "HEADERS after the end", get() + get(), to=stream(CLOSED))
    add(
        "5.1",
        "CONTINUATION after the end",
        get() + frame(CONTINUATION, END_HEADERS, 1, whole),
        to=connection(PROTOCOL, CLOSED),
    )
    add("5.1", "WINDOW_UPDATE after the end", get() + frame(WINDOW_UPDATE, 0, 1, number(1)), to=ANSWER)
    add("5.1", "PRIORITY after the end", get() + frame(PRIORITY, 0, 1, bytes(5)), to=ANSWER)
    add("5.1", "RST_STREAM after the end", get() + frame(RST_STREAM, 0, 1, number(8)), to=OK)
    add(
        "5.1",
        "DATA after RST_STREAM",
        post() + frame(RST_STREAM, 0, 1, number(8)) + frame(DATA, 0, 1, b"x"),
        to=stream(CLOSED),
    )
    add("5.1", "HEADERS after RST_STREAM", post() + frame(RST_STREAM, 0, 1, number(8)) + get(), to=stream(CLOSED))
    add(
        "5.1",
        "PRIORITY after RST_STREAM",
        post() + frame(RST_STREAM, 0, 1, number(8)) + frame(PRIORITY, 0, 1, bytes(5)),
        to=OK,
    )
    add("5.1", "DATA on a closed stream", get(), frame(DATA, 0, 1, b"x"), to=stream(CLOSED), answered=(1,))
    add("5.1", "HEADERS on a closed stream", get(), get(), to=stream(CLOSED), answered=(1,))
    add(
        "5.1",
        "WINDOW_UPDATE on a closed stream",
        get(),
        frame(WINDOW_UPDATE, 0, 1, number(1)),
        to=ANSWER,
        answered=(1,),
    )
    add("5.1", "PRIORITY on a closed stream", get(), frame(PRIORITY, 0, 1, bytes(5)), to=ANSWER, answered=(1,))
    add("5.1", "RST_STREAM on a closed stream", get(), frame(RST_STREAM, 0, 1, number(8)), to=ANSWER, answered=(1,))

    # --- 5.1.1: identifiers
    add("5.1.1", "an even identifier", get(2), to=connection(PROTOCOL))
    add("5.1.1", "a lower identifier", get(5) + get(3), to=connection(PROTOCOL, CLOSED))
    add("5.1.1", "an identifier twice", get(1), get(1), to=stream(CLOSED) | connection(PROTOCOL), answered=(1,))
    add("5.1.1", "skipped identifiers", get(1) + get(99), to=ANSWER)
    add("5.1.1", "DATA on a skipped identifier", post(5) + frame(DATA, 0, 3, b"x"), to=stream(PROTOCOL, CLOSED))
    add("5.1.1", "the highest identifier", get(1) + get(MAX), to=ANSWER)
    add("5.1.1", "HEADERS on 0", get(0), to=connection(PROTOCOL))
    add(
        "5.1.2",
        "streams above the limit",
        b"".join(post(2 * n + 1) for n in range(LIMITS.streams + 1)),
        to=frozenset({"rst:REFUSED_STREAM", "rst:PROTOCOL_ERROR"}),
        sockets=False,
    )

    # --- 5.3, 6.3: priority
    weighted = b"\0\0\0\x03\x10"
    add("5.3", "HEADERS with priority", frame(HEADERS, ENDS | WITH_PRIORITY, 1, weighted + whole), to=ANSWER)
    add("5.3", "an exclusive dependency", frame(HEADERS, ENDS | WITH_PRIORITY, 1, b"\x80\0\0\0\xff" + whole), to=ANSWER)
    add("5.3", "a stream that depends on itself", frame(PRIORITY, 0, 1, b"\0\0\0\x01\x10"), to=stream(PROTOCOL) | OK)
    add("6.3", "PRIORITY on 0", frame(PRIORITY, 0, 0, bytes(5)), to=connection(PROTOCOL))
    add("6.3", "a short PRIORITY", frame(PRIORITY, 0, 1, bytes(4)), to=stream(SIZE))
    add("6.3", "a long PRIORITY", frame(PRIORITY, 0, 1, bytes(6)), to=stream(SIZE))
    add(
        "6.3",
        "PRIORITY within a block",
        frame(HEADERS, END_STREAM, 1, whole) + frame(PRIORITY, 0, 1, bytes(5)),
        to=connection(PROTOCOL),
    )

    # --- 6.1, 6.2: DATA, HEADERS, padding
    add("6.1", "DATA on 0", frame(DATA, END_STREAM, 0, b"x"), to=connection(PROTOCOL))
    add("6.1", "a body", post() + frame(DATA, 0, 1, b"a") + frame(DATA, END_STREAM, 1, b"b"), to=ANSWER)
    add("6.1", "an empty last frame", post() + frame(DATA, 0, 1, b"a") + frame(DATA, END_STREAM, 1), to=ANSWER)
    add("6.1", "padding", post() + frame(DATA, END_STREAM | PADDED, 1, b"\x03abc\0\0\0"), to=ANSWER)
    add("6.1", "padding of no bytes", post() + frame(DATA, END_STREAM | PADDED, 1, b"\x00abc"), to=ANSWER)
    add("6.1", "padding alone", post() + frame(DATA, END_STREAM | PADDED, 1, b"\x03\0\0\0"), to=ANSWER)
    add("6.1", "padding as long as the frame", post() + frame(DATA, PADDED, 1, b"\x04\0\0\0"), to=connection(PROTOCOL))
    add("6.1", "padding longer than the frame", post() + frame(DATA, PADDED, 1, b"\xff\0"), to=connection(PROTOCOL))
    add("6.1", "padding without its length", post() + frame(DATA, PADDED, 1), to=connection(PROTOCOL, SIZE))
    add("6.2", "padded HEADERS", frame(HEADERS, ENDS | PADDED, 1, b"\x02" + whole + b"\0\0"), to=ANSWER)
    add(
        "6.2",
        "padding and priority",
        frame(HEADERS, ENDS | PADDED | WITH_PRIORITY, 1, b"\x02" + weighted + whole + b"\0\0"),
        to=ANSWER,
    )
    add(
        "6.2", "padding longer than HEADERS", frame(HEADERS, ENDS | PADDED, 1, b"\xff" + whole), to=connection(PROTOCOL)
    )
    add("6.2", "priority cut off", frame(HEADERS, ENDS | WITH_PRIORITY, 1, b"\0\0\0"), to=connection(SIZE, PROTOCOL))
    add("6.2", "HEADERS within another block", frame(HEADERS, END_STREAM, 1, whole) + get(3), to=connection(PROTOCOL))
    add("6.2", "DATA within a block", frame(HEADERS, 0, 1, whole) + frame(DATA, 0, 1, b"x"), to=connection(PROTOCOL))
    add("6.2", "PING within a block", frame(HEADERS, END_STREAM, 1, whole) + PONG, to=connection(PROTOCOL))
    add(
        "6.2",
        "unknown type within a block",
        frame(HEADERS, END_STREAM, 1, whole) + frame(0x99, 0, 1),
        to=connection(PROTOCOL),
    )

    # --- 6.4, 6.5: RST_STREAM, SETTINGS
    add("6.4", "RST_STREAM", post() + frame(RST_STREAM, 0, 1, number(8)), to=OK)
    add("6.4", "RST_STREAM on 0", frame(RST_STREAM, 0, 0, number(8)), to=connection(PROTOCOL))
    add("6.4", "a short RST_STREAM", post() + frame(RST_STREAM, 0, 1, b"\0\0\0"), to=connection(SIZE))
    add("6.4", "a long RST_STREAM", post() + frame(RST_STREAM, 0, 1, bytes(5)), to=connection(SIZE))
    add("6.5", "SETTINGS", frame(SETTINGS, 0, 0, setting(3, 10) + setting(4, 1000)) + get(), to=ANSWER)
    add("6.5", "SETTINGS on a stream", frame(SETTINGS, 0, 1), to=connection(PROTOCOL))
    add("6.5", "SETTINGS of five bytes", frame(SETTINGS, 0, 0, bytes(5)), to=connection(SIZE))
    add("6.5", "an ACK with a payload", frame(SETTINGS, ACK, 0, setting(3, 1)), to=connection(SIZE))
    add("6.5", "an ACK of nothing", frame(SETTINGS, ACK, 0) + get(), to=ANSWER)
    add("6.5.2", "ENABLE_PUSH 2", frame(SETTINGS, 0, 0, setting(2, 2)), to=connection(PROTOCOL))
    add("6.5.2", "ENABLE_PUSH 0 and 1", frame(SETTINGS, 0, 0, setting(2, 0) + setting(2, 1)) + get(), to=ANSWER)
    add("6.5.2", "a window above the maximum", frame(SETTINGS, 0, 0, setting(4, 2**31)), to=connection(FLOW))
    add("6.5.2", "the largest window", frame(SETTINGS, 0, 0, setting(4, MAX)) + get(), to=ANSWER)
    add("6.5.2", "frames below the minimum", frame(SETTINGS, 0, 0, setting(5, 16_383)), to=connection(PROTOCOL))
    add("6.5.2", "frames above the maximum", frame(SETTINGS, 0, 0, setting(5, 2**24)), to=connection(PROTOCOL))
    add("6.5.2", "the largest frames", frame(SETTINGS, 0, 0, setting(5, 2**24 - 1)) + get(), to=ANSWER)
    add("6.5.2", "an unknown setting", frame(SETTINGS, 0, 0, setting(0x99, 1)) + get(), to=ANSWER)
    add("6.5.2", "a table of no bytes", frame(SETTINGS, 0, 0, setting(1, 0)) + get(), to=ANSWER)
    add("6.5.2", "a huge table", frame(SETTINGS, 0, 0, setting(1, 2**32 - 1)) + get(), to=ANSWER)
    add("6.5.2", "no streams at all, of the server's", frame(SETTINGS, 0, 0, setting(3, 0)) + get(), to=ANSWER)

    # --- 6.6, 6.7, 6.8: PUSH_PROMISE, PING, GOAWAY
    add(
        "6.6",
        "PUSH_PROMISE of a client",
        post() + frame(PUSH_PROMISE, END_HEADERS, 1, number(2) + whole),
        to=connection(PROTOCOL),
    )
    add(
        "6.6",
        "PUSH_PROMISE on an idle stream",
        frame(PUSH_PROMISE, END_HEADERS, 1, number(2) + whole),
        to=connection(PROTOCOL),
    )
    add("6.7", "PING", PONG + get(), to=ANSWER)
    add("6.7", "PING on a stream", frame(PING, 0, 1, bytes(8)), to=connection(PROTOCOL))
    add("6.7", "a short PING", frame(PING, 0, 0, bytes(7)), to=connection(SIZE))
    add("6.7", "a long PING", frame(PING, 0, 0, bytes(9)), to=connection(SIZE))
    add("6.7", "an ACK of no PING", frame(PING, ACK, 0, bytes(8)) + get(), to=ANSWER)
    add("6.8", "GOAWAY on a stream", frame(GOAWAY, 0, 1, bytes(8)), to=connection(PROTOCOL))
    add("6.8", "a short GOAWAY", frame(GOAWAY, 0, 0, bytes(7)), to=connection(SIZE))
    add("6.8", "streams go on after GOAWAY", post() + frame(GOAWAY, 0, 0, bytes(8)) + frame(DATA, 1, 1), to=ANSWER)
    add("6.8", "GOAWAY with words", post() + frame(GOAWAY, 0, 0, bytes(8) + b"bye") + frame(DATA, 1, 1), to=ANSWER)
    add(
        "6.8",
        "GOAWAY of an unknown code",
        post() + frame(GOAWAY, 0, 0, bytes(4) + b"\xff" * 4) + frame(DATA, 1, 1),
        to=ANSWER,
    )

    # --- 6.9: flow control
    add("6.9", "WINDOW_UPDATE of 0 on the connection", frame(WINDOW_UPDATE, 0, 0, number(0)), to=connection(PROTOCOL))
    add("6.9", "WINDOW_UPDATE of 0 on a stream", post() + frame(WINDOW_UPDATE, 0, 1, number(0)), to=stream(PROTOCOL))
    add("6.9", "a short WINDOW_UPDATE", frame(WINDOW_UPDATE, 0, 0, b"\0\0\1"), to=connection(SIZE))
    add("6.9", "a long WINDOW_UPDATE", frame(WINDOW_UPDATE, 0, 0, bytes(5)), to=connection(SIZE))
    add("6.9", "the reserved bit of an increment", frame(WINDOW_UPDATE, 0, 0, number(0x80000001)) + get(), to=ANSWER)
    add("6.9.1", "a connection window beyond the maximum", frame(WINDOW_UPDATE, 0, 0, number(MAX)), to=connection(FLOW))
    add("6.9.1", "the largest connection window", frame(WINDOW_UPDATE, 0, 0, number(MAX - 65_535)) + get(), to=ANSWER)
    add(
        "6.9.1", "a stream window beyond the maximum", post() + frame(WINDOW_UPDATE, 0, 1, number(MAX)), to=stream(FLOW)
    )
    add(
        "6.9.1",
        "a body beyond the stream's window",
        post() + frame(DATA, 0, 1, bytes(16_384)) * (LIMITS.stream_window // 16_384 + 1),
        to=stream(FLOW),
        sockets=False,
    )
    add(
        "6.9.1",
        "padding beyond the stream's window",
        post() + frame(DATA, PADDED, 1, b"\xff" + b"x" * 2 + bytes(255)) * (LIMITS.stream_window // 258 + 1),
        to=stream(FLOW),
        sockets=False,
    )
    add(
        "6.9.1",
        "bodies beyond the connection's window",
        b"".join(post(n) + frame(DATA, 0, n, bytes(16_384)) * 16 for n in (1, 3, 5, 7))
        + post(9)
        + frame(DATA, 0, 9, b"x"),
        to=connection(FLOW),
        sockets=False,
    )
    add(
        "6.9.2",
        "a window that SETTINGS make negative",
        frame(SETTINGS, 0, 0, setting(4, 1))
        + post()
        + frame(SETTINGS, 0, 0, setting(4, 0))
        + frame(WINDOW_UPDATE, 0, 1, number(70_000))
        + frame(DATA, END_STREAM, 1),
        to=ANSWER,
    )
    add(
        "6.9.2",
        "a window that SETTINGS make too large",
        post() + frame(WINDOW_UPDATE, 0, 1, number(MAX - 65_535)) + frame(SETTINGS, 0, 0, setting(4, 65_536)),
        to=connection(FLOW),
    )

    # --- 6.10: CONTINUATION
    half = len(whole) // 2
    start = frame(HEADERS, END_STREAM, 1, whole[:half])
    add("6.10", "a block in two", start + frame(CONTINUATION, END_HEADERS, 1, whole[half:]), to=ANSWER)
    add(
        "6.10",
        "a block in many",
        frame(HEADERS, END_STREAM, 1)
        + b"".join(frame(CONTINUATION, 0, 1, whole[n * half // 3 : (n + 1) * half // 3]) for n in range(3))
        + frame(CONTINUATION, END_HEADERS, 1, whole[half // 3 * 3 if half % 3 == 0 else half :]),
        to=ANSWER,
    )
    add(
        "6.10",
        "an empty CONTINUATION",
        frame(HEADERS, END_STREAM, 1, whole) + frame(CONTINUATION, END_HEADERS, 1),
        to=ANSWER,
    )
    add(
        "6.10",
        "CONTINUATION of another stream",
        start + frame(CONTINUATION, END_HEADERS, 3, whole[half:]),
        to=connection(PROTOCOL),
    )
    add("6.10", "CONTINUATION on 0", start + frame(CONTINUATION, END_HEADERS, 0, whole[half:]), to=connection(PROTOCOL))
    add(
        "6.10",
        "CONTINUATION of a block that has ended",
        post() + frame(CONTINUATION, END_HEADERS, 1, whole),
        to=connection(PROTOCOL),
    )
    add(
        "6.10",
        "CONTINUATION after DATA",
        post() + frame(DATA, 0, 1, b"x") + frame(CONTINUATION, END_HEADERS, 1, whole),
        to=connection(PROTOCOL),
    )
    add("6.10", "a block that does not end", start, frame(CONTINUATION, 0, 1, b""), to=OK, sockets=False)

    # --- 7: error codes
    add("7", "an unknown code ends a stream", post() + frame(RST_STREAM, 0, 1, b"\xff" * 4), to=OK)

    # --- 8.1: messages
    tail = frame(HEADERS, ENDS, 1, block((b"x-sum", b"1")))
    add("8.1", "trailers", post() + frame(DATA, 0, 1, b"x") + tail, to=ANSWER)
    add("8.1", "trailers without a body", post() + tail, to=ANSWER)
    add(
        "8.1",
        "trailers that do not end",
        post() + frame(HEADERS, END_HEADERS, 1, block((b"x", b"1"))),
        to=stream(PROTOCOL),
    )
    add(
        "8.1",
        "a pseudo-header in trailers",
        post() + frame(HEADERS, ENDS, 1, block((b":path", b"/"))),
        to=stream(PROTOCOL),
    )
    add(
        "8.1",
        "a connection field in trailers",
        post() + frame(HEADERS, ENDS, 1, block((b"connection", b"x"))),
        to=stream(PROTOCOL),
    )
    add(
        "8.1",
        "an upper case name in trailers",
        post() + frame(HEADERS, ENDS, 1, block((b"X", b"x"))),
        to=stream(PROTOCOL),
    )
    add("8.1", "DATA after trailers", post() + tail + frame(DATA, 0, 1, b"x"), to=stream(CLOSED))
    add("8.1", "no fields at all", frame(HEADERS, ENDS, 1), to=stream(PROTOCOL))
    wrong = stream(PROTOCOL) | {"answer:400"}
    said = (b"content-length", b"3")
    add("8.1.1", "content-length that is right", post(1, said) + frame(DATA, 1, 1, b"abc"), to=ANSWER)
    add("8.1.1", "padding is no part of it", post(1, said) + frame(DATA, 1 | PADDED, 1, b"\x02abc\0\0"), to=ANSWER)
    add("8.1.1", "fewer bytes than content-length", post(1, said) + frame(DATA, 1, 1, b"ab"), to=wrong, codec=False)
    add("8.1.1", "more bytes than content-length", post(1, said) + frame(DATA, 1, 1, b"abcd"), to=wrong, codec=False)
    add(
        "8.1.1",
        "more bytes in several frames",
        post(1, said) + frame(DATA, 0, 1, b"abc") + frame(DATA, 1, 1, b"d"),
        to=wrong,
        codec=False,
    )
    add("8.1.1", "trailers instead of the bytes", post(1, said) + tail, to=wrong, codec=False)
    add("8.1.1", "content-length and no body", get(1, said), to=wrong)
    add("8.1.1", "content-length of nothing", get(1, (b"content-length", b"0")), to=ANSWER)
    add("8.1.1", "two content-lengths", post(1, said, said), to=wrong)
    add("8.1.1", "content-length that is no number", post(1, (b"content-length", b"-3")), to=wrong)

    # --- 8.2: fields
    malformed = stream(PROTOCOL)
    for title, field in {
        "an upper case name": (b"X-A", b"1"),
        "an empty name": (b"", b"1"),
        "a space in a name": (b"x a", b"1"),
        "a colon in a name": (b"x:a", b"1"),
        "a control character in a name": (b"x\x01", b"1"),
        "a high byte in a name": (b"x\xff", b"1"),
        "DEL in a name": (b"x\x7f", b"1"),
        "NUL in a value": (b"x", b"a\0b"),
        "CR in a value": (b"x", b"a\rb"),
        "LF in a value": (b"x", b"a\nb"),
        "a value that begins with a space": (b"x", b" a"),
        "a value that ends with a tab": (b"x", b"a\t"),
    }.items():
        add("8.2.1", title, get(1, field), to=malformed)
    add("8.2.1", "an empty value", get(1, (b"x", b"")), to=ANSWER)
    add("8.2.1", "high bytes in a value", get(1, (b"x", b"a\xe4\xff")), to=ANSWER)
    for name in (b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"):
        add("8.2.2", name.decode(), get(1, (name, b"close")), to=malformed)
    add("8.2.2", "te of another coding", get(1, (b"te", b"gzip")), to=malformed)
    add("8.2.2", "te: trailers", get(1, (b"te", b"trailers")), to=ANSWER)
    add("8.2.3", "cookie crumbs", get(1, (b"cookie", b"a=1"), (b"cookie", b"b=2")), to=ANSWER)

    # --- 8.3: pseudo-header fields
    add("8.3", "an unknown one", get(1, (b":x", b"1")), to=malformed)
    add("8.3", "a response's", get(1, (b":status", b"200")), to=malformed)
    add("8.3", "one after a field", frame(HEADERS, ENDS, 1, block((b"x", b"1"), *fields())), to=malformed)
    for name, value in fields():
        add("8.3", f"{name.decode()} twice", frame(HEADERS, ENDS, 1, block(*fields(), (name, value))), to=malformed)
    for missing in ("method", "scheme", "path"):
        changes: dict[str, bytes | None] = {missing: None}
        add("8.3.1", f"no :{missing}", get(1, **changes), to=malformed)
    add("8.3.1", "an empty :path", get(1, path=b""), to=malformed)
    add("8.3.1", ":path without a slash", get(1, path=b"x"), to=malformed)
    add("8.3.1", ":path * for GET", get(1, path=b"*"), to=malformed)
    add("8.3.1", "a space in :path", get(1, path=b"/a b"), to=malformed)
    add("8.3.1", "an empty :authority", get(1, authority=b""), to=malformed)
    add("8.3.1", "userinfo in :authority", get(1, authority=b"me@" + authority), to=malformed)
    add("8.3.1", "neither :authority nor host", get(1, authority=None), to=malformed)
    add("8.3.1", "host alone", get(1, (b"host", authority), authority=None), to=ANSWER)
    add("8.3.1", "host that agrees", get(1, (b"host", authority)), to=ANSWER)
    add("8.3.1", "host that differs", get(1, (b"host", b"evil.example")), to=malformed)
    add("8.3.1", "a :method that is no token", get(1, method=b"G(T"), to=malformed)
    add("8.5", "CONNECT with :path", get(1, method=b"CONNECT", scheme=None), to=malformed)
    add("8.5", "CONNECT with :scheme", get(1, method=b"CONNECT", path=None), to=malformed)
    add(
        "8.5",
        "CONNECT without :authority",
        get(1, method=b"CONNECT", path=None, scheme=None, authority=None),
        to=malformed,
    )
    add(
        "8.5", ":protocol, which was not offered", get(1, (b":protocol", b"websocket"), method=b"CONNECT"), to=malformed
    )

    # --- 10.5: what is too much
    calm = connection(CALM)
    ping, update = frame(PING, 0, 0, bytes(8)), frame(WINDOW_UPDATE, 0, 0, number(1))
    add("10.5", "PING without end", ping * (LIMITS.control_frames + SLACK), to=calm)
    add("10.5", "SETTINGS without end", NO_SETTINGS * (LIMITS.control_frames + SLACK), to=calm)
    add("10.5", "many settings", frame(SETTINGS, 0, 0, setting(4, 1) * (LIMITS.settings + 1)), to=calm)
    add("10.5", "PRIORITY without end", frame(PRIORITY, 0, 1, bytes(5)) * (LIMITS.priorities + 1), to=calm)
    add("10.5", "WINDOW_UPDATE without end", update * 20, to=calm)
    add("10.5", "DATA without data", post() + frame(DATA, 0, 1) * (LIMITS.empty_frames + 1), to=calm)
    add("10.5", "unknown frames without end", frame(0x99, 0, 0) * (LIMITS.control_frames + SLACK), to=calm)
    add(
        "10.5", "CONTINUATION without end", start + frame(CONTINUATION, 0, 1, b"") * (LIMITS.continuations + 1), to=calm
    )
    add(
        "10.5",
        "rapid resets",
        b"".join(get(n) + frame(RST_STREAM, 0, n, number(8)) for n in range(1, 2 * (LIMITS.resets + SLACK), 2)),
        to=calm,
    )
    add(
        "10.5.1",
        "a block that unpacks to megabytes",
        frame(HEADERS, ENDS, 1, whole + b"\x40\x01a\x7f\x81\x1e" + b"x" * 3968)
        + frame(HEADERS, ENDS, 3, whole + b"\xbe" * 16_000),
        to=calm,
    )
    return cases
