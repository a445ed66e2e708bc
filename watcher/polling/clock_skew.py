"""How far this machine's clock is ahead of the servers', from the `Date` of their answers, for `watcher doctor`."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from watcher.core.model import Request, Response
from watcher.storage.store import Store

CLOCK_AHEAD_FACT = "clock_ahead_s"  # seconds; the fact's own time is when it was seen


class ClockSkew:
    """Measures the skew of the last answer."""

    def __init__(self) -> None:
        self._ahead: timedelta | None = None

    def wrap_send(self, send: Callable[[Request], Response]) -> Callable[[Request], Response]:
        """A `send` that also measures; may be called in any thread."""

        def sent(request: Request) -> Response:
            response = send(request)
            ahead = measure_clock_ahead(response)
            if ahead is not None:
                self._ahead = ahead
            return response

        return sent

    def save(self, store: Store, now: datetime) -> None:
        """Save the skew measured since the last call, if any; in the store's thread."""
        ahead, self._ahead = self._ahead, None
        if ahead is not None:
            store.run_transaction(lambda: store.facts.save(CLOCK_AHEAD_FACT, str(ahead.total_seconds()), now), now=now)


def measure_clock_ahead(response: Response) -> timedelta | None:
    """How far this machine's clock is ahead of the server's; None if the answer has no valid `Date`."""
    try:
        date = parsedate_to_datetime(response.headers.get("date", ""))
        return response.received_at - (date if date.tzinfo is not None else date.replace(tzinfo=UTC))
    except (ValueError, TypeError, OverflowError):
        return None
