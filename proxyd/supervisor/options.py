"""What the supervisor is told by whoever starts it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from proxyd.core.counts import SharedCounts

SUPERVISOR_FD: Final = "PROXYD_SUPERVISOR_FD"
"""Environment variable that tells control the number of its link to the supervisor."""

TAKEOVER: Final = "PROXYD_TAKEOVER"
"""Environment variable that tells control how it comes by the admin socket: ``later`` puts its own in the place of
another that is served there when Promote comes, ``now`` does so at once, empty: nobody else may serve there."""


WorkerMain = Callable[[int, int, int, SharedCounts], int]


@dataclass(frozen=True, slots=True)
class Options:
    """How to make control and workers. Both must exit when their link to the supervisor ends: it is the lifeline."""

    control_command: Sequence[str]
    """Program and arguments of control; no secret belongs here. Its link is the descriptor that
    ``PROXYD_SUPERVISOR_FD`` names. It sends Bind, then Pulse each second, ends on SIGTERM, and prints its own
    errors; what it returns before its first Bind succeeded becomes the supervisor's exit code."""
    worker_main: WorkerMain
    """``(index, control descriptor, supervisor descriptor, shared counts) -> exit code``, called in a forked child that
    holds no other descriptors than these two and 0 to 2, and ignores SIGINT, SIGTERM and SIGHUP: a worker drains on
    Drain. The control link may be at its end from the start; Adopt on the supervisor's link brings the next one.
    Indexes are small and no two live workers share one."""
    preload: Callable[[], None]
    """Import what workers need, called once after control was started and before the first fork. It must start
    neither trio nor a thread."""
    command: Sequence[str] = ()
    """What starts this program again from disk, for an upgrade; empty: it cannot be upgraded in place."""
    environ: Mapping[str, str] = field(default_factory=dict)
    """The environment that this program was started with."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Additions to control's environment."""
    control_silence: float = 15.0
    """Seconds without a frame after which control is killed and started again."""
    control_start: float = 60.0
    """Seconds that control has until its first frame."""
    control_answers: float = 2.0
    """Seconds that a control which was succeeded has to tell its callers so."""
    control_stop: float = 5.0
    """Seconds between SIGTERM and SIGKILL to control."""
