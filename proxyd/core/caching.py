"""What one service's answers may be kept for, beyond what the answers say themselves."""

from dataclasses import dataclass

from proxyd.core.units import MIB


@dataclass(frozen=True, slots=True)
class CachePolicy:
    """A service's cache; a service without one has none."""

    private: bool = False
    """Keep what is ``private`` too: an entry is for one credential, so it is one user's (GitHub marks all so)."""
    stale_if_error: float = 0.0
    """Seconds that a stale answer may stand in for a failure, where the answer itself does not say (RFC 5861 §4)."""
    stale_while_revalidate: float = 0.0
    """Seconds that a stale answer is given while it is asked for anew, where it does not say (RFC 5861 §3)."""
    object_bytes: int = 1 * MIB
    """The largest body that is kept."""
