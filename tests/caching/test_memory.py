"""Entries under a bound of bytes."""

from proxyd.caching.freshness import Times
from proxyd.caching.memory import MAX_VARIANTS, Key, Memory
from proxyd.caching.policy import Entry, make_entry
from proxyd.core.caching import CachePolicy
from proxyd.core.headers import Headers


def key(path: bytes = b"/x", service: str = "api") -> Key:
    return Key(service, b"https", "api.test", path)


def entry(size: int = 10, vary: bytes = b"", request: Headers | None = None, **named: bytes) -> Entry:
    headers = [
        (b"cache-control", b"max-age=60"),
        *((name.replace("_", "-").encode(), value) for name, value in named.items()),
    ]
    if vary:
        headers.append((b"vary", vary))
    made = make_entry(request or [], 200, headers, bytes(size), Times(0, 0), CachePolicy())
    assert made is not None
    return made


def test_the_least_recently_used_goes_first_and_the_count_stays_true() -> None:
    memory = Memory(3 * entry(1000).size)
    for path in (b"/1", b"/2", b"/3"):
        memory.keep(key(path), entry(1000))
    assert memory.find(key(b"/1"), "", []) is not None
    memory.keep(key(b"/4"), entry(1000))
    assert memory.find(key(b"/2"), "", []) is None
    assert memory.find(key(b"/1"), "", []) is not None
    assert memory.evicted == 1
    memory.resize(entry(1000).size)
    assert len(memory) == 1
    memory.drop(key(b"/1"))
    memory.purge("api")
    assert (memory.size, len(memory)) == (0, 0)


def test_what_is_larger_than_everything_is_not_kept() -> None:
    memory = Memory(100)
    memory.keep(key(), entry(1000))
    assert len(memory) == 0


def test_an_entry_takes_the_place_of_its_former_self_and_variants_are_bounded() -> None:
    memory = Memory(10_000_000)
    for number in range(40):
        memory.keep(key(), entry(vary=b"x", request=[(b"x", b"%d" % number)]))
        memory.keep(key(), entry(vary=b"x", request=[(b"x", b"%d" % number)]))
    assert len(memory) == MAX_VARIANTS
    assert memory.find(key(), "", [(b"x", b"39")]) is not None
    assert memory.size == sum(one.size for one in memory._kept[key()])


def test_purges_by_service_path_and_tag() -> None:
    memory = Memory(10_000_000)
    memory.keep(key(b"/a/1?q"), entry(cache_tag=b"red, blue"))
    memory.keep(key(b"/a/2"), entry(surrogate_key=b"green red"))
    memory.keep(key(b"/b"), entry())
    memory.keep(key(b"/a/1", service="other"), entry(cache_tag=b"red"))
    assert memory.purge("api", b"/a/1") == 1
    assert memory.purge("api", b"/b/") == 0
    assert memory.purge("api", tag=b"red") == 1
    assert memory.purge("api", b"/") == 1
    assert memory.summary() == {"other": (1, memory.size)}


def test_an_entry_that_grows_by_validation_pushes_others_out() -> None:
    memory = Memory(2 * entry(1000).size)
    for path in (b"/1", b"/2"):
        memory.keep(key(path), entry(1000))
    old = memory.find(key(b"/2"), "", [])
    assert old is not None
    memory.replace(key(b"/2"), old, entry(1000, etag=b'"a-longer-answer"'))
    assert memory.size <= memory.limit
    assert memory.find(key(b"/1"), "", []) is None
    assert memory.find(key(b"/2"), "", []) is not None
