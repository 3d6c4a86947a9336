# ruff: noqa: E501, PT018 - a row of a table is one printed line
"""RFC 9111 rule by rule: what is kept, for how long it is fresh, and what a request gets of it."""

import pytest

from proxyd.caching.answer import answer
from proxyd.caching.directives import cache_control, parse_date, seconds
from proxyd.caching.freshness import Times
from proxyd.caching.policy import (
    Entry,
    Verdict,
    decide,
    http_date,
    invalidates,
    is_same_representation,
    make_entry,
    may_serve_on_error,
    may_store,
    may_use,
    refreshed,
)
from proxyd.core.caching import CachePolicy
from proxyd.core.headers import Headers, first

NOW = 1_700_000_000.0
PLAIN = CachePolicy()
DATE = (b"date", http_date(NOW))


def fields(**named: str) -> Headers:
    return [(name.replace("_", "-").encode(), value.encode()) for name, value in named.items()]


def entry(
    *, age: float = 0.0, status: int = 200, body: bytes = b"body", request: Headers | None = None, **named: str
) -> Entry:
    """An answer that came ``age`` seconds before NOW."""
    headers = [(b"date", http_date(NOW - age)), *fields(**named)]
    times = Times(NOW - age, NOW - age)
    made = make_entry(request or [], status, headers, body, times, PLAIN)
    assert made is not None
    return made


@pytest.mark.parametrize(
    ("section", "status", "response", "why"),
    [
        ("§3 fresh by max-age", 200, fields(cache_control="max-age=10"), None),
        ("§3 fresh by Expires", 200, fields(expires="Wed, 15 Nov 2023 00:00:00 GMT"), None),
        ("§4.2.2 heuristic for 200", 200, fields(last_modified="Mon, 01 Jan 2018 00:00:00 GMT"), None),
        ("§3 a status that is not heuristic wants to be told", 302, [], "status"),
        ("§3 told by max-age", 302, fields(cache_control="max-age=10"), None),
        ("§3 told by public", 500, fields(cache_control="public"), None),
        ("§3 not final", 103, fields(cache_control="max-age=10"), "status"),
        ("§3.3 partial content is not kept", 206, fields(cache_control="max-age=10"), "status"),
        ("§4.3.4 304 is not an answer of its own", 304, fields(cache_control="max-age=10"), "status"),
        ("§5.2.2.5 no-store", 200, fields(cache_control="no-store, max-age=10"), "no-store"),
        ("§5.2.2.7 private", 200, fields(cache_control="private, max-age=10"), "private"),
        ("§5.2.2.7 private fields alone", 200, fields(cache_control='private="set-cookie", max-age=10'), None),
        ("§5.2.2.3 must-understand", 200, fields(cache_control="must-understand, no-store, max-age=10"), None),
        (
            "§5.2.2.3 a status that is not understood",
            299,
            fields(cache_control="must-understand, max-age=10"),
            "must-understand",
        ),
        ("§4.1 Vary: *", 200, fields(cache_control="max-age=10", vary="accept, *"), "vary"),
        ("§5.2 case and spaces", 200, fields(cache_control=" Max-Age=10 , NO-STORE"), "no-store"),
        (
            "§5.2 no-store within a quoted argument is none",
            200,
            fields(cache_control='ext="no-store", max-age=1'),
            None,
        ),
    ],
)
def test_what_may_be_kept(section: str, status: int, response: Headers, why: str | None) -> None:
    assert may_store(b"GET", [], status, response, authorized=False, options=PLAIN) == why


@pytest.mark.parametrize("directive", ["public", "s-maxage=10", "must-revalidate"])
def test_an_answer_to_authorization_wants_leave_to_be_shared(directive: str) -> None:  # §3.5
    plain = fields(cache_control="max-age=10")
    assert may_store(b"GET", [], 200, plain, authorized=True, options=PLAIN) == "authorization"
    allowed = fields(cache_control=f"max-age=10, {directive}")
    assert may_store(b"GET", [], 200, allowed, authorized=True, options=PLAIN) is None


def test_private_answers_are_kept_where_the_operator_says_so() -> None:
    response = fields(cache_control="private, max-age=60")
    assert may_store(b"GET", [], 200, response, authorized=False, options=CachePolicy(private=True)) is None


def test_requests_that_are_no_look_up() -> None:
    assert may_use(b"GET", []) and may_use(b"HEAD", [])
    assert not may_use(b"POST", [])
    assert not may_use(b"GET", fields(cache_control="no-store"))  # §5.2.1.5


