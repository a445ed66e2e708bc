"""Reports mistakes in TOML files: what is wrong, where, and what would be valid.

::

    rules/mine.toml:3:17: rule "claude": claude has no window or field `five_hours`; did you mean `five_hour`?
      3 | when = "claude.five_hours > 80%"
        |                ^^^^^^^^^^
"""

import re
import tomllib
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar, get_args

import msgspec
from msgspec import Struct, ValidationError

from watcher.core.redaction import redact_toml_line

T = TypeVar("T")
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


MAX_DIAGNOSTICS = 50
"""The most that are shown; a file with more repeats one mistake."""

_MAX_WIDTH = 100
_MIN_WORD_LENGTH = 3  # shorter words match too much
CLOSE, VERY_CLOSE = 0.6, 0.85  # part of both words that is alike


class Diagnostic(Struct, frozen=True, order=True):
    """One mistake. Line and column count from 1; column and width in characters."""

    path: str
    line: int
    column: int
    message: str
    rule: str = ""  # the rule's name; empty outside of rules
    source: str = ""  # the line it is in
    width: int = 1

    def __str__(self) -> str:
        rule = f'rule "{sanitize_for_terminal(self.rule)}": ' if self.rule else ""
        head = f"{sanitize_for_terminal(self.path, 1000)}:{self.line}:{self.column}: {rule}{self.message}"
        if not self.source.strip():
            return head
        source, column, width = _clip_line(self.source, self.column - 1, self.width)
        margin = " " * len(str(self.line))
        return f"{head}\n  {self.line} | {source}\n  {margin} | {' ' * column}{'^' * width}"


def create_diagnostic(path: str, text: str, span: TextSpan, message: str, *, rule: str = "") -> Diagnostic:
    """The diagnostic that points at a place in a text."""
    start = min(span.start, len(text))
    line_start, line_end = text.rfind("\n", 0, start) + 1, text.find("\n", start)
    line_end = len(text) if line_end < 0 else line_end
    return Diagnostic(
        path=path,
        line=text.count("\n", 0, start) + 1,
        column=start - line_start + 1,
        message=message,
        rule=rule,
        source=redact_toml_line(text, line_start, text[line_start:line_end]),
        width=max(1, min(span.end, line_end) - start),
    )


def format_diagnostics(diagnostics: Iterable[Diagnostic]) -> str:
    """All of them as one text, sorted by place; of more than `MAX_DIAGNOSTICS`, the first, and how many follow."""
    ordered = sorted(diagnostics)
    blocks = [str(each) for each in ordered[:MAX_DIAGNOSTICS]]
    if len(ordered) > MAX_DIAGNOSTICS:
        blocks.append(f"... and {len(ordered) - MAX_DIAGNOSTICS:,} more")
    return "\n".join(blocks)


def sanitize_for_terminal(text: str, max_length: int = 80) -> str:
    """The text on one line, clipped, with nothing in it that could move a terminal's cursor."""
    shown = text if len(text) <= max_length else text[: max_length - 3] + "..."
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in shown)


