"""The text of a file that somebody wrote, or a mistake that says why it has none."""

from pathlib import Path

from proxyd.core.units import MIB
from proxyd.reading.problems import ConfigError, Problem
from proxyd.reading.tree import MAX_BYTES


def text_of(path: Path, where_else: str) -> str:
    """Return the text at ``path``; ConfigError, with ``where_else`` for a file that does not exist."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        raise ConfigError([Problem(str(path), 1, 1, "", _unreadable(error, where_else))]) from None
    if len(data) > MAX_BYTES:
        raise ConfigError([Problem(str(path), 1, 1, "", f"the file has more than {MAX_BYTES // MIB} MiB")])
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        column = error.start - data.rfind(b"\n", 0, error.start)
        raise ConfigError([Problem(str(path), line, column, "", "the file is not UTF-8")]) from None


def _unreadable(error: OSError | ValueError, where_else: str) -> str:
    if isinstance(error, FileNotFoundError):
        return f"there is no such file; {where_else}"
    if isinstance(error, IsADirectoryError):
        return "that is a folder; name the file in it"
    return f"the file cannot be read: {error.strerror if isinstance(error, OSError) else 'not a path'}"
