"""What rules would have said to a history: the daemon's own core, fed with what was recorded.

Time passes as it did: between two answers, rules about silence are asked whenever they fall due. Never put a rule's
meaning here: if replay and the daemon could differ, neither could be trusted.
"""

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from decimal import Decimal
from itertools import groupby, pairwise
from statistics import median

import msgspec
from msgspec import Struct

from watcher.core.engine import evaluator
from watcher.core.engine.evaluator import EvaluationResult
from watcher.core.engine.state import EngineState
from watcher.core.engine.windows import infer_kind
from watcher.core.model import PollFailure, PollResult, Reading, Series, Snapshot
from watcher.core.rules.diagnostics import find_close_match, sanitize_for_terminal
from watcher.core.rules.rule import Rule
from watcher.errors import UsageError

# --- Recorded readings, one JSON object a line, and back into the news they once were (contract: `watcher replay`)


MAX_LINE_LENGTH = 100_000
MAX_NUMBER = 10**15  # beyond it a number is junk, and arithmetic on it misleads or overflows
MAX_WINDOW_S = 3650 * 86400
MIN_TIME = datetime(2001, 1, 1, tzinfo=UTC)
MAX_TIME = datetime(2200, 1, 1, tzinfo=UTC)
READING_FORMAT_HINT = 'one reading is {"at": ..., "provider": ..., "window": ...}'
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_KEY_ERROR_PATTERN = re.compile(r"(?P<what>.*) - at `\$\.(?P<key>\w+)`")


