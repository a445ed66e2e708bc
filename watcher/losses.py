"""Threads that never came back, counted by what they were for: each doubles the pause before another one is risked.

A thread cannot be ended from outside. What it was for is left alone ever longer, so that their number stays small for
ever. Never start one here.
"""

from datetime import datetime

from watcher.core.cadence import compute_hung_request_pause


class Losses:
    """By provider, or by channel."""

    def __init__(self) -> None:
        self._lost: dict[str, int] = {}
        self._until: dict[str, datetime] = {}

    def lose(self, name: str, count: int, now: datetime) -> datetime:
        """So many more are lost; the instant until which no other is to be risked."""
        self._lost[name] = lost = self._lost.get(name, 0) + count
        self._until[name] = compute_hung_request_pause(lost, now)
        return self._until[name]

    def regain(self, name: str) -> None:
        """One is back after all: the pause is over."""
        self._lost[name] = max(self._lost.get(name, 0) - 1, 0)
        self._until.pop(name, None)

    def rests_until(self, name: str, now: datetime) -> datetime | None:
        """The end of the pause; None where there is none."""
        until = self._until.get(name, now)
        return until if until > now else None
