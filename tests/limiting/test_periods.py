"""Hours, days and months begin where the vendor counts."""

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from proxyd.core.limiting import Limit, Period
from proxyd.limiting.periods import bounds


def span(period, now, zone="UTC", begins=1):
    limit = Limit("q", quota=1, period=period, time_zone=zone, begins=begins)
    at = datetime.fromisoformat(now)
    begin, end = bounds(limit, (at if at.tzinfo else at.replace(tzinfo=ZoneInfo(zone))).timestamp())
    return [
        datetime.fromtimestamp(when, ZoneInfo(zone)).strftime("%Y-%m-%dT%H:%M") for when in (begin, end)
    ], end - begin


@pytest.mark.parametrize(
    ("zone", "now", "begin", "hours"),
    [
        ("UTC", "2026-03-29T12:00", "2026-03-29T00:00", 24),
        ("Europe/Berlin", "2026-03-29T12:00", "2026-03-29T00:00", 23),
        ("Europe/Berlin", "2026-10-25T12:00", "2026-10-25T00:00", 25),
        ("America/New_York", "2026-03-08T01:00", "2026-03-08T00:00", 23),
        ("America/New_York", "2026-11-01T23:59", "2026-11-01T00:00", 25),
        ("Asia/Kolkata", "2026-02-28T23:59", "2026-02-28T00:00", 24),
    ],
)
def test_a_day_is_the_zones_own(zone, now, begin, hours):
    (found, end), seconds = span(Period.DAY, now, zone)
    assert found == begin
    assert end.endswith("T00:00")
    assert seconds == hours * 3600


@pytest.mark.parametrize(
    ("begins", "now", "begin", "end"),
    [
        (1, "2026-01-31T23:59", "2026-01-01", "2026-02-01"),
        (1, "2024-02-29T12:00", "2024-02-01", "2024-03-01"),
        (1, "2026-12-31T23:59", "2026-12-01", "2027-01-01"),
        (15, "2026-01-14T23:59", "2025-12-15", "2026-01-15"),
        (15, "2026-01-15T00:00", "2026-01-15", "2026-02-15"),
        (28, "2026-03-01T00:00", "2026-02-28", "2026-03-28"),
    ],
)
def test_a_month_begins_on_the_billing_day(begins, now, begin, end):
    assert span(Period.MONTH, now, begins=begins)[0] == [f"{begin}T00:00", f"{end}T00:00"]


def test_a_month_with_a_change_of_clocks_ends_at_the_zones_midnight():
    (begin, end), seconds = span(Period.MONTH, "2026-03-15T12:00", "Europe/Berlin")
    assert (begin, end) == ("2026-03-01T00:00", "2026-04-01T00:00")
    assert seconds == (31 * 24 - 1) * 3600


def test_where_the_vendor_counts_another_month_it_may_be_another_month():
    assert span(Period.MONTH, "2026-02-01T03:00+00:00", "America/Los_Angeles")[0][0] == "2026-01-01T00:00"


def test_an_hour_is_sixty_minutes():
    assert span(Period.HOUR, "2026-05-05T10:42") == (["2026-05-05T10:00", "2026-05-05T11:00"], 3600)


@pytest.mark.parametrize("zone", ["America/Santiago", "Asia/Beirut"])
def test_every_instant_of_a_year_is_in_a_day_whose_ends_meet_where_midnight_may_be_missing(zone):
    limit = Limit("q", quota=1, period=Period.DAY, time_zone=zone)
    now = datetime(2026, 1, 1, 12, tzinfo=ZoneInfo("UTC")).timestamp()
    begin, end = bounds(limit, now)
    for _ in range(366):
        assert begin <= now < end
        begin, end = bounds(limit, end)
        now = begin
