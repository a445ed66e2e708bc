"""Channels: does anything use them, can they be used, did they ever take a message; and the desktop's own service."""

from collections.abc import Iterator
from datetime import datetime, timedelta

from watcher.config.loader import Config
from watcher.core import formatting
from watcher.core.model import DeliveryState
from watcher.doctor import DesktopUnavailableError, DoctorContext, Finding, Verdict
from watcher.storage.store import CHANNEL_TESTED_PREFIX

CHANNELS_GROUP = "channels"
SENT_WITHIN = timedelta(days=30)
FAILED_WITHIN = timedelta(days=7)


def check_channels(context: DoctorContext) -> Iterator[Finding]:
    """The worst that is to be said of each channel, and routes that lead nowhere."""
    config = context.config
    if config is None:
        return
    used, sent, tried = find_used_channels(config), _load_last_sent(context), _load_last_tested(context, config)
    dead = _load_dead_deliveries(context)
    for name in config.channels:
        again = f"watcher notify test {name}"
        if name in config.broken_channels:
            message = f"its secret cannot be had: {config.broken_channels[name]}; its messages wait"
            yield _make_finding(name, Verdict.FAIL, message, f"set it, then {again}")
        elif name in context.status.stopped_channels:
            message = f"it refused for good and is silent: {context.status.stopped_channels[name]}"
            yield _make_finding(name, Verdict.FAIL, message, f"correct [channels.{name}], then {again}")
        elif name not in used:
            cure = f'add it to `default` under [route], or to a rule: notify = ["{name}"]'
            yield _make_finding(name, Verdict.WARN, "no route and no rule uses it, so it is never told anything", cure)
        elif name in dead:
            count, outcome = dead[name]
            many = formatting.format_amount(count, "messages")
            yield _make_finding(name, Verdict.WARN, f"{many} given up in the last week: {outcome}", again)
        elif name not in sent and name in tried:
            ago = formatting.format_duration(context.now - tried[name])
            yield _make_finding(name, Verdict.OK, f"took a test message {ago} ago")
        elif name not in sent:
            yield _make_finding(
                name, Verdict.WARN, "it has not taken a message yet, so nobody knows if it works", again
            )
        else:
            ago = formatting.format_duration(context.now - sent[name])
            yield _make_finding(name, Verdict.OK, f"took a message {ago} ago")
    if not used:
        yield _make_finding(
            "route", Verdict.FAIL, "no route leads to a channel: no alert is told", "watcher config show"
        )


def find_used_channels(config: Config) -> frozenset[str]:
    """Channels that some rule in force can reach, by its own `notify` or by the route of a severity that it has."""
    routing = config.routing
    names: set[str] = set()
    for rule in config.rules:
        for level in rule.levels:
            names.update(
                rule.notify if rule.notify is not None else routing.routes.get(level.severity, routing.default)
            )
    return frozenset(names | set(routing.default)) & frozenset(config.channels)


def check_desktop(context: DoctorContext) -> Iterator[Finding]:
    """The notification service, asked for its name: nothing is shown."""
    config = context.config
    wanted = [] if config is None else [each.name for each in config.channels.values() if each.type == "desktop"]
    if config is not None and not wanted:
        yield Finding(
            group=CHANNELS_GROUP, subject="notifications", verdict=Verdict.OK, message="no channel uses the desktop"
        )
        return
    try:
        said = context.query_desktop()
    except DesktopUnavailableError as error:
        verdict = Verdict.FAIL if config is None or find_used_channels(config) & set(wanted) else Verdict.WARN
        message, _, cure = str(error).partition("; ")
        yield Finding(group=CHANNELS_GROUP, subject="notifications", verdict=verdict, message=message, cure=cure)
    else:
        yield Finding(group=CHANNELS_GROUP, subject="notifications", verdict=Verdict.OK, message=said)


def _load_last_sent(context: DoctorContext) -> dict[str, datetime]:
    if context.store is None:
        return {}
    sent = context.store.load_finished_deliveries(DeliveryState.SENT, since=context.now - SENT_WITHIN)
    return {delivery.channel: delivery.created_at for delivery in sent}


def _load_last_tested(context: DoctorContext, config: Config) -> dict[str, datetime]:
    """When a channel last took a message of `watcher notify test`."""
    if context.store is None:
        return {}
    facts = {name: context.store.load_fact(CHANNEL_TESTED_PREFIX + name) for name in config.channels}
    return {name: fact[1] for name, fact in facts.items() if fact is not None}


def _load_dead_deliveries(context: DoctorContext) -> dict[str, tuple[int, str]]:
    if context.store is None:
        return {}
    found: dict[str, tuple[int, str]] = {}
    for delivery in context.store.load_finished_deliveries(DeliveryState.DEAD, since=context.now - FAILED_WITHIN):
        found[delivery.channel] = found.get(delivery.channel, (0, ""))[0] + 1, delivery.outcome or "it never answered"
    return found


def _make_finding(name: str, verdict: Verdict, message: str, fix: str = "") -> Finding:
    return Finding(group=CHANNELS_GROUP, subject=name, verdict=verdict, message=message, cure=fix)
