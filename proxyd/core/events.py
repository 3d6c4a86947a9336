"""The schema of events: what stands at which place of a positional record. docs/events.md is generated from here.

A record is a list ``[schema id, *values]``. Text that a client or an upstream chose travels as it came and is escaped
where it is written.

How a schema evolves: fields are appended, never moved, renamed, retyped or removed, and the version rises by one. An
appended field is optional, since a process of an older version leaves it out: a reader puts None there, and drops what
stands behind the fields that it knows. What changes its meaning becomes a schema with an id of its own.
"""

import enum
from dataclasses import dataclass, field
from typing import Final

from proxyd.core.units import KIB


class Type(enum.Enum):
    """What a value is on the wire."""

    TEXT = "text"
    BYTES = "bytes"
    INTEGER = "integer"
    NUMBER = "number"
    """Finite; written as integer or float."""
    BOOLEAN = "boolean"


class Author(enum.Enum):
    """Who chose a value, that is, whom a reader must trust to print it as it is."""

    PROXYD = "proxyd"
    CONFIGURATION = "configuration"
    CLIENT = "client"
    UPSTREAM = "upstream"


SHORT: Final = 256
"""Characters or bytes of a value that says nothing else; no field allows less."""


@dataclass(frozen=True, slots=True)
class Field:
    """One place of a record."""

    name: str
    type: Type
    meaning: str
    author: Author = Author.PROXYD
    unit: str = ""
    optional: bool = False
    """Whether None may stand there."""
    longest: int = SHORT
    """Characters of a text, bytes of bytes."""
    since: int = 1
    """Version of the schema that appended it."""


@dataclass(frozen=True, slots=True)
class Schema:
    """What a record with this id says."""

    id: int
    name: str
    meaning: str
    fields: tuple[Field, ...]
    place: dict[str, int] = field(init=False, compare=False)
    """Index of each field in a record."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "place", {one.name: index for index, one in enumerate(self.fields, 1)})

    @property
    def version(self) -> int:
        """The version in which its last field was appended."""
        return max(one.since for one in self.fields)

    @property
    def least(self) -> int:
        """Length of the shortest record: one of the first version."""
        return 1 + sum(one.since == 1 for one in self.fields)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the values in order, after the schema id."""
        return tuple(one.name for one in self.fields)


ACCESS: Final = 1
NOTICE: Final = 2

_CLIENT: Final = Author.CLIENT
_CONFIGURATION: Final = Author.CONFIGURATION
_UPSTREAM: Final = Author.UPSTREAM

