"""The shape of `config.toml`, and the mistakes of a file that has another shape, each with its place."""

import re
from pathlib import Path
from typing import Any, Literal, TypeVar
from urllib.parse import urlsplit

from msgspec import Struct, field

from watcher.config.metrics import MetricsTable
from watcher.core.model import is_loopback
from watcher.core.rules import loader
from watcher.core.rules.diagnostics import (
    Diagnostic,
    KeyPath,
    TomlPositions,
    convert_table,
    create_diagnostic,
)
from watcher.notifiers.base import SettingError, check_header, check_url
from watcher.providers import Overrides
from watcher.system.files import find_write_problem, read_file

MAX_FILE_BYTES = 1_000_000
BASE_SCHEMES = ("http", "https")
PROXY_SCHEMES = (*BASE_SCHEMES, "socks5", "socks5h", "socks4", "socks4a")
T = TypeVar("T")

# --- the shape of config.toml; docstrings become the editor's help --------------------------------------------------


class PollTable(Struct, forbid_unknown_fields=True):
    """How often to poll."""

    every: str | None = None
    hints: bool = True


class ProviderTable(Overrides, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One provider."""

    enabled: bool | None = None  # None: if a login is found
    every: str | None = None
    source: Literal["cache", "server", "auto"] | None = None
    insecure: bool = False  # its requests may go to another machine without TLS

    def __post_init__(self) -> None:
        if self.base_url is not None:
            check_url(self.base_url, "base_url", BASE_SCHEMES)
            parts = urlsplit(self.base_url)
            is_local = is_loopback(parts.hostname or "")
            if parts.scheme == "http" and not (is_local or self.insecure):
                raise ValueError(
                    "`base_url`: http:// sends the login unencrypted to another machine; use https://, or allow it by"
                    " insecure = true under the same provider"
                )
        if self.user_agent is not None:
            check_header(self.user_agent, "user_agent")
        if not all(path.strip() for path in self.credentials):
            raise ValueError('`credentials`: write a path, or a list such as ["~/.claude"]')


class NetworkTable(Struct, forbid_unknown_fields=True):
    """How requests leave this machine."""

    proxy: str | None = None
    no_proxy: str | None = None
    ca_bundle: str = "system"
    status_pages: bool = True

    def __post_init__(self) -> None:
        if self.proxy is not None:
            check_url(self.proxy, "proxy", PROXY_SCHEMES)
        if not self.ca_bundle.strip():
            raise ValueError('`ca_bundle`: write "system" or a path')


class RouteTable(Struct, forbid_unknown_fields=True):
    """The channels of alerts whose rule names none."""

    default: list[str] | None = None
    info: list[str] | None = None
    warning: list[str] | None = None
    critical: list[str] | None = None


class QuietTable(Struct, forbid_unknown_fields=True):
    """When only critical alerts are sent."""

    hours: str
    tz: str | None = None


class RulesTable(Struct, forbid_unknown_fields=True):
    """Shipped rules in force beside the files."""

    use: list[str] = field(default_factory=list)


class ConfigDocument(Struct, forbid_unknown_fields=True):
    """The whole file."""

    poll: PollTable = field(default_factory=PollTable)
    providers: dict[str, Any] = field(default_factory=dict)  # each a `ProviderTable`
    channels: dict[str, dict[str, Any]] = field(default_factory=dict)
    route: RouteTable = field(default_factory=RouteTable)
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
        is_invalid: it is no TOML, so that nothing in it is known.
        problems: in the order in which they are found, also by the loader.
    """

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        self.text = ""
        self.is_invalid = False
        self.problems: list[Diagnostic] = []
        self._positions = TomlPositions("")

    def read(self) -> ConfigDocument:
        """The whole file, less its mistakes, which are in `problems`."""
        text = read_text(Path(self.path), self.problems)
        if text is None:
            return ConfigDocument()
        self.text = text
        found = loader.parse_toml_document(text, self.path)
        if isinstance(found, Diagnostic):
            self.is_invalid = True
            return ConfigDocument()  # the loader of rules reads the same text and reports it
        raw, self._positions = found
        return self.convert_table(raw, ConfigDocument) or ConfigDocument()

    def convert_table(self, raw: Any, kind: type[T], key_path: KeyPath = ()) -> T | None:
        """`raw` as a record of that kind, without what is refused, which is a problem; None if that leaves none."""
        try:
            return convert_table(raw, kind, self.add_problem, key_path)
        except SettingError as error:
            self.add_problem((*key_path, *error.path), str(error), span=error.span)
        except ValueError as error:  # a check of the record itself; it names the key, never the value
            named = re.match(r"`(\w+)`", str(error))
            self.add_problem((*key_path, named[1]) if named and named[1] in raw else key_path, str(error))
        return None

    def add_problem(
        self, key_path: KeyPath, message: str, *, at_key: bool = False, span: tuple[int, int] | None = None
    ) -> None:
        """Add a problem of the value at `key_path`, of its key, or of a part of its text."""
        if span is not None:
            place = self._positions.find_in_value(key_path, *span)
        else:
            place = self._positions.find_key(key_path) if at_key else self._positions.find_value(key_path)
        self.problems.append(create_diagnostic(self.path, self.text, place, message))
