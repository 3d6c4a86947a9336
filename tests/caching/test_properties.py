"""Whatever headers say: no rule raises, no age is negative, and memory keeps its bound."""

from hypothesis import given, settings
from hypothesis import strategies as st

from proxyd.caching.answer import answer
from proxyd.caching.directives import cache_control
from proxyd.caching.freshness import Times, age, lifetime
from proxyd.caching.memory import Key, Memory
from proxyd.caching.policy import (
    decide,
    http_date,
    is_same_representation,
    is_silent,
    make_entry,
    may_serve_on_error,
    may_store,
    may_use,
    refreshed,
)
from proxyd.core.caching import CachePolicy

NOW = 1_700_000_000.0
NAMES = st.sampled_from(
    [
        b"age", b"cache-control", b"connection", b"content-length", b"date", b"etag", b"expires", b"if-modified-since",
        b"if-none-match", b"if-range", b"last-modified", b"pragma", b"range", b"vary", b"x-a",
    ]
)  # fmt: skip
DIRECTIVES = st.sampled_from(
    [
        "max-age", "s-maxage", "no-cache", "no-store", "private", "public", "must-revalidate", "proxy-revalidate",
        "must-understand", "stale-while-revalidate", "stale-if-error", "max-stale", "min-fresh", "only-if-cached",
    ]
)  # fmt: skip
ARGUMENTS = st.one_of(
    st.none(), st.integers(-10, 10**30).map(str), st.sampled_from(['"5"', '"', "x", '"a,b"', "", "1e3", "\\"])
)
CONTROLS = st.lists(
    st.builds(lambda name, value: name if value is None else f"{name}={value}", DIRECTIVES, ARGUMENTS), max_size=4
).map(lambda parts: ", ".join(parts).encode())
DATES = st.floats(-1e9, 4e9).map(lambda moment: http_date(max(0.0, moment)))
VALUES = st.one_of(
    CONTROLS,
    DATES,
    st.integers(-10, 10**30).map(lambda number: str(number).encode()),
    st.sampled_from([b"", b"*", b"x-a", b'"t"', b'W/"t"', b'"', b"bytes=0-1", b"bytes=-5", b"bytes=9-", b"0", b","]),
    st.binary(max_size=24),
)
HEADERS = st.lists(st.tuples(NAMES, VALUES), max_size=8)
CLOCK = st.floats(-1e6, 1e9)
POLICIES = st.builds(CachePolicy, st.booleans(), st.floats(0, 1e6), st.floats(0, 1e6))


@settings(max_examples=400, deadline=None)
@given(HEADERS, HEADERS, HEADERS, st.integers(200, 599), CLOCK, CLOCK, POLICIES)
def test_no_rule_raises_and_no_age_is_negative(request, response, second, status, took, later, options):  # type: ignore[no-untyped-def]
    times = Times(NOW, NOW + abs(took))
    now = NOW + later
    may_store(b"GET", request, status, response, authorized=False, options=options)
    may_use(b"GET", second)
    assert age(response, times, now) >= 0
    assert lifetime(status, response, cache_control(response), times) >= 0
    entry = make_entry(request, status, response, b"some body", times, options)
    if entry is None:
        return
    assert entry.age(now) >= 0
    decide(entry, second, now, options)
    may_serve_on_error(entry, second, now, options)
    is_same_representation(entry, second)
    given_out = answer(entry, second)
    assert given_out.status in (status, 206, 304, 416)
    assert refreshed(entry, second, times).age(now) >= 0


@settings(max_examples=200, deadline=None)
@given(
    st.integers(0, 20_000),
    st.lists(st.tuples(st.integers(0, 5), st.sampled_from(["", "a", "b"]), st.integers(0, 9000), HEADERS), max_size=40),
)
def test_memory_keeps_its_bound_and_counts_right(limit, steps):  # type: ignore[no-untyped-def]
    memory = Memory(limit)
    for number, scope, size, headers in steps:
        key = Key(f"s{number % 2}", b"https", "a", b"/%d" % number)
        response = [(b"cache-control", b"max-age=100"), *headers]
        entry = make_entry(headers, 200, response, b"x" * size, Times(NOW, NOW), CachePolicy(), scope)
        if entry is None:
            continue
        former = memory.find(key, scope, headers)
        if former is not None and size % 3 == 0:
            memory.replace(key, former, entry)
        else:
            memory.keep(key, entry)
        assert 0 <= memory.size <= limit
        assert memory.size == sum(size for _, size in memory.summary().values())
        if size % 7 == 0:
            memory.drop(key)
    memory.purge("")
    assert (memory.size, len(memory)) == (0, 0)


@settings(max_examples=300, deadline=None)
@given(HEADERS, st.integers(200, 599), POLICIES)
def test_what_says_nothing_is_not_kept(response, status, options):  # type: ignore[no-untyped-def]
    if is_silent(response, options):
        assert make_entry([], status, response, b"some body", Times(NOW, NOW), options) is None
