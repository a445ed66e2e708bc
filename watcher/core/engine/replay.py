"""Replays a history: what rules would have reported, evaluated by the daemon's own engine.

`read_history_lines` reads recorded readings, one JSON object a line (contract: `watcher replay`); `build_poll_results`
makes the results of polls of them; `replay_rules` evaluates these in time order. Between two results, rules about
missing readings are evaluated whenever time alone may change them, as in the daemon.
"""

import codecs
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import groupby
from statistics import median
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from watcher.core.engine import evaluator
from watcher.core.engine.evaluator import EvaluationResult
from watcher.core.engine.state import EngineState
from watcher.core.engine.transitions import Decision
from watcher.core.engine.windows import infer_kind
from watcher.core.model import PollFailure, PollResult, Reading, Series, Snapshot
from watcher.core.rules.diagnostics import find_close_match, sanitize_for_terminal
from watcher.core.rules.rule import Rule
from watcher.errors import UsageError

MAX_LINE_LENGTH = 100_000
MAX_NUMBER = 10**15  # more is junk, and would mislead or overflow
MAX_WINDOW_S = 3650 * 86400
MIN_YEAR, MAX_YEAR = 2001, 2199
READING_FORMAT_HINT = 'one reading is {"at": ..., "provider": ..., "window": ...}'
_KEY_ERROR_PATTERN = re.compile(r"(?P<what>.*) - at `\$\.(?P<key>\w+)`")

DEFAULT_INTERVAL = timedelta(minutes=5)
"""A provider's polling interval where neither its history nor the caller tells it."""

MIN_INTERVAL = timedelta(seconds=30)
MIN_PAUSES = 2


class HistoryLine(Struct, frozen=True, kw_only=True):
    """One line. Unknown is null or left out."""

    at: Annotated[datetime, Meta(tz=True)]
    provider: str
    account: str | None = None
    account_name: str | None = None
    window: str | None = None
    used_percent: Annotated[float, Meta(ge=-MAX_NUMBER, le=MAX_NUMBER)] | None = None
    used: Decimal | None = None
    limit: Decimal | None = None
    remaining: Decimal | None = None
    resets_at: Annotated[datetime, Meta(tz=True)] | None = None
    window_seconds: Annotated[int, Meta(ge=0, le=MAX_WINDOW_S)] | None = None
    unlimited: bool = False
    blocked: bool | None = None
    unit: str | None = None
    label: str = ""
    stale: bool = False
    low_confidence: bool = False
    error: str | None = None
    message: str = ""

    @property
    def poll_key(self) -> tuple[datetime, str, str, bool]:
        """What the lines of one poll have in common."""
        return self.at, self.provider, self.account or "", self.error is not None


LINE_KEYS = tuple(field.encode_name for field in msgspec.structs.fields(HistoryLine))


def read_history_lines(lines: Iterable[bytes], path: str, ignored_keys: set[str]) -> Iterator[HistoryLine]:
    """Reads the lines; empty ones are skipped.

    Args:
        lines: in time order.
        path: for error messages.
        ignored_keys: unknown keys are added to it.

    Raises:
        UsageError: at the first invalid line, with its number and what is wrong.
    """
    latest: datetime | None = None
    for number, text in enumerate(lines, 1):
        if number == 1:  # some editors and shells put a byte order mark first
            text = text.removeprefix(codecs.BOM_UTF8)  # noqa: PLW2901
        if not text.strip():
            continue
        location = f"{path}, line {number}"
        if len(text) > MAX_LINE_LENGTH:
            raise UsageError(f"{location}: longer than {MAX_LINE_LENGTH} characters; one reading a line is expected")
        line = _decode_line(text, location, ignored_keys)
        if latest is not None and line.at < latest:
            raise UsageError(
                f"{location}: {line.at:%Y-%m-%dT%H:%M:%SZ} is earlier than the line before it; sort by `at`"
            )
        latest = line.at
        yield line


_decode_fields = msgspec.json.Decoder(HistoryLine).decode
_decode_keys = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def _decode_line(text: bytes, location: str, ignored_keys: set[str]) -> HistoryLine:
    try:
        line, keys = _decode_fields(text), _decode_keys(text)
    except (msgspec.MsgspecError, UnicodeError) as error:
        found = _KEY_ERROR_PATTERN.fullmatch(str(error))
        problem = f"`{found['key']}`: {found['what']}" if found else str(error)
        raise UsageError(f"{location}: {problem}; {READING_FORMAT_HINT}") from None
    for key in keys.keys() - LINE_KEYS:
        shown, meant = sanitize_for_terminal(key, 40), find_close_match(key, LINE_KEYS)
        if meant is not None:
            raise UsageError(f"{location}: unknown key `{shown}`; did you mean `{meant}`?")
        ignored_keys.add(shown)
    if line.window is None and line.error is None:
        raise UsageError(f"{location}: neither `window` nor `error` is given; {READING_FORMAT_HINT}")
    for number in (line.used, line.limit, line.remaining):
        if number is not None and not (number.is_finite() and abs(number) <= MAX_NUMBER):
            raise UsageError(f"{location}: `{number}` is no number up to {MAX_NUMBER:.0e}")
    for moment in (line.at, line.resets_at):
        if moment is not None and not MIN_YEAR <= moment.year <= MAX_YEAR:
            raise UsageError(f"{location}: {moment.isoformat()} is not between the years {MIN_YEAR} and {MAX_YEAR}")
    return msgspec.structs.replace(line, at=line.at.astimezone(UTC))


