"""Transition -> Message: what, how much, until when; first what a person wants first.

Sentences are true when they are read: durations count from `now`, and a resolved alert never repeats the words of its
firing. Plain text; a channel escapes for itself. Never decide here whether something is said: `plan` does.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, tzinfo
from itertools import groupby

from msgspec import Struct, structs

from watcher.core import facts, sentences, template
from watcher.core.model import OPENING, Event, Message, Reading, Rule, Severity, Transition
from watcher.core.phrases import clock, duration
from watcher.core.sentences import Reader, Subject

LINES = 12
"""As many alerts as a digest lists; the rest is counted."""

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
    reader = Reader(tz=tz, now=now or transition.at)
    subject = Subject(transition, provider_name, name_account=name_account)
    title, body = sentences.title(transition, rule, subject, reader), sentences.body(transition, rule, subject, reader)
    if rule is not None and _takes_template(transition, rule):
        values = _fields(transition, subject, reader)
        still = "Still: " if transition.event is Event.REMINDER else ""
        title = still + _filled(rule.title, values) if rule.title else title
        body = _filled(rule.message, values) if rule.message else body
        if subject.account and subject.account not in f"{title} {body}":
            body = f"{body}\nAccount {subject.account}."
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
    if opening.reading is not None and (rule is None or rule.title is None):  # that reset is past, or is told below
        opening = structs.replace(opening, reading=structs.replace(opening.reading, resets_at=None))
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
    turns = [list(turns) for _, turns in groupby(about, key=lambda transition: transition.alert)]
    turns.sort(key=lambda each: -each[-1].severity.rank if each[-1].event in OPENING else 1)
    lines = [_line(each, rules, voice, now) for each in turns[:LINES]]
    shown = [  # two rules about one window say the same of it: then their names tell them apart
        f"{line} ({each[-1].rule})" if lines.count(line) > 1 else line for line, each in zip(lines, turns, strict=False)
    ]
    if len(turns) > LINES:
        shown.append(f"and {len(turns) - LINES} more: watcher status")
    lasting = [each[-1] for each in turns if each[-1].event in OPENING]
    ended = [each[-1] for each in turns if each[-1].event not in OPENING]
    title = _counts(lasting, ended)
    providers = {transition.series.provider for transition in about}
    only = providers.pop() if len(providers) == 1 else ""
    return Message(
        id=key,
        thread=key,
        event="digest",
        severity=max((each.severity for each in lasting), key=lambda level: level.rank, default=Severity.INFO),
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


# --- templates ------------------------------------------------------------------------------------------------------


def _fields(transition: Transition, subject: Subject, reader: Reader) -> dict[str, object]:
    """The value of every name in `TEMPLATE_NAMES`; None where it is unknown."""
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
        "error": sentences.trouble(transition, subject) or "no error",
        "since": reader.clock(transition.since),
        "duration": duration(reader.now - transition.since),
        **_amounts(transition.reading),
        **_spans(transition, reader),
    }


def _amounts(reading: Reading | None) -> dict[str, object]:
    """What a template may say of the reading itself."""
    used = reading.used_percent if reading else None
    return {
        "used_percent": used,
        "remaining_percent": None if used is None else _ALL - used,
        "used": reading.used if reading else None,
        "limit": reading.limit if reading else None,
        "remaining": reading.remaining if reading else None,
        "unit": reading.unit if reading else None,
    }


def _spans(transition: Transition, reader: Reader) -> dict[str, object]:
    """What a template may say of the time until something happens, or since it did, and of the forecast."""
    resets_at = transition.reading.resets_at if transition.reading else None
    dry_at, age = facts.dry_at(transition), facts.age(transition, reader.now)
    return {
        "resets_in": duration(resets_at - reader.now) if resets_at and resets_at > reader.now else None,
        "resets_at": reader.clock(resets_at) if resets_at else None,
        "rate": facts.number(transition, "rate"),
        "projected": facts.number(transition, "projected"),
        "exhausts_in": duration(dry_at - reader.now) if dry_at and dry_at > reader.now else None,
        "age": duration(age) if age is not None else None,
    }


def _takes_template(transition: Transition, rule: Rule) -> bool:
    """A template describes what the rule watches for; at its end those words would be false."""
    if transition.event is Event.RESET:
        return Event.FIRING not in rule.on
    return transition.event in OPENING


def _filled(text: str, values: Mapping[str, object]) -> str:
    try:
        return template.render(text, values).strip()  # what is empty, as an account may be, leaves no blank behind
    except template.TemplateError as error:
        return f"{text} ({error})"  # checked when the rule was read; a message is still better than none


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


def _line(turns: Sequence[Transition], rules: Mapping[str, Rule], voice: Voice, now: datetime) -> str:
    """One line for one alert: its title; of a rule with words of its own for both, both."""
    first, last = turns[0], turns[-1]
    rule = rules.get(last.rule)
    message = say(last, rule, voice, now)
    text = message.title
    if rule is not None and rule.title and rule.message and _takes_template(last, rule):
        text = f"{message.title.rstrip('.')}. {message.body.partition(chr(10))[0]}"
    over_already = first.event in OPENING and last.event not in OPENING
    return f"{text} (over before it could be said)" if over_already else text


def _counts(lasting: Sequence[Transition], rest: Sequence[Transition]) -> str:
    parts = []
    if lasting:
        critical = sum(each.severity is Severity.CRITICAL for each in lasting)
        grave = f" ({critical} critical)" if critical else ""
        parts.append(f"{len(lasting)} alert{'s' if len(lasting) > 1 else ''}{grave}")
    over = sum(each.event is Event.RESOLVED for each in rest)
    resets = len(rest) - over
    parts.extend([f"{over} resolved"] if over else [])
    parts.extend([f"{resets} window{'s' if resets > 1 else ''} reset"] if resets else [])
    return ", ".join(parts)
