"""The parts of a message about one transition: which window, how much is used, until when, what else is used up."""

from collections.abc import Collection
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
_FULL_PERCENT = 100.0
_MIN_MEAN_SPAN = timedelta(minutes=10)  # before, a few requests would make any rate
_FORECAST_STEP = timedelta(minutes=5)
_MIN_SINCE_AGE = timedelta(minutes=1)  # what began longer ago than this gets a "Since"


class TimeFormatter(Struct, frozen=True):
    """Words for instants and durations, seen from where and when the message is read."""

    tz: tzinfo
    now: datetime
    names_zone: bool = False  # for readers elsewhere

    def format_clock(self, at: datetime) -> str:
        """The time of day, with the day where that is not today: "16:00", "Tue 16:00 CET"."""
        zone = f" {at.astimezone(self.tz):%Z}" if self.names_zone else ""
        return format_time(at, self.now, self.tz) + zone

    def format_reset(self, at: datetime | None, verb: str = "resets") -> str:
        """The words ", resets in 1 h 40 min (16:00)"; empty where the instant is unknown or past."""
        if at is None or at <= self.now:
            return ""
        return f", {verb} in {format_duration(at - self.now)} ({self.format_clock(at)})"


class SeriesName:
    """The names of a transition's provider and window: "Claude", "5-hour window"."""

    def __init__(self, transition: Transition, provider_name: str, *, name_account: bool) -> None:
        series, reading = transition.series, transition.reading
        account = transition.account_name
        self.provider_name = provider_name or series.provider.replace("_", " ").title()
        self.provider_label = f"{self.provider_name} ({account})" if name_account and account else self.provider_name
        self.window_label = (reading.label if reading else "") or series.window.replace("_", " ")
        self.account = account if name_account else ""
        self.verb_have, self.verb_be = ("have", "are") if self.window_label.endswith("s") else ("has", "is")
        self.verb_reset = "the first expires" if reading and reading.kind is WindowKind.BALANCE else "resets"

    def __str__(self) -> str:
        return f"{self.provider_label} {self.window_label}"


def format_title(transition: Transition, rule: Rule | None, series_name: SeriesName, times: TimeFormatter) -> str:
    """The first line: which window, how much is used, until when."""
    if is_availability_rule(rule):
        return _format_availability_title(transition, series_name, times)
    reading = transition.reading
    until = times.format_reset(reading.resets_at if reading else None, series_name.verb_reset)
    if transition.event is AlertEvent.RESET or (
        transition.event is AlertEvent.RESOLVED and transition.reason == "reset"
    ):
        used = reading.used_percent if reading else None
        level = "" if used is None else f", {format_percent(used)} used"
        return f"{series_name} {series_name.verb_have} reset{level}{_format_other_exhausted(transition, times)}"
    if transition.event is AlertEvent.RESOLVED:
        back = "back to" if _is_high_usage_rule(rule) else "now at"
        return f"{series_name} {series_name.verb_be} {_format_level(reading, back)}{until}"
    verb = {AlertEvent.ESCALATED: "now ", AlertEvent.REMINDER: "still "}.get(transition.event, "")
    only = "only " if _is_low_usage_rule(rule) else ""
    exhaustion = _format_exhaustion(transition, rule, times)
    blocked = ", requests are refused" if reading and reading.blocked and _mentions_field(rule, {"blocked"}) else ""
    return f"{series_name} {verb}{only}{_format_level(reading, 'at')}{blocked}{exhaustion}{until}"


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
        is_unit_in_label = reading.unit in reading.label.lower().split()  # "credits at 12", and not "at 12 credits"
        shown = format_number(reading.remaining) if is_unit_in_label else format_amount(reading.remaining, reading.unit)
        parts.append(f"{preposition} {shown}{left}")
    elif not parts and reading.used is not None:
        parts.append(f"{preposition} {format_amount(reading.used, reading.unit)} used")
    elif not parts and reading.blocked is not None:
        parts.append("blocked" if reading.blocked else "not blocked")
    return ", ".join(part for part in parts if part) or f"{preposition} an unknown level"


