"""The next generation on trial: a process that runs the program from disk beside the one that serves.

It is a supervisor like any other, with a control and workers of its own, and accepts on the sockets that serve
already. Until it is ready its supervisor has not changed; if it never gets there it is told to end.
"""

import contextlib
import math
import os
import select
import signal
import socket
import time
from dataclasses import dataclass
from typing import Final

from proxyd.core.messages import Upgrade
from proxyd.net.framing import LinkClosed
from proxyd.net.process import become_subreaper
from proxyd.supervisor import succession
from proxyd.supervisor.children import Child
from proxyd.supervisor.link import BufferedLink
from proxyd.supervisor.options import Options
from proxyd.supervisor.state import FORMAT, Estate, SocketsState, descriptors, pack
from proxyd.supervisor.succession import MAX_FRAME, ROLE, Note

STOP_SECONDS: Final = 10.0
"""What a candidate that failed has to end, beyond the time that its own drain takes."""
TEXT_CHARACTERS: Final = 2000
"""What is kept of its standard error, from the end."""
NOT_ITS_OWN: Final = frozenset({"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"})
"""systemd hears of one process, the one that it has started."""

NO_REQUEST: Final = Upgrade(0, 0.0, 0.0)

_STDERR: Final = 2
_CHUNK: Final = 16 * 1024
_MOST_CHUNKS: Final = 64


@dataclass(slots=True, eq=False)
class Candidate(Child):
    """The trial: which call asked for it, by when it is to be ready, and what it said."""

    request: Upgrade = NO_REQUEST
    deadline: float = math.inf
    """Monotonic seconds; infinity once it is agreed, or has failed."""
    errors: int = -1
    """The reading end of its standard error, until it writes to ours; -1: at its end."""
    text: str = ""
    """The end of what it wrote there."""
    why: str = ""
    """What its control could not do."""
    is_agreed: bool = False
    """It serves, and has understood what it will be handed."""
    has_failed: bool = False

    def overhear(self) -> None:
        """Read some of its standard error and pass it on."""
        with contextlib.suppress(BlockingIOError):
            data = os.read(self.errors, _CHUNK)
            if not data:
                self.close_errors()
                return
            self.text = (self.text + data.decode(errors="backslashreplace"))[-TEXT_CHARACTERS:]
            with contextlib.suppress(OSError):
                os.write(_STDERR, data)

    def overhear_all(self) -> None:
        """Read what is left when it has ended."""
        for _ in range(_MOST_CHUNKS):
            if self.errors < 0 or not select.select([self.errors], [], [], 0)[0]:
                break
            self.overhear()
        self.close_errors()

    def close_errors(self) -> None:
        """Listen no more."""
        if self.errors >= 0:
            os.close(self.errors)
            self.errors = -1

    def tell_note(self, note: Note) -> None:
        """Send a note; one who cannot be told is killed."""
        try:
            succession.tell(self.link, note)
        except LinkClosed as error:
            self.abort(str(error))

    def dismiss(self, now: float, drain: float) -> None:
        """Have it end: what its workers have accepted is finished within ``drain`` seconds."""
        self.has_failed = True
        self.is_agreed = False
        self.deadline = math.inf
        self.kill_at = min(self.kill_at, now + drain + STOP_SECONDS)
        self.kill(signal.SIGTERM)

    def reason(self, words: str) -> str:
        """Say why it ended, best words first."""
        last = "; ".join(line.strip() for line in self.text.splitlines()[-3:] if line.strip())
        return self.why or (f"{words}: {last}" if last else words)


def start(options: Options, request: Upgrade, generation: int, sockets: SocketsState) -> Candidate:
    """Start the program anew as ``generation``, with copies of ``sockets``. OSError."""
    become_subreaper()  # its children become ours when it yields
    ours, theirs = socket.socketpair()
    reader, writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        os.set_blocking(writer, True)
        os.set_inheritable(theirs.fileno(), True)
        environment = {name: value for name, value in options.environ.items() if name not in NOT_ITS_OWN}
        command = list(options.command)
        pid = os.posix_spawnp(
            command[0],
            command,
            {**environment, ROLE: f"candidate:{theirs.fileno()}"},
            file_actions=[(os.POSIX_SPAWN_DUP2, writer, _STDERR)],
            setpgroup=0,
            setsigmask=(),
            setsigdef=(signal.SIGPIPE, signal.SIGXFSZ),
        )
    except OSError:
        ours.close()
        os.close(reader)
        raise
    finally:
        theirs.close()
        os.close(writer)
    now = time.monotonic()
    candidate = Candidate(f"generation {generation}", pid, BufferedLink(ours, MAX_FRAME), now)
    candidate.request, candidate.deadline, candidate.errors = request, now + request.seconds, reader
    estate = Estate(FORMAT, generation, sockets, _STDERR)
    candidate.tell_note(Note("estate", pack(estate), tuple(descriptors(estate))))
    return candidate