ACCESS_SCHEMA: Final = Schema(
    ACCESS,
    "access",
    "One exchange, or one tunnel, when it is over.",
    (
        Field("time", Type.NUMBER, "When the head's first byte came.", unit="Unix seconds"),
        Field("id", Type.TEXT, "The request id."),
        Field("kind", Type.TEXT, "`http` or `tunnel`."),
        Field("listener", Type.TEXT, "Name of the listener.", _CONFIGURATION),
        Field("caller", Type.TEXT, "Address of the client, `ip:port` or `unix`."),
        Field("uid", Type.INTEGER, "User id of the client, where the kernel tells it.", optional=True),
        Field("user", Type.TEXT, "Name that passed proxy authentication.", _CONFIGURATION, optional=True),
        Field("mode", Type.TEXT, "How the bytes came: `plain`, `intercept`, `gateway` or `tunnel`."),
        Field("method", Type.BYTES, "The method.", _CLIENT),
        Field("scheme", Type.BYTES, "`http` or `https`; for a tunnel what CONNECT stands for."),
        Field("authority", Type.TEXT, "Host and port that the client asked for, normalised.", _CLIENT, longest=KIB),
        Field(
            "path", Type.BYTES, "Path and query. A query may hold secrets: cut it before you write it.", _CLIENT,
            longest=256 * KIB,
        ),
        Field("service", Type.TEXT, "Name of the service; None: the host is none.", _CONFIGURATION, optional=True),
        Field(
            "credential", Type.TEXT, "Names of the secrets that were added, comma separated.", _CONFIGURATION,
            optional=True, longest=16 * KIB,
        ),
        Field("status", Type.INTEGER, "Status of the response; 499: the client left before there was one.", _UPSTREAM),
        Field("flags", Type.TEXT, "Response flags as Envoy names them, comma separated; empty: none."),
        Field("error", Type.TEXT, "Type of the error (RFC 9209).", optional=True),
        Field("detail", Type.TEXT, "The error in words; may quote client or upstream.", _CLIENT, optional=True,
              longest=64 * KIB),
        Field("origin", Type.TEXT, "Who made the response: `upstream`, `cache` or `proxyd`."),
        Field("endpoint", Type.TEXT, "Where the last attempt went, `ip:port`.", optional=True, longest=KIB),
        Field("attempts", Type.INTEGER, "How many attempts there were."),
        Field("reused", Type.BOOLEAN, "Whether the last attempt went over a connection that was there already."),
        Field("request_bytes", Type.INTEGER, "Body or tunnel bytes from the client.", unit="bytes"),
        Field("response_bytes", Type.INTEGER, "Body or tunnel bytes to the client.", unit="bytes"),
        Field("queue_ms", Type.NUMBER, "Until a connection was had.", unit="milliseconds", optional=True),
        Field("connect_ms", Type.NUMBER, "TCP and TLS of the last attempt, where it dialled.", unit="milliseconds",
              optional=True),
        Field("first_byte_ms", Type.NUMBER, "From the request sent to the head of the response.", unit="milliseconds",
              optional=True),
        Field("total_ms", Type.NUMBER, "From the head's first byte to the last byte sent.", unit="milliseconds"),
        Field("gid", Type.INTEGER, "Group id of a client on a Unix socket.", optional=True, since=2),
        Field("pid", Type.INTEGER, "Process id of a client on a Unix socket.", optional=True, since=2),
        Field("executable_hint", Type.TEXT, "Program of that process: best effort, a hint and no proof.", _CLIENT,
              optional=True, longest=16 * KIB, since=2),
        Field("tries", Type.TEXT, "Attempts before the last: endpoint, and status or type of the error, comma "
              "separated.", optional=True, longest=4 * KIB, since=3),
        Field("fallback", Type.TEXT, "The service that answered in place of the one that failed, or `(response)`: a "
              "static one, or `(stale)`: the cache's.", _CONFIGURATION, optional=True, since=4),
        Field("version", Type.TEXT, "Which HTTP the client spoke: `1.0`, `1.1` or `2`. The access log leaves `1.1` "
              "out.", optional=True, since=5),
        Field("own_credential", Type.TEXT, "The field in which the client sent a credential of its own to a host that "
              "is no service, and its scheme: `authorization: Bearer`.", _CLIENT, optional=True, since=6),
        Field("dns_ms", Type.NUMBER, "Resolution of the name, where the last attempt dialled; part of `connect_ms`.",
              unit="milliseconds", optional=True, since=6),
        Field("tls_ms", Type.NUMBER, "TLS handshake, where the last attempt dialled; part of `connect_ms`.",
              unit="milliseconds", optional=True, since=6),
    ),
)  # fmt: skip

NOTICE_SCHEMA: Final = Schema(
    NOTICE,
    "notice",
    "Something that an operator should know.",
    (
        Field("time", Type.NUMBER, "When it was noticed.", unit="Unix seconds"),
        Field("level", Type.TEXT, "`debug`, `info`, `warning` or `error`."),
        Field("name", Type.TEXT, "The event, in the words of the daemon's log."),
        Field("detail", Type.TEXT, "What happened; may quote client or upstream.", _CLIENT, longest=64 * KIB),
    ),
)

SCHEMAS: Final = {schema.id: schema for schema in (ACCESS_SCHEMA, NOTICE_SCHEMA)}
"""All schemas by id."""

ACCESS_FIELDS: Final = ACCESS_SCHEMA.names
NOTICE_FIELDS: Final = NOTICE_SCHEMA.names
