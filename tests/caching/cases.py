"""Cases for comparing our verdicts with those of other implementations: an exchange, and a request some time later.

They are drawn, always the same ones. ``python -m tests.caching.cases | node tests/caching/record.mjs FOLDER`` records
what the npm package http-cache-semantics (installed below FOLDER) says of each; tests read the record, not the network.
"""

import json
import random
import sys
from dataclasses import asdict, dataclass

from proxyd.caching.policy import http_date

COUNT = 600
NOW = 1_700_000_000
"""When the first answer came."""

HOUR = 3600


def at(offset: int) -> str:
    return http_date(NOW + offset).decode()


@dataclass(frozen=True, slots=True)
class Case:
    """A request, its answer, and another request for the same URL ``later`` seconds afterwards."""

    method: str
    request: dict[str, str]
    status: int
    response: dict[str, str]
    later: int
    second: dict[str, str]


METHODS = ["GET"] * 19 + ["POST"]
STATUSES = [200] * 12 + [203, 204, 206, 301, 302, 304, 307, 308, 404, 410, 500, 503]
CONTROLS = [
    None, None, "max-age=100", "max-age=100", "max-age=0", "s-maxage=50", "s-maxage=200, max-age=10", "no-cache",
    "no-cache, max-age=100", "no-store", "no-store, max-age=100", "private", "private, max-age=100", "public",
    "public, max-age=100", "max-age=100, must-revalidate", "max-age=100, proxy-revalidate", "must-revalidate",
    'no-cache="set-cookie", max-age=100', 'private="x-a", max-age=100', "max-age=100, immutable", "MAX-AGE=100",
    'max-age="100"', "max-age=banana", "max-age=-5", "max-age=1.5", "max-age=99999999999", "max-age=100, max-age=5",
    "max-age=100,,  public", "max-age = 100", "must-understand, no-store, max-age=100",
    "max-age=10, stale-while-revalidate=60", "max-age=10, stale-if-error=600",
]  # fmt: skip
EXPIRES = [None] * 6 + [at(100), at(-100), at(0), "0", "never"]
DATES = [at(0)] * 6 + [at(-40), at(40), None, "yesterday"]
AGES = [None] * 7 + ["0", "60", "99", "150", "-1", "x"]
MODIFIED = [None] * 3 + [at(-1000), at(-240 * HOUR), at(10)]
TAGS = [None, '"v1"', 'W/"v1"']
VARY = [None] * 7 + ["accept", "Accept, X-Lang", "*", "accept-encoding"]
PRAGMA = [None] * 9 + ["no-cache"]
LATER = [0, 5, 20, 45, 60, 99, 101, 150, 400]
FIRST = [{}] * 8 + [
    {"authorization": "Bearer x"}, {"authorization": "Bearer x"}, {"cache-control": "no-store"}, {"accept": "a"},
    {"accept": "a", "x-lang": "de"}, {"cache-control": "max-age=0"},
]  # fmt: skip
SECOND = [{}] * 10 + [
    {"cache-control": "no-cache"}, {"pragma": "no-cache"}, {"cache-control": "max-age=0"},
    {"cache-control": "max-age=30"}, {"cache-control": "min-fresh=60"}, {"cache-control": "max-stale"},
    {"cache-control": "max-stale=30"}, {"cache-control": "max-stale=1000"}, {"cache-control": "no-store"},
    {"cache-control": "only-if-cached"}, {"accept": "a"}, {"accept": "b"}, {"accept": "a", "x-lang": "de"},
]  # fmt: skip


def cases() -> list[Case]:
    """Return all of them."""
    rng = random.Random(9111)
    return [_case(rng) for _ in range(COUNT)]


def _case(rng: random.Random) -> Case:
    fields = {
        "date": rng.choice(DATES),
        "cache-control": rng.choice(CONTROLS),
        "expires": rng.choice(EXPIRES),
        "age": rng.choice(AGES),
        "last-modified": rng.choice(MODIFIED),
        "etag": rng.choice(TAGS),
        "vary": rng.choice(VARY),
        "pragma": rng.choice(PRAGMA),
    }
    response = {name: value for name, value in fields.items() if value is not None}
    method, status = rng.choice(METHODS), rng.choice(STATUSES)
    return Case(method, rng.choice(FIRST), status, response, rng.choice(LATER), rng.choice(SECOND))


if __name__ == "__main__":
    json.dump({"now": NOW, "cases": [asdict(case) for case in cases()]}, sys.stdout)
