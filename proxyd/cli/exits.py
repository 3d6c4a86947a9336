"""Exit codes, and the error that carries one to the end of the program."""

from typing import Final

OK: Final = 0
FAILURE: Final = 1
USAGE: Final = 2
"""The command line or the configuration is wrong."""
UNREACHABLE: Final = 3
"""No daemon answers on the admin socket."""
NOT_EXECUTABLE: Final = 126
"""``exec``: the command was found and cannot be run (as shells do)."""
NOT_FOUND: Final = 127
"""``exec``: there is no such command."""
BY_SIGNAL: Final = 128
"""``exec``: added to the number of the signal that ended the command."""


class CommandError(Exception):
    """A command that cannot go on: what happened, where and what to do, for standard error."""

    def __init__(self, message: str, code: int = FAILURE) -> None:
        super().__init__(message)
        self.code = code
