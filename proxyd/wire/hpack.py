"""Header compression for HTTP/2, both directions (RFC 7541), for heads that mostly repeat.

What a peer said before costs a table look-up a field here, a fifth of what the hpack library takes, whose Huffman
decoder this uses. Strings are sent without Huffman coding: decoders must take either (§5.2), and CPU is what is short.
"""

from collections.abc import Iterable
from typing import Final

from hpack.exceptions import HPACKDecodingError
from hpack.huffman_table import decode_huffman
from hpack.table import HeaderTable

from proxyd.core.headers import Headers

DEFAULT_TABLE: Final = 4096
"""Bytes of a table until SETTINGS_HEADER_TABLE_SIZE says otherwise (RFC 9113 §6.5.2)."""

OVERHEAD: Final = 32
"""What an entry counts beside its name and value (§4.1)."""

_STATIC: Final = tuple(((bytes(name), bytes(value))) for name, value in HeaderTable.STATIC_TABLE)
_FIRST_DYNAMIC: Final = len(_STATIC) + 1
_ENTRIES: Final = (
    None,
    *((field, len(field[0]) + len(field[1]) + OVERHEAD) for field in _STATIC),
)
_STATIC_FIELDS: Final = {field: number for number, field in reversed(list(enumerate(_STATIC, 1)))}
_STATIC_NAMES: Final = {field[0]: number for number, field in reversed(list(enumerate(_STATIC, 1)))}
_INDEXED: Final = tuple(bytes((0x80 | number,)) if number < 0x7F else b"" for number in range(0x7F))

_UNINDEXED: Final = frozenset(
    {
        b":path",
        b"age",
        b"content-length",
        b"content-range",
        b"etag",
        b"if-modified-since",
        b"if-none-match",
        b"last-modified",
        b"location",
        b"grpc-timeout",
        b"traceparent",
        b"tracestate",
        b"x-request-id",
        b"x-b3-spanid",
        b"x-b3-traceid",
    }
)
"""Fields whose values seldom repeat: they would push out of the table what does."""

_LARGEST: Final = 1024
"""Larger fields are not worth their place in a table of 4 KiB."""

_KEPT: Final = 48
_KEPT_BYTES: Final = 96
"""How many decoded strings are kept, and how long they may be in Huffman code."""

_MAX_SHIFT: Final = 21
"""An integer takes four bytes beside its prefix at the most: 2^28 is beyond every limit here."""


class CompressionError(Exception):
    """A block that cannot be decoded: the tables of both sides differ from here on (RFC 9113 §4.3)."""


class BombError(Exception):
    """A block of more fields than are taken."""


class Never(tuple[bytes, bytes]):
    """A field that came as one that must never be indexed (§6.2.3): it goes on as such."""

    __slots__ = ()


class Decoder:
    """Blocks of one direction of one connection to fields."""

    __slots__ = ("_decoded", "_entries", "_size", "_table_bytes", "max_allowed_table_size", "max_header_list_size")

    def __init__(self, max_list: int) -> None:
        self._entries: list[tuple[tuple[bytes, bytes], int]] = []
        """Dynamic table, newest last: a field and its size."""
        self._decoded: dict[bytes, bytes] = {}
        """Strings in Huffman code that came before: many peers (nginx) index nothing, and say the same again."""
        self._size = 0
        self._table_bytes = DEFAULT_TABLE
        self.max_allowed_table_size = DEFAULT_TABLE
        """What our SETTINGS promise."""
        self.max_header_list_size = max_list
        """Size of a decoded list at the most: what is larger is refused before it is put together."""

    def decode(self, block: bytes) -> Headers:
        """Return a block's fields. CompressionError, BombError: both end a connection."""
        fields: Headers = []
        entries = self._entries
        position, end = 0, len(block)
        left = self.max_header_list_size
        try:
            while position < end:
                byte = block[position]
                if byte >= 0x80:  # §6.1
                    position += 1
                    number = byte & 0x7F
                    if number == 0x7F:
                        number, position = _integer(block, position, 0x7F)
                    entry = _ENTRIES[number] if number < _FIRST_DYNAMIC else entries[_FIRST_DYNAMIC - 1 - number]
                    if entry is None:
                        raise CompressionError("index 0")
                    field, size = entry
                elif byte >= 0x40 or byte < 0x20:  # §6.2
                    field, size, position = self._literal(block, position, byte)
                else:  # §6.3
                    if fields:
                        raise CompressionError("a table size update within a block")
                    position = self._resize(block, position, byte)
                    continue
                left -= size
                if left < 0:
                    raise BombError(f"more than {self.max_header_list_size} bytes of fields")
                fields.append(field)
        except IndexError:
            raise CompressionError("a truncated block, or an index beyond the table") from None
        if self._table_bytes > self.max_allowed_table_size:
            raise CompressionError("the table was not made smaller as SETTINGS demand")
        return fields

    def _literal(self, block: bytes, position: int, byte: int) -> tuple[tuple[bytes, bytes], int, int]:
        """Read a literal field; return it with its size and the position after it."""
        mask = 0x3F if byte >= 0x40 else 0x0F
        number = byte & mask
        position += 1
        if number:
            if number == mask:
                number, position = _integer(block, position, mask)
            entry = _ENTRIES[number] if number < _FIRST_DYNAMIC else self._entries[_FIRST_DYNAMIC - 1 - number]
            assert entry is not None
            name = entry[0][0]
        else:
            name, position = self._string(block, position)
        value, position = self._string(block, position, secret=0x10 <= byte < 0x20)
        size = len(name) + len(value) + OVERHEAD
        if byte >= 0x40:
            field = (name, value)
            self._add(field, size)
        else:
            field = Never((name, value)) if byte & 0x10 else (name, value)
        return field, size, position

    def _string(self, block: bytes, position: int, *, secret: bool = False) -> tuple[bytes, int]:
        """Read a string (§5.2); what is ``secret`` is not kept."""
        byte = block[position]
        position += 1
        length = byte & 0x7F
        if length == 0x7F:
            length, position = _integer(block, position, 0x7F)
        end = position + length
        if end > len(block):
            raise CompressionError("a string beyond its block")
        text = block[position:end]
        if byte < 0x80:
            return text, end
        plain = self._decoded.get(text)
        if plain is None:
            try:
                plain = decode_huffman(text)
            except HPACKDecodingError as error:
                raise CompressionError(str(error)) from None
            if not secret and length <= _KEPT_BYTES:
                if len(self._decoded) >= _KEPT:
                    self._decoded.clear()
                self._decoded[text] = plain
        return plain, end

    def _add(self, field: tuple[bytes, bytes], size: int) -> None:
        entries = self._entries
        entries.append((field, size))
        self._size += size
        while self._size > self._table_bytes:  # an entry larger than the table empties it (§4.4)
            self._size -= entries.pop(0)[1]

    def _resize(self, block: bytes, position: int, byte: int) -> int:
        size = byte & 0x1F
        position += 1
        if size == 0x1F:
            size, position = _integer(block, position, 0x1F)
        if size > self.max_allowed_table_size:
            raise CompressionError("a table larger than SETTINGS allow")
        self._table_bytes = size
        while self._size > size:
            self._size -= self._entries.pop(0)[1]
        return position


