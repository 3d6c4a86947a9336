"""When the present hour, day or month of a quota began and ends, where the vendor counts."""

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from proxyd.core.limiting import Limit, Period


def bounds(limit: Limit, now: float) -> tuple[float, float]:
    """Return beginning and end in Unix seconds. Midnight is the zone's own, so a day can have 23 or 25 hours."""
    zone = ZoneInfo(limit.time_zone)
    local = datetime.fromtimestamp(now, zone)
    if limit.period is Period.HOUR:
        begin = now - now % 3600
        return begin, begin + 3600
    midnight = local.replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
    if limit.period is Period.DAY:
        return midnight.timestamp(), _midnight_after(midnight).timestamp()
    first = midnight.replace(day=limit.begins)
    if first > midnight:
        first = _month_before(first)
    return first.timestamp(), _month_after(first).timestamp()


def _midnight_after(midnight: datetime) -> datetime:
    later = midnight.replace(tzinfo=None) + timedelta(days=1)
    return later.replace(tzinfo=midnight.tzinfo)


def _month_after(first: datetime) -> datetime:
    return first.replace(year=first.year + first.month // 12, month=first.month % 12 + 1)


def _month_before(first: datetime) -> datetime:
    return first.replace(year=first.year - (first.month == 1), month=(first.month - 2) % 12 + 1)
