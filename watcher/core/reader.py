"""One `[[rule]]` table to a `Rule`, noting every mistake instead of stopping at the first.

Never look at the rest of the file here, nor at another rule.
"""

import math
from collections.abc import Callable, Collection
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from watcher.core import template
from watcher.core.active import ActiveError, parse_active
from watcher.core.diagnostics import Diagnostic, diagnose, visible
from watcher.core.entries import ExampleEntry, LevelsEntry, RuleEntry
from watcher.core.expression import (
    ExpressionError,
    Literal,
    parse,
    parse_clear,
    parse_literal,
    parse_selector,
    subject_of,
)
from watcher.core.hysteresis import both_hold, default_clear, threshold
from watcher.core.model import Active, Event, Example, Level, Rule, Severity
from watcher.core.places import Path, Place, Places
from watcher.core.units import read_duration
from watcher.core.vocabulary import near

LONGEST_NAME = 80
LONGEST_TEMPLATE = 2_000
MOST_CHANNELS = 50
LONGEST_ROW = 2_000
_USUAL = frozenset({Event.FIRING, Event.ESCALATED, Event.RESOLVED})
T = TypeVar("T")
_SEPARATOR = "|"  # parts an alert's identity


class Source(Struct):
    """A file that is being read, and what was wrong so far."""

    path: str
    text: str
    places: Places
    diagnostics: list[Diagnostic] = msgspec.field(default_factory=list)

    def wrong(self, place: Place, message: str, *, rule: str = "") -> None:
        """Notes a mistake."""
        self.diagnostics.append(diagnose(self.path, self.text, place, message, rule=rule))


