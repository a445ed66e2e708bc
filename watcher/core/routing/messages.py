"""Transition -> Message: what, how much, until when; first what a person wants first.

Sentences are true when they are read: durations count from `now`, and a resolved alert never repeats the words of its
firing. Plain text; a channel escapes for itself. Never decide here whether something is said: `plan` does.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, tzinfo
from itertools import groupby

from msgspec import Struct, structs

from watcher.core.formatting import format_duration, format_time
from watcher.core.model import FIRING_EVENTS, AlertEvent, Delivery, Message, Reading, Severity, Transition
from watcher.core.routing import message_text
from watcher.core.routing.message_text import SeriesName, TimeFormatter
from watcher.core.routing.muting import RELEASE_REASONS
from watcher.core.rules import template
from watcher.core.rules.rule import Rule

MAX_DIGEST_LINES = 12
"""As many alerts as a digest lists; the rest is counted."""

_FULL_PERCENT = 100


class ProviderInfo(Struct, frozen=True, kw_only=True):
    """What messages say of a provider."""

    name: str
    usage_page: str = ""  # where a person looks at the usage


class Formatter(Struct, frozen=True, kw_only=True):
    """How messages speak: the reader's zone, the providers' names, and where an account must be named."""

    tz: tzinfo
    providers: Mapping[str, ProviderInfo] = {}
    multi_account_providers: frozenset[str] = (
        frozenset()
    )  # providers with several accounts: their account stands in the title


def build_message(  # noqa: PLR0913 - a sentence has many parts, and all but two are named
    transition: Transition,
    rule: Rule | None,
    *,
    tz: tzinfo,
    usage_page: str = "",
    provider_name: str = "",
    name_account: bool = False,
    now: datetime | None = None,
) -> Message:
    """The message of one transition, worded for the instant `now` (left out: when it happened).

    `rule` is None where it is no longer in force. A rule's templates speak while an alert lasts; its end has ours.
    """
    reader = TimeFormatter(tz=tz, now=now or transition.at)
    subject = SeriesName(transition, provider_name, name_account=name_account)
    title, body = (
        message_text.format_title(transition, rule, subject, reader),
        message_text.format_body(transition, rule, subject, reader),
    )
    if rule is not None and _uses_template(transition, rule):
        values = _collect_template_values(transition, subject, reader)
        still = "Still: " if transition.event is AlertEvent.REMINDER else ""
        title = still + _render_template(rule.title, values) if rule.title else title
        body = _render_template(rule.message, values) if rule.message else body
        if subject.account and subject.account not in f"{title} {body}":
            body = f"{body}\nAccount {subject.account}."
    return _make_message(transition, title, body, usage_page)


def write_message(delivery: Delivery, rules: Mapping[str, Rule], formatter: Formatter, now: datetime) -> Delivery:
    """The delivery with its message worded for `now`; a notice keeps its own words."""
    if not delivery.about:
        return delivery
    first, last = delivery.about[0], delivery.about[-1]
    rule = rules.get(last.rule)
    if any(transition.alert_id != first.alert_id for transition in delivery.about):
        heading = delivery.reason.capitalize() if delivery.reason in RELEASE_REASONS.values() else ""
        message = compose_digest(delivery.about, rules, formatter, now, key=delivery.key, heading=heading)
    elif first.event in FIRING_EVENTS and last.event not in FIRING_EVENTS:
        message = compose_combined_message(first, last, rule, formatter, now)
    else:
        message = compose_message(last, rule, formatter, now)
    return structs.replace(delivery, message=structs.replace(message, id=delivery.key))


def compose_message(transition: Transition, rule: Rule | None, formatter: Formatter, now: datetime) -> Message:
    """`build_message` with a `Formatter`."""
    provider = transition.series.provider
    about = formatter.providers.get(provider, ProviderInfo(name=""))
    return build_message(
        transition,
        rule,
        tz=formatter.tz,
        usage_page=about.usage_page,
        provider_name=about.name,
        name_account=provider in formatter.multi_account_providers,
        now=now,
    )


def compose_combined_message(
    opening: Transition, closing: Transition, rule: Rule | None, formatter: Formatter, now: datetime
) -> Message:
    """One message for an alert that began and ended before anything of it could be delivered."""
    message = compose_message(closing, rule, formatter, now)
    if opening.reading is not None and (rule is None or rule.title is None):  # that reset is past, or is told below
        opening = structs.replace(opening, reading=structs.replace(opening.reading, resets_at=None))
    began = compose_message(opening, rule, formatter, opening.at)
    at = format_time(opening.at, now, formatter.tz)
    earlier = f"At {at}: {began.title}. This could not be delivered while it lasted."
    return structs.replace(message, body=f"{earlier}\n{message.body}", since=opening.since)


def compose_digest(  # noqa: PLR0913 - likewise
    about: Sequence[Transition],
    rules: Mapping[str, Rule],
    formatter: Formatter,
    now: datetime,
    *,
    key: str,
    heading: str = "",
) -> Message:
    """One message for several transitions, in order; an alert's opening followed by its closing is one line.

    `heading` stands before the counts: "After quiet hours". The most severe of what still lasts come first.
    """
    turns = [list(turns) for _, turns in groupby(about, key=lambda transition: transition.alert_id)]
    turns.sort(key=lambda each: -each[-1].severity.rank if each[-1].event in FIRING_EVENTS else 1)
    lines = [_format_digest_line(each, rules, formatter, now) for each in turns[:MAX_DIGEST_LINES]]
    shown = [  # two rules about one window say the same of it: then their names tell them apart
        f"{line} ({each[-1].rule})" if lines.count(line) > 1 else line for line, each in zip(lines, turns, strict=False)
    ]
    if len(turns) > MAX_DIGEST_LINES:
        shown.append(f"and {len(turns) - MAX_DIGEST_LINES} more: watcher status")
    lasting = [each[-1] for each in turns if each[-1].event in FIRING_EVENTS]
    ended = [each[-1] for each in turns if each[-1].event not in FIRING_EVENTS]
    title = _format_counts(lasting, ended)
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
        link=formatter.providers[only].usage_page if only in formatter.providers else "",
    )


def compose_notice(key: str, title: str, body: str, now: datetime, severity: Severity = Severity.WARNING) -> Message:
    """What the watcher says of itself: a channel that stopped, a machine that is offline."""
    return Message(id=key, thread=key, event="notice", severity=severity, title=title, body=body, at=now, since=now)


# --- templates ------------------------------------------------------------------------------------------------------


def _collect_template_values(
    transition: Transition, series_name: SeriesName, times: TimeFormatter
) -> dict[str, object]:
    """The value of every name in `TEMPLATE_NAMES`; None where it is unknown."""
    return {
        "rule": transition.rule,
        "provider": series_name.provider_label,
        "account": transition.account_name or transition.series.account,
        "window": series_name.window_label,
        "label": series_name.window_label,
        "plan": message_text.get_text_fact(transition, "plan"),
        "series": str(transition.series),
        "severity": str(transition.severity),
        "event": str(transition.event),
        "reason": transition.reason,
        "error": message_text.format_error(transition, series_name) or "no error",
        "since": times.format_clock(transition.since),
        "duration": format_duration(times.now - transition.since),
        **_collect_reading_values(transition.reading),
        **_collect_time_values(transition, times),
    }


def _collect_reading_values(reading: Reading | None) -> dict[str, object]:
    """What a template may say of the reading itself."""
    used = reading.used_percent if reading else None
    return {
        "used_percent": used,
        "remaining_percent": None if used is None else _FULL_PERCENT - used,
        "used": reading.used if reading else None,
        "limit": reading.limit if reading else None,
        "remaining": reading.remaining if reading else None,
        "unit": reading.unit if reading else None,
    }


def _collect_time_values(transition: Transition, times: TimeFormatter) -> dict[str, object]:
    """What a template may say of the time until something happens, or since it did, and of the forecast."""
    resets_at = transition.reading.resets_at if transition.reading else None
    dry_at, age = message_text.get_exhausts_at(transition), message_text.get_reading_age(transition, times.now)
    return {
        "resets_in": format_duration(resets_at - times.now) if resets_at and resets_at > times.now else None,
        "resets_at": times.format_clock(resets_at) if resets_at else None,
        "rate": message_text.get_number_fact(transition, "rate"),
        "projected": message_text.get_number_fact(transition, "projected"),
        "exhausts_in": format_duration(dry_at - times.now) if dry_at and dry_at > times.now else None,
        "age": format_duration(age) if age is not None else None,
    }


def _uses_template(transition: Transition, rule: Rule) -> bool:
    """A template describes what the rule watches for; at its end those words would be false."""
    if transition.event is AlertEvent.RESET:
        return AlertEvent.FIRING not in rule.on
    return transition.event in FIRING_EVENTS


def _render_template(text: str, values: Mapping[str, object]) -> str:
    try:
        return template.render_template(
            text, values
        ).strip()  # what is empty, as an account may be, leaves no blank behind
    except template.TemplateError as error:
        return f"{text} ({error})"  # checked when the rule was read; a message is still better than none


# --- messages -------------------------------------------------------------------------------------------------------


def _make_message(transition: Transition, title: str, body: str, usage_page: str) -> Message:
    reading, series = transition.reading, transition.series
    return Message(
        id=transition.key,
        thread=transition.alert_id,
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
        link=usage_page,
    )


def _format_digest_line(
    transitions: Sequence[Transition], rules: Mapping[str, Rule], formatter: Formatter, now: datetime
) -> str:
    """One line for one alert: its title; of a rule with words of its own for both, both."""
    first, last = transitions[0], transitions[-1]
    rule = rules.get(last.rule)
    message = compose_message(last, rule, formatter, now)
    text = message.title
    if rule is not None and rule.title and rule.message and _uses_template(last, rule):
        text = f"{message.title.rstrip('.')}. {message.body.partition(chr(10))[0]}"
    over_already = first.event in FIRING_EVENTS and last.event not in FIRING_EVENTS
    return f"{text} (over before it could be said)" if over_already else text


def _format_counts(lasting: Sequence[Transition], ended: Sequence[Transition]) -> str:
    parts = []
    if lasting:
        critical = sum(each.severity is Severity.CRITICAL for each in lasting)
        grave = f" ({critical} critical)" if critical else ""
        parts.append(f"{len(lasting)} alert{'s' if len(lasting) > 1 else ''}{grave}")
    over = sum(each.event is AlertEvent.RESOLVED for each in ended)
    resets = len(ended) - over
    parts.extend([f"{over} resolved"] if over else [])
    parts.extend([f"{resets} window{'s' if resets > 1 else ''} reset"] if resets else [])
    return ", ".join(parts)
