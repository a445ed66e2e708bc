"""The parts of a sentence: who it is about, how much, until when, what stands in the way.

Plain text for one transition, true at the reader's instant. Never assemble a message here: `watcher.core.routing.messages` does.
"""

from datetime import datetime, timedelta, tzinfo
from decimal import Decimal

from msgspec import Struct

from watcher.core.engine.metrics import AVAILABILITY_FIELDS
from watcher.core.formatting import format_amount, format_duration, format_number, format_percent, format_time
from watcher.core.model import FIRING_EVENTS, AlertEvent, Reading, Transition, WindowKind
from watcher.core.rules.ast import FieldReference, iter_comparisons, iter_field_references
from watcher.core.rules.rule import Rule

_USED_FIELDS, _REMAINING_FIELDS = frozenset({"used_percent", "used"}), frozenset({"remaining_percent", "remaining"})
_ABOVE_OPERATORS, _BELOW_OPERATORS = frozenset({">", ">="}), frozenset({"<", "<="})
_FORECAST_FIELDS = frozenset({"rate", "projected", "exhausts_in"})
_MIN_SINCE_AGE = timedelta(minutes=1)  # what began longer ago than this gets a "Since"


class TimeFormatter(Struct, frozen=True):
    """When and where a sentence is read."""

    tz: tzinfo
    now: datetime

    def format_clock(self, at: datetime) -> str:
        """The time of day, with the day where that is not today."""
        return format_time(at, self.now, self.tz)

    def format_reset(self, at: datetime | None, verb: str = "resets") -> str:
        """The words ", resets in 1 h 40 min (16:00)"; empty where it is unknown or past: then nothing is claimed."""
        if at is None or at <= self.now:
            return ""
        return f", {verb} in {format_duration(at - self.now)} ({self.format_clock(at)})"


class SeriesName:
    """Who a sentence is about: "Claude", "5-hour window"."""

    def __init__(self, transition: Transition, provider_name: str, *, name_account: bool) -> None:
        series, reading = transition.series, transition.reading
        account = transition.account_name or series.account
        self.provider_name = provider_name or series.provider.replace("_", " ").title()
        self.provider_label = f"{self.provider_name} ({account})" if name_account and account else self.provider_name
        self.window_label = (reading.label if reading else "") or series.window.replace("_", " ")
        self.account = account if name_account else ""
        many = self.window_label.endswith("s")
        self.verb_have, self.verb_be, self.verb_reset = ("have", "are", "reset") if many else ("has", "is", "resets")

    def __str__(self) -> str:
        return f"{self.provider_label} {self.window_label}"


def format_title(transition: Transition, rule: Rule | None, series_name: SeriesName, times: TimeFormatter) -> str:
    """The first line: who, how much, until when."""
    if is_availability_rule(rule):
        return _format_availability_title(transition, series_name, times)
    reading = transition.reading
    until = times.format_reset(reading.resets_at if reading else None, series_name.verb_reset)
    if transition.event is AlertEvent.RESET or (
        transition.event is AlertEvent.RESOLVED and transition.reason == "reset"
    ):
        return f"{series_name} {series_name.verb_have} reset{_format_use_after_reset(reading)}{_format_other_exhausted(transition, times)}"
    if transition.event is AlertEvent.RESOLVED:
        back = "back to" if _is_high_usage_rule(rule) else "now at"
        return f"{series_name} {series_name.verb_be} {_format_level(reading, back)}{until}"
    verb = {AlertEvent.ESCALATED: "now ", AlertEvent.REMINDER: "still "}.get(transition.event, "")
    only = "only " if _is_low_usage_rule(rule) else ""
    return (
        f"{series_name} {verb}{only}{_format_level(reading, 'at')}{_format_exhaustion(transition, rule, times)}{until}"
    )


def _format_availability_title(transition: Transition, series_name: SeriesName, times: TimeFormatter) -> str:
    if transition.event not in FIRING_EVENTS:
        level = f", {series_name.window_label} {_format_level(transition.reading, 'at')}" if transition.reading else ""
        return f"{series_name.provider_label} answers again{level}"
    still = "still " if transition.event is AlertEvent.REMINDER else ""
    age = get_reading_age(transition, times.now)
    return f"{series_name.provider_label} {still}gives no reading" + (
        f", the last was {format_duration(age)} ago" if age else ""
    )