def _format_other_exhausted(transition: Transition, times: TimeFormatter) -> str:
    """Another window of the account that is used up: ", but the 7-day window is used up until Mon 09:00"."""
    exhausted = transition.facts.spent
    if not exhausted:
        return ""
    label, until = max(exhausted, key=lambda item: item[1] or times.now)
    return f", but the {label} is used up{_format_until(until, times)}"


def _format_exhaustion(transition: Transition, rule: Rule | None, times: TimeFormatter) -> str:
    """The forecast, where the rule is about one: ", runs out in 35 min (15:05)"."""
    at = get_exhausts_at(transition)
    if at is None or at <= times.now or not _mentions_field(rule, _FORECAST_FIELDS):
        return ""
    return f", runs out in {format_duration(at - times.now)} ({times.format_clock(at)})"


def format_body(transition: Transition, rule: Rule | None, series_name: SeriesName, times: TimeFormatter) -> str:
    """The lines below: use in the window's own unit, the forecast, what else is used up, and the rule."""
    about_availability = is_availability_rule(rule)
    is_firing = transition.event in FIRING_EVENTS
    lines = ["" if about_availability else _format_counts(transition.reading)]
    if is_firing and not about_availability and not transition.facts.spent:
        lines.append(_format_forecast(transition, rule, times))
    if transition.event not in {AlertEvent.RESET, AlertEvent.RESOLVED}:
        lines.extend(
            f"The {label} is used up{_format_until(until, times)}." for label, until in transition.facts.spent or ()
        )
    if error := format_error(transition, series_name):
        lines.append(f"Last attempt: {error}")
    if is_firing and times.now - transition.since >= _MIN_SINCE_AGE:
        lines.append(f"Since {times.format_clock(transition.since)}.")
    has_recovered = transition.event is AlertEvent.RESOLVED and transition.reason != "reset"
    is_over = has_recovered and not about_availability and not _is_high_usage_rule(rule)
    lines.append(f"What rule {transition.rule} watches for is over." if is_over else f"Rule {transition.rule}.")
    return "\n".join(line for line in lines if line)


def format_error(transition: Transition, series_name: SeriesName) -> str:
    """The error of the last poll without the provider's name, which the title has; empty where there was none."""
    return (transition.facts.error or "").removeprefix(f"{series_name.provider_name}: ")


def _format_counts(reading: Reading | None) -> str:
    """Use in the window's own unit: "246 of 300 requests used, 54 left."."""
    if reading is None or reading.unit == "percent" or reading.used is None or reading.limit is None:
        return ""
    used, limit = _format_bare_number(reading.used, reading.unit), format_amount(reading.limit, reading.unit)
    text = f"{used} of {limit} used"
    remaining = reading.limit - reading.used if reading.remaining is None else reading.remaining
    if remaining < 0:
        return f"{text}, {_format_bare_number(-remaining, reading.unit)} over."
    return f"{text}, {_format_bare_number(remaining, reading.unit)} left."


def _format_bare_number(value: Decimal, unit: str) -> str:
    """A number beside another one that has the unit; money keeps its sign."""
    text = format_amount(value, unit)
    return text if text.startswith(("$", "€", "£")) else format_number(value)


