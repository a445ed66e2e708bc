"""Config, rules and channels: whether they can be read, whether each rule can fire, whether each channel works."""

from collections.abc import Iterator
from datetime import timedelta
from http import HTTPStatus

from watcher.config.loader import Config
from watcher.config.secrets import is_loopback_url
from watcher.core import formatting
from watcher.core.engine.matching import compile_rule
from watcher.core.engine.state import SeriesState
from watcher.core.model import DeliveryState, Reading, Request
from watcher.core.rules.advice import find_advice
from watcher.core.rules.ast import Selector, iter_field_references
from watcher.core.rules.diagnostics import suggest_word
from watcher.core.rules.rule import Rule
from watcher.doctor import DesktopUnavailableError, DoctorContext, Finding, fail, ok, warn
from watcher.errors import ProviderError
from watcher.notifiers.alertmanager import format_error, format_receiver
from watcher.notifiers.base import Channel, format_status, get_json_field
from watcher.storage.store import CHANNEL_TESTED_PREFIX
from watcher.system.paths import may_exist
from watcher.system.process import format_command

_PERCENT_FIELD_BY_COUNT = {"used": "used_percent", "remaining": "remaining_percent", "limit": ""}


def check_config(context: DoctorContext) -> Iterator[Finding]:
    """Every mistake with its place, duplicate names among them."""
    config = context.config
    if config is None:
        for line in context.config_error.splitlines():
            if line and not line[0].isspace():
                yield fail("config", line, "watcher rules check")
        return
    if not may_exist(context.paths.config_file):
        yield warn("config", "there is no config.toml: the default rules notify the desktop", "watcher init")
    if not config.rules:
        yield fail("rules", "there are no rules, so no alert is ever sent", "watcher rules add")
        return
    rules = formatting.format_amount(len(config.rules), "rules")
    files = formatting.format_amount(len({rule.path for rule in config.rules}), "files")
    yield ok("rules", f"{rules} from {files}, all names unique")
    for advice in find_advice(config.rules):
        yield warn("conditions", advice, "watcher rules check")


def check_unreachable_rules(context: DoctorContext) -> Iterator[Finding]:
    """Rules that match no known series: a typing mistake, a window that is gone, a provider without a login."""
    if context.config is None or context.store is None:
        return
    states = [state for state in _load_states(context) if state.series.window]
    answering = {state.series.provider for state in states}
    for compiled in map(compile_rule, context.config.rules):
        for selector in (compiled.rule.subject, *compiled.other_selectors):
            if any(state.matches(selector) for state in states):
                continue
            if not _may_appear_later(selector, answering):
                yield _make_unreachable_finding(compiled.rule, selector, states)
            break


def check_unknown_counts(context: DoctorContext) -> Iterator[Finding]:
    """Rules that compare a count of windows that have only a percent: always unknown, so they never fire."""
    if context.config is None:
        return
    states = _load_states(context)
    for rule in context.config.rules:
        references = {
            (each.selector, each.field): each for level in rule.levels for each in iter_field_references(level.when)
        }
        for (selector, field), reference in references.items():
            if field not in _PERCENT_FIELD_BY_COUNT:
                continue
            readings = [state.reading for state in states if state.reading and state.matches(selector)]
            if readings and not any(_has_count(reading) for reading in readings):
                percent_field = _PERCENT_FIELD_BY_COUNT[field]
                instead = f"; use `{percent_field}`" if percent_field else ""
                message = f"`{reference}` is always unknown: the provider gives a percent and no count{instead}"
                yield warn(rule.name, message, _format_fix(rule))


def _load_states(context: DoctorContext) -> list[SeriesState]:
    if context.store is None:
        return []
    return [state for state in context.store.alerts.load_state().series_states.values() if not state.gone]


def _has_count(reading: Reading) -> bool:
    """Whether it has more than a percent. An unlimited window counts: it has nothing to give."""
    return reading.unlimited or not reading.used is reading.limit is reading.remaining is None


