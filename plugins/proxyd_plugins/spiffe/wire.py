"""The Workload API's answer to FetchX509SVID, taken apart and checked (SPIFFE_Workload_API.md §5, workload.proto)."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_private_key,
)

MAX_BYTES: Final = 4 * 1024 * 1024
"""Of one answer; grpc's own default."""
MAX_ITEMS: Final = 256
"""SVIDs, lists and bundles of one answer, and certificates of one chain or bundle."""

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_SEQUENCE: Final = 0x30


class MalformedAnswer(Exception):
    """The Workload API answers something that is none; the text holds no value."""


@dataclass(frozen=True, slots=True)
class Svid:
    """One identity: a certificate with its chain, its key, and the roots of its trust domain; all in PEM."""

    id: str
    hint: str
    certificate: bytes
    key: bytes = field(repr=False)
    bundle: bytes
    serial: str
    begins: float
    ends: float
    """Unix times."""


@dataclass(frozen=True, slots=True)
class Answer:
    """All that a workload is given."""

    svids: tuple[Svid, ...]
    crls: bytes = b""
    """PEM."""
    federated: tuple[tuple[str, bytes], ...] = ()
    """Other trust domains and their roots in PEM."""


def read_answer(data: bytes) -> Answer:
    """Read an X509SVIDResponse. MalformedAnswer."""
    try:
        return _answer(data)
    except (
        ValueError,
        TypeError,
        UnsupportedAlgorithm,
        x509.InvalidVersion,
    ) as error:  # of cryptography: what it says may quote what it read
        raise MalformedAnswer(f"it holds something that is no certificate or key ({type(error).__name__})") from None


def _answer(data: bytes) -> Answer:
    svids, crls, federated = [], b"", []
    for number, value in _fields(data):
        if number == 1:
            svids.append(_svid(value))
        elif number == 2:
            crls += x509.load_der_x509_crl(value).public_bytes(Encoding.PEM)
        elif number == 3:
            entry = dict(_fields(value))
            federated.append((_domain(_text(entry.get(1, b""))), _certificates(entry.get(2, b""))[0]))
    if not svids:
        raise MalformedAnswer("it holds no identity")
    return Answer(tuple(svids), crls, tuple(federated))


def _svid(data: bytes) -> Svid:
    found = dict(_fields(data))
    certificate, leaf = _certificates(found.get(2, b""))
    if leaf is None:
        raise MalformedAnswer("it holds an identity without a certificate")
    key = load_der_private_key(found.get(3, b""), None)
    spki = Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    if key.public_key().public_bytes(*spki) != leaf.public_key().public_bytes(*spki):
        raise MalformedAnswer("it holds a key that is not the certificate's")
    return Svid(
        _text(found.get(1, b"")),
        _text(found.get(5, b"")),
        certificate,
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        _certificates(found.get(4, b""))[0],
        f"{leaf.serial_number:x}",
        leaf.not_valid_before_utc.timestamp(),
        leaf.not_valid_after_utc.timestamp(),
    )


def _certificates(data: bytes) -> tuple[bytes, x509.Certificate | None]:
    """Return certificates that stand one after the other in DER as PEM, and the first of them."""
    found = [x509.load_der_x509_certificate(one) for one in _sequences(data)]
    return b"".join(one.public_bytes(Encoding.PEM) for one in found), found[0] if found else None


def _sequences(data: bytes) -> Iterator[bytes]:
    """Cut DER values apart (X.690 §8.1.3)."""
    at = count = 0
    while at < len(data):
        count += 1
        head = data[at : at + 2]
        if count > MAX_ITEMS or len(head) < 2 or head[0] != _SEQUENCE:
            raise MalformedAnswer("it holds something else than certificates, or too many")
        size, begin = head[1], at + 2
        if size >= 0x80:
            octets = size & 0x7F
            size, begin = int.from_bytes(data[begin : begin + octets], "big"), begin + octets
            if not 0 < octets <= 4:
                raise MalformedAnswer("it holds a certificate of no length")
        if begin + size > len(data):
            raise MalformedAnswer("it holds half a certificate")
        yield data[at : begin + size]
        at = begin + size


def _fields(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Return the fields of a message that are bytes, in order; others are passed over (protobuf encoding)."""
    at = count = 0
    while at < len(data):
        key, at = _varint(data, at)
        number, kind, count = key >> 3, key & 7, count + 1
        if count > MAX_ITEMS:
            raise MalformedAnswer("it has too many fields")
        if kind == _BYTES:
            size, at = _varint(data, at)
            value, at = data[at : at + size], at + size
            if at > len(data):
                raise MalformedAnswer("it ends within a field")
            yield number, value
        elif kind == _VARINT:
            at = _varint(data, at)[1]
        elif kind in (_FIXED64, _FIXED32):
            at += 8 if kind == _FIXED64 else 4
        else:
            raise MalformedAnswer("it is no protobuf message")
    if at > len(data):
        raise MalformedAnswer("it ends within a field")


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            break
        byte, at = data[at], at + 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise MalformedAnswer("it has a number without an end")


def _text(value: bytes) -> str:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        raise MalformedAnswer("it has a text that is none") from None


def _domain(text: str) -> str:
    """Return a trust domain without the scheme that maps of bundles name it with."""
    return text.removeprefix("spiffe://")
