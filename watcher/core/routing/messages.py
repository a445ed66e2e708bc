"""Writes the message of a delivery: what happened, how much is used, until when.

Sentences are true when they are read: durations count from `now`, and a resolved alert never repeats the words of its
firing. Plain text; a channel escapes for itself. `message_text` has the parts of a sentence.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime, tzinfo
from itertools import groupby

from msgspec import Struct, structs

from watcher.core.formatting import clean_lines, format_duration
from watcher.core.model import (
    FIRING_EVENTS,
    AlertEvent,
    Delivery,
    Message,
    Reading,
    Severity,
    Transition,
    WindowKind,
)
from watcher.core.routing import message_text
from watcher.core.routing.message_text import SeriesName, TimeFormatter
from watcher.core.routing.muting import RELEASE_REASONS
from watcher.core.rules.rule import Rule
from watcher.core.rules.template import render_template

DIGEST_KEY_PREFIX = "digest|"
MAX_DIGEST_LINES = 12
"""As many alerts as a digest lists; the rest is counted."""

_FULL_PERCENT = 100
_INTERNAL_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){0,3}(-[0-9a-f]{12})?|(user|org|acct?|account)[-_][\w-]+")
"""A hash, a UUID or a vendor's key: no name that people know."""
_NO_READING = Reading(window="", kind=WindowKind.OTHER, unit="")


class ProviderInfo(Struct, frozen=True, kw_only=True):
    """What messages say of a provider."""

    name: str
    usage_page: str = ""


class Formatter(Struct, frozen=True, kw_only=True):
    """How messages are worded: the reader's time zone, the providers' names, and where an account must be named."""

    tz: tzinfo
    providers: Mapping[str, ProviderInfo] = {}
    multi_account_providers: frozenset[str] = frozenset()  # the titles of these name the account
    account_names: Mapping[tuple[str, str], str] = {}  # (provider, account) -> its present name, where that is known
    host: str = ""  # this machine, for readers elsewhere: they are told account, machine and the zone of times

    def make_times(self, now: datetime) -> TimeFormatter:
        """Words for times, as read at `now`."""
        return TimeFormatter(tz=self.tz, now=now, names_zone=bool(self.host))


def write_message(delivery: Delivery, rules: Mapping[str, Rule], formatter: Formatter, now: datetime) -> Delivery:
    """The delivery with its message worded for `now`; a notice keeps its own words."""
    if not delivery.transitions:
        return structs.replace(delivery, message=add_origin(delivery.message, formatter.host, is_repeat=False))
    first, last = delivery.transitions[0], delivery.transitions[-1]
    rule = rules.get(last.rule)
    if began_together(delivery.key, delivery.transitions):
        message = compose_joined_message(delivery.transitions, rules, formatter, now)
    elif any(transition.alert_id != first.alert_id for transition in delivery.transitions):
        heading = delivery.reason.capitalize() if delivery.reason in RELEASE_REASONS.values() else ""
        message = compose_digest(delivery.transitions, rules, formatter, now, key=delivery.key, heading=heading)
    elif first.event in FIRING_EVENTS and last.event not in FIRING_EVENTS:
        message = compose_combined_message(first, last, rule, formatter, now)
    else:
        message = compose_message(last, rule, formatter, now)
    message = add_origin(structs.replace(message, id=delivery.key), formatter.host, is_repeat=delivery.in_doubt)
    return structs.replace(delivery, message=message)


def add_origin(message: Message, host: str, *, is_repeat: bool) -> Message:
    """The message with whose account it is about and which machine sent it, for readers elsewhere; `host`: see there.

    `is_repeat`: an earlier attempt may have arrived.
    """
    if not host or f"ent by {host}." in message.body:  # a notice keeps the words of its first attempt
        return message
    is_named = message.account and not _INTERNAL_ID.fullmatch(message.account) and message.account not in message.title
    account = f"Account {message.account}, sent by {host}." if is_named else f"Sent by {host}."
    repeat = " You may have got this before." if is_repeat else ""
    return structs.replace(message, body=f"{message.body}\n{account}{repeat}".lstrip())


