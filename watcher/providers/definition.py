"""A provider as a TOML file: the records that it is read into, and every mistake in it with its place.

Imported only where such a file is read; `registry` knows the shipped ones by their index.
"""

import re
from datetime import timedelta
from decimal import Decimal, InvalidOperation
from typing import Any, Literal
from urllib.parse import urlsplit

from msgspec import Struct, field

from watcher.core.expressions import ExpressionError, compile_expression
from watcher.core.model import WindowKind, is_loopback
from watcher.core.rules import diagnostics
from watcher.core.rules.diagnostics import Diagnostic, KeyPath, TomlPositions, sanitize_for_terminal, suggest_word
from watcher.core.rules.loader import parse_toml_document
from watcher.core.rules.time_intervals import check_time_zone
from watcher.core.rules.vocabulary import FIELD_UNITS, is_currency, parse_duration
from watcher.providers import registry
from watcher.providers.registry import ProviderHead, ProviderSummary

Period = Literal["daily", "weekly", "monthly"]
UNITS = (
    "percent", "requests", "tokens", "credits", "usd", "eur", "points", "characters", "searches", "images", "messages",
    "hours", "minutes", "kwh", "flows", "diem", "units",
)  # fmt: skip
"""Units that may be written; also every other currency by its three letters."""
MAX_REQUESTS = 3

_ID_PATTERN = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
_VALUE_KEYS = (
    "used", "limit", "remaining", "used_percent", "remaining_percent", "used_fraction", "remaining_fraction",
)  # fmt: skip
_WINDOW_EXPRESSIONS = (
    *_VALUE_KEYS, "each", "where", "id_from", "resets_at", "resets_in", "resets", "unit_from", "unlimited_if",
)  # fmt: skip


class Value(Struct, frozen=True, forbid_unknown_fields=True):
    """A value by its path, with a factor of its own or as a part of a comma list."""

    path: str
    scale: str = "1"
    index: int | None = None


