"""HTTP/2 by the byte, for tests: frames, plain header blocks, and how a case of the conformance tables is written."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from proxyd.wire.hpack import Decoder
from proxyd.wire.http2 import Code

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
ACK = END_STREAM = 0x1
END_HEADERS = 0x4
PADDED = 0x8
WITH_PRIORITY = 0x20
ENDS: Final = END_HEADERS | END_STREAM

Field = tuple[bytes, bytes]


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload


def frames(data: bytes) -> Iterator[tuple[int, int, int, bytes]]:
    """Kind, flags, stream and payload of every whole frame."""
    while len(data) >= 9:
        end = 9 + int.from_bytes(data[:3], "big")
        if len(data) < end:
            return
        yield data[3], data[4], int.from_bytes(data[5:9], "big"), data[9:end]
        data = data[end:]


def block(*fields: Field) -> bytes:
    """A header block of literals that enter no table."""
    return b"".join(b"\0" + _string(name) + _string(value) for name, value in fields)


def _string(text: bytes) -> bytes:
    length, out = len(text), bytearray()
    if length < 0x7F:
        return bytes((length,)) + text
    out.append(0x7F)
    length -= 0x7F
    while length >= 0x80:
        out.append(length & 0x7F | 0x80)
        length >>= 7
    return bytes(out) + bytes((length,)) + text


def setting(number: int, value: int) -> bytes:
    return number.to_bytes(2, "big") + value.to_bytes(4, "big")


def number(value: int) -> bytes:
    return value.to_bytes(4, "big")


Outcome = str
"""``goaway:CODE``, ``rst:CODE``, ``answer:STATUS`` (to stream 1), or ``ok``: the connection lives, nothing was said."""

OK: Final = frozenset({"ok"})
ANSWER: Final = frozenset({"answer:200"})


def connection(*codes: Code) -> frozenset[Outcome]:
    """A connection error of one of these codes."""
    return frozenset(f"goaway:{code.name}" for code in codes)


def stream(*codes: Code) -> frozenset[Outcome]:
    """A stream error, which may be treated as a connection error (§5.4.2)."""
    return connection(*codes) | frozenset(f"rst:{code.name}" for code in codes)


@dataclass(frozen=True, slots=True)
class Case:
    """What a peer sends after its preface and SETTINGS, write by write, and what may come of it."""

    section: str
    title: str
    writes: tuple[bytes, ...]
    outcomes: frozenset[Outcome]
    raw: bool = False
    """The writes begin with the preface themselves."""
    codec: bool = True
    """The codec alone can tell; else only a listener."""
    sockets: bool = True
    """A listener can be asked as well."""
    answered: tuple[int, ...] = field(default=())
    """By write: the stream whose answer is waited for before the next one, 0 for none."""

    def __str__(self) -> str:
        return f"{self.section} {self.title}".replace("[", "(").replace("]", ")")


def outcome_of(sent: bytes) -> Outcome:
    """What an endpoint has said, from its frames."""
    found: Outcome = "ok"
    decoder = Decoder(1 << 20)
    for kind, _, stream_id, payload in frames(sent):
        if kind == GOAWAY and payload[4:8] != b"\0\0\0\0":
            return f"goaway:{Code(int.from_bytes(payload[4:8], 'big')).name}"
        if kind == RST_STREAM and not found.startswith("rst") and payload != b"\0\0\0\0":
            found = f"rst:{Code(int.from_bytes(payload, 'big')).name}"
        elif kind == HEADERS:
            status = dict(decoder.decode(payload)).get(b":status", b"")
            if stream_id == 1 and found == "ok" and status[:1] != b"1":
                found = f"answer:{status.decode()}"
    return found
