"""One TOML table, read key by key: every mistake in it is noted, and what is right is kept.

Never put a rule's meaning here.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from watcher.core.model import AlertEvent
from watcher.core.rules.diagnostics import Diagnostic, create_diagnostic, sanitize_for_terminal
from watcher.core.rules.fields import PROVIDER_WINDOWS, find_close_match
from watcher.core.rules.parser import ExpressionError, parse_selector
from watcher.core.rules.rule import Example
from watcher.core.rules.schema import ExampleEntry
from watcher.core.rules.selector import Selector
from watcher.core.rules.toml_positions import KeyPath, TextSpan, TomlPositions
from watcher.core.rules.units import MAX_NUMBER, parse_duration

T = TypeVar("T")
_MAX_NUMBER_BITS = 100  # bits
_KEY_CORRECTIONS = {
    "channel": "notify", "channels": "notify", "condition": "when", "expr": "when", "hold": "for", "repeat": "remind",
    "reminder": "remind", "timezone": "tz", "text": "message", "body": "message", "threshold": "when",
}  # fmt: skip


class SourceFile(Struct):
    """A file that is being read, and what was wrong so far."""

    path: str
    text: str
    positions: TomlPositions
    diagnostics: list[Diagnostic] = msgspec.field(default_factory=list)

    def add_error(self, span: TextSpan, message: str, *, rule: str = "") -> None:
        """Notes a mistake."""
        self.diagnostics.append(create_diagnostic(self.path, self.text, span, message, rule=rule))


class TableReader:
    """What readers of tables have in common: types, durations, expressions, and the noting of mistakes."""

    def __init__(self, source: SourceFile, path: KeyPath, rule_name: str) -> None:
        """`rule_name`: of the rule that the table is, or belongs to."""
        self.source = source
        self.path = path
        self.rule_name = rule_name

    def _read_typed_keys(self, path: KeyPath, table: dict[str, Any], entry_type: type[Struct]) -> dict[str, Any]:
        """The table's keys that are known and of the right type; all others are noted."""
        fields = {field.encode_name: field for field in msgspec.structs.fields(entry_type)}
        good: dict[str, Any] = {}
        for key, value in table.items():
            field = fields.get(key)
            if field is None:
                meant = (
                    _KEY_CORRECTIONS.get(key)
                    if _KEY_CORRECTIONS.get(key) in fields
                    else find_close_match(key, tuple(fields))
                )
                hint = f"did you mean `{meant}`?" if meant else f"valid: {', '.join(fields)}"
                self._add_error((*path, key), f"unknown key `{sanitize_for_terminal(key, 40)}`; {hint}", at_key=True)
            elif key in ("levels", "example"):
                good[key] = value  # tables of their own
            elif self._has_valid_type((*path, key), value, field.type):
                good[key] = value
        for key, field in fields.items():
            if field.required and key not in table:
                self._add_error(path, f"`{key}` is missing: {_describe_type(field.type)}", at_key=True)
        return good

    def _has_valid_type(self, path: KeyPath, value: Any, expected_type: Any) -> bool:
        try:
            msgspec.convert(value, expected_type)
        except msgspec.ValidationError as error:
            index = str(error).rpartition("$[")[2].partition("]")[0]
            if isinstance(value, list) and index.isdigit() and int(index) < len(value):
                path, value = (*path, int(index)), value[int(index)]
            key = next(part for part in reversed(path) if isinstance(part, str))
            hint = _suggest_choice(value, expected_type)
            self._add_error(
                path, f"`{key}` takes {_describe_type(expected_type)}, not {format_toml_value(value)}{hint}"
            )
            return False
        return True

    def _read_expression(self, path: KeyPath, parse: Callable[[], T], level_path: KeyPath | None = None) -> T | None:
        """What was read; None, and a note, where it is wrong. `level_path`: where the value of the word `level_path` stands."""
        try:
            return parse()
        except ExpressionError as error:
            place = self.source.positions.find_in_value(path, error.start, error.end)
            if level_path in self.source.positions.value_spans and self._is_level_word(place):
                place = self.source.positions.find_in_value(level_path or path, 0, len(self.source.text))
            message = f"{error.message}; {error.hint}" if error.hint else error.message
            self.source.add_error(place, message, rule=self.rule_name)
            return None

    def _is_level_word(self, span: TextSpan) -> bool:
        return self.source.text[span.start : span.end] == "level"

    def _read_duration(self, path: KeyPath, text: str | None) -> timedelta | None:
        if text is None:
            return None
        try:
            return parse_duration(text)
        except ValueError as error:
            self._add_error(path, str(error))
            return None

    def _add_error(self, path: KeyPath, message: str, *, at_key: bool = False) -> None:
        places = self.source.positions
        self.source.add_error(
            places.find_key(path) if at_key else places.find_value(path), message, rule=self.rule_name
        )


