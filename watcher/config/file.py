"""The shape of `config.toml`, and the mistakes of a file that has another shape, each with its place."""

import re
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import msgspec
from msgspec import Struct, field

from watcher.core.rules import loader
from watcher.core.rules.diagnostics import (
    Diagnostic,
    KeyPath,
    TextSpan,
    TomlPositions,
    create_diagnostic,
    describe_type_error,
    suggest_word,
)
from watcher.notifiers.base import SettingError
from watcher.system.files import find_write_problem, read_file

MAX_FILE_BYTES = 1_000_000

# --- the shape of config.toml; docstrings become the editor's help --------------------------------------------------


class PollTable(Struct, forbid_unknown_fields=True):
    """How often to poll."""

    every: str | None = None
    hints: bool = True


class ProviderTable(Struct, forbid_unknown_fields=True):
    """One provider."""

    enabled: bool | None = None
    every: str | None = None
    base_url: str | None = None
    credentials: str | list[str] | None = None
    token: str | None = None
    database: str | None = None
    accounts: str | None = None
    source: Literal["cache", "server", "auto"] | None = None
    user_agent: str | None = None
    reset_credits: bool | None = None
    insecure: bool = False


class NetworkTable(Struct, forbid_unknown_fields=True):
    """How requests leave this machine."""

    proxy: str | None = None
    no_proxy: str | None = None
    ca_bundle: str = "system"
    status_pages: bool = True


class QuietTable(Struct, forbid_unknown_fields=True):
    """When only critical alerts are sent."""

    hours: str
    tz: str | None = None


class RulesTable(Struct, forbid_unknown_fields=True):
    """Shipped rules in force beside the files."""

    use: list[str] = field(default_factory=list)


class PushTable(Struct, forbid_unknown_fields=True):
    """Push the metrics by Prometheus' remote write."""

    url: str
    type: Literal["remote_write"] = "remote_write"
    every: str = "1m"
    headers: dict[str, str] = field(default_factory=dict)
    instance: Literal["hash", "name", "none"] = "hash"
    insecure: bool = False


class MetricsTable(Struct, forbid_unknown_fields=True):
    """Metrics for Prometheus."""

    listen: str | None = None
    token: str | None = None
    textfile: str | None = None
    detail: Literal["full", "lean"] = "full"
    account: Literal["hash", "alias", "name", "none"] = "hash"
    aliases: dict[str, str] = field(default_factory=dict)
    salt: str | None = None
    labels: dict[str, str] = field(default_factory=dict)
    push: PushTable | None = None


class ConfigDocument(Struct, forbid_unknown_fields=True):
    """The whole file."""

    poll: PollTable = field(default_factory=PollTable)
    providers: dict[str, ProviderTable] = field(default_factory=dict)
    channels: dict[str, dict[str, Any]] = field(default_factory=dict)
    route: dict[str, list[str]] = field(default_factory=dict)
    quiet: QuietTable | None = None
    network: NetworkTable = field(default_factory=NetworkTable)
    metrics: MetricsTable | None = None
    rules: RulesTable = field(default_factory=RulesTable)
    rule: Any = None  # read and checked by `watcher.core.rules.loader`


def read_text(path: Path, problems: list[Diagnostic]) -> str | None:
    """A file's text with newlines as line ends; None, and a problem, if it cannot be read or others can write it."""
    try:
        data = read_file(path, MAX_FILE_BYTES)
    except OSError as error:
        problems.append(make_unreadable_diagnostic(str(path), error))
        return None
    problem = find_write_problem(path)
    if problem is not None:
        problems.append(Diagnostic(path=str(path), line=1, column=1, message=problem))
        return None
    try:
        return data.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        message = "is not UTF-8 text; save it as UTF-8"
        problems.append(Diagnostic(path=str(path), line=line, column=1, message=message))
        return None


def make_unreadable_diagnostic(path: str, error: OSError) -> Diagnostic:
    """The problem of a file or folder that exists and cannot be read."""
    return Diagnostic(path=path, line=1, column=1, message=f"cannot be read: {error.strerror}")


