"""Reads one `[[rule]]` table into a `Rule` and reports every mistake in it, not only the first."""

from collections.abc import Callable, Collection
from datetime import datetime, timedelta
from functools import partial
from itertools import pairwise
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from watcher.core.model import AlertEvent, Severity
from watcher.core.rules import parser
from watcher.core.rules.ast import Literal
from watcher.core.rules.diagnostics import (
    Diagnostic,
    KeyPath,
    TextSpan,
    TomlPositions,
    create_diagnostic,
    describe_type_error,
    list_choices,
    sanitize_for_terminal,
    suggest_word,
)
from watcher.core.rules.hysteresis import extract_threshold, find_overlap, make_default_clear
from watcher.core.rules.rule import Example, ExampleEntry, Level, LevelsEntry, Rule, RuleEntry
from watcher.core.rules.template import check_template
from watcher.core.rules.time_intervals import TimeInterval, check_time_zone, parse_active_interval
from watcher.core.rules.vocabulary import MAX_NUMBER, parse_duration

T = TypeVar("T")
MAX_EXAMPLE_DURATION = timedelta(days=3650)
MIN_EXAMPLE_YEAR, MAX_EXAMPLE_YEAR = 2001, 2150

_MAX_NUMBER_BITS = 100

_DEFAULT_EVENTS = frozenset({AlertEvent.FIRING, AlertEvent.ESCALATED, AlertEvent.RESOLVED})
_TABLES = {"levels": dict, "example": list}  # their own keys are read separately
_KEY_CORRECTIONS = {
    "channel": "notify", "channels": "notify", "condition": "when", "expr": "when", "hold": "for", "repeat": "remind",
    "reminder": "remind", "timezone": "tz", "text": "message", "body": "message", "threshold": "when",
}  # fmt: skip


class SourceFile(Struct):
    """A file that is being read, and the mistakes found so far, in files before it too."""

    path: str
    positions: TomlPositions
    diagnostics: list[Diagnostic]

    def add_error(self, span: TextSpan, message: str, *, rule: str = "") -> None:
        """Adds a mistake."""
        self.diagnostics.append(create_diagnostic(self.path, self.positions.text, span, message, rule=rule))


