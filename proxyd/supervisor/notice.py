"""The supervisor's own lines on standard error; everything else is logged by control."""

import contextlib
import os
import select
from typing import Final

_STDERR: Final = 2


def say(text: str) -> None:
    """Write one line, or drop it: a closed or full standard error never stops the supervisor."""
    with contextlib.suppress(OSError, ValueError):
        if select.select([], [_STDERR], [], 0)[1]:
            os.write(_STDERR, f"proxyd: {text}\n".encode(errors="backslashreplace"))
