"""The records of a rule that was read and checked."""

from datetime import datetime, timedelta

from msgspec import Struct

from watcher.core.model import AlertEvent, Severity
from watcher.core.rules.ast import Expression
from watcher.core.rules.selector import Selector
from watcher.core.rules.time_intervals import TimeInterval


class Level(Struct, frozen=True, kw_only=True):
    """One level of a rule: when it is reached, when it ends. A rule without `levels` has one."""

    severity: Severity
    when: Expression
    clear: Expression


class Example(Struct, frozen=True, kw_only=True):
    """A test of a rule: a row of readings, and the expected phase after each.

    In a row, a number is the reading's value, "?" a poll without this series, and "reset" a reset of the window at that
    poll: nothing used, a new boundary. Exactly one of `used` and `remaining` is given.
    """

    series: str
    every: timedelta
    used: tuple[float | str, ...] = ()  # percent used, or
    remaining: tuple[float | str, ...] = ()  # in the window's own unit; negative in overage
    expect: tuple[str, ...]  # "." ok, "p" pending, "F" firing: as long as the row
    limit: float | None = None  # with `remaining`; None: unknown, as is the percent then
    window_length: timedelta | None = None  # None: by the window's name or kind, else unknown
    resets_in: timedelta | None = None  # from the first poll to the first reset; None: a whole window
    start: datetime | None = None  # of the first poll, aware; None: a Wednesday at 12:00 UTC


class Rule(Struct, frozen=True, kw_only=True, cache_hash=True):
    """A checked condition, and what to do when it holds."""

    name: str
    path: str  # the file it was read from
    line: int  # of its `[[rule]]`
    subject: Selector  # the condition's first selector: one alert for each series it matches
    levels: tuple[Level, ...]  # least severe first; never empty
    notify: tuple[str, ...] | None = None  # channel names; None: the route of its severity
    pending_for: timedelta = timedelta(0)  # `for`: how long the condition must hold before it fires
    remind: timedelta | None = None
    on: frozenset[AlertEvent]
    active: TimeInterval | None = None
    title: str | None = None  # template
    message: str | None = None  # template
    examples: tuple[Example, ...] = ()
    fingerprint: str  # of the condition (when, clear, levels, for): changes when the meaning changes

    @property
    def notifies_only_at_end(self) -> bool:
        """Whether the rule sends nothing while its condition holds, only when it ends."""
        return self.remind is None and not self.on & {AlertEvent.FIRING, AlertEvent.ESCALATED}
