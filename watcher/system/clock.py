"""The machine's clocks, and the only place that reads them.

Everything else receives an instant as an argument. Never put a decision here.
"""

import time
from datetime import UTC, datetime, timedelta, tzinfo


def utc_now() -> datetime:
    """This instant, aware, in UTC."""
    return datetime.now(UTC)  # noqa: TID251 - this is the place


def monotonic_s() -> float:
    """Seconds of a clock that nobody can set; it stands still while a laptop sleeps."""
    return time.monotonic()  # noqa: TID251 - this is the place


class Clock:
    """Time as the daemon sees it. The demo's runs faster."""

    def now(self) -> datetime:
        """This instant, aware, in UTC."""
        return utc_now()

    def to_real_seconds(self, span: timedelta) -> float:
        """How many seconds the machine must wait for `span` to pass."""
        return span.total_seconds()

    def wall_offset(self) -> timedelta:
        """UTC wall time less monotonic time: it changes only when the clock is set, or over a suspend."""
        return utc_now() - datetime.fromtimestamp(monotonic_s(), UTC)

    def utc_offset(self) -> timedelta:
        """The local zone's offset from UTC at this instant."""
        return utc_now().astimezone().utcoffset() or timedelta(0)


class LocalZone(tzinfo):
    """The machine's zone as one `tzinfo` that knows its daylight saving, past and future."""

    def utcoffset(self, at: datetime | None) -> timedelta | None:
        """The offset at that wall time; of two such times `fold` tells which."""
        return None if at is None else at.replace(tzinfo=None).astimezone().utcoffset()

    def dst(self, at: datetime | None) -> timedelta | None:
        """Not known apart from the offset."""
        return None if at is None else timedelta(0)

    def tzname(self, at: datetime | None) -> str | None:
        """The zone's short name at that time: CET, CEST."""
        return None if at is None else at.replace(tzinfo=None).astimezone().tzname()

    def fromutc(self, at: datetime) -> datetime:
        """The wall time of an instant."""
        local = at.replace(tzinfo=UTC).astimezone()
        return local.replace(tzinfo=self)
