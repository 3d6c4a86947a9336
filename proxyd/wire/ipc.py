"""Messages between processes: a dataclass of ``core.messages`` to one msgpack payload and back.

A payload is ``[kind, {field: value}]``, kind being the dataclass's name. The reading side trusts nothing: it takes
only the kinds that its caller allows, checks every field, and says what is wrong without quoting a value, for a value
may be a secret. Errors are raised outside of ``except`` blocks so that they do not carry msgpack's own exceptions,
which hold the payload.

Fields typed ``Any`` or ``list[list[Any]]`` (events, statistics, answers) are passed by reference and never walked in
Python: they hold hundreds of thousands of records, and whoever reads them validates them.
"""

import dataclasses
import functools
import typing
from typing import Any, Final

import msgpack

from proxyd.core import messages
from proxyd.core.messages import Message
from proxyd.core.plain import from_plain, to_plain
from proxyd.core.units import KIB, MIB

MAX_DOWN: Final = 16 * MIB
"""A frame from supervisor to control and worker, or from control to worker."""
MAX_UP: Final = 1 * MIB
"""A frame from worker to control, or from control to supervisor."""
MAX_ITEMS: Final = 128 * KIB
"""Items of one list and pairs of one map; bounds what a false header makes msgpack reserve."""

CONTROL_TO_WORKER: Final = frozenset(
    {
        messages.ApplySnapshot,
        messages.SetListener,
        messages.SetCredential,
        messages.SetCredentials,
        messages.InstallLeaf,
        messages.SetHealth,
        messages.SetOverrides,
        messages.SetFaults,
        messages.SetLease,
        messages.SetKey,
        messages.Drain,
        messages.Query,
    }
)
WORKER_TO_CONTROL: Final = frozenset(
    {
        messages.Ready,
        messages.Applied,
        messages.Refused,
        messages.CredentialApplied,
        messages.CredentialRefused,
        messages.WantToken,
        messages.Announced,
        messages.CredentialEnds,
        messages.CertificateSeen,
        messages.Events,
        messages.Stats,
        messages.WantLeaf,
        messages.WantLease,
        messages.WantKey,
        messages.KeySettled,
        messages.Answer,
    }
)
CONTROL_TO_SUPERVISOR: Final = frozenset(
    {
        messages.Bind,
        messages.BindAdmin,
        messages.Upgrade,
        messages.Failed,
        messages.Promoted,
        messages.Reloaded,
        messages.Notify,
        messages.Shutdown,
        messages.Pulse,
    }
)
SUPERVISOR_TO_CONTROL: Final = frozenset(
    {
        messages.Bound,
        messages.WorkerStarted,
        messages.WorkerExited,
        messages.Reload,
        messages.Reopen,
        messages.Drain,
        messages.Upgraded,
        messages.Generations,
        messages.Promote,
        messages.Retire,
        messages.Predecessor,
    }
)
RETIRED_TO_CONTROL: Final = frozenset({messages.Stats})
SUPERVISOR_TO_WORKER: Final = frozenset({messages.Adopt, messages.Drain})

_KINDS: Final[dict[str, type]] = {kind.__name__: kind for kind in typing.get_args(Message)}
_RECORDS: Final = list[list[Any]]
_PACKER: Final = msgpack.Packer()
_EVENTS_HEAD: Final = b"\x92" + msgpack.packb("Events") + b"\x81" + msgpack.packb("events")
"""``[kind, {field:`` up to the value; the formats are fixarray and fixmap of the msgpack specification."""


def encode(message: Message) -> bytes:
    """Return the payload of ``message``; ValueError names the kind when msgpack cannot carry a value."""
    kind: type = type(message)
    fields = {
        name: value if by_reference else to_plain(value)
        for name, by_reference in _layout(kind)
        for value in (getattr(message, name),)
    }
    try:
        return typing.cast(bytes, msgpack.packb([kind.__name__, fields], use_bin_type=True))
    except (TypeError, ValueError, OverflowError) as error:
        problem = type(error).__name__
    raise ValueError(f"{kind.__name__}: not encodable ({problem})")


def encode_events(count: int, packed: bytes) -> bytes:
    """Return the payload of ``Events`` for ``count`` records that are msgpack already, one after the other."""
    return b"".join((_EVENTS_HEAD, _PACKER.pack_array_header(count), packed))


def decode(payload: bytes, allowed: frozenset[type]) -> Message:
    """Return the message in ``payload`` if its kind is one of ``allowed``; ValueError says what is wrong."""
    plain = _unpack(payload)
    if type(plain) is not list or len(plain) != 2 or type(plain[0]) is not str:
        raise ValueError("a message is [kind, {field: value}]")
    kind = _KINDS.get(plain[0])
    if kind is None:
        raise ValueError("unknown kind of message")
    if kind not in allowed:
        raise ValueError(f"{kind.__name__} is not accepted on this link")
    return _build(kind, plain[1])


def _unpack(payload: bytes) -> Any:
    try:
        return msgpack.unpackb(
            payload,
            raw=False,
            strict_map_key=True,
            max_str_len=len(payload),
            max_bin_len=len(payload),
            max_array_len=MAX_ITEMS,
            max_map_len=MAX_ITEMS,
            max_ext_len=0,
        )
    except (ValueError, TypeError, OverflowError, msgpack.UnpackException) as error:
        problem = type(error).__name__
    raise ValueError(f"not one msgpack value within the limits ({problem})")


def _build(kind: type, fields: Any) -> Message:
    if type(fields) is not dict:
        raise ValueError(f"{kind.__name__}: the fields are not a map")
    hints = _hints(kind)
    if fields.keys() - hints.keys():
        raise ValueError(f"{kind.__name__}: unknown field")
    absent = _required(kind) - fields.keys()
    if absent:
        raise ValueError(f"{kind.__name__}: missing field {min(absent)}")
    values = {name: _field(hints[name], value, f"{kind.__name__}.{name}") for name, value in fields.items()}
    return typing.cast(Message, kind(**values))


def _field(hint: Any, value: Any, where: str) -> Any:
    if hint == _RECORDS:
        if type(value) is not list or not {list}.issuperset(map(type, value)):
            raise ValueError(f"{where}: expected a list of lists")
        return value
    return from_plain(hint, value, where)


@functools.cache
def _hints(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind)


@functools.cache
def _required(kind: type) -> frozenset[str]:
    missing = dataclasses.MISSING
    return frozenset(
        field.name
        for field in dataclasses.fields(kind)
        if field.default is missing and field.default_factory is missing
    )


@functools.cache
def _layout(kind: type) -> tuple[tuple[str, bool], ...]:
    """Return (field, whether it is passed by reference) in order."""
    return tuple((name, hint is Any or hint == _RECORDS) for name, hint in _hints(kind).items())
