"""Where definitions stand: shipped with proxyd, named by the configuration, or brought by installed packages.

Nothing is read here but the names of files: a configuration reads the definitions that it uses and no other.
"""

import functools
from collections.abc import Iterable, Sequence
from importlib import metadata, resources
from pathlib import Path
from typing import Final

SHIPPED: Final = Path(__file__).with_name("services")
GROUP: Final = "proxyd.services"
"""Entry points of packages with definitions; the value is the package in whose folder the files stand."""

SUFFIX: Final = ".yaml"


class Shelf:
    """The definitions that there are, by name. The user's own come before those of proxyd, and packages' come last."""

    def __init__(self, own: Sequence[Path] = ()) -> None:
        """Take files and folders of the user's own. OSError: one cannot be looked into."""
        self._own = {path.stem: path for place in own for path in _files(place)}

    def find(self, name: str) -> Path | None:
        """Return the file of the service ``name``."""
        own = self._own.get(name)
        if own is not None:
            return own
        shipped = SHIPPED / f"{name}{SUFFIX}"
        if "/" not in name and shipped.is_file():
            return shipped
        return packaged().get(name)

    def names(self) -> list[str]:
        """Return every name, in alphabetical order."""
        return sorted({*self._own, *(path.stem for path in _files(SHIPPED)), *packaged()})


@functools.cache
def packaged() -> dict[str, Path]:
    """Return the definitions that installed packages bring."""
    found: dict[str, Path] = {}
    for entry in metadata.entry_points(group=GROUP):
        with resources.as_file(resources.files(entry.value)) as folder:
            for path in _files(folder):
                found.setdefault(path.stem, path)
    return found


def _files(place: Path) -> Iterable[Path]:
    return sorted(place.glob(f"*{SUFFIX}")) if place.is_dir() else [place]
