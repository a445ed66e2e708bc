"""The records of a rule that was read and checked."""

from datetime import datetime, timedelta
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from watcher.core.model import AlertEvent, Severity
from watcher.core.rules.ast import Expression, Selector
from watcher.core.rules.time_intervals import TimeInterval
from watcher.core.rules.vocabulary import MAX_NUMBER


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

Duration = Annotated[str, Meta(extra_json_schema={"pattern": DURATION_PATTERN})]
Event = Literal["firing", "escalated", "resolved", "reset"]
Events = Annotated[list[Event], Meta(min_length=1)]
Channels = Annotated[list[str], Meta(min_length=1)]
Value = int | float | Literal["?", "reset"]
Phase = Literal[".", "p", "F"]
Readings = Annotated[list[Value], Meta(min_length=1, max_length=2000)]
StartTime = Annotated[datetime, Meta(tz=True)]
Limit = Annotated[float, Meta(gt=0, le=MAX_NUMBER)]


class ExampleEntry(Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One `[[rule.example]]`: readings, and the expected state after each. `watcher rules test` runs it."""

    series: Annotated[str, Meta(description="The series of the readings.")]
    every: Annotated[Duration, Meta(description="The time between two readings.")] = "5m"
    used: Annotated[Readings, Meta(description="Percent used, poll by poll. Either this or `remaining`.")] = []
    remaining: Annotated[Readings, Meta(description="What is left, poll by poll, in the window's own unit.")] = []
    expect: Annotated[list[Phase], Meta(description="The alert's state after each reading, one for each.")]
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

    info: str | None = None
    warning: str | None = None
    critical: str | None = None


class RuleEntry(Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True, rename={"hold": "for"}):
    """One `[[rule]]`: a condition, and what to do when it holds."""

    name: Annotated[str, Meta(description="The name of the alert; unique.")]
    when: Annotated[str, Meta(description="The condition that fires the alert.")]
    clear: Annotated[
        str | None,
        Meta(
            description="The condition that ends the alert. Default: five points back from a percent, else not `when`."
        ),
    ] = None
    levels: Annotated[
        LevelsEntry | None, Meta(description="The value of the word `level` in `when`, for each severity.")
    ] = None
    severity: Annotated[Severity, Meta(description="How much the alert matters.")] = Severity.WARNING
    notify: Annotated[Channels | None, Meta(description="Default: the default route.")] = None
    hold: Annotated[Duration | None, Meta(description="How long `when` must hold before the alert fires.")] = None
    remind: Annotated[
        Duration | None, Meta(description="Repeat the message this often while the alert lasts. Default: never.")
    ] = None
    on: Annotated[
        Events | None,
        Meta(description='The events that send a message. Default: ["firing", "escalated", "resolved"].'),
    ] = None
    active: Annotated[str | None, Meta(description="When the rule may fire.")] = None
    tz: Annotated[str | None, Meta(description="The time zone of `active`. Default: local time.")] = None
    title: Annotated[str | None, Meta(description="Replaces the default title.")] = None
    message: Annotated[str | None, Meta(description="Replaces the default text.")] = None
    example: Annotated[list[ExampleEntry], Meta(description="Tests: readings, and the expected states.")] = []


class RulesDocument(Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A file of rules."""

    rule: Annotated[list[RuleEntry], Meta(description="The rules.")] = []


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
