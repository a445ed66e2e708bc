"""How far this machine's clock is from the servers': read off answers that come anyway, for `watcher doctor`.

Resets, cooldowns and quiet hours are only as right as the clock. Never ask anybody for the time.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from watcher.core.model import Request, Response
from watcher.storage.store import Store

CLOCK_AHEAD_FACT = "clock_ahead_s"  # seconds; the fact's own time is when it was seen


class ClockSkew:
    """Listens at the door to the network."""

    def __init__(self) -> None:
        self._ahead: timedelta | None = None

    def wrap_send(self, send: Callable[[Request], Response]) -> Callable[[Request], Response]:
        """The same door; may be used in any thread."""

        def sent(request: Request) -> Response:
            response = send(request)
            ahead = measure_clock_ahead(response)
            if ahead is not None:
                self._ahead = ahead
            return response

        return sent

    def save(self, store: Store, now: datetime) -> None:
        """Write down what was heard since the last time, if anything; on the store's own thread."""
        ahead, self._ahead = self._ahead, None
        if ahead is not None:
            store.run_transaction(lambda: store.facts.save(CLOCK_AHEAD_FACT, str(ahead.total_seconds()), now), now=now)


def measure_clock_ahead(response: Response) -> timedelta | None:
    """How far this machine's clock is ahead of the server's; None where the server gives no date that can be read."""
    try:
        said = parsedate_to_datetime(response.headers.get("date", ""))
        return response.received_at - (said if said.tzinfo is not None else said.replace(tzinfo=UTC))
    except (ValueError, TypeError, OverflowError):
        return None
