"""First bytes of a tunnel: hellos whole, in pieces, in several records, and what only looks like one."""

import ssl

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxyd.wire.sniff import ClientHello, Incomplete, NotTls, sniff

LIMIT = 32 * 1024


def hello(name: str | None, *protocols: str) -> bytes:
    """The bytes that a real client sends first."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    if protocols:
        context.set_alpn_protocols(list(protocols))
    context.verify_mode = ssl.CERT_NONE
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(incoming, outgoing, server_hostname=name)
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


def record(payload: bytes, kind: int = 22) -> bytes:
    return bytes([kind, 3, 1]) + len(payload).to_bytes(2, "big") + payload


def handshake(body: bytes, kind: int = 1) -> bytes:
    return bytes([kind]) + len(body).to_bytes(3, "big") + body


def made(extensions: bytes | None) -> bytes:
    body = b"\x03\x03" + bytes(32) + b"\0" + b"\0\x02\x13\x01" + b"\x01\0"
    if extensions is not None:
        body += len(extensions).to_bytes(2, "big") + extensions
    return record(handshake(body))


def server_name(raw: bytes, kind: int = 0) -> bytes:
    entry = bytes([kind]) + len(raw).to_bytes(2, "big") + raw
    names = len(entry).to_bytes(2, "big") + entry
    return b"\0\0" + len(names).to_bytes(2, "big") + names


@pytest.mark.parametrize(
    ("name", "sni"), [("api.example", "api.example"), ("API.Example", "api.example"), ("192.0.2.1", None), (None, None)]
)
def test_sni_of_a_real_hello_is_read_and_normalised(name: str | None, sni: str | None) -> None:
    assert sniff(hello(name), LIMIT) == ClientHello(sni)


def alpn(names: bytes) -> bytes:
    content = len(names).to_bytes(2, "big") + names
    return b"\0\x10" + len(content).to_bytes(2, "big") + content


def test_protocols_of_a_real_hello_are_read_in_their_order() -> None:
    assert sniff(hello("a.example", "h2", "http/1.1"), LIMIT) == ClientHello("a.example", (b"h2", b"http/1.1"))
    assert sniff(made(alpn(b"\x02h2")), LIMIT) == ClientHello(None, (b"h2",))


def test_every_beginning_of_a_hello_is_incomplete_and_says_what_is_missing() -> None:
    raw = hello("api.example")
    for end in range(len(raw)):
        result = sniff(raw[:end], LIMIT)
        assert isinstance(result, Incomplete), (end, result)
        assert 0 < result.missing <= len(raw) - end or end == 0, end


def test_a_hello_is_waited_for_in_few_steps() -> None:
    """As many wake-ups as there are lengths to learn, not as there are bytes."""
    raw = hello("api.example")
    have, steps = 0, 0
    while isinstance(result := sniff(raw[:have], LIMIT), Incomplete):
        have += result.missing
        steps += 1
    assert result == ClientHello("api.example")
    assert steps <= 3


@given(cuts=st.lists(st.integers(1, 300), max_size=8))
@settings(max_examples=60, deadline=None)
def test_a_hello_may_span_records(cuts: list[int]) -> None:
    message = hello("api.example")[5:]
    raw, at = b"", 0
    for size in cuts:
        piece = message[at : at + size]
        raw += record(piece) if piece else b""
        at += size
    if message[at:]:
        raw += record(message[at:])
    assert sniff(raw, LIMIT) == ClientHello("api.example")
    for end in range(1, len(raw)):
        assert isinstance(sniff(raw[:end], LIMIT), Incomplete)


def test_bytes_after_the_hello_do_not_matter() -> None:
    assert sniff(hello("api.example") + b"\x14\x03\x03\0\x01\x01", LIMIT) == ClientHello("api.example")


@pytest.mark.parametrize(
    "raw",
    [b"GET / HTTP/1.1\r\n\r\n", b"\x16\x02\x00", b"\x17\x03\x03\0\x01a", b"SSH-2.0", b"\0", b"\x80\x2e\x01\x03\x01"],
)
def test_other_protocols_are_told_at_once(raw: bytes) -> None:  # fmt: skip
    result = sniff(raw, LIMIT)
    assert isinstance(result, NotTls)
    assert not result.is_tls


@pytest.mark.parametrize(
    ("name", "raw"),
    [
        ("empty record", record(b"")),
        ("record too long", b"\x16\x03\x01\x40\x01" + bytes(16)),
        ("server hello", record(handshake(bytes(40), kind=2))),
        ("alert within", record(handshake(bytes(100))[:50]) + record(b"\x02\x28", kind=21)),
        ("longer than the limit", record(b"\x01\x00\x80\x01" + bytes(100))),
        ("truncated body", record(handshake(b"\x03\x03" + bytes(10)))),
        ("extensions too long", made(b"\0\x0a\xff\xff")),
        ("two server_names", made(server_name(b"a.example") + server_name(b"b.example"))),
        ("name of unknown type", made(server_name(b"a.example", kind=7))),
        ("name empty", made(server_name(b""))),
        ("name with NUL", made(server_name(b"api.example\0.evil.example"))),
        ("name beyond ASCII", made(server_name(b"\xc3\xa9.example"))),
        ("name with space", made(server_name(b"a b"))),
        ("two ALPNs", made(alpn(b"\x02h2") + alpn(b"\x02h2"))),
        ("ALPN without a name", made(alpn(b""))),
        ("ALPN with an empty name", made(alpn(b"\x02h2\0"))),
        ("ALPN cut short", made(alpn(b"\x03h2"))),
        ("ALPN with a rest", made(b"\0\x10\0\x06\0\x03\x02h2\0")),
        ("two names in one list", made(b"\0\0\0\x0c\0\x0a\0\0\x02aa\0\0\x02bb")),
    ],
)
def test_broken_hellos_are_told_from_other_protocols(name: str, raw: bytes) -> None:
    result = sniff(raw, LIMIT)
    assert isinstance(result, NotTls), result
    assert result.is_tls


def test_a_hello_without_extensions_has_no_name() -> None:
    assert sniff(made(None), LIMIT) == ClientHello(None)
    assert sniff(made(b""), LIMIT) == ClientHello(None)


def test_a_hello_in_endless_tiny_records_is_given_up() -> None:
    message = handshake(bytes(LIMIT - 4))
    raw = b"".join(record(message[at : at + 1]) for at in range(len(message)))
    assert isinstance(sniff(raw[: 2 * LIMIT + 6], LIMIT), NotTls)


@given(raw=st.binary(max_size=300))
@settings(max_examples=300, deadline=None)
def test_any_bytes_have_an_answer(raw: bytes) -> None:
    for data in (raw, b"\x16\x03\x01" + raw, record(b"\x01\0\0" + bytes([min(len(raw), 255)]) + raw[:255])):
        result = sniff(data, LIMIT)
        assert isinstance(result, ClientHello | Incomplete | NotTls)
        if isinstance(result, Incomplete):
            assert result.missing > 0