def format_toml_value(value: Any, *, quote: bool = True) -> str:
    """A TOML value in a message, clipped."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f'"{sanitize_for_terminal(value, 40)}"' if quote else sanitize_for_terminal(value, 80)
    if isinstance(value, list):
        return "a list"
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, int) and value.bit_length() > _MAX_NUMBER_BITS:
        return "a number of very many digits"  # which Python would refuse to write out
    return sanitize_for_terminal(str(value), 40)


def _describe_type(expected_type: Any) -> str:
    """What a key takes, in the words of its type."""
    waiting = [expected_type]
    while waiting:
        each = waiting.pop(0)
        for note in getattr(each, "__metadata__", ()):
            if note.title:
                return str(note.title)
        waiting += [getattr(each, "__origin__", None), *getattr(each, "__args__", ())]
    raise TypeError("a key without words for what it takes")


def _suggest_choice(value: Any, expected_type: Any) -> str:
    """`; did you mean "warning"?` where the value is a slip of one of the texts in what the key takes."""
    if not isinstance(value, str):
        return ""
    if value == AlertEvent.REMINDER:
        return "; reminders are asked for by `remind`"
    takes = _describe_type(expected_type)
    choices = [part.strip('",.') for part in takes.split() if part.startswith('"')]
    meant = find_close_match(value, choices)
    if meant and takes.startswith("a list of") and meant == value:
        return f'; did you mean ["{meant}"]?'
    return f'; did you mean "{meant}"?' if meant else ""


# --- `[[rule.example]]` tables to `Example`s. Never run one here: that is the engine's


MAX_EXAMPLE_READINGS = 2_000
MAX_EXAMPLE_DURATION = timedelta(days=3650)
MIN_EXAMPLE_YEAR, MAX_EXAMPLE_YEAR = 2001, 2150


class ExampleReader(TableReader):
    """Reads the examples of one rule."""

    def read_examples(self, tables: Any) -> tuple[Example, ...]:
        """All that are right."""
        path = self.path
        if not isinstance(tables, list):
            self._add_error(path, f"examples are written under [[rule.example]], not as {format_toml_value(tables)}")
            return ()
        found = []
        for index, table in enumerate(tables):
            if isinstance(table, dict):
                example = self._read_example((*path, index), table)
                if example is not None:
                    found.append(example)
            else:
                self._add_error((*path, index), f"an example is a table, not {format_toml_value(table)}")
        return tuple(found)

    def _read_example(self, path: KeyPath, table: dict[str, Any]) -> Example | None:
        entry = self._read_typed_keys(path, table, ExampleEntry)
        every = self._read_duration((*path, "every"), entry.get("every", "5m"))
        if every == timedelta(0):
            self._add_error((*path, "every"), "`every` takes a duration above zero")
        window = self._read_duration((*path, "window"), entry.get("window"))
        resets_in = self._read_duration((*path, "resets_in"), entry.get("resets_in"))
        series = self._read_series((*path, "series"), entry.get("series"))
        self._check_rows(path, entry, table)
        start: datetime | None = entry.get("start")
        self._check_times(path, start, every, len(entry.get("expect", ())))
        if every is None or series is None:
            return None
        return Example(
            series=series,
            every=every,
            used=tuple(entry.get("used", ())),
            remaining=tuple(entry.get("remaining", ())),
            expect=tuple(entry.get("expect", ())),
            limit=entry.get("limit"),
            window_length=window,
            resets_in=resets_in,
            start=start,
        )

    def _check_times(self, path: KeyPath, start: datetime | None, every: timedelta | None, steps: int) -> None:
        """Keeps the readings where a calendar can follow."""
        if start is not None and start.tzinfo is None:
            self._add_error((*path, "start"), f"`start` needs an offset, such as {start.isoformat()}Z")
        elif start is not None and not MIN_EXAMPLE_YEAR <= start.year < MAX_EXAMPLE_YEAR:
            self._add_error(
                (*path, "start"), f"`start` is not between the years {MIN_EXAMPLE_YEAR} and {MAX_EXAMPLE_YEAR}"
            )
        if every is not None and every * min(steps, MAX_EXAMPLE_READINGS) > MAX_EXAMPLE_DURATION:
            self._add_error((*path, "every"), "the readings go on for longer than ten years")

    def check_subjects(self, subject: Selector, examples: tuple[Example, ...]) -> None:
        """Refuses an example of a series that the rule is never about: whatever it expects would be empty."""
        for index, example in enumerate(examples):
            selector, _ = parse_selector(example.series)
            known = PROVIDER_WINDOWS[selector.provider].primary
            is_window = subject.window not in ("", "*") and subject.kind is None
            if (
                subject.provider not in ("*", selector.provider)
                or (is_window and subject.window != selector.window)
                or (not subject.window and known and selector.window not in known)
            ):
                message = f"this rule is about `{subject}`, never about `{selector}`"
                self._add_error((*self.path, index, "series"), message)

    def _read_series(self, path: KeyPath, text: str | None) -> str | None:
        """The text of one series: provider and window, neither of them a wildcard."""
        if text is None:
            return None
        found = self._read_expression(path, lambda: parse_selector(text))
        if found is None:
            return None
        selector, field = found
        if "*" in (selector.provider, selector.window) or not selector.window or field or selector.kind:
            self._add_error(path, f"{format_toml_value(text)} is not one series; valid: such as `claude.five_hour`")
            return None
        return text

    def _check_rows(self, path: KeyPath, entry: dict[str, Any], table: dict[str, Any]) -> None:
        if ("used" in table) == ("remaining" in table):
            self._add_error(path, "an example has either `used` or `remaining`", at_key=True)
            return
        key = "used" if "used" in table else "remaining"
        row, expect = entry.get(key), entry.get("expect")
        if row is None:
            return
        if not row or len(row) > MAX_EXAMPLE_READINGS:
            self._add_error(
                (*path, key), f"`{key}` has {len(row):,} readings; at least 1, at most {MAX_EXAMPLE_READINGS:,}"
            )
        for index, value in enumerate(row):
            if not isinstance(value, str) and not abs(value) <= MAX_NUMBER:
                self._add_error(
                    (*path, key, index),
                    f'{format_toml_value(value)} is no number up to {MAX_NUMBER:.0e}; unknown is "?"',
                )
        limit = entry.get("limit")
        if limit is not None and not 0 < limit <= MAX_NUMBER:
            self._add_error((*path, "limit"), f"`limit` takes a number above zero, at most {MAX_NUMBER:.0e}")
        if limit is not None and key == "used":
            self._add_error((*path, "limit"), "`limit` belongs to `remaining`; `used` is in percent", at_key=True)
        if expect is not None and len(expect) != len(row):
            self._add_error(
                (*path, "expect"), f"`{key}` has {len(row)} readings and `expect` {len(expect)}; as many each"
            )
