"""The parts of a sentence: who it is about, how much, until when, what stands in the way.

Plain text for one transition, true at the reader's instant. Never assemble a message here: `watcher.core.wording` does.
"""

from datetime import datetime, timedelta, tzinfo
from decimal import Decimal

from msgspec import Struct

from watcher.core import facts
from watcher.core.model import OPENING, Event, Kind, Reading, Rule, Transition
from watcher.core.phrases import amount, clock, duration, number, percent
from watcher.core.tree import Measure, comparisons, measures
from watcher.core.view import SILENCE

_USED, _LEFT = frozenset({"used_percent", "used"}), frozenset({"remaining_percent", "remaining"})
_ABOVE, _BELOW = frozenset({">", ">="}), frozenset({"<", "<="})
_FORECAST = frozenset({"rate", "projected", "exhausts_in"})
_NOTABLE = timedelta(minutes=1)  # what began longer ago than this gets a "Since"


class Reader(Struct, frozen=True):
    """When and where a sentence is read."""

    tz: tzinfo
    now: datetime

    def clock(self, at: datetime) -> str:
        """The time of day, with the day where that is not today."""
        return clock(at, self.now, self.tz)

    def until(self, at: datetime | None, resets: str = "resets") -> str:
        """The words ", resets in 1 h 40 min (16:00)"; empty where it is unknown or past: then nothing is claimed."""
        if at is None or at <= self.now:
            return ""
        return f", {resets} in {duration(at - self.now)} ({self.clock(at)})"


class Subject:
    """Who a sentence is about: "Claude", "5-hour window"."""

    def __init__(self, transition: Transition, provider_name: str, *, name_account: bool) -> None:
        series, reading = transition.series, transition.reading
        account = transition.account_name or series.account
        self.name = provider_name or series.provider.replace("_", " ").title()
        self.provider = f"{self.name} ({account})" if name_account and account else self.name
        self.window = (reading.label if reading else "") or series.window.replace("_", " ")
        self.account = account if name_account else ""
        many = self.window.endswith("s")
        self.has, self.be, self.resets = ("have", "are", "reset") if many else ("has", "is", "resets")

    def __str__(self) -> str:
        return f"{self.provider} {self.window}"


def title(transition: Transition, rule: Rule | None, subject: Subject, reader: Reader) -> str:
    """The first line: who, how much, until when."""
    if about_silence(rule):
        return _title_of_silence(transition, subject, reader)
    reading = transition.reading
    until = reader.until(reading.resets_at if reading else None, subject.resets)
    if transition.event is Event.RESET or (transition.event is Event.RESOLVED and transition.reason == "reset"):
        return f"{subject} {subject.has} reset{_after_reset(reading)}{_but_spent(transition, reader)}"
    if transition.event is Event.RESOLVED:
        back = "back to" if _is_about_much(rule) else "now at"
        return f"{subject} {subject.be} {_level(reading, back)}{until}"
    verb = {Event.ESCALATED: "now ", Event.REMINDER: "still "}.get(transition.event, "")
    only = "only " if _is_about_little(rule) else ""
    return f"{subject} {verb}{only}{_level(reading, 'at')}{_dry(transition, rule, reader)}{until}"


def _title_of_silence(transition: Transition, subject: Subject, reader: Reader) -> str:
    if transition.event not in OPENING:
        level = f", {subject.window} {_level(transition.reading, 'at')}" if transition.reading else ""
        return f"{subject.provider} answers again{level}"
    still = "still " if transition.event is Event.REMINDER else ""
    age = facts.age(transition, reader.now)
    return f"{subject.provider} {still}gives no reading" + (f", the last was {duration(age)} ago" if age else "")


def _level(reading: Reading | None, preposition: str) -> str:
    """How much: "at 82 %", "at 107 %, 321 requests over", "at $4.20", "to 65 %"."""
    if reading is None:
        return f"{preposition} an unknown level"
    if reading.unlimited:
        return f"{preposition.removesuffix('to').removesuffix('at')}without a limit"
    parts = []
    if reading.used_percent is not None:
        parts.append(f"{preposition} {percent(reading.used_percent)}")
    if reading.remaining is not None and reading.remaining < 0:
        parts.append(f"{amount(-reading.remaining, reading.unit)} over" if reading.unit != "percent" else "")
    elif not parts and reading.remaining is not None:
        left = "" if reading.kind is Kind.BALANCE else " left"
        said = reading.unit in reading.label.lower().split()  # "credits at 12", and not "at 12 credits"
        shown = number(reading.remaining) if said else amount(reading.remaining, reading.unit)
        parts.append(f"{preposition} {shown}{left}")
    elif not parts and reading.used is not None:
        parts.append(f"{preposition} {amount(reading.used, reading.unit)} used")
    return ", ".join(part for part in parts if part) or f"{preposition} an unknown level"


def _after_reset(reading: Reading | None) -> str:
    if reading is None or reading.used_percent is None:
        return ""
    return f", {percent(reading.used_percent)} used"


