"""What a scheme needs of secret values: present, and harmless to the framing of a message."""

import re
from collections.abc import Mapping
from typing import Final

from proxyd.core.service import Auth

_BREAKS_A_LINE: Final = re.compile(rb"[\r\n\0]").search

SHORTEST_MASKED: Final = 12
"""Bytes; a shorter secret is too likely to occur by chance to be masked in responses."""


def value_of(name: str, values: Mapping[str, bytes]) -> bytes:
    """Return the value of the secret ``name``. KeyError names one that is missing, ValueError one that is unusable."""
    value = values[name]
    if _BREAKS_A_LINE(value):
        raise ValueError(f"the secret {name} holds a line break or NUL and cannot go into a header")
    return value


def secrets_of(auth: Auth, *needed: str) -> dict[str, str]:
    """Return names of secrets by the scheme's fields. ValueError names a field that is needed and missing."""
    given = dict(auth.secrets)
    missing = [field for field in needed if not given.get(field)]
    if missing:
        raise ValueError(f"the scheme {auth.scheme} needs the secret {' and '.join(missing)}")
    return given


def long_enough(*candidates: bytes) -> tuple[bytes, ...]:
    """Return the candidates that are long enough to be searched for, each once."""
    return tuple(dict.fromkeys(item for item in candidates if len(item) >= SHORTEST_MASKED))
