import random

import trio

from proxyd.control.discovery.watch import Watch
from proxyd.core.discovery import MAX_ENDPOINTS, Discovery, Dns
from proxyd.core.service import Endpoint


def watch():
    return Watch(Discovery("api", Dns("a.example", 1)), trio.Event(), random.Random(1))


def test_only_another_list_is_a_change():
    made = watch()
    made.found([Endpoint("192.0.2.1", 1)])
    assert made.changed.is_set()
    made.changed = trio.Event()
    made.found([Endpoint("192.0.2.1", 1)])
    assert not made.changed.is_set()
    made.found([])
    assert made.changed.is_set()
    assert made.endpoints == ()


def test_a_failure_keeps_what_was_found_and_is_told():
    made = watch()
    made.found([Endpoint("192.0.2.1", 1)])
    made.failed("x" * 9999)
    assert made.endpoints == (Endpoint("192.0.2.1", 1),)
    assert [len(text) for text in made.problems] == [500]
    made.found([Endpoint("192.0.2.1", 1)])
    assert made.problems == ()


def test_an_address_counts_once_and_a_list_has_an_end():
    made = watch()
    made.found([Endpoint("192.0.2.1", port) for port in range(1, 2000)] * 2)
    assert len(made.endpoints) == MAX_ENDPOINTS
    assert "1999 endpoints were found" in made.problems[0]


def test_waits_grow_while_it_fails_and_begin_again_after_a_success():
    made = watch()
    waits = [made.pause() for _ in range(20)]
    assert 0.8 <= waits[0] <= 1.0
    assert all(wait <= 30 for wait in waits)
    assert waits[-1] >= 24
    made.found([])
    assert made.pause() <= 1.0
