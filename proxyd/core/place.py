"""Where an error came from, for the log: no message and no value, which might hold what is private."""

import traceback


def place_of(error: BaseException) -> str:
    """Return ``Kind at file:line`` of the innermost frame; of a group, its first leaf's."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    frames = traceback.extract_tb(error.__traceback__)
    where = f" at {frames[-1].filename}:{frames[-1].lineno}" if frames else ""
    return type(error).__name__ + where
