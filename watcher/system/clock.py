"""The machine's clocks. Other code receives the time as an argument."""

import os
import sys
import time
from datetime import UTC, datetime, timedelta, tzinfo


def utc_now() -> datetime:
    """The present time, aware, in UTC."""
    return datetime.now(UTC)  # noqa: TID251 - this is the place


def monotonic_s() -> float:
    """Seconds of the monotonic clock, which stops while the machine sleeps."""
    if sys.platform == "win32":
        from watcher.system import windows  # noqa: PLC0415 - not on other systems

        return windows.read_unbiased_time_s()
    else:  # noqa: RET505 - mypy calls a line after it unreachable on Windows
        return time.monotonic()  # noqa: TID251 - this is the place


def replace_invalid_time_zone() -> str | None:
    """Use UTC if the offset of TZ is a day or more, which `datetime` refuses; returns a warning then."""
    now = time.time()  # noqa: TID251 - this is the place
    if all(abs(time.localtime(now + days * 86400).tm_gmtoff) < 86400 for days in (0, 91, 182, 273)):  # noqa: PLR2004
        return None
    named, os.environ["TZ"] = os.environ.get("TZ"), "UTC"
    if sys.platform == "win32":
        from watcher.system import windows  # noqa: PLC0415 - not on other systems

        windows.reread_time_zone()
    else:
        time.tzset()
    return f"TZ={named!r} is not a time zone: all times are in UTC"


class Clock:
    """Time as the daemon sees it; the demo's runs faster."""

    def now(self) -> datetime:
        """The present time, aware, in UTC."""
        return utc_now()

    def to_real_seconds(self, span: timedelta) -> float:
        """The real time of `span`, in seconds."""
        return span.total_seconds()

    def wall_offset(self) -> timedelta:
        """Wall time minus monotonic time; it changes only if the clock is set or the machine sleeps."""
        return utc_now() - datetime.fromtimestamp(monotonic_s(), UTC)

    def utc_offset(self) -> timedelta:
        """The local time zone's offset from UTC now."""
        return utc_now().astimezone().utcoffset() or timedelta(0)


class LocalZone(tzinfo):
    """The local time zone as one `tzinfo`, with daylight saving of past and future."""

    def utcoffset(self, at: datetime | None) -> timedelta | None:
        """The offset at that wall time; `fold` tells two equal ones apart."""
        return None if at is None else at.replace(tzinfo=None).astimezone().utcoffset()

    def dst(self, at: datetime | None) -> timedelta | None:
        """Zero: only the whole offset is known."""
        return None if at is None else timedelta(0)

    def tzname(self, at: datetime | None) -> str | None:
        """The zone's short name at that time: CET, CEST."""
        return None if at is None else at.replace(tzinfo=None).astimezone().tzname()

    def fromutc(self, at: datetime) -> datetime:
        """The wall time of an instant."""
        return at.replace(tzinfo=UTC).astimezone().replace(tzinfo=self)