def _format_level(reading: Reading | None, preposition: str) -> str:
    """How much: "at 82 %", "at 107 %, 321 requests over", "at $4.20", "to 65 %"."""
    if reading is None:
        return f"{preposition} an unknown level"
    if reading.unlimited:
        return f"{preposition.removesuffix('to').removesuffix('at')}without a limit"
    parts = []
    if reading.used_percent is not None:
        parts.append(f"{preposition} {format_percent(reading.used_percent)}")
    if reading.remaining is not None and reading.remaining < 0:
        parts.append(f"{format_amount(-reading.remaining, reading.unit)} over" if reading.unit != "percent" else "")
    elif not parts and reading.remaining is not None:
        left = "" if reading.kind is WindowKind.BALANCE else " left"
        said = reading.unit in reading.label.lower().split()  # "credits at 12", and not "at 12 credits"
        shown = format_number(reading.remaining) if said else format_amount(reading.remaining, reading.unit)
        parts.append(f"{preposition} {shown}{left}")
    elif not parts and reading.used is not None:
        parts.append(f"{preposition} {format_amount(reading.used, reading.unit)} used")
    return ", ".join(part for part in parts if part) or f"{preposition} an unknown level"


def _format_use_after_reset(reading: Reading | None) -> str:
    if reading is None or reading.used_percent is None:
        return ""
    return f", {format_percent(reading.used_percent)} used"


def _format_other_exhausted(transition: Transition, times: TimeFormatter) -> str:
    """The other window that still stands in the way: ", but the 7-day window is used up until Mon 09:00"."""
    spent = get_exhausted_windows(transition)
    if not spent:
        return ""
    label, until = max(spent, key=lambda item: item[1] or times.now)
    when = f" until {times.format_clock(until)}" if until and until > times.now else ""
    return f", but the {label} is used up{when}"


def _format_exhaustion(transition: Transition, rule: Rule | None, times: TimeFormatter) -> str:
    """The forecast, where the rule is about one: ", runs dry in 35 min (15:05)"."""
    at = get_exhausts_at(transition)
    if at is None or at <= times.now or rule is None or not _mentions_field(rule, _FORECAST_FIELDS):
        return ""
    return f", runs dry in {format_duration(at - times.now)} ({times.format_clock(at)})"


def format_body(transition: Transition, rule: Rule | None, series_name: SeriesName, times: TimeFormatter) -> str:
    """The lines below it: use in the window's own unit, the forecast, what else is used up, and which rule says so."""
    silent = is_availability_rule(rule)
    opening = transition.event in FIRING_EVENTS
    lines = ["" if silent else _format_counts(transition.reading)]
    if opening and not silent:
        lines.append(_format_forecast(transition, rule, times))
    if transition.event not in {AlertEvent.RESET, AlertEvent.RESOLVED}:
        lines.extend(
            f"The {label} is used up{_format_until(until, times)}."
            for label, until in get_exhausted_windows(transition)
        )
    if error := format_error(transition, series_name):
        lines.append(f"Last attempt: {error}")
    if opening and times.now - transition.since >= _MIN_SINCE_AGE:
        lines.append(f"Since {times.format_clock(transition.since)}.")
    over = transition.event is AlertEvent.RESOLVED and transition.reason != "reset"
    passed = over and not silent and not _is_high_usage_rule(rule)
    lines.append(f"What rule {transition.rule} watches for is over." if passed else f"Rule {transition.rule}.")
    return "\n".join(line for line in lines if line)


def format_error(transition: Transition, series_name: SeriesName) -> str:
    """What went wrong at the last poll, without the provider's name, which the title has; empty where nothing did."""
    return (get_text_fact(transition, "error") or "").removeprefix(f"{series_name.provider_name}: ")


def _format_counts(reading: Reading | None) -> str:
    """Use in the window's own unit: "246 of 300 requests used, 54 left."."""
    if reading is None or reading.unit == "percent" or reading.used is None or reading.limit is None:
        return ""
    used = (
        format_amount(reading.used, reading.unit)
        if format_amount(1, reading.unit).startswith(("$", "€", "£"))
        else None
    )
    text = f"{used or format_number(reading.used)} of {format_amount(reading.limit, reading.unit)} used"
    remaining = reading.limit - reading.used if reading.remaining is None else reading.remaining
    if remaining < 0:
        return f"{text}, {_format_bare_number(-remaining, reading.unit)} over."
    return f"{text}, {_format_bare_number(remaining, reading.unit)} left."


