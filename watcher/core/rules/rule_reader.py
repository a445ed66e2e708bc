"""One `[[rule]]` table to a `Rule`, noting every mistake instead of stopping at the first.

Never look at the rest of the file here, nor at another rule.
"""

from collections.abc import Collection
from datetime import timedelta
from itertools import pairwise
from typing import Any

from watcher.core.model import AlertEvent, Severity
from watcher.core.rules import template
from watcher.core.rules.diagnostics import sanitize_for_terminal
from watcher.core.rules.fields import find_close_match
from watcher.core.rules.hysteresis import extract_threshold, find_overlap, make_default_clear
from watcher.core.rules.parser import (
    ExpressionError,
    Literal,
    find_subject,
    parse_clear,
    parse_condition,
    parse_literal,
)
from watcher.core.rules.rule import ActiveInterval, Level, Rule
from watcher.core.rules.schema import LevelsEntry, RuleEntry
from watcher.core.rules.table_reader import ExampleReader, SourceFile, TableReader, format_toml_value
from watcher.core.rules.time_intervals import TimeIntervalError, parse_active_interval

MAX_NAME_LENGTH = 80
MAX_TEMPLATE_LENGTH = 2_000
MAX_CHANNELS = 50
_DEFAULT_EVENTS = frozenset({AlertEvent.FIRING, AlertEvent.ESCALATED, AlertEvent.RESOLVED})
_ALERT_ID_SEPARATOR = "|"  # parts an alert's identity