def build_poll_results(lines: Iterable[HistoryLine]) -> Iterator[PollResult]:
    """The results of the polls that the lines record."""
    for (at, provider, account, has_failed), group in groupby(lines, key=lambda line: line.poll_key):
        of_poll = list(group)
        account_name = next((line.account_name for line in of_poll if line.account_name), account)
        if has_failed:
            kind = of_poll[-1].error or ""
            message = of_poll[-1].message or kind.replace("_", " ")
            yield PollFailure(
                provider=provider, account=account, account_name=account_name, at=at, kind=kind, message=message
            )
            continue
        readings = {line.window: _make_reading(line) for line in of_poll}
        yield Snapshot(
            provider=provider,
            account=account,
            account_name=account_name,
            at=at,
            readings=tuple(readings.values()),
            complete=False,
        )


def _make_reading(line: HistoryLine) -> Reading:
    window = line.window or ""
    has_counts = line.used is not None or line.limit is not None or line.remaining is not None
    is_money = window.endswith("_usd") or window == "extra_usage"
    return Reading(
        window=window,
        kind=infer_kind(Series(line.provider, window, line.account or ""), line.window_seconds),
        label=line.label,
        used_percent=line.used_percent,
        used=line.used,
        limit=line.limit,
        remaining=line.remaining,
        unit=line.unit or ("usd" if is_money else "requests" if has_counts else "percent"),
        resets_at=line.resets_at and line.resets_at.astimezone(UTC),
        window_seconds=line.window_seconds,
        unlimited=line.unlimited,
        blocked=line.blocked,
        stale=line.stale,
        low_confidence=line.low_confidence,
    )


def measure_intervals(history: Iterable[PollResult]) -> dict[str, timedelta]:
    """Each provider's polling interval: the median time between two results about one series."""
    polled_at: dict[tuple[str, str], dict[str, datetime]] = {}  # account -> window -> its last poll
    pauses: dict[str, list[float]] = {}
    for result in history:
        windows = polled_at.setdefault((result.provider, result.account), {})
        polled = [reading.window for reading in result.readings] if isinstance(result, Snapshot) else list(windows)
        for window in polled:
            if result.at > windows.get(window, result.at):
                pauses.setdefault(result.provider, []).append((result.at - windows[window]).total_seconds())
            windows[window] = result.at
    return {
        provider: max(timedelta(seconds=median(gaps)), MIN_INTERVAL)
        for provider, gaps in pauses.items()
        if len(gaps) >= MIN_PAUSES
    }


def replay_rules(
    rules: Sequence[Rule],
    history: Sequence[PollResult],
    *,
    default_intervals: Mapping[str, timedelta] | None = None,
    explain: bool = False,
    until: datetime | None = None,
) -> Iterator[EvaluationResult]:
    """Evaluates each moment of a history.

    Args:
        rules: to evaluate.
        history: in time order.
        default_intervals: provider -> polling interval, where the history is too short to tell it.
        explain: record a decision also where nothing happened.
        until: let time pass up to this instant after the last result; None: end with it.
    """
    intervals = {**(default_intervals or {}), **measure_intervals(history)}
    slowest = max((intervals.get(result.provider, DEFAULT_INTERVAL) for result in history), default=DEFAULT_INTERVAL)
    engine_state = EngineState({}, {})
    next_due_at: datetime | None = None

    def evaluate(result: PollResult | None, now: datetime) -> EvaluationResult:
        nonlocal engine_state, next_due_at
        every = slowest if result is None else intervals.get(result.provider, DEFAULT_INTERVAL)
        evaluation = evaluator.evaluate_poll(rules, engine_state, result, now, every=every, explain=explain)
        engine_state = evaluator.apply_evaluation(engine_state, evaluation)
        next_due_at = evaluation.next_due_at
        return evaluation

    moments: list[tuple[PollResult | None, datetime]] = [(result, result.at) for result in history]
    if until is not None:
        moments.append((None, until))
    for result, at in moments:
        while next_due_at is not None and next_due_at < at:
            yield evaluate(None, next_due_at)
        yield evaluate(result, at)


def iter_decisions(
    rules: Sequence[Rule],
    history: Sequence[PollResult],
    *,
    default_intervals: Mapping[str, timedelta] | None = None,
    until: datetime | None = None,
) -> Iterator[Decision]:
    """Every decision of these rules over a history, in time order; the arguments are those of `replay_rules`."""
    for step in replay_rules(rules, history, default_intervals=default_intervals, explain=True, until=until):
        yield from step.decisions
