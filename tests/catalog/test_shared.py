import pytest

from proxyd.catalog.shared import shared_suffix
from proxyd.reading.addresses import host_pattern


@pytest.mark.parametrize(
    ("pattern", "suffix"),
    [
        ("*.atlassian.net", "atlassian.net"),
        ("*.a.atlassian.net", "atlassian.net"),
        ("*.amazonaws.com", "elb.amazonaws.com"),
        ("*.net", "akamaihd.net"),
        ("acme.atlassian.net", ""),
        ("*.example.com", ""),
        ("*.myatlassian.net", ""),
    ],
)
def test_a_pattern_that_covers_several_customers_is_known(pattern, suffix):
    assert shared_suffix(host_pattern(pattern)) == suffix