def _format_bare_number(value: Decimal, unit: str) -> str:
    """A number whose unit has just been said; money keeps its sign."""
    text = format_amount(value, unit)
    return text if text.startswith(("$", "€", "£")) else format_number(value)


def _format_forecast(transition: Transition, rule: Rule | None, times: TimeFormatter) -> str:
    resets_at = transition.reading.resets_at if transition.reading else None
    dry_at, projected = get_exhausts_at(transition), get_number_fact(transition, "projected")
    if dry_at and dry_at > times.now and (resets_at is None or dry_at < resets_at):
        before = f"{format_duration(resets_at - dry_at)} before the reset" if resets_at else ""
        if _format_exhaustion(transition, rule, times):  # the title says when
            return f"At this rate that is {before}." if before else ""
        when = f"At this rate it runs dry in {format_duration(dry_at - times.now)} ({times.format_clock(dry_at)})"
        return f"{when}, {before}." if before else f"{when}."
    if projected is not None and rule is not None and _mentions_field(rule, _FORECAST_FIELDS):
        return f"At this rate {format_percent(projected)} at the reset."
    return ""


def is_availability_rule(rule: Rule | None) -> bool:
    """Whether a rule speaks of missing readings (`age`, `up`) and not of use."""
    return rule is not None and _mentions_field(rule, AVAILABILITY_FIELDS)


def _is_high_usage_rule(rule: Rule | None) -> bool:
    """Whether a rule speaks where much is used or little is left: then its end is a way back."""
    field, operator = _get_first_comparison(rule)
    return not field or (
        operator in _ABOVE_OPERATORS
        if field in _USED_FIELDS
        else operator in _BELOW_OPERATORS and field in _REMAINING_FIELDS
    )


def _is_low_usage_rule(rule: Rule | None) -> bool:
    """Whether a rule speaks where little is used: use it or lose it."""
    field, operator = _get_first_comparison(rule)
    return (field in _USED_FIELDS and operator in _BELOW_OPERATORS) or (
        field in _REMAINING_FIELDS and operator in _ABOVE_OPERATORS
    )


def _get_first_comparison(rule: Rule | None) -> tuple[str, str]:
    """The field and the operator that a rule's condition begins with; empty where it is not as simple."""
    if rule is None:
        return "", ""
    first = next(iter_comparisons(rule.levels[-1].when), None)
    if first is None or not isinstance(first.left, FieldReference):
        return "", ""
    return first.left.field, first.operator


def _format_until(until: datetime | None, times: TimeFormatter) -> str:
    return f" until {times.format_clock(until)}" if until and until > times.now else ""


def _mentions_field(rule: Rule, fields: frozenset[str]) -> bool:
    return any(measure.field in fields for level in rule.levels for measure in iter_field_references(level.when))


# --- What a transition knows beyond its reading, typed again after it has been kept as JSON


def get_text_fact(transition: Transition, name: str) -> str | None:
    """A fact that is a text; None where it is unknown or empty."""
    value = transition.facts.get(name)
    return value if isinstance(value, str) and value else None


def get_number_fact(transition: Transition, name: str) -> float | None:
    """A fact that is a number; None where it is unknown."""
    value = transition.facts.get(name)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def get_exhausts_at(transition: Transition) -> datetime | None:
    """When the window runs dry at the rate of that moment."""
    seconds = get_number_fact(transition, "exhausts_in_s")
    return None if seconds is None else transition.at + timedelta(seconds=seconds)


def get_reading_age(transition: Transition, now: datetime) -> timedelta | None:
    """How old the last reading is by `now`, when none has come since."""
    seconds = get_number_fact(transition, "age_s")
    return None if seconds is None else timedelta(seconds=seconds) + (now - transition.at)


def get_exhausted_windows(transition: Transition) -> list[tuple[str, datetime | None]]:
    """Labels of the account's other windows that are used up, each with the instant of its reset."""
    rows = transition.facts.get("spent") or ()
    return [(str(label), datetime.fromisoformat(until) if until else None) for label, until in rows]
