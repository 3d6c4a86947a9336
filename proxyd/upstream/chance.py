"""Whether failures in a row say something, or are what scattered failures come to by chance."""

from typing import Final

VOLUME: Final = 20
"""Calls below which a share of failures says little."""

CHANCE: Final = 0.01
"""A run that is expected less often than this among so many calls is no accident."""


def is_accident(run: int, calls: float, failures: float) -> bool:
    """Whether among ``calls``, of which ``failures`` failed, a run of so many is to be expected.

    Of a thousand calls of which a third fail here and there, five in a row fail again and again. To act on that would
    keep off the two thirds that go well.
    """
    return calls >= VOLUME and failures > 0 and calls * min(1.0, failures / calls) ** run >= CHANCE
