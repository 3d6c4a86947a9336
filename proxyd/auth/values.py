"""What a scheme needs of secret values: present, and harmless to the framing of a message."""

import re
from collections.abc import Mapping
from typing import Final

_BREAKS_A_LINE: Final = re.compile(rb"[\r\n\0]").search

SHORTEST_MASKED: Final = 12
"""Bytes; a shorter secret is too likely to occur by chance to be masked in responses."""


def value_of(name: str, values: Mapping[str, bytes]) -> bytes:
    """Return the value of the secret ``name``. KeyError names one that is missing, ValueError one that is unusable."""
    value = values[name]
    if _BREAKS_A_LINE(value):
        raise ValueError(f"the secret {name} holds a line break or NUL and cannot go into a header")
    return value


def long_enough(*candidates: bytes) -> tuple[bytes, ...]:
    """Return the candidates that are long enough to be searched for, each once."""
    return tuple(dict.fromkeys(item for item in candidates if len(item) >= SHORTEST_MASKED))
