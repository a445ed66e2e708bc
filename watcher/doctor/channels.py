"""Channels: whether rules use them, whether they can be used, whether they took a message; and the desktop service."""

from collections.abc import Iterator
from datetime import datetime, timedelta

from watcher.config.loader import Config
from watcher.core import formatting
from watcher.core.model import DeliveryState
from watcher.doctor import DesktopUnavailableError, DoctorContext, Finding, fail, ok, warn
from watcher.storage.store import CHANNEL_TESTED_PREFIX, Store

SENT_WITHIN = timedelta(days=30)
FAILED_WITHIN = timedelta(days=7)


def check_channels(context: DoctorContext) -> Iterator[Finding]:
    """The worst problem of each channel, and routes without a channel."""
    config = context.config
    if config is None:
        return
    used = find_used_channels(config)
    for name in config.channels:
        yield _check_channel(name, context, config, is_used=name in used)
    if not used:
        yield fail("route", "no route leads to a channel, so no alert is sent", "watcher config show")


def _check_channel(name: str, context: DoctorContext, config: Config, *, is_used: bool) -> Finding:
    test_command = f"watcher notify test {name}"
    if name in config.broken_channels:
        message = f"its secret cannot be read: {config.broken_channels[name]}; its messages wait"
        return fail(name, message, f"set it, then {test_command}")
    if name in context.status.stopped_channels:
        message = f"it was stopped after a permanent error: {context.status.stopped_channels[name]}"
        return fail(name, message, f"correct [channels.{name}], then {test_command}")
    if not is_used:
        cure = f'add it to `default` under [route], or to a rule: notify = ["{name}"]'
        return warn(name, "no route and no rule uses it, so it never gets a message", cure)
    if context.store is not None:
        dead = _load_dead_outcomes(context.store, name, context.now)
        if dead:
            count = formatting.format_amount(len(dead), "messages")
            return warn(name, f"{count} not delivered in the last week: {dead[-1]}", test_command)
        for what, at in (
            ("message", _load_last_sent(context.store, name, context.now)),
            ("test message", _load_last_tested(context.store, name)),
        ):
            if at is not None:
                return ok(name, f"accepted a {what} {formatting.format_duration(context.now - at)} ago")
    return warn(name, "it has not accepted a message yet", test_command)


def _load_dead_outcomes(store: Store, channel: str, now: datetime) -> list[str]:
    dead = store.outbox.load_finished(DeliveryState.DEAD, since=now - FAILED_WITHIN)
    return [each.last_response or "no answer" for each in dead if each.channel == channel]


def _load_last_sent(store: Store, channel: str, now: datetime) -> datetime | None:
    sent = store.outbox.load_finished(DeliveryState.SENT, since=now - SENT_WITHIN)
    return next((each.created_at for each in reversed(sent) if each.channel == channel), None)


def _load_last_tested(store: Store, channel: str) -> datetime | None:
    fact = store.facts.load(CHANNEL_TESTED_PREFIX + channel)
    return fact[1] if fact else None


def find_used_channels(config: Config) -> frozenset[str]:
    """Channels that a rule in force can reach, by its own `notify` or by the route of one of its severities."""
    routing = config.routing
    names = set(routing.default)
    for rule in config.rules:
        for level in rule.levels:
            names.update(
                rule.notify if rule.notify is not None else routing.routes.get(level.severity, routing.default)
            )
    return frozenset(names) & frozenset(config.channels)


def check_desktop(context: DoctorContext) -> Iterator[Finding]:
    """The notification service, asked for its name only: no notification appears."""
    config = context.config
    wanted = [] if config is None else [each.name for each in config.channels.values() if each.type == "desktop"]
    if config is not None and not wanted:
        yield ok("notifications", "no channel uses the desktop")
        return
    try:
        yield ok("notifications", context.query_desktop())
    except DesktopUnavailableError as error:
        message, _, cure = str(error).partition("; ")
        is_needed = config is None or find_used_channels(config) & set(wanted)
        yield (fail if is_needed else warn)("notifications", message, cure)
