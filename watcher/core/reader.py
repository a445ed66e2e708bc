"""One `[[rule]]` table to a `Rule`, noting every mistake instead of stopping at the first.

Never look at the rest of the file here, nor at another rule.
"""

from collections.abc import Collection
from datetime import timedelta
from itertools import pairwise
from typing import Any

from watcher.core import template
from watcher.core.active import ActiveError, parse_active
from watcher.core.diagnostics import visible
from watcher.core.entries import LevelsEntry, RuleEntry
from watcher.core.example_tables import ExampleReader
from watcher.core.expression import (
    ExpressionError,
    Literal,
    parse,
    parse_clear,
    parse_literal,
    subject_of,
)
from watcher.core.hysteresis import both_hold, default_clear, threshold
from watcher.core.model import Active, Event, Level, Rule, Severity
from watcher.core.table import Source, TableReader, shown
from watcher.core.vocabulary import near

LONGEST_NAME = 80
LONGEST_TEMPLATE = 2_000
MOST_CHANNELS = 50
_USUAL = frozenset({Event.FIRING, Event.ESCALATED, Event.RESOLVED})
_SEPARATOR = "|"  # parts an alert's identity


class RuleReader(TableReader):
    """Reads one rule. A key that is wrong is noted and then treated as left out, so that the others are read too."""

    def __init__(self, source: Source, index: int, channels: Collection[str] | None) -> None:
        super().__init__(source, ("rule", index), "")
        self.channels = channels
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
        example_reader = ExampleReader(self.source, (*self.path, "example"), self.name)
        examples = example_reader.read(table.get("example", []))
        if not levels:
            return None
        if len(self.source.diagnostics) == self.before:
            example_reader.check_subjects(subject_of(levels[0].when), examples)
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

    # --- the condition -------------------------------------------------------------------------------------------

    def _levels(self, entry: dict[str, Any], table: dict[str, Any]) -> tuple[Level, ...]:
        """The rule's ladder, least severe first; empty where it cannot be read."""
        literals: dict[Severity, Literal] = {}
        if "levels" in table:
            if "severity" in table:
                message = "`levels` gives the severities; leave `severity` out"
                self._wrong((*self.path, "severity"), message, of_key=True)
            literals = self._literals(table["levels"])
        if "when" not in entry or ("levels" in table and not literals):
            return ()
        if not literals:
            level = self._level(entry, Severity(entry.get("severity", "warning")), None)
            return (level,) if level else ()
        return self._ladder(entry, literals)

    def _ladder(self, entry: dict[str, Any], literals: dict[Severity, Literal]) -> tuple[Level, ...]:
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
        step = (*self.path, "levels", severity.value)
        when = self._expression((*self.path, "when"), lambda: parse(entry["when"], level=literal), step)
        if when is None:
            return None
        clear = default_clear(when)
        if "clear" in entry:
            path = (*self.path, "clear")
            given = self._expression(path, lambda: parse_clear(entry["clear"], when, level=literal), step)
            if given is None:
                return None
            both = both_hold(when, given)
            if both is not None:
                message = f"`{given}` and `{when}` can both hold, such as at {both:g}: the alert would never rest"
                self._wrong(path, f"{message}; `clear` must lie beyond, such as `{clear}`")
                return None
            clear = given
        return Level(severity=severity, when=when, clear=clear)

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


def fingerprint(levels: tuple[Level, ...], hold: timedelta) -> str:
    """The meaning of a rule's condition as a text: equal as long as an edit changes no meaning.

    The severity of a rule's only level is no part of it: a changed severity judges nothing anew.
    """
    ladder = [f"{level.severity}: {level.when} / {level.clear}" for level in levels]
    if len(levels) == 1:
        ladder = [f"{levels[0].when} / {levels[0].clear}"]
    return "; ".join([*ladder, f"for {hold.total_seconds():g}s"])


def _mentions_level(text: str) -> bool:
    try:
        parse(text)
    except ExpressionError as error:
        return text[error.start : error.end] == "level"
    return False
