"""Recorded readings, one JSON object a line, and back into the news they once were (contract: `watcher replay`).

Lines of one account at one instant are one answer. A line says nothing of windows that it does not name. Never judge
here, and never open a file: lines come as an argument.
"""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from itertools import groupby

import msgspec
from msgspec import Struct

from watcher.core.kinds import kind_of
from watcher.core.model import Failure, Reading, Series, Snapshot
from watcher.errors import UsageError

LONGEST_LINE = 100_000

News = Snapshot | Failure


class Line(Struct, frozen=True, kw_only=True):
    """One line. Unknown is null or left out."""

    at: datetime
    provider: str
    account: str = ""
    account_name: str = ""
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
    def asked(self) -> tuple[datetime, str, str, bool]:
        """What lines of one answer have in common."""
        return self.at, self.provider, self.account, self.error is not None


def read(lines: Iterable[str | bytes], path: str) -> Iterator[Line]:
    """The lines that say something; empty ones are left out.

    Args:
        lines: in time order.
        path: what messages shall call them.

    Raises:
        UsageError: at the first line that makes no sense, with its number and what is wrong.
    """
    decoder = msgspec.json.Decoder(Line)
    latest: datetime | None = None
    for number, text in enumerate(lines, 1):
        if not text.strip():
            continue
        place = f"{path}, line {number}"
        if len(text) > LONGEST_LINE:
            raise UsageError(f"{place}: longer than {LONGEST_LINE} characters; one reading a line is expected")
        line = _decoded(decoder, text, place)
        if latest is not None and line.at < latest:
            raise UsageError(f"{place}: {line.at:%Y-%m-%dT%H:%M:%SZ} is earlier than the line before it; sort by `at`")
        latest = line.at
        yield line


def _decoded(decoder: msgspec.json.Decoder[Line], text: str | bytes, place: str) -> Line:
    try:
        line = decoder.decode(text)
    except (msgspec.MsgspecError, UnicodeError) as error:
        raise UsageError(f'{place}: {error}; one reading is {{"at": ..., "provider": ..., "window": ...}}') from None
    if line.window is None and line.error is None:
        raise UsageError(f"{place}: neither `window` nor `error` is given")
    for name in ("at", "resets_at"):
        moment = getattr(line, name)
        if moment is not None and moment.tzinfo is None:
            raise UsageError(f"{place}: `{name}` has no time zone; write it with Z or an offset")
    resets_at = None if line.resets_at is None else line.resets_at.astimezone(UTC)
    return msgspec.structs.replace(line, at=line.at.astimezone(UTC), resets_at=resets_at)


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
        kind=kind_of(Series(line.provider, window, line.account), line.window_seconds),
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
