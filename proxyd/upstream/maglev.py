"""Consistent hashing by a table (Maglev: Eisenbud et al., NSDI 2016): every key has a place, and every place an owner.

Endpoints take places in turn, each in an order of its own, so that an endpoint which leaves or joins changes few places
but its own. Against a ring of points the shares are even, look-ups are quicker, and time and memory do not depend on
weights; in return some few keys move needlessly (``python -m bench.hashing`` measures both).
"""

import hashlib
import heapq
from array import array
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

PLACES: Final = 16381
"""A prime. Envoy has 65,537, for which the loop would stand still for 60 ms whenever an endpoint comes or goes."""
KEPT: Final = 32
"""Tables that are remembered, 32 KiB each: a reload that changes no endpoint builds none."""


def point(data: bytes) -> int:
    """Return 64 bits that are the same in every process."""
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "big")


@lru_cache(maxsize=KEPT)
def table(endpoints: tuple[tuple[str, int], ...], size: int = PLACES) -> Sequence[int]:
    """Return who owns each place, as an index into ``endpoints``, pairs of a name and a weight; ``size`` is prime."""
    places = [point(name.encode()) % size for name, _ in endpoints]
    skips = [point(f"skip/{name}".encode()) % (size - 1) + 1 for name, _ in endpoints]
    owners = array("i", [-1]) * size
    steps = [1.0 / weight for _, weight in endpoints]
    turns = sorted((step, name, index) for index, (step, (name, _)) in enumerate(zip(steps, endpoints, strict=True)))
    for _ in range(size):
        turn, name, index = turns[0]
        place, skip = places[index], skips[index]
        while owners[place] >= 0:
            place = (place + skip) % size
        owners[place] = index
        places[index] = place
        heapq.heapreplace(turns, (turn + steps[index], name, index))
    return owners