def _format_forecast(transition: Transition, rule: Rule | None, times: TimeFormatter) -> str:
    """What to expect: "At this rate it runs out at 14:20, 40 min before the reset."."""
    reading = transition.reading
    resets_at = reading.resets_at if reading else None
    exhausts_at, projected = get_exhausts_at(transition), transition.facts.projected
    if projected is None and exhausts_at is None and reading is not None:  # too few readings for a rate of now
        projected, exhausts_at = _project_mean_rate(reading, transition.at)
    if exhausts_at and exhausts_at > times.now and (resets_at is None or exhausts_at < resets_at):
        if _format_exhaustion(transition, rule, times):  # the title says when
            return f"At this rate that is {_format_before(exhausts_at, resets_at)}." if resets_at else ""
        rounded = _round_time(exhausts_at)
        if times.now < rounded and (resets_at is None or rounded < resets_at):
            exhausts_at = rounded
        is_today = exhausts_at.astimezone(times.tz).date() == times.now.astimezone(times.tz).date()
        before = f", {_format_before(exhausts_at, resets_at)}" if resets_at else ""
        return f"At this rate it runs out {'at' if is_today else 'on'} {times.format_clock(exhausts_at)}{before}."
    has_run_out = exhausts_at is not None and exhausts_at <= times.now
    if projected is not None and not has_run_out and resets_at is not None and resets_at > times.now:
        return f"At this rate {format_percent(projected)} at the reset."
    return ""


def _format_before(at: datetime, resets_at: datetime) -> str:
    return f"{format_duration(resets_at - at)} before the reset"


def _round_time(at: datetime) -> datetime:
    """To five minutes: a forecast knows no better."""
    past = at - at.replace(minute=at.minute // 5 * 5, second=0, microsecond=0)
    return at - past + (_FORECAST_STEP if past * 2 >= _FORECAST_STEP else timedelta(0))


def _project_mean_rate(reading: Reading, at: datetime) -> tuple[float | None, datetime | None]:
    """Percent at the reset, and when the window runs out, if use goes on as on average since the window began."""
    if reading.used_percent is None or reading.resets_at is None or not reading.window_seconds:
        return None, None
    window = timedelta(seconds=reading.window_seconds)
    passed = at - (reading.resets_at - window)
    if not (_MIN_MEAN_SPAN <= passed <= window and 0 < reading.used_percent < _FULL_PERCENT):
        return None, None
    return reading.used_percent * (window / passed), at + passed * (_FULL_PERCENT / reading.used_percent - 1)


def is_availability_rule(rule: Rule | None) -> bool:
    """Whether a rule is about missing readings (`age`, `up`) and not about use."""
    return _mentions_field(rule, AVAILABILITY_FIELDS)


def _is_high_usage_rule(rule: Rule | None) -> bool:
    """Whether a rule fires where much is used or little is left, so that its end is a way back."""
    field, operator = _get_first_comparison(rule)
    return not field or (
        operator in _ABOVE_OPERATORS
        if field in _USED_FIELDS
        else operator in _BELOW_OPERATORS and field in _REMAINING_FIELDS
    )


def _is_low_usage_rule(rule: Rule | None) -> bool:
    """Whether a rule fires where little is used: use it or lose it."""
    field, operator = _get_first_comparison(rule)
    return (field in _USED_FIELDS and operator in _BELOW_OPERATORS) or (
        field in _REMAINING_FIELDS and operator in _ABOVE_OPERATORS
    )


def _get_first_comparison(rule: Rule | None) -> tuple[str, str]:
    """The field and the operator that a rule's condition begins with; empty where it begins otherwise."""
    if rule is None:
        return "", ""
    first = next(iter_comparisons(rule.levels[-1].when), None)
    if first is None or not isinstance(first.left, FieldReference):
        return "", ""
    return first.left.field, first.operator


def _format_until(until: datetime | None, times: TimeFormatter) -> str:
    return f" until {times.format_clock(until)}" if until and until > times.now else ""


def _mentions_field(rule: Rule | None, fields: Collection[str]) -> bool:
    levels = () if rule is None else rule.levels
    return any(found.field in fields for level in levels for found in iter_field_references(level.when))


def get_exhausts_at(transition: Transition) -> datetime | None:
    """When the window runs out at the rate of then; None where that is unknown."""
    seconds = transition.facts.exhausts_in_s
    return None if seconds is None else transition.at + timedelta(seconds=seconds)


def get_reading_age(transition: Transition, now: datetime) -> timedelta | None:
    """How old the last reading is at `now` if none has come since; None where that is unknown."""
    seconds = transition.facts.age_s
    return None if seconds is None else timedelta(seconds=seconds) + (now - transition.at)
