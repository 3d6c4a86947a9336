"""What is known of one secret, and when that is something new."""

from dataclasses import dataclass, replace
from typing import Final

from proxyd.core.secret import Secret
from proxyd.core.settings import Ages, SecretSource
from proxyd.vault.forms import doubt

_NO_AGES: Final = Ages()


@dataclass(frozen=True, slots=True)
class SecretState:
    """What is known of one secret."""

    source: SecretSource
    secret: Secret | None
    """The last good value; None: there never was one."""
    why: str
    """Why the last attempt failed; empty: it did not."""
    serial: int
    """Rises with every change of any secret."""
    checked: float
    """trio's time of the last attempt."""
    stamp: tuple[int, ...] = ()
    """Of the file or the vault, taken before it was read."""
    warning: str = ""
    """What should be mended although the value could be had."""
    former: tuple[Secret, ...] = ()
    """From the vault: values whose overlap lasts."""
    until: float = 0.0
    """Unix time at which the next overlap ends; 0: none lasts."""
    version: str = ""
    """What the vault elsewhere calls it; empty: nothing."""
    created: float = 0.0
    """Unix time at which the value was made; 0: unknown."""
    expires: float = 0.0
    """Unix time at which the value ends by itself; 0: it does not, or nobody knows."""
    due: float = 0.0
    """trio's time at which a vault elsewhere is asked again."""
    failures: int = 0
    """Questions to it in a row that have failed."""

    @property
    def value(self) -> bytes | None:
        """The bytes for the wire."""
        return self.secret.reveal() if self.secret is not None else None


def is_same(one: SecretState | None, other: SecretState) -> bool:
    """Whether nobody needs to be told of the other."""
    if one is None:
        return False
    # Ages among it: whoever is told of a secret goes by them.
    return (one.secret, one.why, one.former, one.source.ages) == (
        other.secret,
        other.why,
        other.former,
        other.source.ages,
    )


def is_same_source(one: SecretSource, other: SecretSource) -> bool:
    """Whether a value of the one may stand in for one of the other."""
    return replace(one, line=0, form=None, ages=_NO_AGES) == replace(other, line=0, form=None, ages=_NO_AGES)


def doubt_of(source: SecretSource, secret: Secret | None) -> str:
    """Return why a value looks like something else, or the empty string."""
    return doubt(source.name, secret.reveal(), source.form) if secret is not None and source.form is not None else ""
