from collections import Counter

import pytest

from proxyd.upstream.maglev import PLACES, table

TEN = tuple((f"10.0.0.{number}:443", 1) for number in range(10))


def owners(endpoints, size=PLACES):
    return [endpoints[index][0] for index in table(endpoints, size)]


def test_every_place_has_an_owner_and_shares_are_even():
    counts = Counter(owners(TEN))
    assert sum(counts.values()) == PLACES
    assert max(counts.values()) - min(counts.values()) <= 1


@pytest.mark.parametrize("weights", [(1, 2, 3), (1, 1000), (7, 7, 14)])
def test_shares_go_by_weight(weights):
    endpoints = tuple((f"10.0.0.{number}:443", weight) for number, weight in enumerate(weights))
    counts = Counter(owners(endpoints))
    for name, weight in endpoints:
        assert counts[name] == pytest.approx(PLACES * weight / sum(weights), abs=len(weights))


def test_an_endpoint_that_leaves_moves_hardly_a_place_but_its_own():
    before, after = owners(TEN), owners(TEN[1:])
    gone = TEN[0][0]
    assert sum(one != other and one != gone for one, other in zip(before, after, strict=True)) < 0.02 * PLACES


def test_the_order_of_a_list_says_nothing():
    assert owners(TEN) == owners(TEN[::-1])


def test_a_single_endpoint_owns_all():
    assert set(table((("a:1", 3),))) == {0}


def test_the_same_endpoints_have_their_table_built_once():
    assert table(TEN) is table(TEN)


def test_more_endpoints_than_places_leave_some_without():
    many = tuple((f"{number}:1", 1) for number in range(20))
    assert len(set(owners(many, 13))) == 13
