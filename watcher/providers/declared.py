"""Polls a provider by its definition: requests, errors inside a 200, and readings from the rows of the answers.

A value that is missing, null or no number is unknown (None), never 0. JMESPath searches the decoded JSON; Decimals are
made of what it finds, because its functions refuse them.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple
from urllib.parse import quote
from zoneinfo import ZoneInfo

from watcher.core.engine.windows import infer_kind, infer_length_s
from watcher.core.expressions import Evaluator
from watcher.core.formatting import clean_text
from watcher.core.model import Reading, Request, Response, Series, Snapshot, WindowKind
from watcher.core.rules.vocabulary import parse_duration, parse_duration_s
from watcher.credentials import Credential
from watcher.errors import NotSignedInError, ProviderError, ServerError, ShapeChangedError
from watcher.providers import Conversation, parsing
from watcher.providers import definition as files
from watcher.providers.definition import Definition, RequestEntry, Value, WindowEntry
from watcher.providers.registry import PLACEHOLDER_PATTERN

_HUNDRED = Decimal(100)
_PERIOD_LENGTHS = {"daily": parsing.DAY_S, "weekly": parsing.WEEK_S}


class Answer(NamedTuple):
    """One answer, decoded."""

    body: Any
    headers: Mapping[str, str]  # names in lower case


class ReadWindow(NamedTuple):
    """A reading, and what it was made of."""

    reading: Reading
    window: WindowEntry
    row: Any


def fetch_usage(definition: Definition, credential: Credential, now: datetime) -> Conversation:
    """The conversation that the definition describes."""
    answers: dict[str, Answer] = {}
    notes: list[str] = []
    at = now
    for entry in definition.request:
        try:
            response: Response = yield build_request(definition, entry, credential, now)
            at = response.received_at
            answers[entry.name] = read_answer(definition, entry, response, credential.token)
        except ProviderError as error:
            if not entry.optional:
                raise
            notes.append(f"no {entry.name} ({error.kind})")
    readings = [each.reading for each in read_windows(definition, answers, at)]
    if not any(_has_value(each) for each in readings):
        wanted = ", ".join(dict.fromkeys(each.id or each.id_from or "" for each in definition.window))
        raise ShapeChangedError(f"{definition.name}: no window in the answer ({wanted}): nothing is claimed")
    return Snapshot(
        provider=definition.id,
        at=at,
        readings=tuple(readings),
        note="; ".join(notes) or None,
    )


# --- requests ---------------------------------------------------------------------------------------------------------


def build_request(definition: Definition, entry: RequestEntry, credential: Credential, now: datetime) -> Request:
    """The request, its login included.

    Raises:
        NotSignedInError: a variable in its address is not set, or it is no address that a login may be sent to.
    """
    url = _expand_url(definition, entry.url, credential, now)
    problem = files.find_address_problem(url, insecure=True)  # the poll itself refuses an address without TLS
    if problem:
        raise NotSignedInError(f"{definition.name}: the address of {entry.name} {problem}")
    headers = {"Accept": "application/json", **entry.headers}
    if entry.auth.lower() == "bearer":
        headers["Authorization"] = f"Bearer {credential.token}"
    elif "-" in entry.auth or entry.auth.lower() == "authorization":
        headers[entry.auth] = credential.token
    elif entry.auth != "none":
        headers["Authorization"] = f"{entry.auth} {credential.token}"
    return Request(method=entry.method, url=url, headers=headers, json=entry.json)


def _expand_url(definition: Definition, url: str, credential: Credential, now: datetime) -> str:
    """The address with its variables: a whole base address without a closing `/` or `/v1`, anything else quoted."""
    times = {"now": now, "month_start": now.replace(day=1, hour=0, minute=0, second=0)}

    def expand(found: re.Match[str]) -> str:
        kind, _, name = found[1].partition(":")
        if kind != "env":
            return f"{times[kind].astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
        value = credential.extra.get(found[1], "")
        if not value:
            raise NotSignedInError(f"{definition.name}: the environment variable {name} is not set: set it")
        return value.rstrip("/").removesuffix("/v1") if found.start() == 0 else quote(value, safe="")

    return PLACEHOLDER_PATTERN.sub(expand, url)


def read_answer(definition: Definition, entry: RequestEntry, response: Response, token: str = "") -> Answer:
    """The decoded answer.

    Raises:
        ProviderError: its status or its body says that it failed, or a body that is needed is no JSON.
    """
    name, hint = definition.name, definition.sign_in or f"see {definition.page}"
    parsing.raise_for_status(response, name=name, sign_in_hint=hint)
    needs_body = entry.error_if or any(
        each.source == "body" for each in definition.window if each.request == entry.name
    )
    answer = Answer(parsing.decode_body(response, name=name) if needs_body else None, response.headers)
    evaluator = Evaluator(name)
    if entry.error_if and evaluator.is_true(entry.error_if, answer.body):
        said = evaluator.search(entry.error_message or "''", answer.body)
        message = clean_text(str(said)) if isinstance(said, (str, int, float)) else ""
        message = message.replace(token or "\0", "***")  # some repeat the key that they refuse
        raise ServerError(f"{name}: {message or 'the answer says that it failed'}: it is asked again later")
    return answer


# --- readings ---------------------------------------------------------------------------------------------------------


def read_windows(definition: Definition, answers: Mapping[str, Answer], at: datetime) -> list[ReadWindow]:
    """Every window in the answers; of rows with one id the fullest."""
    found: dict[str, ReadWindow] = {}
    for window in definition.window:
        answer = answers.get(window.request)
        if answer is None:
            continue
        reader = _WindowReader(window, Evaluator(definition.name), at)
        data = dict(answer.headers) if window.source == "headers" else answer.body
        for each in reader.read(data):
            known = found.get(each.reading.window)
            if known is None or parsing.get_fullness(each.reading) > parsing.get_fullness(known.reading):
                found[each.reading.window] = each
    return list(found.values())


def _has_value(reading: Reading) -> bool:
    values = (reading.used_percent, reading.used, reading.limit, reading.remaining)
    return reading.unlimited or any(each is not None for each in values)


class _WindowReader:
    """Makes the readings of one window entry."""

    def __init__(self, window: WindowEntry, evaluator: Evaluator, at: datetime) -> None:
        self.window, self._evaluator, self._at = window, evaluator, at

    def read(self, data: Any) -> Iterator[ReadWindow]:
        window = self.window
        for row in self._list_rows(data):
            if window.where is not None and not self._evaluator.is_true(window.where, row):
                continue
            id_ = self._find_id(row)
            reading = self._make_reading(id_, row) if id_ else None
            # a row that is there has the window, whatever it says; else one of its values must be there
            is_named = window.each is not None or window.where is not None
            if reading and (is_named or _has_value(reading) or reading.resets_at is not None):
                yield ReadWindow(reading, window, row)

    def _list_rows(self, data: Any) -> Sequence[Any]:
        if self.window.each is None:
            return [data]
        rows = self._evaluator.search(self.window.each, data)
        return rows if isinstance(rows, list) else [rows] if isinstance(rows, dict) else []

    def _find_id(self, row: Any) -> str:
        if self.window.id is not None:
            return self.window.id
        found = self._evaluator.search(self.window.id_from or "", row)
        if isinstance(found, bool) or not isinstance(found, (str, int)):
            return ""
        return self.window.rename.get(str(found)) or self.window.rename.get(slug := parsing.slugify(str(found))) or slug

    def _make_reading(self, id_: str, row: Any) -> Reading:
        window = self.window
        used, limit, remaining = (self._find_amount(name, row) for name in ("used", "limit", "remaining"))
        limit = limit if limit is not None and limit > 0 else None
        percent = self._find_percent(row)
        if limit is None and window.limit is None and used is not None and remaining is not None:
            limit = used + remaining if used + remaining > 0 else None
        if limit is not None:
            if used is None and remaining is not None:
                used = limit - remaining
            elif used is None and percent is not None:
                used = limit * Decimal(str(percent)) / _HUNDRED
            remaining = limit - used if remaining is None and used is not None else remaining
        percent = parsing.compute_percent(used, limit) if percent is None else percent
        is_unlimited = window.unlimited_if is not None and self._evaluator.is_true(window.unlimited_if, row)
        period = self._find_period(row)
        named = Series(provider="", window=id_)  # of a window that says nothing else, its name may tell
        length_s = int(parse_duration(window.length).total_seconds()) if window.length else _PERIOD_LENGTHS.get(period)
        length_s = length_s or infer_length_s(named)
        return Reading(
            window=id_,
            kind=self._choose_kind(named, length_s, period),
            label=window.label or id_.replace("_", " "),
            used_percent=None if is_unlimited else percent,
            used=used,
            limit=None if is_unlimited else limit,
            remaining=None if is_unlimited else remaining,
            unit=self._find_unit(row),
            resets_at=self._find_reset(row, period),
            window_seconds=length_s,
            unlimited=is_unlimited,
        )

    def _choose_kind(self, named: Series, length_s: int | None, period: str) -> WindowKind:
        window = self.window
        if window.kind is not None:
            return window.kind
        if period:
            return WindowKind(period)
        is_balance = window.remaining is not None and window.used is window.limit is window.used_percent is None
        return WindowKind.BALANCE if is_balance and length_s is None else infer_kind(named, length_s)

    def _find_unit(self, row: Any) -> str:
        found = self._evaluator.search(self.window.unit_from, row) if self.window.unit_from else None
        return (parsing.slugify(found) if isinstance(found, str) else "") or files.get_default_unit(self.window)

    def _find_value(self, value: str | Value | None, row: Any) -> Any:
        if value is None:
            return None
        found = self._evaluator.search(value if isinstance(value, str) else value.path, row)
        if isinstance(value, Value) and value.index is not None and isinstance(found, str):
            parts = found.split(",")
            return parts[value.index].strip() if -len(parts) <= value.index < len(parts) else None
        return found

    def _find_number(self, value: str | Value | None, row: Any) -> Decimal | None:
        number = parsing.parse_decimal(self._find_value(value, row))
        return number * Decimal(value.scale) if number is not None and isinstance(value, Value) else number

    def _find_amount(self, name: str, row: Any) -> Decimal | None:
        number = self._find_number(getattr(self.window, name), row)
        return None if number is None else number * Decimal(self.window.scale)

    def _find_percent(self, row: Any) -> float | None:
        """Percent used; more than the whole that remains is nothing used."""
        window = self.window
        for value, factor, is_remaining in (
            (window.used_percent, 1, False),
            (window.remaining_percent, 1, True),
            (window.used_fraction, 100, False),
            (window.remaining_fraction, 100, True),
        ):
            number = self._find_number(value, row)
            if number is not None:
                number = number * factor
                return parsing.parse_percent(max(_HUNDRED - number, Decimal(0)) if is_remaining else number)
        return None

    def _find_period(self, row: Any) -> str:
        word = self._evaluator.search(self.window.resets, row) if self.window.resets else None
        word = word.strip().lower() if isinstance(word, str) else ""
        return word if word in ("daily", "weekly", "monthly") else self.window.resets_every or ""

    def _find_reset(self, row: Any, period: str) -> datetime | None:
        at = parsing.parse_timestamp(self._find_value(self.window.resets_at, row))
        if at is None:
            wait = self._find_value(self.window.resets_in, row)
            at = parsing.add_seconds(self._at, _parse_wait_s(wait) if isinstance(wait, str) else wait)
        return at or (find_next_boundary(period, self._at, ZoneInfo(self.window.timezone)) if period else None)


def _parse_wait_s(text: str) -> float | None:
    """Seconds of `30`, `2m59.56s` and `120ms`."""
    text = text.strip()
    if text.endswith("ms"):
        milliseconds = parsing.parse_number(text[:-2])
        return None if milliseconds is None else milliseconds / 1000
    seconds = parsing.parse_number(text)
    return parse_duration_s(text) if seconds is None else seconds


def find_next_boundary(period: str, at: datetime, zone: ZoneInfo) -> datetime:
    """The next midnight, Monday or first of a month in that zone."""
    day = at.astimezone(zone).date()
    if period == "monthly":
        day = (day.replace(day=1) + timedelta(days=32)).replace(day=1)
    else:
        day += timedelta(days=1 if period == "daily" else 7 - day.weekday())
    return datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC)