class RuleReader:
    """Reads one rule. A key that is wrong is noted and then treated as left out, so that the others are read too."""

    def __init__(self, source: Source, index: int, channels: Collection[str] | None) -> None:
        self.source = source
        self.path: Path = ("rule", index)
        self.channels = channels
        self.name = ""
        self.before = len(source.diagnostics)

    def read(self, table: Any) -> Rule | None:
        """The rule; None where something in it is wrong."""
        if not isinstance(table, dict):
            self.source.wrong(self.source.places.value(self.path), f"a rule is a table, not {shown(table)}")
            return None
        name = table.get("name")
        self.name = visible(name) if isinstance(name, str) else ""
        entry = self._typed(self.path, table, RuleEntry)
        self._check_name(entry.get("name"))
        levels = self._levels(entry, table)
        rule = self._rule(entry, levels, table)
        return rule if len(self.source.diagnostics) == self.before else None

    def _rule(self, entry: dict[str, Any], levels: tuple[Level, ...], table: dict[str, Any]) -> Rule | None:
        hold = self._duration((*self.path, "for"), entry.get("for")) or timedelta(0)
        remind = self._duration((*self.path, "remind"), entry.get("remind"))
        if remind == timedelta(0):
            self._wrong((*self.path, "remind"), "`remind` takes a duration above zero; leave it out for never")
        on = self._on(entry.get("on"), reminds=remind is not None)
        notify, active = self._notify(entry.get("notify")), self._active(entry)
        title, message = self._template(entry, "title"), self._template(entry, "message")
        examples = self._examples(table.get("example", []))
        if not levels:
            return None
        return Rule(
            name=entry.get("name", ""),
            path=self.source.path,
            line=self.source.text.count("\n", 0, self.source.places.key(self.path).start) + 1,
            subject=subject_of(levels[0].when),
            levels=levels,
            hold=hold,
            remind=remind,
            on=on,
            notify=notify,
            active=active,
            title=title,
            message=message,
            examples=examples,
            fingerprint=fingerprint(levels, hold),
        )

    # --- types ---------------------------------------------------------------------------------------------------

    def _typed(self, path: Path, table: dict[str, Any], entry: type[Struct]) -> dict[str, Any]:
        """The table's keys that are known and of the right type; all others are noted."""
        fields = {field.encode_name: field for field in msgspec.structs.fields(entry)}
        good: dict[str, Any] = {}
        for key, value in table.items():
            field = fields.get(key)
            if field is None:
                meant = near(key, tuple(fields))
                hint = f"did you mean `{meant}`?" if meant else f"valid: {', '.join(fields)}"
                self._wrong((*path, key), f"unknown key `{visible(key, 40)}`; {hint}", of_key=True)
            elif key in ("levels", "example"):
                good[key] = value  # tables of their own
            elif self._is_typed((*path, key), value, field.type):
                good[key] = value
        for key, field in fields.items():
            if field.required and key not in table:
                self._wrong(path, f"`{key}` is missing: {_takes(field.type)}", of_key=True)
        return good

    def _is_typed(self, path: Path, value: Any, wanted: Any) -> bool:
        try:
            msgspec.convert(value, wanted)
        except msgspec.ValidationError as error:
            index = str(error).rpartition("$[")[2].partition("]")[0]
            if isinstance(value, list) and index.isdigit() and int(index) < len(value):
                path, value = (*path, int(index)), value[int(index)]
            key = next(part for part in reversed(path) if isinstance(part, str))
            hint = _near_choice(value, wanted)
            self._wrong(path, f"`{key}` takes {_takes(wanted)}, not {shown(value)}{hint}")
            return False
        return True

    # --- the condition -------------------------------------------------------------------------------------------

    def _levels(self, entry: dict[str, Any], table: dict[str, Any]) -> tuple[Level, ...]:
        """The rule's ladder, least severe first; empty where it cannot be read."""
        if "when" not in entry:
            return ()
        if "levels" not in table:
            level = self._level(entry, Severity(entry.get("severity", "warning")), None)
            return (level,) if level else ()
        if "severity" in table:
            self._wrong((*self.path, "severity"), "`levels` gives the severities; leave `severity` out", of_key=True)
        literals = self._literals(table["levels"])
        if not literals:
            return ()
        found = []
        for severity, literal in literals.items():
            mistakes = len(self.source.diagnostics)
            level = self._level(entry, severity, literal)
            if level is None and len(self.source.diagnostics) > mistakes:
                break  # the other levels would repeat it
            if level is not None:
                found.append(level)
        if len(found) < len(literals):
            return ()
        if not _mentions_level(entry["when"]):
            message = "`levels` is given, but `when` does not use the word `level`: such as `*.weekly > level`"
            self._wrong((*self.path, "when"), message)
            return ()
        self._check_ladder(found, literals)
        return tuple(found)

    def _literals(self, levels: Any) -> dict[Severity, Literal]:
        path = (*self.path, "levels")
        if not isinstance(levels, dict):
            self._wrong(path, f'`levels` takes a table such as {{ warning = "80%" }}, not {shown(levels)}')
            return {}
        typed = self._typed(path, levels, LevelsEntry)
        if not levels:
            self._wrong(path, '`levels` is empty: give at least one, such as { warning = "80%" }')
        literals = {}
        for severity in Severity:
            if severity in typed:
                literal = self._expression((*path, severity.value), lambda: parse_literal(typed[severity]))  # noqa: B023 - called at once
                if literal is not None:
                    literals[severity] = literal
        return literals if len(literals) == len(levels) else {}

    def _level(self, entry: dict[str, Any], severity: Severity, literal: Literal | None) -> Level | None:
        when = self._expression((*self.path, "when"), lambda: parse(entry["when"], level=literal))
        if when is None:
            return None
        clear = default_clear(when)
        if "clear" in entry:
            path = (*self.path, "clear")
            given = self._expression(path, lambda: parse_clear(entry["clear"], when, level=literal))
            if given is None:
                return None
            both = both_hold(when, given)
            if both is not None:
                message = f"`{given}` and `{when}` both hold at {both:g}: the alert would never rest"
                self._wrong(path, f"{message}; `clear` must lie beyond, such as `{clear}`")
                return None
            clear = given
        return Level(severity=severity, when=when, clear=clear)

    def _expression(self, path: Path, read: Callable[[], T]) -> T | None:
        try:
            return read()
        except ExpressionError as error:
            place = self.source.places.within(path, error.start, error.end)
            message = f"{error.message}; {error.hint}" if error.hint else error.message
            self.source.wrong(place, message, rule=self.name)
            return None

    def _check_ladder(self, levels: list[Level], literals: dict[Severity, Literal]) -> None:
        """Refuses a ladder on which a more severe level is reached before a lesser one, which would never speak."""
        worths = [float(literal.worth) for literal in literals.values()]
        found = threshold(levels[0].when)
        rising = all(a < b for a, b in pairwise(worths))
        falling = all(a > b for a, b in pairwise(worths))
        right = rising or falling
        if found is not None and found[1] in (">", ">="):
            right = rising
        elif found is not None and found[1] in ("<", "<="):
            right = falling
        if not right and len(worths) > 1:
            names = [f'{severity} = "{literal}"' for severity, literal in literals.items()]
            message = f"a more severe level must be harder to reach: {', '.join(names)}"
            self._wrong((*self.path, "levels"), message)

    # --- the other keys ------------------------------------------------------------------------------------------

    def _check_name(self, name: str | None) -> None:
        if name is None:
            return
        message = ""
        if not name.strip():
            message = 'the name is empty; give one such as "claude-session"'
        elif len(name) > LONGEST_NAME:
            message = f"the name has {len(name):,} characters; at most {LONGEST_NAME}"
        elif name != name.strip() or not name.isprintable() or _SEPARATOR in name:
            message = "a name has no blank at its ends, no line break and no `|`"
        if message:
            self._wrong((*self.path, "name"), message)

    def _duration(self, path: Path, text: str | None) -> timedelta | None:
        if text is None:
            return None
        try:
            return read_duration(text)
        except ValueError as error:
            self._wrong(path, str(error))
            return None

    def _on(self, events: list[str] | None, *, reminds: bool) -> frozenset[Event]:
        if events is not None and not events:
            self._wrong((*self.path, "on"), "`on` is empty: nothing would ever be said; leave it out for the usual")
        on = _USUAL if events is None else frozenset(Event(each) for each in events)
        return on | {Event.REMINDER} if reminds else on

    def _notify(self, names: list[str] | None) -> tuple[str, ...] | None:
        if names is None:
            return None
        path = (*self.path, "notify")
        if len(names) > MOST_CHANNELS:
            self._wrong(path, f"`notify` names {len(names):,} channels; at most {MOST_CHANNELS}")
            return None
        if not names:
            self._wrong(path, "`notify` is empty: nobody would be told; leave it out for the default route")
        for index, name in enumerate(names):
            if self.channels is not None and name not in self.channels:
                meant = near(name, tuple(self.channels))
                valid = f"valid: {', '.join(self.channels)}" if self.channels else "no channel is configured"
                hint = f"did you mean `{meant}`?" if meant else valid
                self._wrong((*path, index), f"unknown channel {shown(name)}; {hint}")
        return tuple(dict.fromkeys(names))

    def _active(self, entry: dict[str, Any]) -> Active | None:
        text, zone = entry.get("active"), entry.get("tz")
        if text is None:
            if zone is not None:
                self._wrong((*self.path, "tz"), "`tz` is the zone of `active`, which is missing", of_key=True)
            return None
        active = self._calendar("active", text, None)
        if zone is not None:
            return self._calendar("tz", text if active else "00:00-24:00", zone)
        return active

    def _calendar(self, key: str, text: str, zone: str | None) -> Active | None:
        try:
            return parse_active(text, zone)
        except ActiveError as error:
            self._wrong((*self.path, key), str(error))
            return None

    def _template(self, entry: dict[str, Any], key: str) -> str | None:
        text: str | None = entry.get(key)
        if text is None:
            return None
        if len(text) > LONGEST_TEMPLATE:
            self._wrong((*self.path, key), f"`{key}` has {len(text):,} characters; at most {LONGEST_TEMPLATE:,}")
            return None
        try:
            template.check(text)
        except template.TemplateError as error:
            path = (*self.path, key)
            start = text.find("{" + error.field) + 1 if error.field else 0
            end = start + len(error.field) if error.field else len(text)
            self.source.wrong(self.source.places.within(path, start, end), str(error), rule=self.name)
            return None
        return text

    # --- examples ------------------------------------------------------------------------------------------------

    def _examples(self, tables: Any) -> tuple[Example, ...]:
        path = (*self.path, "example")
        if not isinstance(tables, list):
            self._wrong(path, f"examples are written under [[rule.example]], not as {shown(tables)}")
            return ()
        found = []
        for index, table in enumerate(tables):
            if isinstance(table, dict):
                example = self._example((*path, index), table)
                if example is not None:
                    found.append(example)
            else:
                self._wrong((*path, index), f"an example is a table, not {shown(table)}")
        return tuple(found)

    def _example(self, path: Path, table: dict[str, Any]) -> Example | None:
        entry = self._typed(path, table, ExampleEntry)
        every = self._duration((*path, "every"), entry.get("every", "5m"))
        if every == timedelta(0):
            self._wrong((*path, "every"), "`every` takes a duration above zero")
        window = self._duration((*path, "window"), entry.get("window"))
        resets_in = self._duration((*path, "resets_in"), entry.get("resets_in"))
        series = self._series((*path, "series"), entry.get("series"))
        self._check_rows(path, entry, table)
        start: datetime | None = entry.get("start")
        if start is not None and start.tzinfo is None:
            self._wrong((*path, "start"), f"`start` needs an offset, such as {start.isoformat()}Z")
        if every is None or series is None:
            return None
        return Example(
            series=series,
            every=every,
            used=tuple(entry.get("used", ())),
            remaining=tuple(entry.get("remaining", ())),
            expect=tuple(entry.get("expect", ())),
            limit=entry.get("limit"),
            window=window,
            resets_in=resets_in,
            start=start,
        )

    def _series(self, path: Path, text: str | None) -> str | None:
        """The text of one series: provider and window, neither of them a wildcard."""
        if text is None:
            return None
        found = self._expression(path, lambda: parse_selector(text))
        if found is None:
            return None
        selector, field = found
        if "*" in (selector.provider, selector.window) or not selector.window or field or selector.kind:
            self._wrong(path, f"{shown(text)} is not one series; valid: such as `claude.five_hour`")
            return None
        return text

    def _check_rows(self, path: Path, entry: dict[str, Any], table: dict[str, Any]) -> None:
        if ("used" in table) == ("remaining" in table):
            self._wrong(path, "an example has either `used` or `remaining`", of_key=True)
            return
        key = "used" if "used" in table else "remaining"
        row, expect = entry.get(key), entry.get("expect")
        if row is None:
            return
        if not row or len(row) > LONGEST_ROW:
            self._wrong((*path, key), f"`{key}` has {len(row):,} readings; at least 1, at most {LONGEST_ROW:,}")
        for index, value in enumerate(row):
            if isinstance(value, float) and not math.isfinite(value):
                self._wrong((*path, key, index), "this number is too large")
        limit = entry.get("limit")
        if limit is not None and not (math.isfinite(limit) and limit > 0):
            self._wrong((*path, "limit"), "`limit` takes a number above zero")
        if limit is not None and key == "used":
            self._wrong((*path, "limit"), "`limit` belongs to `remaining`; `used` is in percent", of_key=True)
        if expect is not None and len(expect) != len(row):
            self._wrong((*path, "expect"), f"`{key}` has {len(row)} readings and `expect` {len(expect)}; as many each")

    def _wrong(self, path: Path, message: str, *, of_key: bool = False) -> None:
        places = self.source.places
        self.source.wrong(places.key(path) if of_key else places.value(path), message, rule=self.name)


