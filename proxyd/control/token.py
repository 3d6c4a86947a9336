"""The token that callers of gateways on TCP must send: in a file that only this user can read.

It is made when control finds none, and kept while the runtime folder lasts: a new control, a reload or an upgrade
changes nothing for programs that have read it. Remove the file and start proxyd again for a new one.
"""

import os
import re
import secrets
import stat
from pathlib import Path
from typing import Final

FILE: Final = "gateway.token"
"""In the runtime folder."""
TOKEN_BYTES: Final = 32

_FORM: Final = re.compile(rb"[A-Za-z0-9_-]{43}\n?")


def gateway_token(runtime_dir: Path) -> bytes:
    """Return the token in ``runtime_dir``, a new one where there is none that nobody else can know. OSError."""
    path = runtime_dir / FILE
    return _read(path) or _make(path)


def _read(path: Path) -> bytes | None:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None  # none, or a link or file of another user, which is replaced or refuses to be
    with open(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
            return None
        data = file.read(1024)
    return data.strip() if _FORM.fullmatch(data) else None


def _make(path: Path) -> bytes:
    token = secrets.token_urlsafe(TOKEN_BYTES).encode("ascii")
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with open(descriptor, "wb") as file:
            file.write(token + b"\n")
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    return token
