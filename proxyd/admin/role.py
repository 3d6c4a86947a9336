"""What callers of the admin socket may do."""

import enum


class Role(enum.Enum):
    """What a caller may do."""

    READER = "reader"
    """Look."""
    FULL = "full"
    """Look and change."""
