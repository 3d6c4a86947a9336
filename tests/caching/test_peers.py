"""Our verdicts beside those of hishel and of http-cache-semantics; where they differ, RFC 9111 says who is right."""

import json
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import pytest

from proxyd.caching.freshness import Times
from proxyd.caching.policy import Verdict, decide, make_entry, matches, may_store, may_use
from proxyd.core.caching import CachePolicy
from proxyd.core.headers import Headers
from tests.caching.cases import NOW, Case, at, cases

PLAIN = CachePolicy()
CASES = cases()
RECORD = Path(__file__).with_name("http_cache_semantics.json")


class Says(NamedTuple):
    """What an implementation makes of a case."""

    is_kept: bool
    is_answered: bool
    """The second request is answered from what was kept, and the upstream is not asked."""


def encoded(fields: dict[str, str]) -> Headers:
    return [(name.encode(), value.encode()) for name, value in fields.items()]


def ours(case: Case) -> Says:
    request, response, second = encoded(case.request), encoded(case.response), encoded(case.second)
    authorized = "authorization" in case.request
    why = may_store(case.method.encode(), request, case.status, response, authorized=authorized, options=PLAIN)
    if why is not None or not may_use(case.method.encode(), request):
        return Says(False, False)
    entry = make_entry(request, case.status, response, b"", Times(NOW, NOW), PLAIN)
    if entry is None or not may_use(b"GET", second) or not matches(entry, second):
        return Says(True, False)
    verdict = decide(entry, second, NOW + case.later, PLAIN).verdict
    return Says(True, verdict is Verdict.HIT)


def hishel(case: Case) -> Says:
    import hishel

    options = hishel.CacheOptions(shared=True, supported_methods=["GET"], allow_stale=False)
    request = hishel.Request(case.method, "http://a.test/x", hishel.Headers(dict(case.request)))
    response = hishel.Response(case.status, hishel.Headers(dict(case.response)))
    with mock.patch.object(time, "time", return_value=float(NOW)):
        state = hishel.CacheMiss(request=request, options=options).next(response)
    if not isinstance(state, hishel.StoreAndUse):
        return Says(False, False)
    entry = hishel.Entry(uuid.uuid4(), request, state.response)
    second = hishel.Request("GET", "http://a.test/x", hishel.Headers(dict(case.second)))
    with mock.patch.object(time, "time", return_value=float(NOW + case.later)):
        following = hishel.IdleClient(options=options).next(second, [entry])
    return Says(True, isinstance(following, hishel.FromCache))


def recorded() -> list[Says]:
    record = json.loads(RECORD.read_text())
    return [Says(bool(kept), bool(answered)) for kept, answered, _ in record["verdicts"]]


class Disagreement(NamedTuple):
    """A rule on which a peer differs from us, and what the RFC says of it."""

    section: str
    right: str
    """``ours``, ``theirs``, or ``both``: the RFC leaves it open."""
    why: str
    applies: Callable[[Case], bool]


def control(case: Case) -> str:
    return case.response.get("cache-control", "")


def asks(case: Case, *names: str) -> bool:
    return any(name in case.second.get("cache-control", "") for name in names)


