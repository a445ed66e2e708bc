"""Reads the text of rule files: TOML to rules, or every mistake with its place."""

import re
import tomllib
from collections.abc import Collection, Iterable
from typing import Any

from watcher.core.redaction import redact_toml_line
from watcher.core.rules.diagnostics import (
    Diagnostic,
    TextSpan,
    TomlPositions,
    create_diagnostic,
    format_diagnostics,
    sanitize_for_terminal,
    suggest_word,
)
from watcher.core.rules.rule import Rule
from watcher.core.rules.rule_reader import RuleReader, SourceFile, format_toml_value
from watcher.errors import ConfigError

MAX_FILE_LENGTH = 262_144
_MAX_KEY_PARTS = 16

_ERROR_POSITION = re.compile(r" \(at (?:line ([0-9]+), column ([0-9]+)|end of document)\)$")
_UNQUOTED_VALUE = re.compile(r"\s*([A-Za-z_]+)\s*=\s*([^\s\"'\[{#][^#\n]*)")
_CURLY_QUOTES = "\u201c\u201d\u201e\u2018\u2019\u201a\u00ab\u00bb"
_KEY_PART = r"(?:[A-Za-z0-9_-]++|\"[^\"\n]*+\"|'[^'\n]*+')[ \t]*+"
_LONG_KEY = re.compile(rf"(?<![A-Za-z0-9_-]){_KEY_PART}(?:\.[ \t]*+{_KEY_PART}){{16}}")


def parse_rules(
    text: str, path: str, *, channels: Collection[str] | None = None, is_config: bool = False
) -> tuple[Rule, ...]:
    """The rules of one file, which may be a whole `config.toml`; `channels` as for `check_rule_files`.

    Raises:
        ConfigError: with every mistake in the file.
    """
    config_path = path if is_config else None
    rules, diagnostics = check_rule_files([(path, text)], channels=channels, config_path=config_path)
    if diagnostics:
        raise ConfigError(format_diagnostics(diagnostics))
    return rules


def check_rule_files(
    files: Iterable[tuple[str, str]],
    *,
    channels: Collection[str] | None = None,
    config_path: str | None = None,
    taken: Collection[Rule] = (),
) -> tuple[tuple[Rule, ...], list[Diagnostic]]:
    """The rules of some files that are right, and every mistake in all of them.

    Args:
        files: (path, text), as messages name the path.
        channels: names that `notify` may use; None: any.
        config_path: the file that is a whole `config.toml`, whose other keys are checked elsewhere.
        taken: rules of other files, whose names are taken.
    """
    rules = {rule.name: rule for rule in taken}
    diagnostics: list[Diagnostic] = []
    for path, text in files:
        found = parse_toml_document(text, path)
        if isinstance(found, Diagnostic):
            diagnostics.append(found)
            continue
        document, positions = found
        source = SourceFile(path, positions, diagnostics)
        for key in document.keys() - {"rule"} if path != config_path else ():
            message = f"unknown key `{sanitize_for_terminal(key, 40)}`; {suggest_word(key, ('rule',))}"
            source.add_error(positions.find_key((key,)), message)
        _read_rules(source, document.get("rule", []), channels, rules)
    return tuple(rules.values())[len(taken) :], diagnostics


def parse_toml_document(text: str, path: str) -> tuple[dict[str, Any], TomlPositions] | Diagnostic:
    """The values of a TOML text and the positions of its keys; or why it cannot be read."""
    text = text.removeprefix("\ufeff").replace("\r\n", "\n")
    if len(text) > MAX_FILE_LENGTH:
        message = f"{len(text):,} characters long; a file of rules holds at most {MAX_FILE_LENGTH:,}"
        return Diagnostic(path, 1, 1, message)
    start = 0
    for line in text.split("\n"):
        if line.count(".") >= _MAX_KEY_PARTS and _LONG_KEY.search(line) and not line.lstrip().startswith("#"):
            return create_diagnostic(
                path, text, TextSpan(start, start + 1), f"a key of more than {_MAX_KEY_PARTS} parts"
            )
        start += len(line) + 1
    try:
        return tomllib.loads(text), TomlPositions(text)
    except tomllib.TOMLDecodeError as error:
        return _diagnose_syntax_error(text, path, str(error))
    except (RecursionError, ValueError):  # thousands of brackets, or of digits in one number
        return create_diagnostic(path, text, TextSpan(0, 1), "too many brackets, or digits in a number, to read")


def decode_utf8(raw: bytes, path: str) -> str:
    """The text of a file.

    Raises:
        ConfigError: it is not UTF-8; names the line and column.
    """
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = raw[: error.start].decode("utf-8-sig", "replace")
        line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
        found = f"byte 0x{raw[error.start]:02x} is not UTF-8; save the file in that encoding"
        raise ConfigError(str(Diagnostic(path, line, column, found))) from None


def _read_rules(source: SourceFile, tables: Any, channels: Collection[str] | None, rules: dict[str, Rule]) -> None:
    """Adds the rules of one file to `rules`; two rules with one name are a mistake."""
    if not isinstance(tables, list):
        message = f"rules are written under [[rule]], not as {format_toml_value(tables)}"
        source.add_error(source.positions.find_key(("rule",)), message)
        return
    for index, table in enumerate(tables):
        rule = RuleReader(source, index, channels).read_rule(table)
        first = None if rule is None else rules.setdefault(rule.name, rule)
        if rule is not None and first is not None and first is not rule:
            file = "" if first.path == source.path else f"{first.path}, "
            message = f"this name is taken by the rule in {file}line {first.line}; rename or remove one"
            source.add_error(source.positions.find_value(("rule", index, "name")), message, rule=rule.name)


def _diagnose_syntax_error(text: str, path: str, error: str) -> Diagnostic:
    """The message of `tomllib`, with its place, and what was probably meant."""
    found = _ERROR_POSITION.search(error)
    message = _ERROR_POSITION.sub("", error)
    message = "not TOML: " + message[:1].lower() + message[1:]
    if found is None or found.group(1) is None:
        end = len(text.rstrip())
        return create_diagnostic(path, text, TextSpan(max(0, end - 1), end), message + " at the end of the file")
    lines = text.split("\n")
    line = lines[int(found.group(1)) - 1]
    offset = sum(len(each) + 1 for each in lines[: int(found.group(1)) - 1])
    start = int(found.group(2)) - 1
    end = start + 1
    unquoted = _UNQUOTED_VALUE.match(line)
    if "overwrite" in message or "twice" in message:
        start, end = len(line) - len(line.lstrip()), len(line.rstrip())
        message += "; a key or table is given twice, or [[rule]] is written as [rule]"
    elif "illegal character '\\n'" in message:
        message += "; a closing quote is missing"
    elif unquoted:
        value = unquoted.group(2).strip()
        start, end = unquoted.start(2), unquoted.start(2) + len(value)
        shown = value.strip(_CURLY_QUOTES) if redact_toml_line(text, offset, line)[start:end] == value else "..."
        message += f'; put text in straight quotes: {unquoted.group(1)} = "{sanitize_for_terminal(shown)}"'
    return create_diagnostic(path, text, TextSpan(offset + start, offset + end), message)
