"""Where in a TOML text each key and value stands, so that a diagnostic can point at it.

`tomllib` gives values without positions; this walks the same text, which `tomllib` has already accepted, and notes
them. It never judges what it walks over. Never put a rule's key here.
"""

import re
from collections.abc import Iterator

from msgspec import Struct

Path = tuple[str | int, ...]
"""Keys and indexes from the top: ("rule", 0, "example", 1, "used", 3)."""

_BLANK = re.compile(r"(?:[ \t\n]+|#[^\n]*)+")
_SPACE = re.compile(r"[ \t]*")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_BARE_VALUE = re.compile(r"[^,\]}#\n]*")
_PLAIN = re.compile(r'[^"\\]+')
_ESCAPED = {"b": "\b", "t": "\t", "n": "\n", "f": "\f", "r": "\r"}


class Place(Struct, frozen=True):
    """A stretch of the text, as offsets of characters."""

    start: int
    end: int


class Places:
    """All places of one document."""

    def __init__(self, text: str) -> None:
        """`text` is valid TOML, its line ends single line feeds."""
        self.text = text
        self.keys: dict[Path, Place] = {}
        self.values: dict[Path, Place] = {}
        self._at = 0
        self._counts: dict[Path, int] = {}  # tables of each array of tables, so far
        self._document()

    def key(self, path: Path) -> Place:
        """Where that key is written, or the table's header; the nearest one above where it is not."""
        for length in range(len(path), 0, -1):
            place = self.keys.get(path[:length]) or self.values.get(path[:length])
            if place is not None:
                return place
        return Place(0, 1)

    def value(self, path: Path) -> Place:
        """Where that value is written; its key where the value is a table with a header of its own."""
        return self.values.get(path) or self.key(path)

    def within(self, path: Path, start: int, end: int) -> Place:
        """Where a stretch of a text value is written, given as offsets into the text that it stands for."""
        place = self.value(path)
        offsets = list(_offsets(self.text, place))
        if not offsets:
            return place
        last = len(offsets) - 1  # the closing quote
        first = offsets[min(start, last)]
        return Place(first, max(offsets[min(end, last)], first + 1))

    def _document(self) -> None:
        table: Path = ()
        while True:
            self._blank()
            if self._at >= len(self.text):
                return
            if self.text[self._at] == "[":
                table = self._header()
            else:
                self._pair(table)

    def _header(self) -> Path:
        start = self._at
        is_array = self.text.startswith("[[", start)
        self._at += 2 if is_array else 1
        names = self._key()
        self._at += 2 if is_array else 1
        path: Path = ()
        for i, name in enumerate(names):
            path = (*path, name)
            self.keys.setdefault(path, Place(start, self._at))  # also of a table that has no header of its own
            if is_array and i == len(names) - 1:
                self._counts[path] = self._counts.get(path, 0) + 1
            if path in self._counts:
                path = (*path, self._counts[path] - 1)
        self.keys[path] = Place(start, self._at)
        return path

    def _pair(self, table: Path) -> None:
        start = self._at
        names = self._key()
        path = (*table, *names)
        for length in range(len(table) + 1, len(path) + 1):
            self.keys.setdefault(path[:length], Place(start, self._at))
        self._space()
        self._at += 1  # the equals sign
        self._space()
        self._value(path)

    def _value(self, path: Path) -> None:
        start = self._at
        first = self.text[start]
        if first in "\"'":
            self._at = _after_string(self.text, start)
        elif first == "[":
            self._array(path)
        elif first == "{":
            self._inline_table(path)
        else:
            found = _BARE_VALUE.match(self.text, start)
            self._at = start + len(found.group().rstrip()) if found else start + 1
        self.values[path] = Place(start, self._at)

    def _array(self, path: Path) -> None:
        self._at += 1
        index = 0
        while True:
            self._blank()
            if self.text[self._at] == "]":
                break
            self._value((*path, index))
            index += 1
            self._blank()
            if self.text[self._at] == ",":
                self._at += 1
        self._at += 1

    def _inline_table(self, path: Path) -> None:
        self._at += 1
        while True:
            self._blank()
            if self.text[self._at] == "}":
                break
            self._pair(path)
            self._blank()
            if self.text[self._at] == ",":
                self._at += 1
        self._at += 1

    def _key(self) -> list[str]:
        names = []
        while True:
            self._space()
            start = self._at
            if self.text[start] in "\"'":
                self._at = _after_string(self.text, start)
                names.append("".join(_characters(self.text, Place(start, self._at))))
            else:
                found = _BARE_KEY.match(self.text, start)
                self._at = found.end() if found else start + 1
                names.append(self.text[start : self._at])
            end = self._at
            self._space()
            if not self.text.startswith(".", self._at):
                self._at = end if not self.text.startswith("]", self._at) else self._at
                return names
            self._at += 1

    def _blank(self) -> None:
        found = _BLANK.match(self.text, self._at)
        self._at = found.end() if found else self._at

    def _space(self) -> None:
        found = _SPACE.match(self.text, self._at)
        self._at = found.end() if found else self._at


def _after_string(text: str, start: int) -> int:
    """The offset after the string literal that begins at `start`."""
    quote = text[start]
    fence = quote * 3 if text.startswith(quote * 3, start) else quote
    at = start + len(fence)
    if quote == "'":
        at = text.index(fence, at)
    else:
        while not text.startswith(fence, at):
            plain = _PLAIN.match(text, at)
            at = plain.end() if plain else at + (2 if text[at] == "\\" else 1)
    at += len(fence)
    if len(fence) > 1:  # up to two quotes may stand before the closing three
        for _ in range(2):
            at += text.startswith(quote, at)
    return at


def _steps(text: str, place: Place) -> Iterator[tuple[int, str]]:
    """Every character that a string literal stands for, with the offset at which it is written."""
    quote = text[place.start]
    fence = 3 if text.startswith(quote * 3, place.start) and place.end - place.start >= 6 else 1  # noqa: PLR2004
    at, end = place.start + fence, place.end - fence
    if fence > 1 and text.startswith("\n", at):
        at += 1
    while at < end:
        if quote == "'" or text[at] != "\\":
            yield at, text[at]
            at += 1
            continue
        mark = text[at + 1]
        if mark in "uU":
            length = 6 if mark == "u" else 10
            yield at, chr(int(text[at + 2 : at + length], 16))
            at += length
        elif mark in " \t\n":  # a line that goes on: blanks and line ends up to the next word stand for nothing
            at += 1
            while at < end and text[at] in " \t\n":
                at += 1
        else:
            yield at, _ESCAPED.get(mark, mark)
            at += 2


def _characters(text: str, place: Place) -> Iterator[str]:
    return (character for _, character in _steps(text, place))


def _offsets(text: str, place: Place) -> Iterator[int]:
    """Where each character of a string literal is written, and last where it closes; nothing for other values."""
    if text[place.start] not in "\"'":
        return
    yield from (at for at, _ in _steps(text, place))
    fence = 3 if text.startswith(text[place.start] * 3, place.start) and place.end - place.start >= 6 else 1  # noqa: PLR2004
    yield place.end - fence
