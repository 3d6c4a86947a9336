"""What a certificate says of itself, for people."""

from dataclasses import dataclass
from typing import Final

MAX_TEXT: Final = 256
"""Characters of a name; RFC 5280's own bounds are lower for each part of one."""
MAX_NAMES: Final = 16
"""Alternative names that are shown."""


@dataclass(frozen=True, slots=True)
class Described:
    """A certificate, or a list of revoked ones."""

    fingerprint: str
    """SHA-256 in hexadecimal digits."""
    begins: float
    ends: float
    """Unix times; of a list, when the next one is due. 0: it does not say."""
    subject: str = ""
    issuer: str = ""
    """As RFC 4514 writes names; empty where one cannot be read."""
    serial: str = ""
    """Hexadecimal digits."""
    names: tuple[str, ...] = ()
    """Alternative names, the first ``MAX_NAMES``."""
