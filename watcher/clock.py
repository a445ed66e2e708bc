"""The machine's clocks, and the only place that reads them.

Everything else receives an instant as an argument. Never put a decision here.
"""

import time
from datetime import UTC, datetime


def now() -> datetime:
    """This instant, aware, in UTC."""
    return datetime.now(UTC)  # noqa: TID251 - this is the place


def monotonic_s() -> float:
    """Seconds of a clock that nobody can set; it stands still while a laptop sleeps."""
    return time.monotonic()  # noqa: TID251 - this is the place