def _but_spent(transition: Transition, reader: Reader) -> str:
    """The other window that still stands in the way: ", but the 7-day window is used up until Mon 09:00"."""
    spent = facts.spent(transition)
    if not spent:
        return ""
    label, until = max(spent, key=lambda item: item[1] or reader.now)
    when = f" until {reader.clock(until)}" if until and until > reader.now else ""
    return f", but the {label} is used up{when}"


def _dry(transition: Transition, rule: Rule | None, reader: Reader) -> str:
    """The forecast, where the rule is about one: ", runs dry in 35 min (15:05)"."""
    at = facts.dry_at(transition)
    if at is None or at <= reader.now or rule is None or not _mentions(rule, _FORECAST):
        return ""
    return f", runs dry in {duration(at - reader.now)} ({reader.clock(at)})"


def body(transition: Transition, rule: Rule | None, subject: Subject, reader: Reader) -> str:
    """The lines below it: use in the window's own unit, the forecast, what else is used up, and which rule says so."""
    silent = about_silence(rule)
    opening = transition.event in OPENING
    lines = ["" if silent else _counted(transition.reading)]
    if opening and not silent:
        lines.append(_forecast(transition, rule, reader))
    if transition.event not in {Event.RESET, Event.RESOLVED}:
        lines.extend(f"The {label} is used up{_till(until, reader)}." for label, until in facts.spent(transition))
    if error := trouble(transition, subject):
        lines.append(f"Last attempt: {error}")
    if opening and reader.now - transition.since >= _NOTABLE:
        lines.append(f"Since {reader.clock(transition.since)}.")
    over = transition.event is Event.RESOLVED and transition.reason != "reset"
    passed = over and not silent and not _is_about_much(rule)
    lines.append(f"What rule {transition.rule} watches for is over." if passed else f"Rule {transition.rule}.")
    return "\n".join(line for line in lines if line)


def trouble(transition: Transition, subject: Subject) -> str:
    """What went wrong at the last poll, without the provider's name, which the title has; empty where nothing did."""
    return (facts.text(transition, "error") or "").removeprefix(f"{subject.name}: ")


def _counted(reading: Reading | None) -> str:
    """Use in the window's own unit: "246 of 300 requests used, 54 left."."""
    if reading is None or reading.unit == "percent" or reading.used is None or reading.limit is None:
        return ""
    used = amount(reading.used, reading.unit) if amount(1, reading.unit).startswith(("$", "€", "£")) else None
    text = f"{used or number(reading.used)} of {amount(reading.limit, reading.unit)} used"
    remaining = reading.limit - reading.used if reading.remaining is None else reading.remaining
    if remaining < 0:
        return f"{text}, {_bare(-remaining, reading.unit)} over."
    return f"{text}, {_bare(remaining, reading.unit)} left."


def _bare(value: Decimal, unit: str) -> str:
    """A number whose unit has just been said; money keeps its sign."""
    text = amount(value, unit)
    return text if text.startswith(("$", "€", "£")) else number(value)


def _forecast(transition: Transition, rule: Rule | None, reader: Reader) -> str:
    resets_at = transition.reading.resets_at if transition.reading else None
    dry_at, projected = facts.dry_at(transition), facts.number(transition, "projected")
    if dry_at and dry_at > reader.now and (resets_at is None or dry_at < resets_at):
        before = f"{duration(resets_at - dry_at)} before the reset" if resets_at else ""
        if _dry(transition, rule, reader):  # the title says when
            return f"At this rate that is {before}." if before else ""
        when = f"At this rate it runs dry in {duration(dry_at - reader.now)} ({reader.clock(dry_at)})"
        return f"{when}, {before}." if before else f"{when}."
    if projected is not None and rule is not None and _mentions(rule, _FORECAST):
        return f"At this rate {percent(projected)} at the reset."
    return ""


def about_silence(rule: Rule | None) -> bool:
    """Whether a rule speaks of missing readings (`age`, `up`) and not of use."""
    return rule is not None and _mentions(rule, SILENCE)


def _is_about_much(rule: Rule | None) -> bool:
    """Whether a rule speaks where much is used or little is left: then its end is a way back."""
    field, operator = _first_comparison(rule)
    return not field or (operator in _ABOVE if field in _USED else operator in _BELOW and field in _LEFT)


def _is_about_little(rule: Rule | None) -> bool:
    """Whether a rule speaks where little is used: use it or lose it."""
    field, operator = _first_comparison(rule)
    return (field in _USED and operator in _BELOW) or (field in _LEFT and operator in _ABOVE)


def _first_comparison(rule: Rule | None) -> tuple[str, str]:
    """The field and the operator that a rule's condition begins with; empty where it is not as simple."""
    if rule is None:
        return "", ""
    first = next(comparisons(rule.levels[-1].when), None)
    if first is None or not isinstance(first.left, Measure):
        return "", ""
    return first.left.field, first.operator


def _till(until: datetime | None, reader: Reader) -> str:
    return f" until {reader.clock(until)}" if until and until > reader.now else ""


def _mentions(rule: Rule, fields: frozenset[str]) -> bool:
    return any(measure.field in fields for level in rule.levels for measure in measures(level.when))