class ConfigFile:
    """One `config.toml` and its problems.

    Attributes:
        path: as messages name it.
        text: of the file; empty if it cannot be read.
        problems: in the order in which they are found, also by the loader.
    """

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        self.text = ""
        self.problems: list[Diagnostic] = []
        self._positions: TomlPositions | None = None

    def read(self) -> ConfigDocument:
        """The whole file, less its mistakes, which are in `problems`."""
        text = read_text(Path(self.path), self.problems)
        if text is None:
            return ConfigDocument()
        self.text = text
        found = loader.parse_toml_document(text, self.path)
        if isinstance(found, Diagnostic):
            return ConfigDocument()  # the loader of rules reads the same text and reports it
        raw, self._positions = found
        document: ConfigDocument = self.convert_table(raw, ConfigDocument, ())
        return document

    @property
    def is_invalid(self) -> bool:
        """Whether the text is no TOML, so that nothing in it is known."""
        return bool(self.text) and self._positions is None

    def convert_table(self, raw: Any, kind: type[Any], key_path: KeyPath) -> Any:
        """`raw` as a table of that kind, without unknown keys and values of a wrong type, which are problems."""
        if not isinstance(raw, dict):
            self.add_problem(key_path, "must be a table")
            return None if kind in (QuietTable, MetricsTable, PushTable) else kind()
        good = {}
        types = {each.encode_name: each for each in msgspec.structs.fields(kind)}
        for key, value in raw.items():
            if key not in types:
                self.add_unknown_word((*key_path, key), "key", key, tuple(types))
                continue
            try:
                good[types[key].name] = self._convert_value(types[key].type, value, (*key_path, key))
            except msgspec.ValidationError as error:
                kinds = get_args(types[key].type)
                words = [word for each in kinds if get_origin(each) is Literal for word in get_args(each)]
                expected = f": choose one of {', '.join(words)}" if words else f" {describe_type_error(error)}"
                self.add_problem((*key_path, key), f"`{key}`{expected}")
        missing = [key for key, each in types.items() if each.required and key not in raw]
        for name in missing:
            self.add_problem(key_path, f"`{name}` is missing", at_key=True)
        if any(each.required and each.name not in good for each in types.values()):
            return None
        try:
            return kind(**good)
        except SettingError as error:
            self.add_problem((*key_path, *error.path), str(error), span=error.span)
            return None
        except ValueError as error:  # a check of the record itself; it names the key, never the value
            named = re.match(r"`(\w+)`", str(error))
            self.add_problem((*key_path, named[1]) if named and named[1] in raw else key_path, str(error))
            return None

    def _convert_value(self, kind: Any, value: Any, key_path: KeyPath) -> Any:
        if isinstance(kind, type) and issubclass(kind, Struct):
            return self.convert_table(value, kind, key_path)
        if kind in (QuietTable | None, MetricsTable | None, PushTable | None):
            return self.convert_table(value, get_args(kind)[0], key_path)
        if kind == dict[str, ProviderTable] and isinstance(value, dict):
            return {name: self.convert_table(table, ProviderTable, (*key_path, name)) for name, table in value.items()}
        if kind == dict[str, list[str]] and isinstance(value, dict):
            return self._convert_lists(value, key_path)
        return msgspec.convert(value, kind)

    def _convert_lists(self, raw: dict[str, Any], key_path: KeyPath) -> dict[str, list[str]]:
        """A table of lists; each value that is none is a problem at its own place."""
        good = {}
        for key, value in raw.items():
            try:
                good[key] = msgspec.convert(value, list[str])
            except msgspec.ValidationError as error:
                self.add_problem((*key_path, key), f"`{key}` {describe_type_error(error)}")
        return good

    def add_problem(
        self, key_path: KeyPath, message: str, *, at_key: bool = False, span: tuple[int, int] | None = None
    ) -> None:
        """Add a problem of the value at `key_path`, of its key, or of a part of its text."""
        if self._positions is None:
            place = TextSpan(0, 1)
        elif span is not None:
            place = self._positions.find_in_value(key_path, *span)
        else:
            place = self._positions.find_key(key_path) if at_key else self._positions.find_value(key_path)
        self.problems.append(create_diagnostic(self.path, self.text, place, message))

    def add_unknown_word(self, key_path: KeyPath, what: str, word: str, valid: tuple[str, ...]) -> None:
        """Add the problem of an unknown word, with the most similar valid one."""
        self.add_problem(key_path, f"unknown {what} `{word}`; {suggest_word(word, valid)}", at_key=True)