def _may_appear_later(selector: Selector, answering_providers: set[str]) -> bool:
    """Whether it names a provider without an answer yet, or any window of a kind."""
    if selector.provider == "*":
        return not answering_providers or selector.kind is not None or selector.window in ("", "*")
    return selector.provider not in answering_providers


def _make_unreachable_finding(rule: Rule, selector: Selector, states: list[SeriesState]) -> Finding:
    known = sorted({
        f"{state.series.provider}.{state.series.window}"
        for state in states
        if selector.provider in ("*", state.series.provider)
    })  # fmt: skip
    hint = suggest_word(str(selector), known, f"known windows: {', '.join(known)}")
    return warn(rule.name, f"it can never fire: no window matches `{selector}`; {hint}", _format_fix(rule))


def _format_fix(rule: Rule) -> str:
    return f"correct line {rule.line} of {format_command(rule.path)}"


_READY_TIMEOUT_S = 5.0
SENT_WITHIN = timedelta(days=30)
FAILED_WITHIN = timedelta(days=7)


def check_channels(context: DoctorContext) -> Iterator[Finding]:
    """The worst problem of each channel, and routes without a channel."""
    config = context.config
    if config is None:
        return
    used = find_used_channels(config)
    for name, channel in config.channels.items():
        yield _check_channel(name, context, config, is_used=name in used)
        if name in config.routing.mirrors and channel.settings is not None:
            yield from _check_alertmanagers(channel, context)
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
    if name in config.routing.mirrors:
        return ok(name, "shows what fires, to each of its Alertmanagers")
    return _check_deliveries(name, context, test_command)


def _check_deliveries(name: str, context: DoctorContext, test_command: str) -> Finding:
    if context.store is not None:
        load, now = context.store.outbox.load_finished, context.now
        dead = [each for each in load(DeliveryState.DEAD, since=now - FAILED_WITHIN) if each.channel == name]
        if dead:
            count = formatting.format_amount(len(dead), "messages")
            outcome = dead[-1].last_response or "no answer"
            return warn(name, f"{count} not delivered in the last week: {outcome}", test_command)
        sent = [each for each in load(DeliveryState.SENT, since=now - SENT_WITHIN) if each.channel == name]
        if sent:
            return ok(name, f"accepted a message {formatting.format_duration(now - sent[-1].created_at)} ago")
        tested = context.store.facts.load(CHANNEL_TESTED_PREFIX + name)
        if tested is not None:
            return ok(name, f"accepted a test message {formatting.format_duration(now - tested[1])} ago")
    return warn(name, "it has not accepted a message yet", test_command)


def _check_alertmanagers(channel: Channel, context: DoctorContext) -> Iterator[Finding]:
    """Whether each Alertmanager is ready, and its version."""
    settings, ready_path = channel.settings, "/-/ready"
    for url in settings.urls:
        base, name = url.rstrip("/"), f"Alertmanager {format_receiver(url)}"
        try:
            ready, status = (
                context.send(Request(url=base + path, headers=settings.headers, timeout_s=_READY_TIMEOUT_S))
                for path in (ready_path, "/api/v2/status")
            )
            problem = "" if ready.status == HTTPStatus.OK else f"not ready: answered {format_status(ready.status)}"
        except ProviderError as error:
            problem = format_error(url, error)
        if problem:
            yield fail(channel.name, f"{name}: {problem}", format_command("curl", base + ready_path))
            continue
        info = get_json_field(status.body, "versionInfo")
        version = info.get("version") if isinstance(info, dict) else None
        if isinstance(version, str):
            name += f", version {formatting.clean_text(version, 20)},"
        if settings.headers and base.startswith("http://") and not is_loopback_url(base):
            message = f"{name} is ready, but `headers` go there unencrypted"
            yield warn(channel.name, message, f"use https:// in `urls` of [channels.{channel.name}]")
        else:
            yield ok(channel.name, f"{name} is ready")


def find_used_channels(config: Config) -> frozenset[str]:
    """Channels that a rule in force can reach, by its own `notify` or by the route of one of its severities."""
    names = set(config.routing.default)
    for rule in config.rules:
        for level in rule.levels:
            names.update(config.routing.find_channels(rule, level.severity))
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
