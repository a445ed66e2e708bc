"""Is a rule's `active` span open at this instant? In wall time of its zone, whatever daylight saving does to it.

Never put the reading of the text here: `watcher.core.active` does that.
"""

from datetime import datetime, tzinfo
from zoneinfo import ZoneInfo

from watcher.core.model import Active

_WEEK = 7


def is_active(active: Active, now: datetime, tz: tzinfo | None = None) -> bool:
    """Whether the span is open.

    Args:
        active: days, and from when to when; a span that ends before it starts runs over midnight and belongs to the
            day on which it began; one that ends when it starts is the whole day.
        now: aware.
        tz: the machine's zone, where the span names none; None: what the system says.
    """
    local = now.astimezone(ZoneInfo(active.tz) if active.tz else tz)
    today, wall = local.weekday(), local.time()
    if active.start == active.end:
        return today in active.days
    if active.start < active.end:
        return today in active.days and active.start <= wall < active.end
    if wall >= active.start:
        return today in active.days
    return wall < active.end and (today - 1) % _WEEK in active.days
