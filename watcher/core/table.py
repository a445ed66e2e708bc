"""One TOML table, read key by key: every mistake in it is noted, and what is right is kept.

Never put a rule's meaning here.
"""

from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from watcher.core.diagnostics import Diagnostic, diagnose, visible
from watcher.core.expression import ExpressionError
from watcher.core.model import Event
from watcher.core.places import Path, Place, Places
from watcher.core.units import read_duration
from watcher.core.vocabulary import near

T = TypeVar("T")
_LONGEST_NUMBER = 100  # bits
_MEANT = {
    "channel": "notify", "channels": "notify", "condition": "when", "expr": "when", "hold": "for", "repeat": "remind",
    "reminder": "remind", "timezone": "tz", "text": "message", "body": "message", "threshold": "when",
}  # fmt: skip


class Source(Struct):
    """A file that is being read, and what was wrong so far."""

    path: str
    text: str
    places: Places
    diagnostics: list[Diagnostic] = msgspec.field(default_factory=list)

    def wrong(self, place: Place, message: str, *, rule: str = "") -> None:
        """Notes a mistake."""
        self.diagnostics.append(diagnose(self.path, self.text, place, message, rule=rule))


class TableReader:
    """What readers of tables have in common: types, durations, expressions, and the noting of mistakes."""

    def __init__(self, source: Source, path: Path, name: str) -> None:
        """`name`: of the rule that the table is, or belongs to."""
        self.source = source
        self.path = path
        self.name = name

    def _typed(self, path: Path, table: dict[str, Any], entry: type[Struct]) -> dict[str, Any]:
        """The table's keys that are known and of the right type; all others are noted."""
        fields = {field.encode_name: field for field in msgspec.structs.fields(entry)}
        good: dict[str, Any] = {}
        for key, value in table.items():
            field = fields.get(key)
            if field is None:
                meant = _MEANT.get(key) if _MEANT.get(key) in fields else near(key, tuple(fields))
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

    def _expression(self, path: Path, read: Callable[[], T], level: Path | None = None) -> T | None:
        """What was read; None, and a note, where it is wrong. `level`: where the value of the word `level` stands."""
        try:
            return read()
        except ExpressionError as error:
            place = self.source.places.within(path, error.start, error.end)
            if level in self.source.places.values and self._is_level(place):
                place = self.source.places.within(level or path, 0, len(self.source.text))
            message = f"{error.message}; {error.hint}" if error.hint else error.message
            self.source.wrong(place, message, rule=self.name)
            return None

    def _is_level(self, place: Place) -> bool:
        return self.source.text[place.start : place.end] == "level"

    def _duration(self, path: Path, text: str | None) -> timedelta | None:
        if text is None:
            return None
        try:
            return read_duration(text)
        except ValueError as error:
            self._wrong(path, str(error))
            return None

    def _wrong(self, path: Path, message: str, *, of_key: bool = False) -> None:
        places = self.source.places
        self.source.wrong(places.key(path) if of_key else places.value(path), message, rule=self.name)


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
    if isinstance(value, int) and value.bit_length() > _LONGEST_NUMBER:
        return "a number of very many digits"  # which Python would refuse to write out
    return visible(str(value), 40)


def _takes(wanted: Any) -> str:
    """What a key takes, in the words of its type."""
    waiting = [wanted]
    while waiting:
        each = waiting.pop(0)
        for note in getattr(each, "__metadata__", ()):
            if note.title:
                return str(note.title)
        waiting += [getattr(each, "__origin__", None), *getattr(each, "__args__", ())]
    raise TypeError("a key without words for what it takes")


def _near_choice(value: Any, wanted: Any) -> str:
    """`; did you mean "warning"?` where the value is a slip of one of the texts in what the key takes."""
    if not isinstance(value, str):
        return ""
    if value == Event.REMINDER:
        return "; reminders are asked for by `remind`"
    takes = _takes(wanted)
    choices = [part.strip('",.') for part in takes.split() if part.startswith('"')]
    meant = near(value, choices)
    if meant and takes.startswith("a list of") and meant == value:
        return f'; did you mean ["{meant}"]?'
    return f'; did you mean "{meant}"?' if meant else ""
