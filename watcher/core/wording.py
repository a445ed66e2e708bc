"""Transition -> Message: what, how much, until when; first what a person wants first.

Sentences are true when they are read: durations count from `now`, and a resolved alert never repeats the words of its
firing. Plain text; a channel escapes for itself. Never decide here whether something is said: `plan` does.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta, tzinfo
from decimal import Decimal
from itertools import groupby

from msgspec import Struct, structs

from watcher.core import facts, template
from watcher.core.model import Event, Kind, Message, Reading, Rule, Severity, Transition
from watcher.core.phrases import amount, clock, duration, number, percent
from watcher.core.tree import measures

LINES = 12
"""As many alerts as a digest lists; the rest is counted."""

_SILENCE = frozenset({"age", "up"})
_FORECAST = frozenset({"rate", "projected", "exhausts_in"})
_OPENING = frozenset({Event.FIRING, Event.ESCALATED, Event.REMINDER})
_NOTABLE = timedelta(minutes=1)  # what began longer ago than this gets a "Since"
_ALL = 100


class About(Struct, frozen=True, kw_only=True):
    """What messages say of a provider."""

    name: str
    page: str = ""  # where a person looks at the usage


class Voice(Struct, frozen=True, kw_only=True):
    """How messages speak: the reader's zone, the providers' names, and where an account must be named."""

    tz: tzinfo
    providers: Mapping[str, About] = {}
    crowded: frozenset[str] = frozenset()  # providers with several accounts: their account stands in the title


def compose(  # noqa: PLR0913 - a sentence has many parts, and all but two are named
    transition: Transition,
    rule: Rule | None,
    *,
    tz: tzinfo,
    page: str = "",
    provider_name: str = "",
    name_account: bool = False,
    now: datetime | None = None,
) -> Message:
    """The message of one transition, worded for the instant `now` (left out: when it happened).

    `rule` is None where it is no longer in force. A rule's templates speak while an alert lasts; its end has ours.
    """
    reader = _Reader(tz=tz, now=now or transition.at)
    subject = _Subject(transition, provider_name, name_account=name_account)
    title, body = _titled(transition, rule, subject, reader), _body(transition, rule, reader)
    if rule is not None and _takes_template(transition, rule):
        values = _fields(transition, subject, reader)
        still = "Still: " if transition.event is Event.REMINDER else ""
        title = still + _filled(rule.title, values) if rule.title else title
        body = _filled(rule.message, values) if rule.message else body
    return _message(transition, title, body, page)


def say(transition: Transition, rule: Rule | None, voice: Voice, now: datetime) -> Message:
    """`compose` with a `Voice`."""
    provider = transition.series.provider
    about = voice.providers.get(provider, About(name=""))
    return compose(
        transition,
        rule,
        tz=voice.tz,
        page=about.page,
        provider_name=about.name,
        name_account=provider in voice.crowded,
        now=now,
    )


def both(opening: Transition, closing: Transition, rule: Rule | None, voice: Voice, now: datetime) -> Message:
    """One message for an alert that began and ended before anything of it could be delivered."""
    message = say(closing, rule, voice, now)
    began = say(opening, rule, voice, opening.at)
    at = clock(opening.at, now, voice.tz)
    earlier = f"At {at}: {began.title}. This could not be delivered while it lasted."
    return structs.replace(message, body=f"{earlier}\n{message.body}", since=opening.since)


def digest(  # noqa: PLR0913 - likewise
    about: Sequence[Transition], rules: Mapping[str, Rule], voice: Voice, now: datetime, *, key: str, heading: str = ""
) -> Message:
    """One message for several transitions, in order; an alert's opening followed by its closing is one line.

    `heading` stands before the counts: "After quiet hours". The most severe of what still lasts come first.
    """
    lines = _lines(about, rules, voice, now)
    lasting = sorted((line for line in lines if line.event in _OPENING), key=lambda line: -line.severity.rank)
    ended = [line for line in lines if line.event not in _OPENING]
    shown = [line.text for line in (*lasting, *ended)]
    rest = len(shown) - LINES
    if rest > 0:
        shown = [*shown[:LINES], f"and {rest} more: watcher status"]
    title = _counts(lasting, ended)
    providers = {transition.series.provider for transition in about}
    only = providers.pop() if len(providers) == 1 else ""
    return Message(
        id=key,
        thread=key,
        event="digest",
        severity=max((line.severity for line in lasting), key=lambda level: level.rank, default=Severity.INFO),
        title=f"{heading}: {title}" if heading else title,
        body="\n".join(shown),
        provider=only,
        at=now,
        since=min(transition.since for transition in about),
        link=voice.providers[only].page if only in voice.providers else "",
    )


def notice(key: str, title: str, body: str, now: datetime, severity: Severity = Severity.WARNING) -> Message:
    """What the watcher says of itself: a channel that stopped, a machine that is offline."""
    return Message(id=key, thread=key, event="notice", severity=severity, title=title, body=body, at=now, since=now)


def about_silence(rule: Rule | None) -> bool:
    """Whether a rule speaks of missing readings (`age`, `up`) and not of use."""
    return rule is not None and _mentions(rule, _SILENCE)


# --- the parts of a sentence ----------------------------------------------------------------------------------------


class _Reader(Struct, frozen=True):
    tz: tzinfo
    now: datetime

    def clock(self, at: datetime) -> str:
        return clock(at, self.now, self.tz)

    def until(self, at: datetime | None) -> str:
        """The words ", resets in 1 h 40 min (16:00)"; empty where it is unknown or past: then nothing is claimed."""
        if at is None or at <= self.now:
            return ""
        return f", resets in {duration(at - self.now)} ({self.clock(at)})"


class _Subject:
    """Who a sentence is about: "Claude", "5-hour window"."""

    def __init__(self, transition: Transition, provider_name: str, *, name_account: bool) -> None:
        series, reading = transition.series, transition.reading
        account = transition.account_name or series.account
        self.name = provider_name or series.provider.replace("_", " ").title()
        self.provider = f"{self.name} ({account})" if name_account and account else self.name
        self.window = (reading.label if reading else "") or series.window.replace("_", " ")
        self.has = "have" if self.window.endswith("s") else "has"

    def __str__(self) -> str:
        return f"{self.provider} {self.window}"


def _titled(transition: Transition, rule: Rule | None, subject: _Subject, reader: _Reader) -> str:
    if about_silence(rule):
        return _title_of_silence(transition, subject, reader)
    reading = transition.reading
    until = reader.until(reading.resets_at if reading else None)
    if transition.event is Event.RESET or (transition.event is Event.RESOLVED and transition.reason == "reset"):
        return f"{subject} {subject.has} reset{_after_reset(reading)}{_but_spent(transition, reader)}"
    if transition.event is Event.RESOLVED:
        return f"{subject} is back {_level(reading, 'to')}{until}"
    verb = {Event.ESCALATED: "now ", Event.REMINDER: "still "}.get(transition.event, "")
    return f"{subject} {verb}{_level(reading, 'at')}{_dry(transition, rule, reader)}{until}"


def _title_of_silence(transition: Transition, subject: _Subject, reader: _Reader) -> str:
    if transition.event not in _OPENING:
        level = f", {subject.window} {_level(transition.reading, 'at')}" if transition.reading else ""
        return f"{subject.provider} answers again{level}"
    still = "still " if transition.event is Event.REMINDER else ""
    age = facts.age(transition, reader.now)
    return f"{subject.provider} {still}gives no reading" + (f", the last {duration(age)} ago" if age else "")


def _level(reading: Reading | None, preposition: str) -> str:
    """How much: "at 82 %", "at 107 %, 321 requests over", "at $4.20", "to 65 %"."""
    if reading is None:
        return f"{preposition} an unknown level"
    if reading.unlimited:
        return "without a limit"
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


def _but_spent(transition: Transition, reader: _Reader) -> str:
    """The other window that still stands in the way: ", but the 7-day window is used up until Mon 09:00"."""
    spent = facts.spent(transition)
    if not spent:
        return ""
    label, until = max(spent, key=lambda item: item[1] or reader.now)
    when = f" until {reader.clock(until)}" if until and until > reader.now else ""
    return f", but the {label} is used up{when}"


def _dry(transition: Transition, rule: Rule | None, reader: _Reader) -> str:
    """The forecast, where the rule is about one: ", runs dry in 35 min (15:05)"."""
    at = facts.dry_at(transition)
    if at is None or at <= reader.now or rule is None or not _mentions(rule, _FORECAST):
        return ""
    return f", runs dry in {duration(at - reader.now)} ({reader.clock(at)})"


def _body(transition: Transition, rule: Rule | None, reader: _Reader) -> str:
    silent = about_silence(rule)
    opening = transition.event in _OPENING
    lines = ["" if silent else _counted(transition.reading)]
    if opening and not silent:
        lines.append(_forecast(transition, rule, reader))
    if transition.event not in {Event.RESET, Event.RESOLVED}:
        lines.extend(f"The {label} is used up{_till(until, reader)}." for label, until in facts.spent(transition))
    if error := facts.text(transition, "error"):
        lines.append(f"Last poll: {error}")
    if opening and reader.now - transition.since >= _NOTABLE:
        lines.append(f"Since {reader.clock(transition.since)}.")
    account = transition.account_name or transition.series.account
    lines.append((f"Account {account}. " if account else "") + f"Rule {transition.rule}.")
    return "\n".join(line for line in lines if line)


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


def _forecast(transition: Transition, rule: Rule | None, reader: _Reader) -> str:
    resets_at = transition.reading.resets_at if transition.reading else None
    dry_at, projected = facts.dry_at(transition), facts.number(transition, "projected")
    if dry_at and dry_at > reader.now and (resets_at is None or dry_at < resets_at):
        before = f", {duration(resets_at - dry_at)} before the reset" if resets_at else ""
        return f"At this rate it runs dry in {duration(dry_at - reader.now)} ({reader.clock(dry_at)}){before}."
    if projected is not None and rule is not None and _mentions(rule, _FORECAST):
        return f"At this rate {percent(projected)} at the reset."
    return ""


# --- templates ------------------------------------------------------------------------------------------------------


def _fields(transition: Transition, subject: _Subject, reader: _Reader) -> dict[str, object]:
    """The value of every name in `TEMPLATE_NAMES`; None where it is unknown."""
    reading = transition.reading
    used = reading.used_percent if reading else None
    resets_at = reading.resets_at if reading else None
    dry_at, age = facts.dry_at(transition), facts.age(transition, reader.now)
    error = facts.text(transition, "error")
    return {
        "rule": transition.rule,
        "provider": subject.provider,
        "account": transition.account_name or transition.series.account,
        "window": subject.window,
        "label": subject.window,
        "plan": facts.text(transition, "plan"),
        "series": str(transition.series),
        "severity": str(transition.severity),
        "event": str(transition.event),
        "reason": transition.reason,
        "used_percent": used,
        "remaining_percent": None if used is None else _ALL - used,
        "used": reading.used if reading else None,
        "limit": reading.limit if reading else None,
        "remaining": reading.remaining if reading else None,
        "unit": reading.unit if reading else None,
        "resets_in": duration(resets_at - reader.now) if resets_at and resets_at > reader.now else None,
        "resets_at": reader.clock(resets_at) if resets_at else None,
        "rate": facts.number(transition, "rate"),
        "projected": facts.number(transition, "projected"),
        "exhausts_in": duration(dry_at - reader.now) if dry_at and dry_at > reader.now else None,
        "age": duration(age) if age is not None else None,
        "error": error or "no error",
        "since": reader.clock(transition.since),
        "duration": duration(reader.now - transition.since),
    }


def _takes_template(transition: Transition, rule: Rule) -> bool:
    """A template describes what the rule watches for; at its end those words would be false."""
    if transition.event is Event.RESET:
        return Event.FIRING not in rule.on
    return transition.event in _OPENING


def _filled(text: str, values: Mapping[str, object]) -> str:
    try:
        return template.render(text, values).strip()  # what is empty, as an account may be, leaves no blank behind
    except template.TemplateError as error:
        return f"{text} ({error})"  # checked when the rule was read; a message is still better than none


def _till(until: datetime | None, reader: _Reader) -> str:
    return f" until {reader.clock(until)}" if until and until > reader.now else ""


def _mentions(rule: Rule, fields: frozenset[str]) -> bool:
    return any(measure.field in fields for level in rule.levels for measure in measures(level.when))


# --- messages -------------------------------------------------------------------------------------------------------


def _message(transition: Transition, title: str, body: str, page: str) -> Message:
    reading, series = transition.reading, transition.series
    return Message(
        id=transition.key,
        thread=transition.alert,
        event=str(transition.event),
        severity=transition.severity,
        title=title,
        body=body,
        rule=transition.rule,
        provider=series.provider,
        account=transition.account_name or series.account,
        window=series.window,
        label=reading.label if reading else "",
        used_percent=reading.used_percent if reading else None,
        remaining=reading.remaining if reading else None,
        unit=reading.unit if reading else "",
        resets_at=reading.resets_at if reading else None,
        at=transition.at,
        since=transition.since,
        link=page,
    )


class _Line(Struct, frozen=True):
    text: str
    severity: Severity
    event: Event


def _lines(about: Sequence[Transition], rules: Mapping[str, Rule], voice: Voice, now: datetime) -> list[_Line]:
    lines = []
    for _, turns in groupby(about, key=lambda transition: transition.alert):
        first, *later = list(turns)
        last = later[-1] if later else first
        text = say(last, rules.get(last.rule), voice, now).title
        if first.event in _OPENING and last.event not in _OPENING:
            text = f"{text} (over before it could be said)"
        lines.append(_Line(text, last.severity, last.event))
    return lines


def _counts(lasting: Sequence[_Line], rest: Sequence[_Line]) -> str:
    parts = []
    if lasting:
        critical = sum(line.severity is Severity.CRITICAL for line in lasting)
        parts.append(f"{len(lasting)} alert{'s' if len(lasting) > 1 else ''}")
        parts.extend([f"{critical} critical"] if critical else [])
    over = sum(line.event is Event.RESOLVED for line in rest)
    resets = len(rest) - over
    parts.extend([f"{over} over"] if over else [])
    parts.extend([f"{resets} window{'s' if resets > 1 else ''} reset"] if resets else [])
    return ", ".join(parts)
