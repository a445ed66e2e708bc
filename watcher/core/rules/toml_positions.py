"""Where in a TOML text each key and value stands, so that a diagnostic can point at it.

`tomllib` gives values without positions; this walks the same text, which `tomllib` has already accepted, and notes
them. It never judges what it walks over. Never put a rule's key here.
"""

import re
from collections.abc import Iterator

from msgspec import Struct

KeyPath = tuple[str | int, ...]
"""Keys and indexes from the top: ("rule", 0, "example", 1, "used", 3)."""

_BLANK = re.compile(r"(?:[ \t\n]+|#[^\n]*)+")
_SPACE = re.compile(r"[ \t]*")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_BARE_VALUE = re.compile(r"[^,\]}#\n]*")
_UNESCAPED_TEXT = re.compile(r'[^"\\]+')
_ESCAPES = {"b": "\b", "t": "\t", "n": "\n", "f": "\f", "r": "\r"}


class TextSpan(Struct, frozen=True):
    """A stretch of the text, as offsets of characters."""

    start: int
    end: int


class TomlPositions:
    """All places of one document."""

    def __init__(self, text: str) -> None:
        """`text` is valid TOML, its line ends single line feeds."""
        self.text = text
        self.key_spans: dict[KeyPath, TextSpan] = {}
        self.value_spans: dict[KeyPath, TextSpan] = {}
        self._offset = 0
        self._array_lengths: dict[KeyPath, int] = {}  # tables of each array of tables, so far
        self._scan_document()

    def find_key(self, path: KeyPath) -> TextSpan:
        """Where that key is written, or the table's header; the nearest one above where it is not."""
        for length in range(len(path), 0, -1):
            place = self.key_spans.get(path[:length]) or self.value_spans.get(path[:length])
            if place is not None:
                return place
        return TextSpan(0, 1)

    def find_value(self, path: KeyPath) -> TextSpan:
        """Where that value is written; its key where the value is a table with a header of its own."""
        return self.value_spans.get(path) or self.find_key(path)

    def find_in_value(self, path: KeyPath, start: int, end: int) -> TextSpan:
        """Where a stretch of a text value is written, given as offsets into the text that it stands for."""
        place = self.find_value(path)
        offsets = list(_iter_offsets(self.text, place))
        if not offsets:
            return place
        last = len(offsets) - 1  # the closing quote
        first = offsets[min(start, last)]
        return TextSpan(first, max(offsets[min(end, last)], first + 1))

    def _scan_document(self) -> None:
        table: KeyPath = ()
        while True:
            self._skip_blank()
            if self._offset >= len(self.text):
                return
            if self.text[self._offset] == "[":
                table = self._scan_header()
            else:
                self._scan_pair(table)

    def _scan_header(self) -> KeyPath:
        start = self._offset
        is_array = self.text.startswith("[[", start)
        self._offset += 2 if is_array else 1
        names = self._scan_key()
        self._offset += 2 if is_array else 1
        path: KeyPath = ()
        for i, name in enumerate(names):
            path = (*path, name)
            self.key_spans.setdefault(
                path, TextSpan(start, self._offset)
            )  # also of a table that has no header of its own
            if is_array and i == len(names) - 1:
                self._array_lengths[path] = self._array_lengths.get(path, 0) + 1
            if path in self._array_lengths:
                path = (*path, self._array_lengths[path] - 1)
        self.key_spans[path] = TextSpan(start, self._offset)
        return path

    def _scan_pair(self, table: KeyPath) -> None:
        start = self._offset
        names = self._scan_key()
        path = (*table, *names)
        for length in range(len(table) + 1, len(path) + 1):
            self.key_spans.setdefault(path[:length], TextSpan(start, self._offset))
        self._skip_space()
        self._offset += 1  # the equals sign
        self._skip_space()
        self._scan_value(path)

    def _scan_value(self, path: KeyPath) -> None:
        start = self._offset
        first = self.text[start]
        if first in "\"'":
            self._offset = _find_string_end(self.text, start)
        elif first == "[":
            self._scan_array(path)
        elif first == "{":
            self._scan_inline_table(path)
        else:
            found = _BARE_VALUE.match(self.text, start)
            self._offset = start + len(found.group().rstrip()) if found else start + 1
        self.value_spans[path] = TextSpan(start, self._offset)

    def _scan_array(self, path: KeyPath) -> None:
        self._offset += 1
        index = 0
        while True:
            self._skip_blank()
            if self.text[self._offset] == "]":
                break
            self._scan_value((*path, index))
            index += 1
            self._skip_blank()
            if self.text[self._offset] == ",":
                self._offset += 1
        self._offset += 1

    def _scan_inline_table(self, path: KeyPath) -> None:
        self._offset += 1
        while True:
            self._skip_blank()
            if self.text[self._offset] == "}":
                break
            self._scan_pair(path)
            self._skip_blank()
            if self.text[self._offset] == ",":
                self._offset += 1
        self._offset += 1

    def _scan_key(self) -> list[str]:
        names = []
        while True:
            self._skip_space()
            start = self._offset
            if self.text[start] in "\"'":
                self._offset = _find_string_end(self.text, start)
                names.append("".join(_iter_characters(self.text, TextSpan(start, self._offset))))
            else:
                found = _BARE_KEY.match(self.text, start)
                self._offset = found.end() if found else start + 1
                names.append(self.text[start : self._offset])
            end = self._offset
            self._skip_space()
            if not self.text.startswith(".", self._offset):
                self._offset = end if not self.text.startswith("]", self._offset) else self._offset
                return names
            self._offset += 1

    def _skip_blank(self) -> None:
        found = _BLANK.match(self.text, self._offset)
        self._offset = found.end() if found else self._offset

    def _skip_space(self) -> None:
        found = _SPACE.match(self.text, self._offset)
        self._offset = found.end() if found else self._offset


def _find_string_end(text: str, start: int) -> int:
    """The offset after the string literal that begins at `start`."""
    quote = text[start]
    fence = quote * 3 if text.startswith(quote * 3, start) else quote
    at = start + len(fence)
    if quote == "'":
        at = text.index(fence, at)
    else:
        while not text.startswith(fence, at):
            plain = _UNESCAPED_TEXT.match(text, at)
            at = plain.end() if plain else at + (2 if text[at] == "\\" else 1)
    at += len(fence)
    if len(fence) > 1:  # up to two quotes may stand before the closing three
        for _ in range(2):
            at += text.startswith(quote, at)
    return at


def _iter_offset_characters(text: str, span: TextSpan) -> Iterator[tuple[int, str]]:
    """Every character that a string literal stands for, with the offset at which it is written."""
    quote = text[span.start]
    fence = 3 if text.startswith(quote * 3, span.start) and span.end - span.start >= 6 else 1  # noqa: PLR2004
    at, end = span.start + fence, span.end - fence
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
            yield at, _ESCAPES.get(mark, mark)
            at += 2


def _iter_characters(text: str, span: TextSpan) -> Iterator[str]:
    return (character for _, character in _iter_offset_characters(text, span))


def _iter_offsets(text: str, span: TextSpan) -> Iterator[int]:
    """Where each character of a string literal is written, and last where it closes; nothing for other values."""
    if text[span.start] not in "\"'":
        return
    yield from (at for at, _ in _iter_offset_characters(text, span))
    fence = 3 if text.startswith(text[span.start] * 3, span.start) and span.end - span.start >= 6 else 1  # noqa: PLR2004
    yield span.end - fence
