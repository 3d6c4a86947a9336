"""Vendors' spellings of their limits, and that nothing they may send breaks the reading."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxyd.limiting.told import LONGEST, MAX_COUNT, MAX_WINDOWS, NOTHING, Reading, moment, read, wait_told

NOW = 1_790_000_000.0  # Mon, 21 Sep 2026 14:13:20 GMT
DATE = (b"date", b"Mon, 21 Sep 2026 14:13:20 GMT")


def fields(text: str) -> list[tuple[bytes, bytes]]:
    pairs = (line.strip().partition(": ") for line in text.strip().splitlines())
    return [(name.lower().encode(), value.encode()) for name, _, value in pairs]


@pytest.mark.parametrize(
    ("text", "windows"),
    [
        (
            "X-RateLimit-Limit: 5000\nX-RateLimit-Remaining: 4987\nX-RateLimit-Reset: 1790000060",
            [Reading("", 4987, 5000, 60.0, 0.0)],
        ),
        (
            "X-RateLimit-Limit: 100\nX-RateLimit-Remaining: 9\nX-RateLimit-Reset: 12\nX-RateLimit-Period: 60",
            [Reading("", 9, 100, 12.0, 60.0)],
        ),
        ("X-Rate-Limit-Remaining: 3\nX-Rate-Limit-Reset: 1790000000500", [Reading("", 3, 0, 0.5, 0.0)]),
        ("RateLimit-Limit: 10, 10;w=1, 50;w=60\nRateLimit-Remaining: 4\nRateLimit-Reset: 1",
         [Reading("", 4, 10, 1.0, 1.0)]),
        ("RateLimit: limit=100, remaining=50, reset=50\nRateLimit-Policy: 100;w=60",
         [Reading("", 50, 100, 50.0, 60.0)]),
        (
            'RateLimit: "default";r=50;t=30\nRateLimit-Policy: "default";q=100;w=60',
            [Reading("default", 50, 100, 30.0, 60.0)],
        ),
        (
            'RateLimit: "burst";r=5;t=1, "day";r=100;t=4000\n'
            'RateLimit-Policy: "burst";q=10;w=1, "day";q=1000;w=86400;pk=:cHJveHlk:',
            [Reading("burst", 5, 10, 1.0, 1.0), Reading("day", 100, 1000, 4000.0, 86_400.0)],
        ),
        ("RateLimit-Limit: 100;w=21600\nRateLimit-Remaining: 20;w=21600", [Reading("", 20, 100, -1.0, 21_600.0)]),
        (
            "x-ratelimit-limit-requests: 500\nx-ratelimit-remaining-requests: 0\nx-ratelimit-reset-requests: 6m0s\n"
            "x-ratelimit-remaining-tokens: 7\nx-ratelimit-reset-tokens: 20ms",
            [Reading("requests", 0, 500, 360.0, 0.0), Reading("tokens", 7, 0, 0.02, 0.0)],
        ),
        (
            "anthropic-ratelimit-requests-limit: 50\nanthropic-ratelimit-requests-remaining: 1\n"
            "anthropic-ratelimit-requests-reset: 2026-09-21T14:13:40Z",
            [Reading("requests", 1, 50, 20.0, 0.0)],
        ),
        (
            "X-Sentry-Rate-Limit-Limit: 40\nX-Sentry-Rate-Limit-Remaining: 1\nX-Sentry-Rate-Limit-Reset: 1790000060\n"
            "X-Sentry-Rate-Limit-ConcurrentRemaining: 25",
            [Reading("", 1, 40, 60.0, 0.0)],
        ),
        (
            "X-RateLimit-Limit-Minute: 60\nX-RateLimit-Remaining-Minute: 3\nX-RateLimit-Reset: 12",
            [Reading("minute", 3, 60, 12.0, 60.0)],
        ),
        ("X-RateLimit-Remaining-Hour: 3", [Reading("hour", 3, 0, 3600.0, 3600.0)]),
        ("X-RateLimit-Remaining: -2\nX-RateLimit-Reset: 2026-09-21T14:14Z", [Reading("", 0, 0, 40.0, 0.0)]),
        ("Fastly-RateLimit-Remaining: 999\nFastly-RateLimit-Reset: 1790000010", [Reading("", 999, 0, 10.0, 0.0)]),
        ("X-RateLimit-Limit: 5000\nX-RateLimit-Used: 13", []),
        ("X-RateLimit-Remaining: plenty", []),
    ],
)  # fmt: skip
def test_every_spelling_is_understood(text: str, windows: list[Reading]) -> None:
    assert list(read(fields(text), NOW).windows) == [pytest.approx(one) for one in windows]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("Retry-After: 7", 7.0),
        ("Retry-After: Mon, 21 Sep 2026 14:13:30 GMT", 10.0),
        ("Retry-After: Mon, 21 Sep 2020 14:13:30 GMT", 0.0),
        ("Retry-After: soon", None),
        ("Retry-After: -5", None),
        ("Retry-After: 99999999", LONGEST),
        ("x-amz-retry-after: 1500", 1.5),
        ("x-ms-retry-after-ms: 250", 0.25),
        ("Retry-After: 3\nX-RateLimit-Remaining: 0\nX-RateLimit-Reset: 9", 3.0),
        ("X-RateLimit-Remaining: 0\nX-RateLimit-Reset: 9", 9.0),
        ("X-RateLimit-Reset: 1790000012", 12.0),
        ("RateLimit-Reset: 3", 3.0),
        ('RateLimit: "a";r=0;t=4, "b";r=7;t=90', 4.0),
        ("X-Request-Id: 4", None),
    ],
)
def test_what_a_refusal_asks_to_wait(text: str, seconds: float | None) -> None:
    assert wait_told(fields(text), NOW) == seconds


def test_an_epoch_is_compared_with_the_vendors_own_clock() -> None:
    headers = [*fields("X-RateLimit-Remaining: 1\nX-RateLimit-Reset: 1790000060"), DATE]
    assert read(headers, NOW + 45.0).windows[0].reset == 60.0
    assert read(headers, NOW + 1e6).windows[0].reset == 0.0, "a clock that is days away is not believed"


def test_the_budget_is_told_beside_the_window() -> None:
    told = read(fields("X-RateLimit-Remaining: 9\nX-RateLimit-Resource: search"), NOW)
    assert told.resource == "search"


def test_an_answer_without_limits_costs_no_object() -> None:
    assert read([(b"content-type", b"text/plain"), DATE, (b"server", b"x")], NOW) is NOTHING


@given(
    st.lists(
        st.tuples(
            st.sampled_from([
                b"ratelimit", b"ratelimit-policy", b"ratelimit-limit", b"x-ratelimit-remaining", b"x-ratelimit-reset",
                b"x-ratelimit-period", b"retry-after", b"retry-after-ms", b"x-ratelimit-remaining-minute", b"date",
                b"x-ratelimit-resource",
            ]),
            st.one_of(
                st.binary(max_size=60),
                st.text(alphabet='0123456789;,="rtqwu .-:TZmshd', max_size=60).map(str.encode),
            ),
        ),
        max_size=12,
    )
)  # fmt: skip
def test_nothing_that_a_vendor_sends_breaks_the_reading(headers: list[tuple[bytes, bytes]]) -> None:
    told = read(headers, NOW)
    assert len(told.windows) <= MAX_WINDOWS
    for one in told.windows:
        assert 0 <= one.remaining <= MAX_COUNT
        assert 0 <= one.limit <= MAX_COUNT
        assert -1 <= one.reset <= LONGEST
        assert 0 <= one.length <= LONGEST
    for seconds in (told.retry, wait_told(headers, NOW)):
        assert seconds is None or 0 <= seconds <= LONGEST


@given(st.binary(max_size=40))
def test_no_moment_is_out_of_bounds(value: bytes) -> None:
    found = moment(value, NOW)
    assert found is None or 0 <= found <= LONGEST
