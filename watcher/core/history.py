"""Recorded readings, one JSON object a line, and back into the news they once were (contract: `watcher replay`).

Lines of one account at one instant are one answer. A line says nothing of windows that it does not name. Never judge
here, and never open a file: lines come as an argument.
"""

import math
import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from itertools import groupby

import msgspec
from msgspec import Struct

from watcher.core.diagnostics import visible
from watcher.core.kinds import kind_of
from watcher.core.model import Failure, Reading, Series, Snapshot
from watcher.core.vocabulary import near
from watcher.errors import UsageError

LONGEST_LINE = 100_000
LARGEST = 10**15  # beyond it a number is junk, and arithmetic on it misleads or overflows
LONGEST_WINDOW_S = 3650 * 86400
EARLIEST = datetime(2001, 1, 1, tzinfo=UTC)
LATEST = datetime(2200, 1, 1, tzinfo=UTC)
ONE_READING = 'one reading is {"at": ..., "provider": ..., "window": ...}'
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_AT_KEY = re.compile(r"(?P<what>.*) - at `\$\.(?P<key>\w+)`")

News = Snapshot | Failure


class Line(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One line. Unknown is null or left out."""

    at: datetime
    provider: str
    account: str | None = None
    account_name: str | None = None
    window: str | None = None
    used_percent: float | None = None
    used: Decimal | None = None
    limit: Decimal | None = None
    remaining: Decimal | None = None
    resets_at: datetime | None = None
    window_seconds: int | None = None
    unlimited: bool = False
    unit: str | None = None
    label: str = ""
    stale: bool = False
    low_confidence: bool = False
    error: str | None = None
    message: str = ""

    @property
    def is_empty(self) -> bool:
        """Whether it says nothing of the window's use."""
        said = (self.used_percent, self.used, self.limit, self.remaining, self.error)
        return not self.unlimited and all(each is None for each in said)

    @property
    def asked(self) -> tuple[datetime, str, str, bool]:
        """What lines of one answer have in common."""
        return self.at, self.provider, self.account or "", self.error is not None


class _LooseLine(Line, frozen=True, kw_only=True, forbid_unknown_fields=False):
    """One line, whatever else is in it."""


KEYS = tuple(each.encode_name for each in msgspec.structs.fields(Line))


def read(lines: Iterable[str | bytes], path: str, passed_over: set[str] | None = None) -> Iterator[Line]:
    """The lines that say something; empty ones are left out.

    Args:
        lines: in time order.
        path: what messages shall call them.
        passed_over: takes the keys that mean nothing here, whose values are not read; None: they are of no interest.

    Raises:
        UsageError: at the first line that makes no sense, with its number and what is wrong.
    """
    decoder = msgspec.json.Decoder(Line)
    latest: datetime | None = None
    for number, written in enumerate(lines, 1):
        text = _without_mark(written) if number == 1 else written
        if not text.strip():
            continue
        place = f"{path}, line {number}"
        if len(text) > LONGEST_LINE:
            raise UsageError(f"{place}: longer than {LONGEST_LINE} characters; one reading a line is expected")
        line = _decoded(decoder, text, place, set() if passed_over is None else passed_over)
        if latest is not None and line.at < latest:
            raise UsageError(f"{place}: {line.at:%Y-%m-%dT%H:%M:%SZ} is earlier than the line before it; sort by `at`")
        latest = line.at
        yield line


def _without_mark(text: str | bytes) -> str | bytes:
    """The first line without the byte order mark that some editors and shells put before it."""
    return text.removeprefix(_BYTE_ORDER_MARK) if isinstance(text, bytes) else text.removeprefix("\ufeff")


def _decoded(decoder: msgspec.json.Decoder[Line], text: str | bytes, place: str, passed_over: set[str]) -> Line:
    try:
        line = _strictly(decoder, text) or _loosely(text, place, passed_over)
    except (msgspec.MsgspecError, UnicodeError) as error:
        found = _AT_KEY.fullmatch(str(error))
        what = f"`{found['key']}`: {found['what']}" if found else str(error)
        raise UsageError(f"{place}: {what}; {ONE_READING}") from None
    if line.window is None and line.error is None:
        raise UsageError(f"{place}: neither `window` nor `error` is given; {ONE_READING}")
    at = _instant(line.at, "at", place)
    resets_at = None if line.resets_at is None else _instant(line.resets_at, "resets_at", place)
    _check_numbers(line, place)
    return msgspec.structs.replace(line, at=at, resets_at=resets_at)


def _strictly(decoder: msgspec.json.Decoder[Line], text: str | bytes) -> Line | None:
    """The line, of keys that are known alone; None where there are others."""
    try:
        return decoder.decode(text)
    except msgspec.ValidationError as error:
        if "unknown field" in str(error):
            return None
        raise


def _loosely(text: str | bytes, place: str, passed_over: set[str]) -> Line:
    """The line without the keys that mean nothing here, unless one of them was meant to mean something."""
    line = msgspec.json.decode(text, type=_LooseLine)
    unknown = [key for key in msgspec.json.decode(text) if key not in KEYS]
    for key in unknown:
        shown = visible(key, 40)
        if (meant := near(key, KEYS)) is not None:
            raise UsageError(f"{place}: unknown key `{shown}`; did you mean `{meant}`?")
        if line.is_empty:
            raise UsageError(
                f"{place}: unknown key `{shown}`, and nothing else says how full; valid: {', '.join(KEYS)}"
            )
        passed_over.add(shown)
    return line


def _instant(moment: datetime, name: str, place: str) -> datetime:
    if moment.tzinfo is None:
        raise UsageError(f"{place}: `{name}` has no time zone; write it with Z or an offset")
    try:
        instant = moment.astimezone(UTC)
    except OverflowError:  # at the ends of the calendar
        instant = datetime.max.replace(tzinfo=UTC)
    if not EARLIEST <= instant < LATEST:
        raise UsageError(f"{place}: `{name}` is not between the years 2001 and 2200")
    return instant


def _check_numbers(line: Line, place: str) -> None:
    for name in ("used_percent", "used", "limit", "remaining"):
        number = getattr(line, name)
        if number is not None and not (_is_finite(number) and abs(number) <= LARGEST):
            raise UsageError(f"{place}: `{name}` is no number up to {LARGEST:.0e}; where it is unknown, leave it out")
    if line.window_seconds is not None and not 0 <= line.window_seconds <= LONGEST_WINDOW_S:
        raise UsageError(f"{place}: `window_seconds` is not between 0 and ten years; where it is unknown, leave it out")


def _is_finite(number: float | Decimal) -> bool:
    return number.is_finite() if isinstance(number, Decimal) else math.isfinite(number)


def news(lines: Iterable[Line]) -> Iterator[News]:
    """The answers and failures that the lines are the record of."""
    for (at, provider, account, failed), group in groupby(lines, key=lambda line: line.asked):
        together = list(group)
        name = next((line.account_name for line in together if line.account_name), account)
        if failed:
            kind = together[-1].error or ""
            message = together[-1].message or kind.replace("_", " ")
            yield Failure(provider=provider, account=account, account_name=name, at=at, kind=kind, message=message)
            continue
        readings = {line.window: _reading(line) for line in together}
        yield Snapshot(
            provider=provider, account=account, account_name=name, at=at, readings=tuple(readings.values()), whole=False
        )


def _reading(line: Line) -> Reading:
    window = line.window or ""
    counted = line.used is not None or line.limit is not None or line.remaining is not None
    return Reading(
        window=window,
        kind=kind_of(Series(line.provider, window, line.account or ""), line.window_seconds),
        label=line.label,
        used_percent=line.used_percent,
        used=line.used,
        limit=line.limit,
        remaining=line.remaining,
        unit=line.unit or _unit(window, counted=counted),
        resets_at=line.resets_at,
        window_seconds=line.window_seconds,
        unlimited=line.unlimited,
        stale=line.stale,
        low_confidence=line.low_confidence,
    )


def _unit(window: str, *, counted: bool) -> str:
    """What the numbers count, where the line does not say: balances are money, all else is requests."""
    if window.endswith("_usd") or window == "extra_usage":
        return "usd"
    return "requests" if counted else "percent"
