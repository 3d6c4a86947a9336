import random

import pytest

from proxyd.vault.outside.lease import LONGEST, RENEW, begun


@pytest.fixture
def rng():
    return random.Random(1)


def test_it_is_due_after_about_two_thirds_each_at_another_moment(rng):
    dues = {begun(1000.0, 300.0, rng, is_renewable=True).due for _ in range(50)}
    assert len(dues) == 50
    assert all(1000 + 300 * RENEW[0] <= due <= 1000 + 300 * RENEW[1] for due in dues)


def test_a_renewal_counts_from_its_question(rng):
    lease = begun(1000.0, 300.0, rng, is_renewable=True)
    assert lease.granted(1190.0, 300.0, rng, is_renewable=True)
    assert lease.expires == 1490.0
    assert not lease.is_due(1300.0)
    assert lease.is_due(1400.0)


def test_less_than_half_is_the_beginning_of_the_end(rng):
    lease = begun(1000.0, 300.0, rng, is_renewable=True)
    assert not lease.granted(1190.0, 149.0, rng, is_renewable=True)
    assert lease.is_over(1339.0)


def test_zero_is_for_ever(rng):
    lease = begun(1000.0, 0.0, rng, is_renewable=False)
    assert not lease.is_due(1e12)
    assert not lease.is_over(1e12)


def test_no_duration_is_longer_than_a_year(rng):
    assert begun(0.0, 1e11, rng, is_renewable=True).expires == LONGEST