class Encoder:
    """Fields of one direction of one connection to blocks."""

    __slots__ = ("_added", "_entries", "_fields", "_largest", "_names", "_size", "_smallest")

    def __init__(self) -> None:
        self._entries: list[tuple[bytes, bytes]] = []
        """Dynamic table, newest last."""
        self._fields: dict[tuple[bytes, bytes], int] = {}
        """Of each entry, how many were added until it was."""
        self._names: dict[bytes, int] = {}
        self._added = 0
        self._size = 0
        self._largest = DEFAULT_TABLE
        self._smallest: int | None = None
        """The smallest size since the last block, which a decoder must hear of before the last one (§4.2)."""

    @property
    def header_table_size(self) -> int:
        """Bytes of the table; the peer's SETTINGS set it, and 4 KiB is all that is ever used."""
        return self._largest

    @header_table_size.setter
    def header_table_size(self, size: int) -> None:
        size = min(size, DEFAULT_TABLE)
        if size != self._largest:
            former = self._smallest
            self._smallest = size if former is None else min(size, former)
            self._largest = size
            self._evict()

    def encode(self, fields: Iterable[tuple[bytes, bytes, bool]]) -> bytes:
        """Return a block. The third of a field: whether it must never be indexed (§7.1.3)."""
        parts: list[bytes] = []
        if self._smallest is not None:
            if self._smallest != self._largest:
                parts.append(_prefixed(0x20, 0x1F, self._smallest))
            parts.append(_prefixed(0x20, 0x1F, self._largest))
            self._smallest = None
        known = self._fields
        for name, value, never in fields:
            field = (name, value)
            if never:
                parts.append(self._named(0x10, 0x0F, name))
            else:
                number = _STATIC_FIELDS.get(field, 0)
                if not number:
                    added = known.get(field)
                    if added is not None:
                        number = self._added - added + _FIRST_DYNAMIC
                if number:
                    parts.append(_INDEXED[number] if number < 0x7F else _prefixed(0x80, 0x7F, number))
                    continue
                size = len(name) + len(value) + OVERHEAD
                if name in _UNINDEXED or size > _LARGEST:
                    parts.append(self._named(0x00, 0x0F, name))
                else:
                    parts.append(self._named(0x40, 0x3F, name))
                    self._add(field, size)
            length = len(value)
            parts += (_LENGTHS[length] if length < 0x7F else _prefixed(0, 0x7F, length), value)
        return b"".join(parts)

    def _named(self, kind: int, mask: int, name: bytes) -> bytes:
        number = _STATIC_NAMES.get(name, 0)
        if not number:
            added = self._names.get(name)
            if added is None:
                length = len(name)
                return bytes((kind,)) + (_LENGTHS[length] if length < 0x7F else _prefixed(0, 0x7F, length)) + name
            number = self._added - added + _FIRST_DYNAMIC
        return _prefixed(kind, mask, number)

    def _add(self, field: tuple[bytes, bytes], size: int) -> None:
        self._added += 1
        self._entries.append(field)
        self._fields[field] = self._names[field[0]] = self._added
        self._size += size
        if self._size > self._largest:
            self._evict()

    def _evict(self) -> None:
        while self._size > self._largest:
            field = self._entries.pop(0)
            number = self._added - len(self._entries)
            self._size -= len(field[0]) + len(field[1]) + OVERHEAD
            if self._fields[field] == number:
                del self._fields[field]
            if self._names[field[0]] == number:
                del self._names[field[0]]


_LENGTHS: Final = tuple(bytes((length,)) for length in range(0x7F))


def _prefixed(kind: int, mask: int, number: int) -> bytes:
    """Return an integer after the bits of ``kind`` (§5.1)."""
    if number < mask:
        return bytes((kind | number,))
    out = bytearray((kind | mask,))
    number -= mask
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _integer(block: bytes, position: int, number: int) -> tuple[int, int]:
    """Read what of an integer follows its full prefix ``number`` (§5.1)."""
    shift = 0
    while True:
        byte = block[position]
        position += 1
        number += (byte & 0x7F) << shift
        if byte < 0x80:
            return number, position
        shift += 7
        if shift > _MAX_SHIFT:
            raise CompressionError("an integer of too many bytes")
