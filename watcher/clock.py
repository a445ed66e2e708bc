"""The machine's clocks, and the only place that reads them.

Everything else receives an instant as an argument. Never put a decision here.
"""

import time
from datetime import UTC, datetime, timedelta


def now() -> datetime:
    """This instant, aware, in UTC."""
    return datetime.now(UTC)  # noqa: TID251 - this is the place


def monotonic_s() -> float:
    """Seconds of a clock that nobody can set; it stands still while a laptop sleeps."""
    return time.monotonic()  # noqa: TID251 - this is the place


class Clock:
    """Time as the daemon sees it. The demo's runs faster."""

    def now(self) -> datetime:
        """This instant, aware, in UTC."""
        return now()

    def machine_s(self, span: timedelta) -> float:
        """How many seconds the machine must wait for `span` to pass."""
        return span.total_seconds()

    def offset(self) -> timedelta:
        """Local wall time less monotonic time: it changes only when the clock is set, at DST, or over a suspend."""
        local = datetime.now(UTC).astimezone().replace(tzinfo=UTC)  # noqa: TID251 - this is the place
        return local - datetime.fromtimestamp(monotonic_s(), UTC)