class RuleReader:
    """Reads one rule. A key with a mistake counts as left out, so that the other keys are checked too.

    Key paths are relative to the rule's table: ("on",), ("levels", "info"), ("example", 0, "used", 3).
    """

    def __init__(self, source: SourceFile, index: int, channels: Collection[str] | None) -> None:
        self.source = source
        self.path: KeyPath = ("rule", index)
        self.channels = channels
        self.rule_name = ""
        self.initial_error_count = len(source.diagnostics)

    def read_rule(self, table: Any) -> Rule | None:
        """The rule; None if something in it is wrong."""
        if not isinstance(table, dict):
            self._add_error((), f"a rule is a table, not {format_toml_value(table)}")
            return None
        name = table.get("name")
        self.rule_name = sanitize_for_terminal(name) if isinstance(name, str) else ""
        entry = self._read_typed_keys((), table, RuleEntry)
        self._check_name(entry.get("name"))
        levels = self._read_levels(entry, table)
        pending_for = self._read_duration(("for",), entry) or timedelta(0)
        remind = self._read_duration(("remind",), entry)
        if remind == timedelta(0):
            self._add_error(("remind",), "`remind` takes a duration above zero; leave it out for never")
        on = frozenset(AlertEvent(each) for each in entry.get("on", _DEFAULT_EVENTS))
        notify = self._read_channels(entry.get("notify"))
        active = self._read_active(entry)
        title, message = self._read_template(entry, "title"), self._read_template(entry, "message")
        examples = self._read_examples(entry.get("example", []))
        if not levels or self._has_errors():
            return None
        return Rule(
            name=entry["name"],
            path=self.source.path,
            line=self.source.positions.text.count("\n", 0, self.source.positions.find_key(self.path).start) + 1,
            subject=parser.find_subject(levels[0].when),
            levels=levels,
            pending_for=pending_for,
            remind=remind,
            on=on if remind is None else on | {AlertEvent.REMINDER},
            notify=notify,
            active=active,
            title=title,
            message=message,
            examples=examples,
            fingerprint=compute_fingerprint(levels, pending_for),
        )

    # --- keys of any table ---

    def _add_error(self, key: KeyPath, message: str, *, at_key: bool = False) -> None:
        positions, path = self.source.positions, (*self.path, *key)
        span = positions.find_key(path) if at_key else positions.find_value(path)
        self.source.add_error(span, message, rule=self.rule_name)

    def _has_errors(self) -> bool:
        return len(self.source.diagnostics) > self.initial_error_count

    def _read_typed_keys(self, path: KeyPath, table: dict[str, Any], entry_type: type[Struct]) -> dict[str, Any]:
        """The table's keys that are known and have the right type; reports all others."""
        fields = {field.encode_name: field for field in msgspec.structs.fields(entry_type)}
        good: dict[str, Any] = {}
        for key, value in table.items():
            field = fields.get(key)
            if field is None:
                correction = _KEY_CORRECTIONS.get(key)
                hint = f"did you mean `{correction}`?" if correction in fields else suggest_word(key, tuple(fields))
                self._add_error((*path, key), f"unknown key `{sanitize_for_terminal(key, 40)}`; {hint}", at_key=True)
            elif isinstance(value, _TABLES.get(key, ())) or self._has_valid_type((*path, key), value, field.type):
                good[key] = value
        for key, field in fields.items():
            if field.required and key not in table:
                self._add_error(path, f"`{key}` is missing", at_key=True)
        return good

    def _has_valid_type(self, path: KeyPath, value: Any, expected_type: Any) -> bool:
        try:
            msgspec.convert(value, expected_type)
        except msgspec.ValidationError as error:
            key = path[-1]
            index = str(error).rpartition("$[")[2].partition("]")[0]
            if isinstance(value, list) and index.isdigit() and int(index) < len(value):
                path, value = (*path, int(index)), value[int(index)]
            message = describe_type_error(error)
            if "enum" in message:
                choices = list_choices(expected_type)
                hint = suggest_word(value, choices, f"words that it takes: {', '.join(choices)}")
                message = f"does not take {format_toml_value(value)}; {hint}"
            self._add_error(path, f"`{key}` {message}")
            return False
        return True

    def _read_value(self, key: KeyPath, parse: Callable[[], T], level_key: KeyPath = ()) -> T | None:
        """What `parse` returns; if it raises, reports the mistake and returns None.

        `level_key` is where the value of the word `level` is written.
        """
        positions, path = self.source.positions, (*self.path, *key)
        try:
            return parse()
        except parser.ExpressionError as error:
            span = positions.find_in_value(path, error.start, error.end)
            if level_key and self.source.positions.text[span.start : span.end] == "level":
                level_path = (*self.path, *level_key)
                if level_path in positions.value_spans:
                    span = positions.find_in_value(level_path, 0, len(self.source.positions.text))
            self.source.add_error(span, error.message, rule=self.rule_name)
        except ValueError as error:
            self._add_error(key, str(error))
        return None

    def _read_duration(self, key: KeyPath, entry: dict[str, Any], default: str | None = None) -> timedelta | None:
        text = entry.get(str(key[-1]), default)
        return None if text is None else self._read_value(key, lambda: parse_duration(text))

    # --- the condition ---

    def _read_levels(self, entry: dict[str, Any], table: dict[str, Any]) -> tuple[Level, ...]:
        """The rule's levels, least severe first; empty if they cannot be read."""
        if "levels" in table and "severity" in table:
            self._add_error(("severity",), "`levels` gives the severities; leave `severity` out", at_key=True)
        literals = self._read_literals(entry["levels"]) if "levels" in entry else {}
        if "when" not in entry or ("levels" in table and not literals):
            return ()
        if not literals:
            level = self._read_level(entry, Severity(entry.get("severity", Severity.WARNING)), None)
            return (level,) if level else ()
        levels: list[Level] = []
        for severity, literal in literals.items():
            level = self._read_level(entry, severity, literal)
            if level is None:
                return ()  # the other levels would repeat the mistake
            levels.append(level)
        if not any(token.text == "level" for token in parser.tokenize(entry["when"])):
            message = "`levels` is given, but `when` does not use the word `level`: such as `*.weekly > level`"
            self._add_error(("when",), message)
            return ()
        self._check_level_order(levels, literals)
        return tuple(levels)

    def _read_literals(self, levels: dict[str, Any]) -> dict[Severity, Literal]:
        """The value of the word `level`, for each severity; empty if one of them is wrong."""
        if not levels:
            self._add_error(("levels",), '`levels` is empty: give at least one, such as { warning = "80%" }')
        texts = self._read_typed_keys(("levels",), levels, LevelsEntry)
        literals = {}
        for severity in Severity:
            if severity in texts:
                literal = self._read_value(("levels", severity.value), partial(parser.parse_literal, texts[severity]))
                if literal is not None:
                    literals[severity] = literal
        return literals if len(literals) == len(levels) else {}

    def _read_level(self, entry: dict[str, Any], severity: Severity, literal: Literal | None) -> Level | None:
        level_key = ("levels", severity.value)
        when = self._read_value(("when",), lambda: parser.parse_condition(entry["when"], level=literal), level_key)
        if when is None:
            return None
        default_clear = make_default_clear(when)
        if "clear" not in entry:
            return Level(severity=severity, when=when, clear=default_clear)
        clear = self._read_value(("clear",), lambda: parser.parse_clear(entry["clear"], when, level=literal), level_key)
        if clear is None:
            return None
        overlap = find_overlap(when, clear)
        if overlap is not None:
            message = f"`{clear}` and `{when}` can both hold, such as at {overlap:g}: the alert would flap"
            self._add_error(("clear",), f"{message}; `clear` must be further back, such as `{default_clear}`")
            return None
        return Level(severity=severity, when=when, clear=clear)

    def _check_level_order(self, levels: list[Level], literals: dict[Severity, Literal]) -> None:
        """Reports levels of which a more severe one is reached before a less severe one, which would never fire."""
        values = [float(literal.value) for literal in literals.values()]
        threshold = extract_threshold(levels[0].when)
        operator = threshold[1] if threshold else "=="
        is_ordered = (operator not in ("<", "<=") and all(a < b for a, b in pairwise(values))) or (
            operator not in (">", ">=") and all(a > b for a, b in pairwise(values))
        )
        if not is_ordered:
            written = ", ".join(f'{severity} = "{literal}"' for severity, literal in literals.items())
            self._add_error(("levels",), f"a more severe level must be harder to reach: {written}")

    # --- the other keys ---

    def _check_name(self, name: str | None) -> None:
        if name is not None and (not name or name != name.strip() or not name.isprintable() or "|" in name):
            self._add_error(("name",), "a name has no space at either end, no line break and no `|`, and is not empty")

    def _read_channels(self, names: list[str] | None) -> tuple[str, ...] | None:
        if names is None:
            return None
        for index, name in enumerate(names):
            if self.channels is not None and name not in self.channels:
                valid = f"valid: {', '.join(self.channels)}" if self.channels else "no channel is configured"
                hint = suggest_word(name, tuple(self.channels), f"{valid}; `watcher channels add` adds one")
                self._add_error(("notify", index), f"unknown channel {format_toml_value(name)}; {hint}")
        return tuple(dict.fromkeys(names))

    def _read_active(self, entry: dict[str, Any]) -> TimeInterval | None:
        text, zone = entry.get("active"), entry.get("tz")
        if text is None:
            if zone is not None:
                self._add_error(("tz",), "`tz` is the zone of `active`, which is missing", at_key=True)
            return None
        active = self._read_value(("active",), lambda: parse_active_interval(text, zone))
        if zone is not None:
            self._read_value(("tz",), lambda: check_time_zone(zone))
        return active

    def _read_template(self, entry: dict[str, Any], key: str) -> str | None:
        text: str | None = entry.get(key)
        if text is not None:
            self._read_value((key,), lambda: check_template(text))
        return text

    # --- examples ---

    def _read_examples(self, tables: list[Any]) -> tuple[Example, ...]:
        examples = []
        for index, table in enumerate(tables):
            if isinstance(table, dict):
                examples.append(self._read_example(("example", index), table))
            else:
                self._add_error(("example", index), f"an example is a table, not {format_toml_value(table)}")
        return tuple(example for example in examples if example)

    def _read_example(self, path: KeyPath, table: dict[str, Any]) -> Example | None:
        entry = self._read_typed_keys(path, table, ExampleEntry)
        every = self._read_duration((*path, "every"), entry, "5m")
        if every == timedelta(0):
            self._add_error((*path, "every"), "`every` takes a duration above zero")
        window_length = self._read_duration((*path, "window"), entry)
        resets_in = self._read_duration((*path, "resets_in"), entry)
        series = self._read_series((*path, "series"), entry.get("series"))
        self._check_rows(path, entry, table)
        self._check_times(path, entry.get("start"), every, len(entry.get("expect", ())))
        if every is None or series is None:
            return None
        return Example(
            series=series,
            every=every,
            used=tuple(entry.get("used", ())),
            remaining=tuple(entry.get("remaining", ())),
            expect=tuple(entry.get("expect", ())),
            limit=entry.get("limit"),
            window_length=window_length,
            resets_in=resets_in,
            start=entry.get("start"),
        )

    def _read_series(self, path: KeyPath, text: str | None) -> str | None:
        """The text of one series: provider and window, neither of them a wildcard."""
        if text is None:
            return None
        found = self._read_value(path, lambda: parser.parse_selector(text))
        if found is None:
            return None
        selector, field = found
        if "*" in (selector.provider, selector.window) or not selector.window or field or selector.kind:
            self._add_error(path, f"{format_toml_value(text)} is not one series; write one such as `claude.five_hour`")
            return None
        return text

    def _check_rows(self, path: KeyPath, entry: dict[str, Any], table: dict[str, Any]) -> None:
        if ("used" in table) == ("remaining" in table):
            self._add_error(path, "an example needs either `used` or `remaining`", at_key=True)
            return
        key = "used" if "used" in table else "remaining"
        row, expect = entry.get(key), entry.get("expect")
        if key == "used" and "limit" in entry:
            self._add_error((*path, "limit"), "`limit` belongs to `remaining`; `used` is in percent", at_key=True)
        if row is None:
            return
        for index, value in enumerate(row):
            if not isinstance(value, str) and not abs(value) <= MAX_NUMBER:
                message = f'{format_toml_value(value)} is not a number up to {MAX_NUMBER:.0e}; write "?" for unknown'
                self._add_error((*path, key, index), message)
        if expect is not None and len(expect) != len(row):
            message = f"`{key}` has {len(row)} readings and `expect` {len(expect)}; give as many of each"
            self._add_error((*path, "expect"), message)

    def _check_times(self, path: KeyPath, start: datetime | None, every: timedelta | None, steps: int) -> None:
        """Keeps the readings within the dates that `datetime` can hold."""
        if start is not None and not MIN_EXAMPLE_YEAR <= start.year < MAX_EXAMPLE_YEAR:
            message = f"`start` is not between the years {MIN_EXAMPLE_YEAR} and {MAX_EXAMPLE_YEAR}"
            self._add_error((*path, "start"), message)
        if every is not None and every * steps > MAX_EXAMPLE_DURATION:
            self._add_error((*path, "every"), "the readings cover more than ten years")


def compute_fingerprint(levels: tuple[Level, ...], pending_for: timedelta) -> str:
    """The meaning of a rule's condition as text: equal as long as an edit does not change the meaning.

    It leaves out the severity of a rule's only level: a changed severity does not restart the alert.
    """
    parts = [f"{level.severity}: {level.when} / {level.clear}" for level in levels]
    if len(levels) == 1:
        parts = [f"{levels[0].when} / {levels[0].clear}"]
    return "; ".join([*parts, f"for {pending_for.total_seconds():g}s"])


def format_toml_value(value: Any) -> str:
    """A TOML value as a message quotes it, clipped."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f'"{sanitize_for_terminal(value, 40)}"'
    if isinstance(value, list):
        return "a list"
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, int) and value.bit_length() > _MAX_NUMBER_BITS:
        return "a very long number"  # which Python refuses to convert to text
    return sanitize_for_terminal(str(value), 40)
