"""Finds where each key and value of a TOML document is written, so that a diagnostic can point at it.

`tomllib` gives values without positions. It has already accepted the text that is searched here.
"""

import re
import tomllib

from msgspec import Struct

KeyPath = tuple[str | int, ...]
"""Keys and indexes from the top: ("rule", 0, "example", 1, "used", 3)."""

_PART = r"""(?:[A-Za-z0-9_-]+|"(?:\\.|[^"\\\n])*"|'[^'\n]*')"""
_KEY = re.compile(rf"{_PART}(?:[ \t]*\.[ \t]*{_PART})*")
_KEY_PART = re.compile(_PART)
_HEADER = re.compile(rf"(?P<brackets>\[\[?)[ \t]*(?P<key>{_KEY.pattern})[ \t]*\]\]?")
_EQUALS = re.compile(r"[ \t]*=[ \t]*")
_GAP = re.compile(r"(?:[ \t\n,]+|#[^\n]*)*")  # between keys, between values
_SIMPLE_VALUE = re.compile(
    r'''"""(?:\\.|[^\\])*?"{3,5}|\'\'\'.*?'{3,5}|"(?:\\.|[^"\\])*"|'[^']*'|[^,\]}\#\n]*[^,\]}\#\s]''', re.DOTALL
)
_CHARACTER = re.compile(r"\\[ \t]*\n[ \t\n]*|\\u.{4}|\\U.{8}|\\.|.", re.DOTALL)
_LINE_CONTINUATION = re.compile(r"\\\s")


class TextSpan(Struct, frozen=True):
    """A part of the text, as offsets of characters."""

    start: int
    end: int


class TomlPositions:
    """The positions of all keys and values of one document."""

    def __init__(self, text: str) -> None:
        """`text` is valid TOML with `\\n` line ends."""
        self.text = text
        self.key_spans: dict[KeyPath, TextSpan] = {}
        self.value_spans: dict[KeyPath, TextSpan] = {}
        self._array_lengths: dict[KeyPath, int] = {}  # tables of each array of tables, so far
        self._scan_document()

    def find_key(self, path: KeyPath) -> TextSpan:
        """The span of that key or of its table's header; if it is not written, of the nearest one above it."""
        for length in range(len(path), 0, -1):
            span = self.key_spans.get(path[:length]) or self.value_spans.get(path[:length])
            if span is not None:
                return span
        return TextSpan(0, 1)

    def find_value(self, path: KeyPath) -> TextSpan:
        """The span of that value; of its key if the value is a table with its own header."""
        return self.value_spans.get(path) or self.find_key(path)

    def find_in_value(self, path: KeyPath, start: int, end: int) -> TextSpan:
        """The span of a part of a string; `start` and `end` are offsets into the string's value."""
        span = self.find_value(path)
        offsets = _list_character_offsets(self.text[span.start : span.end])
        if not offsets:
            return span
        last = len(offsets) - 1  # the closing quote
        first = span.start + offsets[min(start, last)]
        return TextSpan(first, max(span.start + offsets[min(end, last)], first + 1))

    def _scan_document(self) -> None:
        table: KeyPath = ()
        offset = self._skip_gap(0)
        while offset < len(self.text):
            header = _HEADER.match(self.text, offset)
            if header is None:
                offset = self._scan_pair(table, offset)
            else:
                table = self._add_table(header)
                offset = header.end()
            offset = self._skip_gap(offset)

    def _add_table(self, header: re.Match[str]) -> KeyPath:
        span = TextSpan(*header.span())
        names = _split_key(header["key"])
        path: KeyPath = ()
        for index, name in enumerate(names, 1):
            path = (*path, name)
            self.key_spans.setdefault(path, span)  # also of a table that has no header of its own
            if index == len(names) and header["brackets"] == "[[":
                self._array_lengths[path] = self._array_lengths.get(path, 0) + 1
            if path in self._array_lengths:
                path = (*path, self._array_lengths[path] - 1)
        self.key_spans[path] = span
        return path

    def _scan_pair(self, table: KeyPath, offset: int) -> int:
        """Adds the key and the value at `offset`; returns where they end."""
        key_end = _match_end(_KEY, self.text, offset)
        path = (*table, *_split_key(self.text[offset:key_end]))
        for length in range(len(table) + 1, len(path) + 1):
            self.key_spans.setdefault(path[:length], TextSpan(offset, key_end))
        return self._scan_value(path, _match_end(_EQUALS, self.text, key_end))

    def _scan_value(self, path: KeyPath, start: int) -> int:
        """Adds the value at `start` with everything inside it; returns where it ends."""
        opening = self.text[start]
        if opening in "[{":
            index = 0
            offset = self._skip_gap(start + 1)
            while self.text[offset] not in "]}":
                offset = self._scan_value((*path, index), offset) if opening == "[" else self._scan_pair(path, offset)
                offset = self._skip_gap(offset)
                index += 1
            end = offset + 1
        else:
            end = _match_end(_SIMPLE_VALUE, self.text, start)
        self.value_spans[path] = TextSpan(start, end)
        return end

    def _skip_gap(self, offset: int) -> int:
        return _match_end(_GAP, self.text, offset)


def _match_end(pattern: re.Pattern[str], text: str, offset: int) -> int:
    found = pattern.match(text, offset)
    return found.end() if found else offset + 1


def _split_key(key: str) -> list[str]:
    parts = _KEY_PART.findall(key)
    return [tomllib.loads(f"part = {part}")["part"] if part[0] in "\"'" else part for part in parts]


def _list_character_offsets(literal: str) -> list[int]:
    """Where each character of a string is written in its literal, and last the closing quote; [] for other values."""
    quote = literal[0]
    if quote not in "\"'":
        return []
    fence = 3 if literal.startswith(quote * 3) else 1
    start = fence + literal.startswith("\n", fence)
    end = len(literal) - fence
    if quote == "'":
        return [*range(start, end + 1)]
    characters = _CHARACTER.finditer(literal, start, end)
    return [each.start() for each in characters if not _LINE_CONTINUATION.match(each[0])] + [end]