def compose_message(transition: Transition, rule: Rule | None, formatter: Formatter, now: datetime) -> Message:
    """The message of one transition. `rule` is None where it is no longer in force.

    A rule's own templates are used while an alert lasts; they do not fit its end.
    """
    provider, account = transition.series.provider, transition.series.account
    account_name = formatter.account_names.get((provider, account)) or transition.account_name or account
    transition = structs.replace(transition, account_name=account_name)
    info = formatter.providers.get(provider, ProviderInfo(name=""))
    times = formatter.make_times(now)
    name = SeriesName(transition, info.name, name_account=provider in formatter.multi_account_providers)
    title = message_text.format_title(transition, rule, name, times)
    body = message_text.format_body(transition, rule, name, times)
    if rule is not None and _uses_template(transition, rule):
        values = _collect_template_values(transition, name, times)
        still = "Still: " if transition.event is AlertEvent.REMINDER else ""
        title = still + (clean_lines(render_template(rule.title, values)) or title) if rule.title else title
        body = clean_lines(render_template(rule.message, values)) if rule.message else body
        if name.account and name.account not in f"{title} {body}":
            body = f"{body}\nAccount {name.account}."
    reading = transition.reading or _NO_READING
    return Message(
        id=transition.key,
        thread=transition.alert_id,
        event=str(transition.event),
        severity=transition.severity,
        title=title,
        body=body,
        rule=transition.rule,
        provider=provider,
        account=account_name,
        window=transition.series.window,
        label=reading.label,
        used_percent=reading.used_percent,
        remaining=reading.remaining,
        unit=reading.unit,
        resets_at=reading.resets_at,
        at=transition.at,
        since=transition.since,
        link=info.usage_page,
    )


def began_together(key: str, transitions: Sequence[Transition]) -> bool:
    """Whether a delivery is about several alerts that began on one series in one evaluation, and is no digest."""
    alike = {(each.series, each.event) for each in transitions}
    is_one_beginning = len(alike) == 1 and transitions[0].event is AlertEvent.FIRING
    return len(transitions) > 1 and is_one_beginning and not key.startswith(DIGEST_KEY_PREFIX)


def compose_joined_message(
    about: Sequence[Transition], rules: Mapping[str, Rule], formatter: Formatter, now: datetime
) -> Message:
    """The message of the first alert, with the names of the others."""
    message = compose_message(about[0], rules.get(about[0].rule), formatter, now)
    others = ", ".join(f"{each.rule} ({each.severity})" for each in about[1:])
    return structs.replace(message, body=f"{message.body}\nAlso firing: {others}.".lstrip())


def compose_combined_message(
    opening: Transition, closing: Transition, rule: Rule | None, formatter: Formatter, now: datetime
) -> Message:
    """One message for an alert that began and ended before anything of it could be delivered."""
    message = compose_message(closing, rule, formatter, now)
    if opening.reading is not None and (rule is None or rule.title is None):  # that reset is past, or is named below
        opening = structs.replace(opening, reading=structs.replace(opening.reading, resets_at=None))
    beginning = compose_message(opening, rule, formatter, opening.at)
    at = formatter.make_times(now).format_clock(opening.at)
    earlier = f"At {at}: {beginning.title}. This could not be delivered while it lasted."
    return structs.replace(message, body=f"{earlier}\n{message.body}", since=opening.since)


def compose_digest(  # noqa: PLR0913 - a digest's parts, two of them named
    about: Sequence[Transition],
    rules: Mapping[str, Rule],
    formatter: Formatter,
    now: datetime,
    *,
    key: str,
    heading: str = "",
) -> Message:
    """One message for several alerts, a line for each; the most severe of those that last come first.

    `about` has each alert's transitions together. `heading` precedes the counts: "After quiet hours".
    """
    alerts = [tuple(transitions) for _, transitions in groupby(about, key=lambda transition: transition.alert_id)]
    alerts.sort(key=lambda each: -each[-1].severity.rank if each[-1].event in FIRING_EVENTS else 1)
    lines = [_format_digest_line(each, rules, formatter, now) for each in alerts[:MAX_DIGEST_LINES]]
    shown = [  # the lines of two rules about one window are alike: the rules' names tell them apart
        f"{line} ({each[-1].rule})" if lines.count(line) > 1 else line
        for line, each in zip(lines, alerts, strict=False)
    ]
    if len(alerts) > MAX_DIGEST_LINES:
        shown.append(f"and {len(alerts) - MAX_DIGEST_LINES} more: watcher status")
    lasting = [each[-1] for each in alerts if each[-1].event in FIRING_EVENTS]
    ended = [each[-1] for each in alerts if each[-1].event not in FIRING_EVENTS]
    counts = _format_counts(lasting, ended)
    providers = {transition.series.provider for transition in about}
    only = providers.pop() if len(providers) == 1 else ""
    return Message(
        id=key,
        thread=key,
        event="digest",
        severity=max((each.severity for each in lasting), key=lambda level: level.rank, default=Severity.INFO),
        title=f"{heading}: {counts}" if heading else counts,
        body="\n".join(shown),
        provider=only,
        at=now,
        since=min(transition.since for transition in about),
        link=formatter.providers[only].usage_page if only in formatter.providers else "",
    )