HTTP_CACHE_SEMANTICS = [
    Disagreement(
        "§3, RFC 9110 §9.3.3", "both", "POST could be kept with Content-Location; we keep GET alone",
        lambda case: case.method == "POST",
    ),
    Disagreement(
        "§4.1", "both", "an answer with Vary: * never matches; it keeps it all the same, we do not",
        lambda case: case.response.get("vary") == "*",
    ),
    Disagreement(
        "§5.2.2.3", "ours", "must-understand takes no-store's place where the status is understood",
        lambda case: "must-understand" in control(case),
    ),
    Disagreement(
        "§5.2.2.7", "both", "private with fields: they are left out; it may be read as without any, as it does",
        lambda case: "private=" in control(case),
    ),
    Disagreement(
        "§5.2.2.4", "both", "no-cache with fields: they are left out; it may be read as without any, as it does",
        lambda case: "no-cache=" in control(case),
    ),
    Disagreement(
        "§3", "ours", "any final status may be kept where freshness is told; it has a list",
        lambda case: case.status in (302, 307, 500, 503),
    ),
    Disagreement(
        "§5.2.2.2", "ours", "must-revalidate is about answers that have become stale; it always asks",
        lambda case: "must-revalidate" in control(case) and case.second.get("cache-control") != "no-cache",
    ),
    Disagreement(
        "§5.2.2.8", "ours", "proxy-revalidate is about answers that have become stale; it always asks",
        lambda case: "proxy-revalidate" in control(case),
    ),
    Disagreement(
        "§5.2", "ours", "directives are case-insensitive; it knows lower case alone",
        lambda case: "MAX-AGE" in control(case),
    ),
    Disagreement(
        "§5.2", "ours", "no space is allowed around '='; invalid freshness is stale (§4.2.1), it takes it",
        lambda case: "max-age = " in control(case),
    ),
    Disagreement(
        "§4.2.1", "both", "of a directive that is repeated the first counts, or the answer is stale as it has it",
        lambda case: "max-age=100, max-age=5" in control(case),
    ),
    Disagreement(
        "§5.2.1.5", "both", "no-store of a request forbids to keep; not to answer it from the cache is our caution",
        lambda case: asks(case, "no-store"),
    ),
    Disagreement(
        "§5.2.2.4, §5.2.2.10", "ours", "max-stale overrides neither no-cache nor s-maxage; it lets it",
        lambda case: asks(case, "max-stale") and ("no-cache" in control(case) or "s-maxage" in control(case)),
    ),
    Disagreement(
        "§4.2.3", "ours", "an answer whose Date is past has an age from it; it looks at Age alone",
        lambda case: case.response.get("date") == at(-40),
    ),
]  # fmt: skip
HISHEL = [
    Disagreement(
        "§4.1", "both", "an answer with Vary: * never matches; it keeps it all the same, we do not",
        lambda case: case.response.get("vary") == "*",
    ),
    Disagreement(
        "§5.2.2.3", "ours", "must-understand takes no-store's place where the status is understood",
        lambda case: "must-understand" in control(case),
    ),
    Disagreement(
        "§5.2.1.5", "ours", "a request's no-store forbids to keep its answer",
        lambda case: case.request.get("cache-control") == "no-store",
    ),
    Disagreement(
        "§5.2.1.5", "both", "no-store of a request forbids to keep; not to answer it from the cache is our caution",
        lambda case: asks(case, "no-store"),
    ),
    Disagreement(
        "§5.2.1", "ours", "max-age, min-fresh and max-stale of a request are to be followed; it knows no-cache alone",
        lambda case: asks(case, "max-age", "min-fresh", "max-stale"),
    ),
    Disagreement(
        "§5.4", "ours", "Pragma: no-cache of a request without Cache-Control is no-cache",
        lambda case: "pragma" in case.second,
    ),
    Disagreement(
        "§4.2.3", "ours", "the age that came with an answer counts; it looks at Date alone",
        lambda case: case.response.get("age", "-") in ("60", "99", "150"),
    ),
    Disagreement(
        "§4.2.3, RFC 9110 §6.6.1", "ours", "an answer without a Date ages from when it came; there it stays fresh",
        lambda case: case.response.get("date") in (None, "yesterday"),
    ),
    Disagreement(
        "§4.2.1", "ours", "max-age that is no number is stale; there it does not count",
        lambda case: any(text in control(case) for text in ("banana", "1.5", "=-5", "max-age = ")),
    ),
    Disagreement(
        "§4.2.1", "both", "of a directive that is repeated the first counts, or the answer is stale",
        lambda case: "max-age=100, max-age=5" in control(case),
    ),
    Disagreement(
        "§4.2.3", "both", "a Date that is ahead of our clock gives no age, and we count from when it came",
        lambda case: case.response.get("date") == at(40),
    ),
]  # fmt: skip


def compared(theirs: list[Says], known: list[Disagreement]) -> None:
    unused = set(range(len(known)))
    for case, they in zip(CASES, theirs, strict=True):
        we = ours(case)
        if we == they:
            continue
        explained = [number for number, one in enumerate(known) if one.applies(case)]
        assert explained, f"ours {we}, theirs {they}: {case}"
        unused.difference_update(explained)
    assert not unused, f"it agrees by now: {[known[number] for number in sorted(unused)]}"


def test_where_http_cache_semantics_differs_the_reason_is_known() -> None:
    compared(recorded(), HTTP_CACHE_SEMANTICS)


def test_where_hishel_differs_the_reason_is_known() -> None:
    pytest.importorskip("hishel")
    compared([hishel(case) for case in CASES], HISHEL)


@pytest.mark.parametrize("known", [HTTP_CACHE_SEMANTICS, HISHEL], ids=["http-cache-semantics", "hishel"])
def test_nobody_is_right_against_us(known: list[Disagreement]) -> None:
    assert {one.right for one in known} <= {"ours", "both"}