@pytest.mark.parametrize(
    ("section", "named", "lifetime"),
    [
        ("§5.2.2.1", {"cache_control": "max-age=60"}, 60),
        ("§5.2.2.10 s-maxage before max-age", {"cache_control": "max-age=60, s-maxage=20"}, 20),
        (
            "§4.2.1 max-age before Expires",
            {"cache_control": "max-age=60", "expires": "Thu, 01 Jan 1970 00:00:00 GMT"},
            60,
        ),
        ("§4.2.1 the first of a repeated directive", {"cache_control": "max-age=10, max-age=60"}, 10),
        ("§4.2.1 what is no number is stale", {"cache_control": "max-age=x", "etag": '"a"'}, 0),
        ("§5.3 Expires: 0 is stale", {"expires": "0", "etag": '"a"'}, 0),
        ("§1.2.2 overflow", {"cache_control": "max-age=99999999999999999999"}, 2**31),
        ("§5.2 a quoted number", {"cache_control": 'max-age="60"'}, 60),
    ],
)
def test_how_long_an_answer_is_fresh(section: str, named: dict[str, str], lifetime: int) -> None:
    assert entry(**named).lifetime == lifetime


def test_expires_counts_from_date() -> None:  # §4.2.1
    kept = entry(expires=http_date(NOW + 30).decode())
    assert kept.lifetime == 30


def test_the_heuristic_is_a_tenth_of_the_time_since_the_last_change_and_a_day_at_most() -> None:  # §4.2.2
    assert entry(last_modified=http_date(NOW - 1000).decode()).lifetime == pytest.approx(100)
    assert entry(last_modified="Mon, 01 Jan 2001 00:00:00 GMT").lifetime == 86_400


def test_age_counts_what_other_caches_and_the_way_took() -> None:  # §4.2.3
    headers = [(b"date", http_date(NOW - 30)), (b"age", b"50"), (b"cache-control", b"max-age=100")]
    kept = make_entry([], 200, headers, b"", Times(NOW - 4, NOW), PLAIN)
    assert kept is not None
    assert kept.age(NOW) == 54
    assert kept.age(NOW + 6) == 60
    late = make_entry(
        [], 200, [(b"date", http_date(NOW - 70)), (b"cache-control", b"max-age=100")], b"", Times(NOW, NOW), PLAIN
    )
    assert late is not None
    assert late.age(NOW) == 70


def test_an_answer_without_date_gets_one_and_ages() -> None:  # RFC 9110 §6.6.1
    kept = make_entry([], 200, fields(cache_control="max-age=10"), b"", Times(NOW, NOW), PLAIN)
    assert kept is not None
    assert first(kept.headers, b"date") == http_date(NOW)
    assert kept.age(NOW + 5) == 5


@pytest.mark.parametrize(
    ("section", "kept", "asked", "verdict"),
    [
        ("§4.2 fresh", {"cache_control": "max-age=100"}, {}, Verdict.HIT),
        ("§4.2 stale, with a validator", {"cache_control": "max-age=5", "etag": '"a"'}, {}, Verdict.VALIDATE),
        ("§5.2.2.4 no-cache", {"cache_control": "no-cache, max-age=100", "etag": '"a"'}, {}, Verdict.VALIDATE),
        ("§5.2.2.4 qualified", {"cache_control": 'no-cache="x", max-age=100'}, {}, Verdict.HIT),
        ("§5.2.1.4 request no-cache", {"cache_control": "max-age=100", "etag": '"a"'}, {"cache_control": "no-cache"}, Verdict.VALIDATE),
        ("§5.2.1.1 request max-age", {"cache_control": "max-age=100", "etag": '"a"'}, {"cache_control": "max-age=5"}, Verdict.VALIDATE),
        ("§5.2.1.1 wide enough", {"cache_control": "max-age=100"}, {"cache_control": "max-age=50"}, Verdict.HIT),
        ("§5.2.1.3 min-fresh", {"cache_control": "max-age=100", "etag": '"a"'}, {"cache_control": "min-fresh=95"}, Verdict.VALIDATE),
        ("§5.2.1.2 max-stale", {"cache_control": "max-age=5"}, {"cache_control": "max-stale"}, Verdict.HIT),
        ("§5.2.1.2 max-stale bounded", {"cache_control": "max-age=5"}, {"cache_control": "max-stale=2"}, Verdict.MISS),
        ("§5.2.2.2 must-revalidate", {"cache_control": "max-age=5, must-revalidate", "etag": '"a"'}, {"cache_control": "max-stale"}, Verdict.VALIDATE),
        ("§5.2.2.8 proxy-revalidate", {"cache_control": "max-age=5, proxy-revalidate", "etag": '"a"'}, {"cache_control": "max-stale"}, Verdict.VALIDATE),
        ("§5.2.2.10 s-maxage implies it", {"cache_control": "s-maxage=5", "etag": '"a"'}, {"cache_control": "max-stale"}, Verdict.VALIDATE),
        ("§5.2.1.7 only-if-cached", {"cache_control": "max-age=5", "etag": '"a"'}, {"cache_control": "only-if-cached"}, Verdict.UNSATISFIED),
        ("§5.2.1.7 and fresh", {"cache_control": "max-age=100"}, {"cache_control": "only-if-cached"}, Verdict.HIT),
        ("§5.4 Pragma", {"cache_control": "max-age=100", "etag": '"a"'}, {"pragma": "no-cache"}, Verdict.VALIDATE),
        ("§5.4 Cache-Control before Pragma", {"cache_control": "max-age=100"}, {"pragma": "no-cache", "cache_control": "max-age=50"}, Verdict.HIT),
        ("RFC 5861 §3", {"cache_control": "max-age=5, stale-while-revalidate=60"}, {}, Verdict.STALE),
        ("RFC 5861 §3 over", {"cache_control": "max-age=5, stale-while-revalidate=2", "etag": '"a"'}, {}, Verdict.VALIDATE),
        ("RFC 5861 §3 not against the client's word", {"cache_control": "max-age=5, stale-while-revalidate=60", "etag": '"a"'}, {"cache_control": "max-age=1"}, Verdict.VALIDATE),
        ("§5.2.2.2 over RFC 5861", {"cache_control": "max-age=5, must-revalidate, stale-while-revalidate=60", "etag": '"a"'}, {}, Verdict.VALIDATE),
        ("RFC 5861 §3 for a shared cache", {"cache_control": "s-maxage=5, stale-while-revalidate=60"}, {}, Verdict.STALE),
    ],
)  # fmt: skip
def test_what_a_request_gets_of_an_entry_ten_seconds_old(
    section: str, kept: dict[str, str], asked: dict[str, str], verdict: Verdict
) -> None:
    assert decide(entry(age=10, **kept), fields(**asked), NOW, PLAIN).verdict is verdict


