"""Channels: does anything use them, can they be used, did they ever take a message; and the desktop's own service."""

from collections.abc import Iterator
from datetime import datetime, timedelta

from watcher.config import Config
from watcher.core import phrases
from watcher.core.model import DeliveryState
from watcher.doctor import Finding, Scene, Unanswered, Verdict
from watcher.store import TRIED

GROUP = "channels"
REMEMBERED = timedelta(days=30)
LATELY = timedelta(days=7)


def channels(scene: Scene) -> Iterator[Finding]:
    """The worst that is to be said of each channel, and routes that lead nowhere."""
    config = scene.config
    if config is None:
        return
    used, sent, tried = in_use(config), _last_sent(scene), _tried(scene, config)
    dead = _given_up(scene)
    for name in config.channels:
        again = f"watcher notify test {name}"
        if name in config.broken_channels:
            message = f"its secret cannot be had: {config.broken_channels[name]}; its messages wait"
            yield _finding(name, Verdict.FAIL, message, f"set it, then {again}")
        elif name in scene.status.stopped_channels:
            message = f"it refused for good and is silent: {scene.status.stopped_channels[name]}"
            yield _finding(name, Verdict.FAIL, message, f"correct [channels.{name}], then {again}")
        elif name not in used:
            cure = f'add it to `default` under [route], or to a rule: notify = ["{name}"]'
            yield _finding(name, Verdict.WARN, "no route and no rule uses it, so it is never told anything", cure)
        elif name in dead:
            count, outcome = dead[name]
            many = phrases.amount(count, "messages")
            yield _finding(name, Verdict.WARN, f"{many} given up in the last week: {outcome}", again)
        elif name not in sent and name in tried:
            ago = phrases.duration(scene.now - tried[name])
            yield _finding(name, Verdict.OK, f"took a test message {ago} ago")
        elif name not in sent:
            yield _finding(name, Verdict.WARN, "it has not taken a message yet, so nobody knows if it works", again)
        else:
            ago = phrases.duration(scene.now - sent[name])
            yield _finding(name, Verdict.OK, f"took a message {ago} ago")
    if not used:
        yield _finding("route", Verdict.FAIL, "no route leads to a channel: no alert is told", "watcher config show")


def in_use(config: Config) -> frozenset[str]:
    """Channels that some rule in force can reach, by its own `notify` or by the route of a severity that it has."""
    routing = config.routing
    names: set[str] = set()
    for rule in config.rules:
        for level in rule.levels:
            names.update(
                rule.notify if rule.notify is not None else routing.routes.get(level.severity, routing.default)
            )
    return frozenset(names | set(routing.default)) & frozenset(config.channels)


def desktop(scene: Scene) -> Iterator[Finding]:
    """The notification service, asked for its name: nothing is shown."""
    config = scene.config
    wanted = [] if config is None else [each.name for each in config.channels.values() if each.type == "desktop"]
    if config is not None and not wanted:
        yield Finding(group=GROUP, subject="notifications", verdict=Verdict.OK, message="no channel uses the desktop")
        return
    try:
        said = scene.desktop()
    except Unanswered as error:
        verdict = Verdict.FAIL if config is None or in_use(config) & set(wanted) else Verdict.WARN
        message, _, cure = str(error).partition("; ")
        yield Finding(group=GROUP, subject="notifications", verdict=verdict, message=message, cure=cure)
    else:
        yield Finding(group=GROUP, subject="notifications", verdict=Verdict.OK, message=said)


def _last_sent(scene: Scene) -> dict[str, datetime]:
    if scene.store is None:
        return {}
    sent = scene.store.deliveries(DeliveryState.SENT, since=scene.now - REMEMBERED)
    return {delivery.channel: delivery.created_at for delivery in sent}


def _tried(scene: Scene, config: Config) -> dict[str, datetime]:
    """When a channel last took a message of `watcher notify test`."""
    if scene.store is None:
        return {}
    facts = {name: scene.store.fact(TRIED + name) for name in config.channels}
    return {name: fact[1] for name, fact in facts.items() if fact is not None}


def _given_up(scene: Scene) -> dict[str, tuple[int, str]]:
    if scene.store is None:
        return {}
    found: dict[str, tuple[int, str]] = {}
    for delivery in scene.store.deliveries(DeliveryState.DEAD, since=scene.now - LATELY):
        found[delivery.channel] = found.get(delivery.channel, (0, ""))[0] + 1, delivery.outcome or "it never answered"
    return found


def _finding(name: str, verdict: Verdict, message: str, cure: str = "") -> Finding:
    return Finding(group=GROUP, subject=name, verdict=verdict, message=message, cure=cure)