class RequestEntry(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One request."""

    name: str = "main"
    url: str
    method: Literal["GET", "POST"] = "GET"
    json: dict[str, Any] | None = None
    headers: dict[str, str] = {}
    auth: str = "bearer"
    error_if: str | None = None
    error_message: str | None = None
    optional: bool = False


class WindowEntry(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One window, or one for each row of a list."""

    request: str = "main"
    source: Literal["body", "headers"] = field(default="body", name="from")
    each: str | None = None
    where: str | None = None
    id: str | None = None
    id_from: str | None = None
    rename: dict[str, str] = {}
    label: str = ""
    length: str | None = None
    kind: WindowKind | None = None
    used: str | Value | None = None
    limit: str | Value | None = None
    remaining: str | Value | None = None
    used_percent: str | Value | None = None
    remaining_percent: str | Value | None = None
    used_fraction: str | Value | None = None
    remaining_fraction: str | Value | None = None
    resets_at: str | Value | None = None
    resets_in: str | Value | None = None
    resets: str | None = None
    resets_every: Period | None = None
    timezone: str = "UTC"
    unit: str | None = None
    unit_from: str | None = None
    scale: str = "1"
    unlimited_if: str | None = None


class Definition(ProviderHead, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole file."""

    request: list[RequestEntry]
    window: list[WindowEntry]


def read_definition(text: str, path: str) -> tuple[Definition | None, list[Diagnostic]]:
    """The definition in that text, and every mistake in it; None if a mistake leaves no definition."""
    found = parse_toml_document(text, path)
    if isinstance(found, Diagnostic):
        return None, [found]
    reader = _DefinitionReader(path, found[1])
    definition = diagnostics.convert_table(found[0], Definition, reader.add)
    if definition is not None:
        reader.check(definition)
    return (None if reader.problems else definition), reader.problems


class _DefinitionReader:
    def __init__(self, path: str, positions: TomlPositions) -> None:
        self._path, self._positions = path, positions
        self.problems: list[Diagnostic] = []

    def check(self, definition: Definition) -> None:
        """Report what the records alone do not refuse."""
        if definition.id in registry.RESERVED_IDS:
            self.add(("id",), f"`{definition.id}` is built in; choose another id")
        self._check_id(("id",), definition.id)
        for name in ("every", "floor", "ceiling"):
            self._check_duration((name,), getattr(definition, name))
        if not definition.token:
            self.add(("token",), "`token` is empty; name a place such as env:ACME_API_KEY")
        for i, place in enumerate(definition.token):
            self._check_place(("token", i), place)
        self._check_requests(definition, names := [each.name for each in definition.request])
        for i, window in enumerate(definition.window):
            self._check_window(("window", i), window, names)
        windows = tuple(_list_units(definition))
        if not definition.window:
            self.add(("window",), "there is no [[window]]")
        elif definition.primary is not None and windows and definition.primary not in windows:
            hint = suggest_word(definition.primary, windows)
            self.add(("primary",), f"no window is called `{definition.primary}`; {hint}")

    def _check_requests(self, definition: Definition, names: list[str]) -> None:
        if not 1 <= len(names) <= MAX_REQUESTS:
            self.add(("request",), f"{len(names)} requests; write 1 to {MAX_REQUESTS} [[request]]", at_key=True)
        for i, request in enumerate(definition.request):
            if request.name in names[:i]:
                self.add(("request", i, "name"), f"two requests are called `{request.name}`: give each a `name`")
            self._check_url(("request", i, "url"), request.url, insecure=definition.insecure)
            for name in ("error_if", "error_message"):
                self._check_expression(("request", i, name), getattr(request, name))

    def _check_window(self, place: KeyPath, window: WindowEntry, requests: list[str]) -> None:
        # a value that is refused is reported already, and not in `window`
        written = {path[2] for path in self._positions.key_spans if path[:2] == place and len(path) > 2}  # noqa: PLR2004
        if ("id" in written) == ("id_from" in written):
            self.add(place, "write `id`, or `id_from` for a window a row", at_key=True)
        if window.id is not None:
            self._check_id((*place, "id"), window.id)
        for key, text in window.rename.items():
            self._check_id((*place, "rename", key), text)
        if window.request not in requests:
            hint = suggest_word(window.request, requests)
            self.add((*place, "request"), f"no request is called `{window.request}`; {hint}")
        if not written & {*_VALUE_KEYS, "unlimited_if"}:
            self.add(place, f"a window without a value: write one of {', '.join(_VALUE_KEYS)}", at_key=True)
        for name in _WINDOW_EXPRESSIONS:
            value = getattr(window, name)
            if isinstance(value, Value):
                self._check_expression((*place, name, "path"), value.path)
                self._check_scale((*place, name, "scale"), value.scale)
            else:
                self._check_expression((*place, name), value)
        self._check_scale((*place, "scale"), window.scale)
        self._check_duration((*place, "length"), window.length)
        unit = window.unit
        if unit is not None and unit not in UNITS and not is_currency(unit.lower()):
            self.add((*place, "unit"), f"unknown unit `{sanitize_for_terminal(unit)}`; {suggest_word(unit, UNITS)}")
        try:
            check_time_zone(window.timezone)
        except ValueError as error:
            self.add((*place, "timezone"), f"`timezone`: {error}")

    def _check_id(self, place: KeyPath, text: str) -> None:
        if not _ID_PATTERN.fullmatch(text):
            self.add(place, f"`{place[-1]}`: small letters, digits and single underscores, such as five_hour")
        elif text in (*FIELD_UNITS, "and", "or", "not", "true", "false", "level"):
            self.add(place, f"`{text}` is a word of the rule language; choose another id")

    def _check_duration(self, place: KeyPath, text: str | None) -> None:
        try:
            problem = text is not None and parse_duration(text) <= timedelta(0) and "must be longer than nothing"
        except ValueError as error:
            problem = str(error)
        if problem:
            self.add(place, f"`{place[-1]}`: {problem}")

    def _check_scale(self, place: KeyPath, text: str) -> None:
        try:
            is_factor = Decimal(text).is_finite() and Decimal(text) != 0
        except InvalidOperation:
            is_factor = False
        if not is_factor:
            self.add(place, '`scale` takes a factor as text, such as "0.01"')

    def _check_place(self, place: KeyPath, text: str) -> None:
        kind, _, rest = text.partition(":")
        if kind not in registry.PLACE_KINDS or not rest.strip():
            valid = ", ".join(registry.PLACE_KINDS.values())
            self.add(place, f"`token` takes the place of a token, never the token: {valid}")
        elif kind == "vscdb" and not all(rest.partition("#")):
            self.add(place, f"write {registry.PLACE_KINDS['vscdb']}")
        elif kind == "file" and "#" in rest:
            self._check_expression(place, rest.partition("#")[2], offset=text.index("#") + 1)

    def _check_url(self, place: KeyPath, url: str, *, insecure: bool) -> None:
        for name in re.finditer(r"\{(.*?)\}", url):
            if not registry.PLACEHOLDER_PATTERN.fullmatch(name[0]):
                self.add(place, f"unknown `{name[0]}`; valid: {{env:NAME}}, {{now}}, {{month_start}}", *name.span())
        # an address in a variable is checked when it is known, before the request
        problem = "" if url.startswith("{env:") else find_address_problem(url, insecure=insecure)
        if problem:
            self.add(place, f"`url` {problem}")

    def _check_expression(self, place: KeyPath, text: str | None, offset: int = 0) -> None:
        try:
            compile_expression("@" if text is None else text)
        except ExpressionError as error:
            self.add(place, f"`{_name_key(place)}`: {error}", error.start + offset, error.end + offset)

    def add(self, place: KeyPath, message: str, start: int = -1, end: int = 0, *, at_key: bool = False) -> None:
        """Add a problem of the value at that place, of its key, or of a part of its text."""
        span = self._positions.find_key(place) if at_key else self._positions.find_value(place)
        if start >= 0:
            span = self._positions.find_in_value(place, start, end)
        self.problems.append(diagnostics.create_diagnostic(self._path, self._positions.text, span, message))


def find_address_problem(url: str, *, insecure: bool) -> str:
    """Why a token must not be sent to that address; empty if it may be."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        return "is no address: write https://HOST/PATH"
    if parts.scheme not in ("http", "https") or not host:
        return "is no address: write https://HOST/PATH"
    if parts.username or parts.password:
        return "holds a login: name its place in `token`"
    if parts.scheme == "http" and not insecure and not is_loopback(host):
        return "http:// sends the login unencrypted; use https://, or allow it by `insecure = true`"
    return ""


def summarize(definition: Definition, path: str = "") -> ProviderSummary:
    """What the rest of the program must know before the first request."""
    head = {name: getattr(definition, name) for name in ProviderHead.__struct_fields__}
    return ProviderSummary(
        **(head | {"sign_in": definition.sign_in or f"see {definition.page or 'its page'}"}),
        urls=tuple(each.url for each in definition.request),
        windows=_list_units(definition),
        names_windows=any(each.id_from is not None for each in definition.window),
        path=path,
    )


def _list_units(definition: Definition) -> dict[str, str]:
    """Id -> unit of every window that is known before the first answer; no unit if only an answer tells it."""
    return {
        id_: "" if window.unit_from is not None else get_default_unit(window)
        for window in definition.window
        for id_ in ((window.id,) if window.id is not None else window.rename.values())
    }


def get_default_unit(window: WindowEntry) -> str:
    """The unit of a window that names none: percent where only a percent is there."""
    if window.unit is not None:
        return window.unit.lower()
    return "percent" if window.used is window.limit is window.remaining is None else "units"


def _name_key(place: KeyPath) -> str:
    return next((key for key in reversed(place) if isinstance(key, str) and key != "path"), "file")
