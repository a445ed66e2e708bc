"""`config.toml` as it is written: the shape of its tables, and what is wrong with a file that has another.

Never put here what a setting means: `watcher.config` does that.
"""

import re
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import msgspec
from msgspec import Struct, field

from watcher.core import rulebook
from watcher.core.diagnostics import Diagnostic, diagnose
from watcher.core.places import Place, Places
from watcher.core.vocabulary import near

MOST_BYTES = 1_000_000  # of one file; more is not something a person wrote

Where = tuple[str | int, ...]
"""Keys and indexes from the top of the file: ("channels", "team", "url")."""

# --- the shape of config.toml; docstrings become the editor's help --------------------------------------------------


class PollTable(Struct, forbid_unknown_fields=True):
    """How often to ask."""

    every: str | None = None
    hints: bool = True


class ProviderTable(Struct, forbid_unknown_fields=True):
    """One provider."""

    enabled: bool | None = None
    every: str | None = None
    base_url: str | None = None
    credentials: str | None = None
    token: str | None = None
    database: str | None = None
    accounts: str | None = None
    source: Literal["cache", "server", "auto"] | None = None
    user_agent: str | None = None
    reset_credits: bool | None = None


class QuietTable(Struct, forbid_unknown_fields=True):
    """When only what is critical is said."""

    hours: str
    tz: str | None = None


class Document(Struct, forbid_unknown_fields=True):
    """The whole file. Rules are read by the rulebook, channels by their notifiers."""

    poll: PollTable = field(default_factory=PollTable)
    providers: dict[str, ProviderTable] = field(default_factory=dict)
    channels: dict[str, dict[str, Any]] = field(default_factory=dict)
    route: dict[str, list[str]] = field(default_factory=dict)
    quiet: QuietTable | None = None
    rule: Any = None  # whatever it is: the rulebook reads it, and says what is wrong with it


def read_text(path: Path, problems: list[Diagnostic]) -> str | None:
    """A file's text with line ends as newlines; None, and a problem, where it cannot be had."""
    try:
        data = path.read_bytes()
    except OSError as error:
        problems.append(unreadable(str(path), error))
        return None
    if len(data) > MOST_BYTES:
        message = f"is {len(data):,} bytes; at most {MOST_BYTES:,} are read"
        problems.append(Diagnostic(path=str(path), line=1, column=1, message=message))
        return None
    try:
        return data.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        message = "is not UTF-8 text; save it as UTF-8"
        problems.append(Diagnostic(path=str(path), line=line, column=1, message=message))
        return None


def unreadable(path: str, error: OSError) -> Diagnostic:
    """What is said of a file or folder that is there and cannot be read."""
    return Diagnostic(path=path, line=1, column=1, message=f"cannot be read: {error.strerror}")


class ConfigFile:
    """One `config.toml`, and everything that is found to be wrong with it.

    Attributes:
        path: as messages name it.
        text: of the file; empty where there is none or it cannot be read.
        problems: in the order of discovery; others that read beside it may add theirs.
    """

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        self.text = ""
        self.problems: list[Diagnostic] = []
        self._places: Places | None = None

    def read(self) -> Document:
        """The whole file, or what of it can be used: `problems` says what cannot."""
        text = read_text(Path(self.path), self.problems)
        if text is None:
            return Document()
        self.text = text
        found = rulebook.read_document(text, self.path)
        if isinstance(found, Diagnostic):
            return Document()  # the rulebook reads the same file, and says what and where
        raw, self._places = found
        document: Document = self.table(raw, Document, ())
        return document

    def table(self, raw: Any, kind: type[Any], where: Where) -> Any:
        """`raw` as a table of that kind; unknown keys and wrong types are problems, the rest is kept."""
        if not isinstance(raw, dict):
            self.problem(where, "must be a table")
            return kind() if kind is not QuietTable else None
        good = {}
        types = {each.encode_name: each for each in msgspec.structs.fields(kind)}
        for key, value in raw.items():
            if key not in types:
                self.unknown((*where, key), "key", key, tuple(types))
                continue
            try:
                good[key] = self._member(types[key].type, value, (*where, key))
            except msgspec.ValidationError as error:
                kinds = get_args(types[key].type)
                words = [word for each in kinds if get_origin(each) is Literal for word in get_args(each)]
                said = f": choose one of {', '.join(words)}" if words else f" {_refusal(error)}"
                self.problem((*where, key), f"`{key}`{said}")
        missing = [name for name, each in types.items() if each.required and name not in good and name not in raw]
        for name in missing:
            self.problem(where, f"`{name}` is missing", at_key=True)
        if any(each.required and name not in good for name, each in types.items()):
            return None
        try:
            return kind(**good)
        except ValueError as error:  # what the record itself demands of its values; it names the key, never the value
            named = re.match(r"`(\w+)`", str(error))
            self.problem((*where, named[1]) if named and named[1] in raw else where, str(error))
            return None

    def _member(self, kind: Any, value: Any, where: Where) -> Any:
        if isinstance(kind, type) and issubclass(kind, Struct):
            return self.table(value, kind, where)
        if kind == QuietTable | None:
            return self.table(value, QuietTable, where)
        if kind == dict[str, ProviderTable] and isinstance(value, dict):
            return {name: self.table(table, ProviderTable, (*where, name)) for name, table in value.items()}
        if kind == dict[str, list[str]] and isinstance(value, dict):
            return self._lists(value, where)
        return msgspec.convert(value, kind)

    def _lists(self, raw: dict[str, Any], where: Where) -> dict[str, list[str]]:
        """A table of lists; each that is none is a problem of its own, at its own place."""
        good = {}
        for key, value in raw.items():
            try:
                good[key] = msgspec.convert(value, list[str])
            except msgspec.ValidationError as error:
                self.problem((*where, key), f"`{key}` {_refusal(error)}")
        return good

    def problem(self, where: Where, message: str, *, at_key: bool = False) -> None:
        """Note what is wrong with the value at a place, or with its key."""
        if self._places is None:
            place = Place(0, 1)
        else:
            place = self._places.key(where) if at_key else self._places.value(where)
        self.problems.append(diagnose(self.path, self.text, place, message))

    def unknown(self, where: Where, what: str, word: str, valid: tuple[str, ...]) -> None:
        """Note a word that means nothing here, with the nearest one that does."""
        close = near(word, valid)
        hint = f"did you mean `{close}`?" if close else f"valid: {', '.join(valid)}"
        self.problem(where, f"unknown {what} `{word}`; {hint}", at_key=True)


_WORDS = {
    "array": "a list", "object": "a table", "str": "a text", "int": "a whole number", "float": "a number",
    "bool": "true or false", "datetime": "a date", "date": "a date", "time": "a time",
}  # fmt: skip
_REFUSAL = re.compile(r"Expected `([^`]+)`, got `([^`]+)`")


def _refusal(error: msgspec.ValidationError) -> str:
    """What a key takes and what it was given, in the words of TOML."""
    text = str(error).split(" - at ")[0]
    found = _REFUSAL.fullmatch(text)
    if found is None:
        return f"is refused: {text}"
    wanted, given = (
        " or ".join(_WORDS.get(word, word) for word in group.split(" | ") if word != "null") for group in found.groups()
    )
    return f"takes {wanted}, not {given}"
