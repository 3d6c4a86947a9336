"""What systemd hears: sd_notify(3) and its watchdog. Without NOTIFY_SOCKET all of this does nothing."""

import math
import os
import socket
import time
from collections.abc import MutableMapping
from typing import Final

from proxyd.supervisor.notice import say

_RELAYED: Final = ("READY=1", "RELOADING=1", "STOPPING=1", "STATUS=")
"""What control may say through us."""
_MAX_TEXT: Final = 4096


class Systemd:
    """The notification socket and the watchdog's clock.

    The variables are removed from the environment, so that no child speaks to systemd behind our back.
    """

    def __init__(self, environ: MutableMapping[str, str]) -> None:
        self._address = _address(environ.pop("NOTIFY_SOCKET", ""))
        usec, pid = environ.pop("WATCHDOG_USEC", ""), environ.pop("WATCHDOG_PID", "")
        wanted = bool(self._address) and usec.isdigit() and pid in ("", str(os.getpid()))
        self._interval = int(usec) / 2_000_000 if wanted and int(usec) > 0 else math.inf
        self.next_pet = 0.0 if math.isfinite(self._interval) else math.inf
        """Monotonic seconds at which the watchdog wants to hear from us."""

    def notify(self, text: str) -> None:
        """Send ``text`` (lines of VARIABLE=value); systemd not listening is said and no error."""
        if not self._address:
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            try:
                sock.sendto(text.encode(errors="replace"), self._address)
            except OSError as error:
                say(f"systemd was not told {text.split('=', 1)[0]}: {error.strerror}")

    def relay(self, text: str) -> None:
        """Pass on what control says, RELOADING=1 with the time that systemd wants. ValueError for other variables."""
        lines = text.splitlines()
        if len(text) > _MAX_TEXT or not all(line.startswith(_RELAYED) for line in lines):
            raise ValueError("control may notify READY=1, RELOADING=1, STOPPING=1 and STATUS=, in 4 KiB")
        if "RELOADING=1" in lines:
            lines.append(f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")
        self.notify("\n".join(lines))

    def pet(self, now: float, *, is_healthy: bool) -> None:
        """Pet the watchdog if it is time and all is well; else it will bite."""
        if now < self.next_pet:
            return
        self.next_pet = now + self._interval
        if is_healthy:
            self.notify("WATCHDOG=1")


def _address(text: str) -> str:
    if text.startswith("@"):
        return "\0" + text[1:]
    if text and not text.startswith("/"):
        say("NOTIFY_SOCKET is neither a path nor abstract; systemd is not notified")
        return ""
    return text
