"""What an HTTP/2 peer says, in the words of a proxy; codes are h2's, which names them all (RFC 9113 §7)."""

from typing import NamedTuple

from h2.errors import ErrorCodes

from proxyd.core.headers import Headers

Code = ErrorCodes


class Http2Error(Exception):
    """The connection cannot go on; the GOAWAY that says so is in what ``take`` returns."""

    def __init__(self, code: int, detail: str) -> None:
        super().__init__(detail)
        self.code = code


class Head(NamedTuple):
    """A request's or a response's head, interim ones included."""

    stream: int
    fields: Headers
    """Pseudo-header fields first, as they came."""
    ended: bool


class Trailers(NamedTuple):
    """Trailer fields, and the end of the stream."""

    stream: int
    fields: Headers


class Data(NamedTuple):
    """A piece of a body."""

    stream: int
    data: bytes
    credit: int
    """Bytes to give back by ``Codec.credit`` once the piece is consumed: padding counts."""
    ended: bool


class Reset(NamedTuple):
    """The stream ended before its time."""

    stream: int
    code: int


class Room(NamedTuple):
    """More may be sent: on this stream, or on any (0)."""

    stream: int


class Going(NamedTuple):
    """The peer takes no streams above ``last`` (GOAWAY)."""

    last: int
    code: int


class Settled(NamedTuple):
    """The peer's SETTINGS came."""


class Pong(NamedTuple):
    """A PING came back."""

    payload: bytes


Event = Head | Trailers | Data | Reset | Room | Going | Settled | Pong