def _clip_line(source: str, column: int, width: int) -> tuple[str, int, int]:
    """The part of a long line around its mistake, with the caret moved along."""
    line = "".join(c if c.isprintable() else " " if c == "\t" else "?" for c in source)
    left = max(0, column - _MAX_WIDTH // 2) if len(line) > _MAX_WIDTH else 0
    right = left + _MAX_WIDTH
    before, after = "..." if left else "", "..." if right < len(line) else ""
    width = max(1, min(width, right - column))
    return before + line[left:right] + after, column - left + len(before), width


def suggest_word(word: str, valid: Iterable[str], otherwise: str = "") -> str:
    """A hint for an unknown word: "did you mean `weekly`?", else `otherwise`, or all that is valid."""
    close = find_close_match(word, tuple(valid))
    return f"did you mean `{close}`?" if close else otherwise or f"valid: {', '.join(valid) or 'none'}"


def find_close_match(word: str, candidates: Iterable[str], cutoff: float = CLOSE) -> str | None:
    """The candidate that was probably meant; None if none is close.

    Args:
        word: as it was written.
        candidates: what would be valid, likelier first.
        cutoff: how alike both must be; `CLOSE` also takes a word of which only the end is missing.
    """
    from difflib import get_close_matches  # noqa: PLC0415 - only where a text has a mistake

    by_lower_case = {each.lower(): each for each in candidates}
    word = word.lower()
    alike = get_close_matches(word, by_lower_case, n=1, cutoff=cutoff)
    if cutoff == CLOSE and len(word) >= _MIN_WORD_LENGTH:
        alike = [each for each in by_lower_case if each.startswith(word)] or alike
    return by_lower_case[alike[0]] if alike else None


_FIELD_PATH = re.compile(r"\.(\w+)|\[(\d+)\]")
_FIELD_ERROR = re.compile(r"(unknown|missing required) field `(.*)`$")


def convert_table(raw: Any, kind: type[T], add_problem: Callable[..., None], table: KeyPath = ()) -> T | None:
    """A table as a record of that kind; None if a mistake leaves none.

    A value that is refused is taken out of `raw` and the rest tried again, so that all mistakes are found.

    Args:
        raw: the table.
        kind: the record.
        add_problem: takes the path of a value, what is wrong with it, and `at_key` if its key is meant.
        table: the path of the table.

    Raises:
        ValueError: a check of the record itself, and of none in it.
    """
    removed: set[KeyPath] = set()
    for _ in range(MAX_DIAGNOSTICS):
        try:
            return msgspec.convert(raw, kind)
        except ValidationError as error:
            message, _, where = str(error).partition(" - at `$")
            path: KeyPath = tuple(
                name or int(index) for name, index in _FIELD_PATH.findall(where.partition("[...]")[0])
            )
            named = _FIELD_ERROR.search(message)
            if isinstance(error.__cause__, ValueError):
                if not path:
                    raise error.__cause__ from None
                checked = re.match(r"`(\w+)`", message)  # by a record in the table; it names the key
                add_problem((*table, *path, checked[1]) if checked else (*table, *path), message)
            elif named is None:
                choices = list_choices(_list_fields(kind, path[:-1]).get(str(path[-1]))) if "enum" in message else ()
                expected = f": choose one of {', '.join(choices)}" if choices else f" {describe_type_error(error)}"
                key = next((each for each in reversed((*table, *path)) if isinstance(each, str)), "file")
                add_problem((*table, *path), f"`{key}`{expected}")
            elif named[1] == "unknown":
                hint = suggest_word(named[2], tuple(_list_fields(kind, path)))
                path = (*path, named[2])
                add_problem(
                    (*table, *path), f"unknown key `{sanitize_for_terminal(named[2], 40)}`; {hint}", at_key=True
                )
            elif (*path, named[2]) not in removed:
                add_problem((*table, *path), f"`{named[2]}` is missing", at_key=True)
            path = _remove_value(raw, path)
            if not path:
                return None
            removed.add(path)
    return None


def _list_fields(kind: Any, path: KeyPath) -> dict[str, Any]:
    """The keys of the record at that path below another, with their types."""
    fields = {each.encode_name: each.type for each in msgspec.structs.fields(_find_record(kind))}
    names = [key for key in path if isinstance(key, str)]
    return _list_fields(fields[names[0]], tuple(names[1:])) if names else fields


def _find_record(kind: Any) -> Any:
    """The record in a type such as `list[Record] | None`; None if there is none."""
    if isinstance(kind, type) and issubclass(kind, Struct):
        return kind
    return next((found for each in get_args(kind) if (found := _find_record(each))), None)


def list_choices(kind: Any) -> tuple[str, ...]:
    """The words that a value of that type, or a value in it, may be."""
    return tuple(_iter_choices(msgspec.json.schema(kind)))


def _iter_choices(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        yield from (word for word in schema.get("enum", ()) if word is not None)
        schema = list(schema.values())
    for part in schema if isinstance(schema, list) else ():
        yield from _iter_choices(part)


def _remove_value(raw: Any, path: KeyPath) -> KeyPath:
    """Take a value out, or the list that it is in; returns the path of what was taken out, empty if nothing was."""
    while path:
        parent = raw
        for key in path[:-1]:
            parent = parent[key]
        if isinstance(parent, dict):
            return path if parent.pop(path[-1], ...) is not ... else ()
        path = path[:-1]
    return ()


_TYPE_NAMES = {
    "array": "a list", "object": "a table", "str": "a text", "int": "a whole number", "float": "a number",
    "bool": "true or false", "datetime": "a date", "date": "a date", "time": "a time",
}  # fmt: skip
_TYPE_ERROR_PATTERN = re.compile(r"Expected `([^`]+)`, got `([^`]+)`")


def describe_type_error(error: ValidationError) -> str:
    """The expected and the given type, in the words of TOML."""
    text = str(error).split(" - at ")[0]
    found = _TYPE_ERROR_PATTERN.fullmatch(text)
    if found is None:
        return "is refused: " + re.sub("`(.*?)`", lambda each: _TYPE_NAMES.get(each[1], each[0]), text)
    wanted, given = (
        " or ".join(_TYPE_NAMES.get(word, word) for word in group.split(" | ") if word != "null")
        for group in found.groups()
    )
    hint = {"a list": "; put it in brackets", "a text": "; put it in quotes"}.get(wanted, "")
    return f"takes {wanted}, not {given}{hint if given not in ('a list', 'a table') else ''}"
