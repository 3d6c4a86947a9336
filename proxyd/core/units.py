"""Units that constants multiply by; inside proxyd sizes are bytes and times are seconds."""

from typing import Final

KIB: Final = 1024
MIB: Final = 1024 * KIB
GIB: Final = 1024 * MIB

MILLISECOND: Final = 0.001
MINUTE: Final = 60.0
HOUR: Final = 60 * MINUTE
DAY: Final = 24 * HOUR
