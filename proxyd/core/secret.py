"""A secret value that prints as its name, wherever it is printed."""

import hmac
from typing import NoReturn


class Secret:
    """A named secret. ``reveal`` is the only way to its bytes; every printed form shows the name alone."""

    __slots__ = ("_value", "name")

    def __init__(self, name: str, value: bytes) -> None:
        self.name = name
        self._value = value

    def reveal(self) -> bytes:
        """Return the secret's bytes. Callers hand them to the wire or to a codec, never to a message."""
        return self._value

    def __repr__(self) -> str:
        return f"Secret({self.name!r})"

    def __str__(self) -> str:
        return f"<secret {self.name}>"

    def __format__(self, spec: str) -> str:
        return format(str(self), spec)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return self.name == other.name and hmac.compare_digest(self._value, other._value)

    def __hash__(self) -> int:
        return hash(self.name)

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"the secret {self.name!r} is not to be pickled")