def test_nothing_kept_is_a_miss_and_only_if_cached_is_told() -> None:
    assert decide(None, [], NOW, PLAIN).verdict is Verdict.MISS
    assert decide(None, fields(cache_control="only-if-cached"), NOW, PLAIN).verdict is Verdict.UNSATISFIED


@pytest.mark.parametrize(
    ("kept", "asked", "policy", "allowed"),
    [
        ({"cache_control": "max-age=5"}, {}, CachePolicy(stale_if_error=60), True),
        ({"cache_control": "max-age=5"}, {}, PLAIN, False),
        ({"cache_control": "max-age=5, stale-if-error=60"}, {}, PLAIN, True),
        ({"cache_control": "max-age=5, stale-if-error=2"}, {}, CachePolicy(stale_if_error=60), False),
        ({"cache_control": "max-age=5, must-revalidate"}, {}, CachePolicy(stale_if_error=60), False),
        ({"cache_control": "s-maxage=5"}, {}, CachePolicy(stale_if_error=60), False),
        ({"cache_control": "no-cache, max-age=5", "etag": '"a"'}, {}, CachePolicy(stale_if_error=60), False),
        ({"cache_control": "max-age=5"}, {"cache_control": "no-cache"}, CachePolicy(stale_if_error=60), False),
        ({"cache_control": "max-age=5"}, {"cache_control": "stale-if-error=60"}, PLAIN, True),
    ],
)
def test_when_a_stale_answer_stands_in_for_a_failure(
    kept: dict[str, str], asked: dict[str, str], policy: CachePolicy, allowed: bool
) -> None:  # RFC 5861 §4, RFC 9111 §4.2.4
    kept = {"etag": '"a"', **kept}
    assert may_serve_on_error(entry(age=10, **kept), fields(**asked), NOW, policy) is allowed


def test_fields_that_are_not_kept() -> None:  # §3.1
    response = [
        DATE,
        *fields(
            cache_control='max-age=10, no-cache="x-a", private="x-b"',
            connection="x-c",
            x_a="1",
            x_b="2",
            x_c="3",
            x_d="4",
        ),
    ]
    kept = make_entry([], 200, response, b"", Times(NOW, NOW), PLAIN)
    assert kept is not None
    names = {name for name, _ in kept.headers}
    assert b"x-d" in names
    assert not names & {b"x-a", b"x-b", b"x-c", b"connection"}


def test_a_304_freshens_what_is_kept_and_leaves_what_describes_the_content() -> None:  # §3.2, §4.3.4
    old = entry(age=100, cache_control="max-age=5", etag='"a"', content_type="text/plain", x_y="1", age_="")
    answer_304 = [DATE, *fields(cache_control="max-age=50", etag='"a"', content_type="text/html", x_y="2")]
    new = refreshed(old, answer_304, Times(NOW, NOW))
    assert new.lifetime == 50
    assert new.age(NOW) == 0
    assert first(new.headers, b"content-type") == b"text/plain"
    assert first(new.headers, b"x-y") == b"2"
    assert new.body == old.body