def fingerprint(levels: tuple[Level, ...], hold: timedelta) -> str:
    """The meaning of a rule's condition as a text: equal as long as an edit changes no meaning.

    The severity of a rule's only level is no part of it: a changed severity judges nothing anew.
    """
    ladder = [f"{level.severity}: {level.when} / {level.clear}" for level in levels]
    if len(levels) == 1:
        ladder = [f"{levels[0].when} / {levels[0].clear}"]
    return "; ".join([*ladder, f"for {hold.total_seconds():g}s"])


def shown(value: Any, *, quote: bool = True) -> str:
    """A TOML value in a message, clipped."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f'"{visible(value, 40)}"' if quote else visible(value, 80)
    if isinstance(value, list):
        return "a list"
    if isinstance(value, dict):
        return "a table"
    return visible(str(value), 40)


def _takes(wanted: Any) -> str:
    """What a key takes, in the words of its type."""
    while wanted is not None:
        for note in getattr(wanted, "__metadata__", ()):
            if note.title:
                return str(note.title)
        wanted = getattr(wanted, "__origin__", None)
    return "something else"


def _near_choice(value: Any, wanted: Any) -> str:
    """`; did you mean "warning"?` where the value is a slip of one of the texts in what the key takes."""
    if not isinstance(value, str):
        return ""
    choices = [part.strip('",.') for part in _takes(wanted).split() if part.startswith('"')]
    meant = near(value, choices)
    return f'; did you mean "{meant}"?' if meant else ""


def _mentions_level(text: str) -> bool:
    try:
        parse(text)
    except ExpressionError as error:
        return text[error.start : error.end] == "level"
    return False
