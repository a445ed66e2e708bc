"""The records of a rule that was read and checked."""

from datetime import datetime, timedelta
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from watcher.core.model import AlertEvent, Severity
from watcher.core.rules.ast import Expression, Selector
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


JSON_SCHEMA_DIALECT = "https://json-schema.org/draft/2020-12/schema"
DURATION_PATTERN = r"^(?=[0-9])([0-9.]+w)?([0-9.]+d)?([0-9.]+h)?([0-9.]+m)?([0-9.]+s)?$"
_DURATION_SCHEMA = {"pattern": DURATION_PATTERN}

Name = Annotated[str, Meta(title='a name such as "claude-session"')]
Condition = Annotated[str, Meta(title='a condition such as "claude.five_hour > 80%"')]
ClearCondition = Annotated[str, Meta(title='a comparison such as "< 70%", or a whole condition')]
Threshold = Annotated[str, Meta(title='a value such as "80%", "2h", "$5" or "50"')]
SeverityName = Annotated[Severity, Meta(title='"info", "warning" or "critical"')]
ChannelNames = Annotated[list[str], Meta(title='a list of channel names such as ["desktop"]')]
Duration = Annotated[str, Meta(title='a duration such as "45m", "2h" or "1h30m"', extra_json_schema=_DURATION_SCHEMA)]
Event = Annotated[Literal["firing", "escalated", "resolved", "reset"], Meta(title="an event")]
Events = Annotated[list[Event], Meta(title='a list of "firing", "escalated", "resolved" and "reset"')]
ActiveHours = Annotated[str, Meta(title='days and hours such as "Mon-Fri 09:00-18:00"')]
TimeZone = Annotated[str, Meta(title='a time zone such as "Europe/Berlin"')]
Template = Annotated[str, Meta(title='a text such as "{provider} is at {used_percent:.0f} %"')]
SeriesName = Annotated[str, Meta(title='one series such as "claude.five_hour"')]
Value = Annotated[int | float | Literal["?", "reset"], Meta(title='a number, "?" or "reset"')]
Values = Annotated[list[Value], Meta(title='a list of numbers, "?" (no reading) and "reset"')]
Phase = Annotated[Literal[".", "p", "F"], Meta(title='".", "p" or "F"')]
Phases = Annotated[list[Phase], Meta(title='a list of "." (ok), "p" (pending) and "F" (firing)')]
Limit = Annotated[int | float, Meta(title="a number")]
StartTime = Annotated[datetime, Meta(title="a date and time with an offset such as 2026-03-04T12:00:00Z")]


class ExampleEntry(Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One `[[rule.example]]`: readings, and the expected state after each. `watcher rules test` runs it."""

    series: Annotated[SeriesName, Meta(description="The series of the readings.")]
    every: Annotated[Duration, Meta(description="The time between two readings.")] = "5m"
    used: Annotated[Values, Meta(description="Percent used, poll by poll. Either this or `remaining`.")] = []
    remaining: Annotated[Values, Meta(description="What is left, poll by poll, in the window's own unit.")] = []
    expect: Annotated[Phases, Meta(description="The alert's state after each reading, one for each.")]
    limit: Annotated[Limit | None, Meta(description="With `remaining`: the limit of the window.")] = None
    window: Annotated[Duration | None, Meta(description="The window's length. Default: by its name.")] = None
    resets_in: Annotated[
        Duration | None, Meta(description="From the first reading to the reset. Default: a whole window.")
    ] = None
    start: Annotated[
        StartTime | None, Meta(description="The time of the first reading. Default: a Wednesday at 12:00 UTC.")
    ] = None


class LevelsEntry(Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """The value of the word `level`, for each severity."""

    info: Threshold | None = None
    warning: Threshold | None = None
    critical: Threshold | None = None


Levels = Annotated[LevelsEntry, Meta(title='a table such as { warning = "80%", critical = "95%" }')]
Examples = Annotated[list[ExampleEntry], Meta(title="[[rule.example]] tables")]


class RuleEntry(Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True, rename={"hold": "for"}):
    """One `[[rule]]`: a condition, and what to do when it holds."""

    name: Annotated[Name, Meta(description="The name of the alert; unique.")]
    when: Annotated[Condition, Meta(description="The condition that fires the alert.")]
    clear: Annotated[
        ClearCondition | None,
        Meta(
            description="The condition that ends the alert. Default: five points back from a percent, else not `when`."
        ),
    ] = None
    levels: Annotated[
        Levels | None, Meta(description="The value of the word `level` in `when`, for each severity.")
    ] = None
    severity: Annotated[SeverityName, Meta(description="How much the alert matters.")] = Severity.WARNING
    notify: Annotated[ChannelNames | None, Meta(description="Default: the default route.")] = None
    hold: Annotated[Duration | None, Meta(description="How long `when` must hold before the alert fires.")] = None
    remind: Annotated[
        Duration | None, Meta(description="Repeat the message this often while the alert lasts. Default: never.")
    ] = None
    on: Annotated[
        Events | None,
        Meta(description='The events that send a message. Default: ["firing", "escalated", "resolved"].'),
    ] = None
    active: Annotated[ActiveHours | None, Meta(description="When the rule may fire.")] = None
    tz: Annotated[TimeZone | None, Meta(description="The time zone of `active`. Default: local time.")] = None
    title: Annotated[Template | None, Meta(description="Replaces the default title.")] = None
    message: Annotated[Template | None, Meta(description="Replaces the default text.")] = None
    example: Annotated[Examples, Meta(description="Tests: readings, and the expected states.")] = []


class RulesDocument(Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A file of rules."""

    rule: Annotated[list[RuleEntry], Meta(title="[[rule]] tables", description="The rules.")] = []


def build_rules_schema() -> dict[str, Any]:
    """The JSON Schema of a file of rules, for editors."""
    document = msgspec.json.schema(RulesDocument)
    return {"$schema": JSON_SCHEMA_DIALECT, "title": "Rules of the AI usage watcher", **strip_null(document)}


def strip_null(node: Any) -> Any:
    """A JSON Schema without `null`, which TOML does not have: a key that may be None may be left out."""
    if isinstance(node, list):
        return [strip_null(each) for each in node]
    if not isinstance(node, dict):
        return node
    kept = {key: strip_null(each) for key, each in node.items() if not (key == "default" and each in (None, [], {}))}
    choices = [each for each in kept.get("anyOf", ()) if each != {"type": "null"}]
    if len(choices) == 1:
        del kept["anyOf"]
        return {**choices[0], **kept}
    return {**kept, "anyOf": choices} if choices else kept