def test_a_304_about_something_else_freshens_nothing() -> None:  # §4.3.4
    kept = entry(cache_control="max-age=5", etag='"a"')
    assert is_same_representation(kept, fields(etag='W/"a"'))
    assert not is_same_representation(kept, fields(etag='"b"'))
    assert is_same_representation(kept, [])


def test_vary_selects_by_the_fields_that_it_names() -> None:  # §4.1
    from proxyd.caching.policy import matches

    kept = entry(cache_control="max-age=9", vary="Accept-Language, X", request=fields(accept_language="en , de"))
    assert matches(kept, fields(accept_language="en,de"))
    assert not matches(kept, fields(accept_language="de"))
    assert not matches(kept, fields(accept_language="en,de", x="1"))


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        ({"if_none_match": '"a"'}, 304),
        ({"if_none_match": 'W/"a"'}, 304),
        ({"if_none_match": '"b", "a"'}, 304),
        ({"if_none_match": '"x,a", "b"'}, 200),
        ({"if_none_match": "*"}, 304),
        ({"if_none_match": '"b"', "if_modified_since": http_date(NOW).decode()}, 200),
        ({"if_modified_since": http_date(NOW).decode()}, 304),
        ({"if_modified_since": http_date(NOW - 10_000).decode()}, 200),
        ({"if_modified_since": "nonsense"}, 200),
        ({"range": "bytes=0-1"}, 206),
        ({"range": "bytes=99-"}, 416),
        ({"range": "bytes=0-1,2-3"}, 200),
        ({"range": "lines=0-1"}, 200),
        ({"range": "bytes=3-1"}, 200),
        ({"range": "bytes=0-1", "if_range": '"a"'}, 206),
        ({"range": "bytes=0-1", "if_range": '"b"'}, 200),
        ({"range": "bytes=0-1", "if_range": 'W/"a"'}, 200),
        ({"range": "bytes=0-1", "if_none_match": '"a"'}, 304),
    ],
)
def test_what_a_conditional_or_partial_request_gets(asked: dict[str, str], status: int) -> None:  # RFC 9110 §13, §14
    kept = entry(cache_control="max-age=9", etag='"a"', last_modified=http_date(NOW - 5000).decode())
    assert answer(kept, fields(**asked)).status == status


@pytest.mark.parametrize(
    ("value", "body", "told"),
    [
        ("bytes=0-1", b"bo", b"bytes 0-1/4"),
        ("bytes=2-", b"dy", b"bytes 2-3/4"),
        ("bytes=-3", b"ody", b"bytes 1-3/4"),
        ("bytes=-9", b"body", b"bytes 0-3/4"),
        ("bytes=1-99", b"ody", b"bytes 1-3/4"),
    ],
)
def test_a_part_is_cut_and_told(value: str, body: bytes, told: bytes) -> None:
    part = answer(entry(cache_control="max-age=9"), fields(range=value))
    assert (part.status, part.body, first(part.headers, b"content-range")) == (206, body, told)


def test_unsafe_methods_that_succeed_invalidate() -> None:  # §4.4
    assert invalidates(b"POST", 200) and invalidates(b"DELETE", 302) and invalidates(b"PURGE", 204)
    assert not invalidates(b"POST", 400) and not invalidates(b"GET", 200) and not invalidates(b"OPTIONS", 200)


def test_what_could_never_be_used_is_not_kept() -> None:
    assert make_entry([], 200, [DATE], b"", Times(NOW, NOW), PLAIN) is None
    assert make_entry([], 200, [DATE, *fields(etag='"a"')], b"", Times(NOW, NOW), PLAIN) is not None


@pytest.mark.parametrize(
    ("text", "when"),
    [
        (b"Sun, 06 Nov 1994 08:49:37 GMT", 784111777),
        (b"Sunday, 06-Nov-94 08:49:37 GMT", 784111777),
        (b"Sun Nov  6 08:49:37 1994", 784111777),
        (b"Sun, 06 Nov 1994 08:49:37 +0200", None),
        (b"0", None),
        (b"\xff", None),
        (b"Sun, 99 Nov 1994 99:99:99 GMT", None),
    ],
)
def test_dates_in_all_three_forms(text: bytes, when: int | None) -> None:  # RFC 9110 §5.6.7
    assert parse_date(text) == when


def test_directives_that_are_broken_do_not_hide_those_that_follow() -> None:
    found = cache_control(fields(cache_control='=x, max-age=10, "quoted", foo="a\\"b, c", no-cache'))
    assert seconds(found, b"max-age") == 10
    assert found[b"foo"] == b'a"b, c'
    assert b"no-cache" in found
