"""The schema of events: what stands at which place of a positional record.

A record is a list ``[schema id, *values]``. Text that a client chose travels as bytes and is escaped where it
is written.
"""

from typing import Final

ACCESS: Final = 1
"""One exchange (``kind`` ``http``) or one tunnel (``tunnel``)."""

ACCESS_FIELDS: Final = (
    "time",  # float, Unix seconds at the head's first byte
    "id",  # str, request id
    "kind",  # str, http | tunnel
    "listener",  # str
    "caller",  # str, ip:port or unix
    "uid",  # int or None
    "user",  # str or None, name that passed proxy authentication
    "mode",  # str, plain | intercept | tunnel: how the bytes came
    "method",  # bytes
    "scheme",  # bytes
    "authority",  # str
    "path",  # bytes, query included (redacted where it is written)
    "service",  # str or None
    "credential",  # str or None, names of the secrets that were added
    "status",  # int
    "flags",  # str, Envoy's response flags, comma separated
    "error",  # str or None, RFC 9209 error type
    "detail",  # str or None, the error in words
    "origin",  # str, upstream | cache | proxyd
    "endpoint",  # str or None, ip:port of the last attempt
    "attempts",  # int
    "reused",  # bool, the last attempt's connection was reused
    "request_bytes",  # int, body or tunnel bytes from the client
    "response_bytes",  # int, body or tunnel bytes to the client
    "queue_ms",  # float or None, until a connection was had
    "connect_ms",  # float or None, TCP (and TLS) of the last attempt when it dialled
    "first_byte_ms",  # float or None, request sent to response head
    "total_ms",  # float
)
"""Names of an ACCESS record's values, in order, after the schema id."""

NOTICE: Final = 2
"""Something an operator should know: ``level, name, detail``."""

NOTICE_FIELDS: Final = ("time", "level", "name", "detail")
