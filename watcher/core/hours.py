"""Is a rule's `active` span open at this instant? In wall time of its zone, whatever daylight saving does to it.

Never put the reading of the text here: `watcher.core.active` does that.
"""

from datetime import datetime, tzinfo
from zoneinfo import ZoneInfo

from watcher.core.model import ActiveInterval

_DAYS_PER_WEEK = 7


def is_active(interval: ActiveInterval, now: datetime, tz: tzinfo | None = None) -> bool:
    """Whether the span is open.

    Args:
        interval: days, and from when to when; a span that ends before it starts runs over midnight and belongs to the
            day on which it began; one that ends when it starts is the whole day.
        now: aware.
        tz: the machine's zone, where the span names none; None: what the system says.
    """
    local = now.astimezone(ZoneInfo(interval.tz) if interval.tz else tz)
    today, wall = local.weekday(), local.time()
    if interval.start == interval.end:
        return today in interval.days
    if interval.start < interval.end:
        return today in interval.days and interval.start <= wall < interval.end
    if wall >= interval.start:
        return today in interval.days
    return wall < interval.end and (today - 1) % _DAYS_PER_WEEK in interval.days
