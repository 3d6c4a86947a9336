"""ACCESS records to JSON lines.

This is the hot side: 20,000 records a second share two cores with the workers. Lines are printable ASCII whatever a
client chose; a query is never written.
"""

import json
import time
from collections.abc import Iterable
from typing import Any, Final

import orjson

from proxyd.sdk import Values, without_query

LINE_BYTES: Final = 256 * 1024
"""A longer line is left out: a URI is 8 KiB by default."""

_MILLISECONDS: Final = tuple(f".{number:03d}Z" for number in range(1000))


class Encoder:
    """Turns records into lines; keeps what the next record can use again."""

    def __init__(self) -> None:
        self._second = -1
        self._stamp = ""

    def encode(self, records: Iterable[Values], buffer: bytearray, limit: int) -> tuple[int, int]:
        """Append lines to ``buffer`` as long as it has fewer than ``limit`` bytes; return how many there are, and how
        many records make no line (a time that is no time, too long). A line is copied while it is warm: keeping those
        of a batch costs as much as encoding did.
        """
        written = malformed = 0
        room = limit - len(buffer)
        dumps, options = orjson.dumps, orjson.OPT_APPEND_NEWLINE
        # Unpacking and a literal build the dict three times faster than zip does.
        for (
            _, moment, number, kind, listener, caller, uid, user, mode, method, scheme, authority, path, service,
            credential, status, flags, error, detail, origin, endpoint, attempts, reused, request_bytes,
            response_bytes, queue, connect, first_byte, total, gid, pid, executable, tries, fallback, version,
            own, dns, tls,
        ) in records:  # fmt: skip
            try:
                milliseconds = int(moment * 1000)
                second = milliseconds // 1000
                if second != self._second:
                    self._stamp, self._second = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second)), second
                fields = {
                    "time": self._stamp + _MILLISECONDS[milliseconds % 1000],
                    "id": number,
                    "kind": kind,
                    "listener": listener,
                    "caller": caller,
                    "uid": uid,
                    "user": user,
                    "mode": mode,
                    "method": method.decode("utf-8", "backslashreplace"),
                    "scheme": scheme.decode("utf-8", "backslashreplace"),
                    "authority": authority,
                    "path": (without_query(path) if b"?" in path else path).decode("utf-8", "backslashreplace"),
                    "service": service,
                    "credential": credential,
                    "status": status,
                    "flags": flags,
                    "error": error,
                    "detail": detail,
                    "origin": origin,
                    "endpoint": endpoint,
                    "attempts": attempts,
                    "reused": reused,
                    "request_bytes": request_bytes,
                    "response_bytes": response_bytes,
                    "queue_ms": queue and round(queue, 3),
                    "connect_ms": connect and round(connect, 3),
                    "first_byte_ms": first_byte and round(first_byte, 3),
                    "total_ms": round(total, 3),
                }
                if pid is not None:  # a client on a Unix socket
                    fields |= {"gid": gid, "pid": pid, "executable_hint": executable}
                if tries:
                    fields["tries"] = tries
                if fallback:
                    fields["fallback"] = fallback
                if version is not None and version != "1.1":
                    fields["version"] = version
                if own is not None:
                    fields["own_credential"] = own
                if dns is not None:
                    fields["dns_ms"] = round(dns, 3)
                if tls is not None:
                    fields["tls_ms"] = round(tls, 3)
                line = dumps(fields, option=options)
                if not line.isascii():
                    line = _ascii(fields)
            except (ValueError, TypeError, OverflowError):  # a lone surrogate, a time that is no time
                malformed += 1
                continue
            if 0x7F in line:
                line = line.replace(b"\x7f", b"\\u007f")
            length = len(line)
            if length > LINE_BYTES:
                malformed += 1
            elif length <= room:
                buffer += line
                room -= length
                written += 1
        return written, malformed


def _ascii(fields: dict[str, Any]) -> bytes:
    return json.dumps(fields, separators=(",", ":"), allow_nan=False).encode() + b"\n"
