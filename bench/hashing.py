"""``python -m bench.hashing``: consistent hashing by a ring and by Maglev's table, measured beside each other.

What counts for a proxy with one loop: the time of a look-up (every request pays it), the time to build (the loop stands
still, whenever an endpoint comes or goes), how evenly keys are spread by weight, and how many keys move that need not
when an endpoint leaves or joins. Walks over endpoints that are left out for a while are the same for both.
"""

import json
import random
import sys
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from proxyd.upstream.maglev import point, table

KEYS: Final = 50_000
RING_POINTS: Final = (25, 50, 100, 200, 400)
PLACES: Final = (4093, 16381, 65537)
"""Primes; the second one is proxyd's, the last one Envoy's default."""
GROUPS: Final[Mapping[str, Sequence[int]]] = {
    "3 equal": (1, 1, 1),
    "10 equal": (1,) * 10,
    "50 equal": (1,) * 50,
    "10 of weights 1 to 3": (1, 2, 3, 1, 2, 3, 1, 2, 3, 1),
}

Endpoints = Mapping[str, int]
"""Weights by name."""
Lookup = Callable[[int], str]
Build = Callable[[Endpoints], Lookup]


def ring(per_weight: int) -> Build:
    """Points on a circle (Karger et al., 1997), of which a key belongs to the next."""

    def build(endpoints: Endpoints) -> Lookup:
        made = sorted(
            (point(f"{name}/{number}".encode()), name)
            for name, weight in endpoints.items()
            for number in range(per_weight * weight)
        )
        points = [point for point, _ in made]
        owners = [name for _, name in made]
        return lambda key: owners[bisect_left(points, key) % len(owners)]

    return build


def maglev(places: int) -> Build:
    """The table of ``proxyd.upstream.maglev``, of this many places."""

    def build(endpoints: Endpoints) -> Lookup:
        names = list(endpoints)
        owners = table(tuple(endpoints.items()), places)
        return lambda key: names[owners[key % places]]

    return build


SCHEMES: Final[Mapping[str, Build]] = {
    **{f"ring, {count} points": ring(count) for count in RING_POINTS},
    **{f"maglev, {size} places": maglev(size) for size in PLACES},
}


def moved(before: Lookup, after: Lookup, keys: Sequence[int], changed: str) -> float:
    """Return the share of keys that went from one endpoint to another, neither of which is ``changed``."""
    pairs = [(before(key), after(key)) for key in keys]
    return sum(1 for one, other in pairs if one != other and changed not in (one, other)) / len(keys)


def measure(build: Build, weights: Sequence[int], rng: random.Random) -> dict[str, float]:
    """Return the figures of one scheme for one group of endpoints."""
    endpoints = {f"10.0.{index}.1:443": weight for index, weight in enumerate(weights)}
    keys = [point(b"%d" % rng.getrandbits(64)) for _ in range(KEYS)]
    began = time.perf_counter()
    lookup = build(endpoints)
    built = time.perf_counter() - began
    began = time.perf_counter()
    for key in keys:
        lookup(key)
    looked_up = time.perf_counter() - began
    counts = Counter(map(lookup, keys))
    total = sum(weights)
    loads = [counts[name] / KEYS / (weight / total) for name, weight in endpoints.items()]
    gone, *_ = endpoints
    fewer = build({name: weight for name, weight in endpoints.items() if name != gone})
    more = build({**endpoints, "10.1.0.1:443": 1})
    return {
        "build_ms": round(built * 1e3, 2),
        "lookup_us": round(looked_up / KEYS * 1e6, 3),
        "fullest": round(max(loads), 3),
        "emptiest": round(min(loads), 3),
        "moved_needlessly_leave": round(moved(lookup, fewer, keys, gone), 4),
        "moved_needlessly_join": round(moved(lookup, more, keys, "10.1.0.1:443"), 4),
    }


def main() -> int:
    """Print one JSON object: figures by group and scheme; loads are shares of what the weight says."""
    figures = {
        group: {scheme: measure(build, weights, random.Random(1)) for scheme, build in SCHEMES.items()}
        for group, weights in GROUPS.items()
    }
    print(json.dumps(figures, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
