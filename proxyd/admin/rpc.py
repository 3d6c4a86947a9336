"""MessagePack-RPC as its public specification says, without I/O.

A request is ``[0, msgid, method, params]``, its answer ``[1, msgid, error, result]``; a notification
``[2, method, params]`` has no answer: a client's is ignored, the daemon's carry what was subscribed to. An error is
``{code, message}``, with ``nearest`` where a name was unknown.
"""

from dataclasses import dataclass
from typing import Any, Final

import msgpack

from proxyd.core.refusal import Refusal

REQUEST: Final = 0
RESPONSE: Final = 1
NOTIFICATION: Final = 2

MESSAGE_BYTES: Final = 1024 * 1024
"""The largest request, and the most that is buffered of a connection."""
LARGEST_MSGID: Final = 2**32 - 1


class ProtocolError(Exception):
    """Bytes that are not MessagePack-RPC: the connection cannot go on."""


@dataclass(frozen=True, slots=True)
class Call:
    """One request."""

    msgid: int
    method: str
    params: list[Any]


class Decoder:
    """Bytes in, calls out; holds at most ``MESSAGE_BYTES``."""

    def __init__(self, limit: int = MESSAGE_BYTES) -> None:
        self._unpacker = msgpack.Unpacker(max_buffer_size=limit, raw=False, strict_map_key=False)

    def feed(self, data: bytes) -> list[Call]:
        """Return the requests that ``data`` completes, notifications left out; ProtocolError for anything else."""
        try:
            self._unpacker.feed(data)
            messages = list(self._unpacker)
        except msgpack.BufferFull:
            raise ProtocolError("the message is too large") from None
        except (ValueError, TypeError, RecursionError):  # msgpack's own errors are ValueErrors
            raise ProtocolError("not MessagePack") from None
        return [call for message in messages if (call := _call(message)) is not None]


def answer(call: Call, result: Any) -> bytes:
    """Encode what a call returned."""
    return _pack([RESPONSE, call.msgid, None, result])


def failure(call: Call, error: Refusal) -> bytes:
    """Encode why a call failed."""
    fields = {"code": error.code, "message": error.message}
    if error.nearest is not None:
        fields["nearest"] = error.nearest
    return _pack([RESPONSE, call.msgid, fields, None])


def notification(method: str, params: list[Any]) -> bytes:
    """Encode what a client has subscribed to."""
    return _pack([NOTIFICATION, method, params])


def _pack(message: list[Any]) -> bytes:
    packed: bytes = msgpack.packb(message, use_bin_type=True)
    return packed


def _call(message: Any) -> Call | None:
    match message:
        case [0, int(msgid), str(method), list(params)] if type(message[0]) is int and 0 <= msgid <= LARGEST_MSGID:
            return Call(msgid, method, params)
        case [2, str(), list()]:
            return None
    raise ProtocolError("not a MessagePack-RPC request")