class RuleReader(TableReader):
    """Reads one rule. A key that is wrong is noted and then treated as left out, so that the others are read too."""

    def __init__(self, source: SourceFile, index: int, channels: Collection[str] | None) -> None:
        super().__init__(source, ("rule", index), "")
        self.channels = channels
        self.initial_error_count = len(source.diagnostics)

    def read_rule(self, table: Any) -> Rule | None:
        """The rule; None where something in it is wrong."""
        if not isinstance(table, dict):
            self.source.add_error(
                self.source.positions.find_value(self.path), f"a rule is a table, not {format_toml_value(table)}"
            )
            return None
        name = table.get("name")
        self.rule_name = sanitize_for_terminal(name) if isinstance(name, str) else ""
        entry = self._read_typed_keys(self.path, table, RuleEntry)
        self._check_name(entry.get("name"))
        levels = self._read_levels(entry, table)
        rule = self._make_rule(entry, levels, table)
        return rule if len(self.source.diagnostics) == self.initial_error_count else None

    def _make_rule(self, entry: dict[str, Any], levels: tuple[Level, ...], table: dict[str, Any]) -> Rule | None:
        hold = self._read_duration((*self.path, "for"), entry.get("for")) or timedelta(0)
        remind = self._read_duration((*self.path, "remind"), entry.get("remind"))
        if remind == timedelta(0):
            self._add_error((*self.path, "remind"), "`remind` takes a duration above zero; leave it out for never")
        on = self._read_events(entry.get("on"), has_reminder=remind is not None)
        notify, active = self._read_channels(entry.get("notify")), self._read_active(entry)
        title, message = self._read_template(entry, "title"), self._read_template(entry, "message")
        example_reader = ExampleReader(self.source, (*self.path, "example"), self.rule_name)
        examples = example_reader.read_examples(table.get("example", []))
        if not levels:
            return None
        if len(self.source.diagnostics) == self.initial_error_count:
            example_reader.check_subjects(find_subject(levels[0].when), examples)
        return Rule(
            name=entry.get("name", ""),
            path=self.source.path,
            line=self.source.text.count("\n", 0, self.source.positions.find_key(self.path).start) + 1,
            subject=find_subject(levels[0].when),
            levels=levels,
            pending_for=hold,
            remind=remind,
            on=on,
            notify=notify,
            active=active,
            title=title,
            message=message,
            examples=examples,
            fingerprint=compute_fingerprint(levels, hold),
        )

    # --- the condition -------------------------------------------------------------------------------------------

    def _read_levels(self, entry: dict[str, Any], table: dict[str, Any]) -> tuple[Level, ...]:
        """The rule's ladder, least severe first; empty where it cannot be read."""
        literals: dict[Severity, Literal] = {}
        if "levels" in table:
            if "severity" in table:
                message = "`levels` gives the severities; leave `severity` out"
                self._add_error((*self.path, "severity"), message, at_key=True)
            literals = self._read_literals(table["levels"])
        if "when" not in entry or ("levels" in table and not literals):
            return ()
        if not literals:
            level = self._make_level(entry, Severity(entry.get("severity", "warning")), None)
            return (level,) if level else ()
        return self._read_level_ladder(entry, literals)

    def _read_level_ladder(self, entry: dict[str, Any], literals: dict[Severity, Literal]) -> tuple[Level, ...]:
        found = []
        for severity, literal in literals.items():
            mistakes = len(self.source.diagnostics)
            level = self._make_level(entry, severity, literal)
            if level is None and len(self.source.diagnostics) > mistakes:
                break  # the other levels would repeat it
            if level is not None:
                found.append(level)
        if len(found) < len(literals):
            return ()
        if not _uses_level(entry["when"]):
            message = "`levels` is given, but `when` does not use the word `level`: such as `*.weekly > level`"
            self._add_error((*self.path, "when"), message)
            return ()
        self._check_level_order(found, literals)
        return tuple(found)

    def _read_literals(self, levels: Any) -> dict[Severity, Literal]:
        path = (*self.path, "levels")
        if not isinstance(levels, dict):
            self._add_error(
                path, f'`levels` takes a table such as {{ warning = "80%" }}, not {format_toml_value(levels)}'
            )
            return {}
        typed = self._read_typed_keys(path, levels, LevelsEntry)
        if not levels:
            self._add_error(path, '`levels` is empty: give at least one, such as { warning = "80%" }')
        literals = {}
        for severity in Severity:
            if severity in typed:
                literal = self._read_expression((*path, severity.value), lambda: parse_literal(typed[severity]))  # noqa: B023 - called at once
                if literal is not None:
                    literals[severity] = literal
        return literals if len(literals) == len(levels) else {}

    def _make_level(self, entry: dict[str, Any], severity: Severity, literal: Literal | None) -> Level | None:
        step = (*self.path, "levels", severity.value)
        when = self._read_expression((*self.path, "when"), lambda: parse_condition(entry["when"], level=literal), step)
        if when is None:
            return None
        clear = make_default_clear(when)
        if "clear" in entry:
            path = (*self.path, "clear")
            given = self._read_expression(path, lambda: parse_clear(entry["clear"], when, level=literal), step)
            if given is None:
                return None
            both = find_overlap(when, given)
            if both is not None:
                message = f"`{given}` and `{when}` can both hold, such as at {both:g}: the alert would never rest"
                self._add_error(path, f"{message}; `clear` must lie beyond, such as `{clear}`")
                return None
            clear = given
        return Level(severity=severity, when=when, clear=clear)

    def _check_level_order(self, levels: list[Level], literals: dict[Severity, Literal]) -> None:
        """Refuses a ladder on which a more severe level is reached before a lesser one, which would never speak."""
        worths = [float(literal.value) for literal in literals.values()]
        found = extract_threshold(levels[0].when)
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
            self._add_error((*self.path, "levels"), message)

    # --- the other keys ------------------------------------------------------------------------------------------

    def _check_name(self, name: str | None) -> None:
        if name is None:
            return
        message = ""
        if not name.strip():
            message = 'the name is empty; give one such as "claude-session"'
        elif len(name) > MAX_NAME_LENGTH:
            message = f"the name has {len(name):,} characters; at most {MAX_NAME_LENGTH}"
        elif name != name.strip() or not name.isprintable() or _ALERT_ID_SEPARATOR in name:
            message = "a name has no blank at its ends, no line break and no `|`"
        if message:
            self._add_error((*self.path, "name"), message)

    def _read_events(self, events: list[str] | None, *, has_reminder: bool) -> frozenset[AlertEvent]:
        if events is not None and not events:
            self._add_error((*self.path, "on"), "`on` is empty: nothing would ever be said; leave it out for the usual")
        on = _DEFAULT_EVENTS if events is None else frozenset(AlertEvent(each) for each in events)
        return on | {AlertEvent.REMINDER} if has_reminder else on

    def _read_channels(self, names: list[str] | None) -> tuple[str, ...] | None:
        if names is None:
            return None
        path = (*self.path, "notify")
        if len(names) > MAX_CHANNELS:
            self._add_error(path, f"`notify` names {len(names):,} channels; at most {MAX_CHANNELS}")
            return None
        if not names:
            self._add_error(path, "`notify` is empty: nobody would be told; leave it out for the default route")
        for index, name in enumerate(names):
            if self.channels is not None and name not in self.channels:
                meant = find_close_match(name, tuple(self.channels))
                valid = f"valid: {', '.join(self.channels)}" if self.channels else "no channel is configured"
                hint = f"did you mean `{meant}`?" if meant else valid
                self._add_error((*path, index), f"unknown channel {format_toml_value(name)}; {hint}")
        return tuple(dict.fromkeys(names))

    def _read_active(self, entry: dict[str, Any]) -> ActiveInterval | None:
        text, zone = entry.get("active"), entry.get("tz")
        if text is None:
            if zone is not None:
                self._add_error((*self.path, "tz"), "`tz` is the zone of `active`, which is missing", at_key=True)
            return None
        active = self._parse_active("active", text, None)
        if zone is not None:
            return self._parse_active("tz", text if active else "00:00-24:00", zone)
        return active

    def _parse_active(self, key: str, text: str, zone: str | None) -> ActiveInterval | None:
        try:
            return parse_active_interval(text, zone)
        except TimeIntervalError as error:
            self._add_error((*self.path, key), str(error))
            return None

    def _read_template(self, entry: dict[str, Any], key: str) -> str | None:
        text: str | None = entry.get(key)
        if text is None:
            return None
        if len(text) > MAX_TEMPLATE_LENGTH:
            self._add_error((*self.path, key), f"`{key}` has {len(text):,} characters; at most {MAX_TEMPLATE_LENGTH:,}")
            return None
        try:
            template.check_template(text)
        except template.TemplateError as error:
            path = (*self.path, key)
            start = text.find("{" + error.field) + 1 if error.field else 0
            end = start + len(error.field) if error.field else len(text)
            self.source.add_error(
                self.source.positions.find_in_value(path, start, end), str(error), rule=self.rule_name
            )
            return None
        return text


def compute_fingerprint(levels: tuple[Level, ...], pending_for: timedelta) -> str:
    """The meaning of a rule's condition as a text: equal as long as an edit changes no meaning.

    The severity of a rule's only level is no part of it: a changed severity judges nothing anew.
    """
    ladder = [f"{level.severity}: {level.when} / {level.clear}" for level in levels]
    if len(levels) == 1:
        ladder = [f"{levels[0].when} / {levels[0].clear}"]
    return "; ".join([*ladder, f"for {pending_for.total_seconds():g}s"])


def _uses_level(text: str) -> bool:
    try:
        parse_condition(text)
    except ExpressionError as error:
        return text[error.start : error.end] == "level"
    return False