def compose_notice(key: str, title: str, body: str, now: datetime, severity: Severity = Severity.WARNING) -> Message:
    """A message of the watcher about itself: a channel that stopped, a machine that is offline."""
    return Message(
        id=key, thread=key, event="notice", severity=severity, title=title, body=clean_lines(body), at=now, since=now
    )


def _format_digest_line(
    transitions: Sequence[Transition], rules: Mapping[str, Rule], formatter: Formatter, now: datetime
) -> str:
    """One line for one alert: the title of its last message, and the body where both are the rule's own words."""
    first, last = transitions[0], transitions[-1]
    rule = rules.get(last.rule)
    message = compose_message(last, rule, formatter, now)
    text = message.title
    if rule is not None and rule.title and rule.message and _uses_template(last, rule):
        text = f"{message.title.rstrip('.')}. {message.body.partition(chr(10))[0]}"
    is_over = first.event in FIRING_EVENTS and last.event not in FIRING_EVENTS
    return f"{text} (over before it could be sent)" if is_over else text


def _format_counts(lasting: Sequence[Transition], ended: Sequence[Transition]) -> str:
    """The title of a digest: "4 alerts (1 critical), 2 resolved, 1 window reset"."""
    parts = []
    if lasting:
        critical = sum(each.severity is Severity.CRITICAL for each in lasting)
        of_those = f" ({critical} critical)" if critical else ""
        parts.append(f"{len(lasting)} alert{'s' if len(lasting) > 1 else ''}{of_those}")
    resolved = sum(each.event is AlertEvent.RESOLVED for each in ended)
    resets = len(ended) - resolved
    parts.extend([f"{resolved} resolved"] if resolved else [])
    parts.extend([f"{resets} window{'s' if resets > 1 else ''} reset"] if resets else [])
    return ", ".join(parts)


def _uses_template(transition: Transition, rule: Rule) -> bool:
    """Whether a rule's own words fit: they describe what the rule watches for, so not its end."""
    if transition.event is AlertEvent.RESET:
        return AlertEvent.FIRING not in rule.on
    return transition.event in FIRING_EVENTS


def _collect_template_values(transition: Transition, name: SeriesName, times: TimeFormatter) -> dict[str, object]:
    """The value of every name that a template may use; None where it is unknown."""
    now, reading = times.now, transition.reading or _NO_READING
    used, resets_at = reading.used_percent, reading.resets_at
    exhausts_at, age = message_text.get_exhausts_at(transition), message_text.get_reading_age(transition, now)
    return {
        "rule": transition.rule,
        "provider": name.provider_label,
        "account": transition.account_name,
        "window": name.window_label,
        "label": name.window_label,
        "plan": transition.facts.plan,
        "series": str(transition.series),
        "severity": str(transition.severity),
        "event": str(transition.event),
        "reason": transition.reason,
        "error": message_text.format_error(transition, name) or "no error",
        "since": times.format_clock(transition.since),
        "duration": format_duration(now - transition.since),
        "used_percent": used,
        "remaining_percent": None if used is None else _FULL_PERCENT - used,
        "used": reading.used,
        "increase": transition.facts.increase,
        "limit": reading.limit,
        "remaining": reading.remaining,
        "unit": reading.unit or None,
        "resets_in": format_duration(resets_at - now) if resets_at and resets_at > now else None,
        "resets_at": times.format_clock(resets_at) if resets_at else None,
        "rate": transition.facts.rate,
        "projected": transition.facts.projected,
        "exhausts_in": format_duration(exhausts_at - now) if exhausts_at and exhausts_at > now else None,
        "age": None if age is None else format_duration(age),
    }
