"""What a vault elsewhere gives, and what every kind of one can do."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from proxyd.core.settings import Reference
from proxyd.vault.errors import VaultError

MAX_NAMES = 8
"""Names of fields in a message."""


class OutsideError(VaultError):
    """A vault elsewhere does not give what was asked for; the text says why, and holds no value."""

    def __init__(self, why: str, *, is_gone: bool = False, pause: float = 0.0) -> None:
        """``is_gone``: it was removed there on purpose. ``pause``: seconds that the vault wants to be left alone."""
        super().__init__(why)
        self.is_gone = is_gone
        self.pause = pause


@dataclass(frozen=True, slots=True)
class Document:
    """What stands under one path of a vault."""

    fields: Mapping[str, bytes | None] = field(repr=False)
    """None: it is there and no text."""
    again: float
    """Seconds until it is to be read again."""
    version: str = ""
    created: float = 0.0
    """Unix time; 0: unknown."""
    expires: float = 0.0
    """Unix time; 0: it does not end by itself."""

    def value(self, name: str) -> bytes:
        """Return a field, or the only one. OutsideError."""
        if not name and len(self.fields) == 1:
            (name,) = self.fields
        if name not in self.fields:
            known = ", ".join(sorted(self.fields)[:MAX_NAMES]) or "none"
            shown = "".join(char if char.isprintable() else "?" for char in known)[:200]
            what = f"has no field {name}" if name else "has several fields, and none is named"
            raise OutsideError(f"it {what}; there are {shown}")
        value = self.fields[name]
        if value is None:
            raise OutsideError(f"its field {name} is no text; store it as text")
        return value


class Provider(Protocol):
    """A vault elsewhere. It is asked by several tasks at a time."""

    @property
    def login_ends(self) -> float:
        """Unix time at which the login that the user gave ends, and proxyd cannot renew it; 0: it does not."""
        ...

    def group(self, reference: Reference) -> Reference:
        """Return what is read for this reference: those with the same one come from one document."""
        ...

    async def read(self, reference: Reference) -> Document:
        """Return what stands there now. OutsideError."""
        ...

    async def aclose(self) -> None:
        """Give back what was lent. OutsideError: the vault does not take it."""
        ...
