"""`[[rule.example]]` tables to `Example`s. Never run one here: that is the engine's."""

from datetime import datetime, timedelta
from typing import Any

from watcher.core.entries import ExampleEntry
from watcher.core.expression import parse_selector
from watcher.core.model import Example
from watcher.core.places import KeyPath
from watcher.core.selector import Selector
from watcher.core.table import TableReader, format_toml_value
from watcher.core.units import MAX_NUMBER
from watcher.core.vocabulary import PROVIDER_WINDOWS

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