class HistoryLine(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
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
    def poll_key(self) -> tuple[datetime, str, str, bool]:
        """What lines of one answer have in common."""
        return self.at, self.provider, self.account or "", self.error is not None


class _LenientHistoryLine(HistoryLine, frozen=True, kw_only=True, forbid_unknown_fields=False):
    """One line, whatever else is in it."""


LINE_KEYS = tuple(each.encode_name for each in msgspec.structs.fields(HistoryLine))


def read_history_lines(
    lines: Iterable[str | bytes], path: str, ignored_keys: set[str] | None = None
) -> Iterator[HistoryLine]:
    """The lines that say something; empty ones are left out.

    Args:
        lines: in time order.
        path: what messages shall call them.
        ignored_keys: takes the keys that mean nothing here, whose values are not read; None: they are of no interest.

    Raises:
        UsageError: at the first line that makes no sense, with its number and what is wrong.
    """
    decoder = msgspec.json.Decoder(HistoryLine)
    latest: datetime | None = None
    for number, written in enumerate(lines, 1):
        text = _strip_byte_order_mark(written) if number == 1 else written
        if not text.strip():
            continue
        place = f"{path}, line {number}"
        if len(text) > MAX_LINE_LENGTH:
            raise UsageError(f"{place}: longer than {MAX_LINE_LENGTH} characters; one reading a line is expected")
        line = _decode_line(decoder, text, place, set() if ignored_keys is None else ignored_keys)
        if latest is not None and line.at < latest:
            raise UsageError(f"{place}: {line.at:%Y-%m-%dT%H:%M:%SZ} is earlier than the line before it; sort by `at`")
        latest = line.at
        yield line


def _strip_byte_order_mark(text: str | bytes) -> str | bytes:
    """The first line without the byte order mark that some editors and shells put before it."""
    return text.removeprefix(_BYTE_ORDER_MARK) if isinstance(text, bytes) else text.removeprefix("\ufeff")


def _decode_line(
    decoder: msgspec.json.Decoder[HistoryLine], text: str | bytes, location: str, ignored_keys: set[str]
) -> HistoryLine:
    try:
        line = _decode_strict(decoder, text) or _decode_lenient(text, location, ignored_keys)
    except (msgspec.MsgspecError, UnicodeError) as error:
        found = _KEY_ERROR_PATTERN.fullmatch(str(error))
        what = f"`{found['key']}`: {found['what']}" if found else str(error)
        raise UsageError(f"{location}: {what}; {READING_FORMAT_HINT}") from None
    if line.window is None and line.error is None:
        raise UsageError(f"{location}: neither `window` nor `error` is given; {READING_FORMAT_HINT}")
    at = _convert_to_utc(line.at, "at", location)
    resets_at = None if line.resets_at is None else _convert_to_utc(line.resets_at, "resets_at", location)
    _check_numbers(line, location)
    return msgspec.structs.replace(line, at=at, resets_at=resets_at)


def _decode_strict(decoder: msgspec.json.Decoder[HistoryLine], text: str | bytes) -> HistoryLine | None:
    """The line, of keys that are known alone; None where there are others."""
    try:
        return decoder.decode(text)
    except msgspec.ValidationError as error:
        if "unknown field" in str(error):
            return None
        raise


def _decode_lenient(text: str | bytes, location: str, ignored_keys: set[str]) -> HistoryLine:
    """The line without the keys that mean nothing here, unless one of them was meant to mean something."""
    line = msgspec.json.decode(text, type=_LenientHistoryLine)
    unknown = [key for key in msgspec.json.decode(text) if key not in LINE_KEYS]
    for key in unknown:
        shown = sanitize_for_terminal(key, 40)
        if (meant := find_close_match(key, LINE_KEYS)) is not None:
            raise UsageError(f"{location}: unknown key `{shown}`; did you mean `{meant}`?")
        if line.is_empty:
            raise UsageError(
                f"{location}: unknown key `{shown}`, and nothing else says how full; valid: {', '.join(LINE_KEYS)}"
            )
        ignored_keys.add(shown)
    return line


def _convert_to_utc(moment: datetime, name: str, location: str) -> datetime:
    if moment.tzinfo is None:
        raise UsageError(f"{location}: `{name}` has no time zone; write it with Z or an offset")
    try:
        instant = moment.astimezone(UTC)
    except OverflowError:  # at the ends of the calendar
        instant = datetime.max.replace(tzinfo=UTC)
    if not MIN_TIME <= instant < MAX_TIME:
        raise UsageError(f"{location}: `{name}` is not between the years 2001 and 2200")
    return instant


def _check_numbers(line: HistoryLine, location: str) -> None:
    for name in ("used_percent", "used", "limit", "remaining"):
        number = getattr(line, name)
        if number is not None and not (_is_finite(number) and abs(number) <= MAX_NUMBER):
            raise UsageError(
                f"{location}: `{name}` is no number up to {MAX_NUMBER:.0e}; where it is unknown, leave it out"
            )
    if line.window_seconds is not None and not 0 <= line.window_seconds <= MAX_WINDOW_S:
        raise UsageError(
            f"{location}: `window_seconds` is not between 0 and ten years; where it is unknown, leave it out"
        )


def _is_finite(number: float | Decimal) -> bool:
    return number.is_finite() if isinstance(number, Decimal) else math.isfinite(number)


def build_poll_results(lines: Iterable[HistoryLine]) -> Iterator[PollResult]:
    """The answers and failures that the lines are the record of."""
    for (at, provider, account, failed), group in groupby(lines, key=lambda line: line.poll_key):
        together = list(group)
        name = next((line.account_name for line in together if line.account_name), account)
        if failed:
            kind = together[-1].error or ""
            message = together[-1].message or kind.replace("_", " ")
            yield PollFailure(provider=provider, account=account, account_name=name, at=at, kind=kind, message=message)
            continue
        readings = {line.window: _make_reading(line) for line in together}
        yield Snapshot(
            provider=provider, account=account, account_name=name, at=at, readings=tuple(readings.values()), whole=False
        )


def _make_reading(line: HistoryLine) -> Reading:
    window = line.window or ""
    counted = line.used is not None or line.limit is not None or line.remaining is not None
    return Reading(
        window=window,
        kind=infer_kind(Series(line.provider, window, line.account or ""), line.window_seconds),
        label=line.label,
        used_percent=line.used_percent,
        used=line.used,
        limit=line.limit,
        remaining=line.remaining,
        unit=line.unit or _infer_unit(window, has_counts=counted),
        resets_at=line.resets_at,
        window_seconds=line.window_seconds,
        unlimited=line.unlimited,
        stale=line.stale,
        low_confidence=line.low_confidence,
    )


def _infer_unit(window: str, *, has_counts: bool) -> str:
    """What the numbers count, where the line does not say: balances are money, all else is requests."""
    if window.endswith("_usd") or window == "extra_usage":
        return "usd"
    return "requests" if has_counts else "percent"


DEFAULT_INTERVAL = timedelta(minutes=5)
"""How often a provider is asked, where neither its history nor the caller can tell."""

MIN_INTERVAL = timedelta(seconds=30)
MIN_PAUSES = 2


class ReplayStep(Struct, frozen=True):
    """One moment of a replay."""

    result: PollResult | None  # None: only time had passed
    evaluation: EvaluationResult


def measure_intervals(history: Iterable[PollResult]) -> dict[str, timedelta]:
    """How often each provider was asked: the median pause between two answers about one series."""
    instants: dict[tuple[str, str], dict[str, list[datetime]]] = {}
    for news in history:
        windows = instants.setdefault((news.provider, news.account), {})
        if isinstance(news, PollFailure):
            for moments in windows.values():
                moments.append(news.at)
            continue
        for reading in news.readings:
            windows.setdefault(reading.window, []).append(news.at)
    pauses: dict[str, list[float]] = {}
    for (provider, _account), windows in instants.items():
        for moments in windows.values():
            found = [(later - earlier).total_seconds() for earlier, later in pairwise(moments) if later > earlier]
            pauses.setdefault(provider, []).extend(found)
    return {
        provider: max(timedelta(seconds=median(found)), MIN_INTERVAL)
        for provider, found in pauses.items()
        if len(found) >= MIN_PAUSES
    }


def replay_rules(  # noqa: PLR0913 - everything it depends on is an argument
    rules: Sequence[Rule],
    history: Sequence[PollResult],
    *,
    default_intervals: Mapping[str, timedelta] | None = None,
    tz: tzinfo | None = None,
    explain: bool = False,
    until: datetime | None = None,
) -> Iterator[ReplayStep]:
    """Each moment of the history, as these rules would have judged it.

    Args:
        rules: to be tried.
        history: answers and failures in time order.
        default_intervals: provider -> how often it is asked, where the history is too short to tell.
        tz: the machine's zone, for `active` hours that name none.
        explain: give a decision also where nothing happened.
        until: the end, for rules about silence: time passes up to it after the last answer; None: it ends there.
    """
    paces = {**(default_intervals or {}), **measure_intervals(history)}
    slowest = max((paces.get(news.provider, DEFAULT_INTERVAL) for news in history), default=DEFAULT_INTERVAL)
    replay = _Replay(tuple(rules), tz, explain=explain)
    for result in history:
        yield from replay.evaluate_due_before(result.at, slowest)
        yield replay.evaluate_at(result, result.at, paces.get(result.provider, DEFAULT_INTERVAL))
    if until is not None:
        yield from replay.evaluate_due_before(until, slowest)
        yield replay.evaluate_at(None, until, slowest)


class _Replay:
    """The engine state of a replay, and when time alone may change it."""

    def __init__(self, rules: tuple[Rule, ...], tz: tzinfo | None, *, explain: bool) -> None:
        self._rules, self._tz, self._explain = rules, tz, explain
        self._engine_state = EngineState({}, {})
        self._next_due_at: datetime | None = None

    def evaluate_at(self, result: PollResult | None, at: datetime, every: timedelta) -> ReplayStep:
        """Evaluates one moment."""
        evaluation = evaluator.evaluate_poll(
            self._rules, self._engine_state, result, at, every=every, tz=self._tz, explain=self._explain
        )
        self._engine_state = evaluator.apply_evaluation(self._engine_state, evaluation)
        self._next_due_at = evaluation.next_due_at
        return ReplayStep(result, evaluation)

    def evaluate_due_before(self, at: datetime, every: timedelta) -> Iterator[ReplayStep]:
        """Evaluates every earlier moment at which time alone may change something."""
        while self._next_due_at is not None and self._next_due_at < at:
            yield self.evaluate_at(None, self._next_due_at, every)
