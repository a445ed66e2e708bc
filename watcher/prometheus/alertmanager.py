"""The channels of type `alertmanager`: firing alerts are posted after each evaluation and every `resend`.

The outbox is not used. Posted alerts are stored, so that whatever ends one (a reset, an edited rule, another route) is
posted as resolved, also after a restart. An Alertmanager that restarts gets all alerts again within `resend`.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from functools import partial
from typing import NamedTuple

import msgspec
from msgspec import Struct, structs

from watcher import pipeline
from watcher.config.loader import Config
from watcher.config.metrics import MetricsTable
from watcher.core.engine.matching import compile_rule
from watcher.core.engine.metrics import SeriesMetrics
from watcher.core.engine.staleness import OFFLINE_KIND, is_between_polls
from watcher.core.engine.state import AlertState, EngineState, SeriesState
from watcher.core.engine.state_machine import AlertChange
from watcher.core.engine.transitions import is_exhausted, make_transition
from watcher.core.model import (
    FIRING_EVENTS,
    AlertEvent,
    AlertPhase,
    DeliveryOutcome,
    Series,
    Severity,
    StoppedChannel,
    Transition,
)
from watcher.core.routing.messages import Formatter, compose_message
from watcher.core.rules.rule import Rule
from watcher.delivery.dispatcher import fingerprint_settings
from watcher.notifiers.alertmanager import (
    Alert,
    PostResult,
    Settings,
    compute_ends_at,
    format_receiver,
    make_alert,
    make_annotations,
    post_alerts,
)
from watcher.notifiers.base import Channel
from watcher.prometheus.metrics import label_account
from watcher.storage.store import ALERTMANAGER_FACT, Store
from watcher.system.environment import Environment
from watcher.system.scheduler import Scheduler, WorkQueue

SHOW_ENDED_FOR = timedelta(minutes=15)

Identity = tuple[tuple[str, str], ...]


class Answer(Struct, frozen=True, kw_only=True):
    """The last answer of one Alertmanager."""

    detail: str
    delivered: bool
    since: datetime  # when it first answered so


class ShownAlert(Struct, frozen=True, kw_only=True):
    """An alert as it was last posted."""

    alert: Alert
    rule: str
    series: Series
    is_over: bool = False
    lasts_until: datetime  # when it ends at an Alertmanager that does not receive its resolution


class Post(NamedTuple):
    """The alerts posted to each Alertmanager."""

    alerts: list[Alert]
    muting: list[Alert]  # those that inhibit others


class Mirror(Struct, kw_only=True):
    """The stored state of one channel."""

    alerts: list[ShownAlert] = []
    answers: dict[str, Answer] = {}  # by address without secrets


class FiringAlert(Struct, frozen=True, kw_only=True):
    """An alert that fires and is routed to a channel."""

    shown: ShownAlert
    is_certain: bool  # False: the readings are too old to post it


class AlertmanagerMirrors:
    """All channels of type `alertmanager`."""

    def __init__(  # noqa: PLR0913 - what a daemon is made of
        self,
        *,
        store: Store,
        environment: Environment,
        scheduler: Scheduler,
        work_queue: WorkQueue,
        is_waiting: Callable[[], bool],
        on_stopped: Callable[[str, str], None],
        log_warning: Callable[[str], None],
        one_shot: bool = False,
    ) -> None:
        self._store, self._environment = store, environment
        self._scheduler, self._work_queue = scheduler, work_queue
        self._is_waiting, self._on_stopped, self._log_warning = is_waiting, on_stopped, log_warning
        self._one_shot = one_shot
        self._config: Config | None = None
        self._labels: MetricsTable | None = None
        self._channels: dict[str, Channel] = {}
        fact = store.facts.load(ALERTMANAGER_FACT)
        self._mirrors = _decode_mirrors(fact[0] if fact is not None else "{}")
        self._posted: dict[str, list[tuple[Identity, datetime, bool]]] = {}  # channel -> its alerts at the last post
        self._latest: dict[str, Post] = {}  # channel -> the last post
        self._in_flight: set[tuple[str, str]] = set()  # channel and address
        self._overtaken: set[tuple[str, str]] = set()  # likewise: the alerts changed while a post was in flight
        self._refused: dict[tuple[str, str], set[Identity]] = {}  # alerts that are not posted there again
        self._permanent: set[tuple[str, str]] = set()  # likewise: refuses every post

    @property
    def is_busy(self) -> bool:
        """Whether a post is in flight."""
        return bool(self._in_flight)

    def apply_config(self, config: Config) -> None:
        """Use this config from now on."""
        self.close()
        self._config, self._posted, self._refused, self._permanent = config, {}, {}, set()
        self._channels = {name: config.channels[name] for name in config.channels if name in config.routing.mirrors}
        self._mirrors = {name: self._mirrors.get(name) or Mirror() for name in self._channels}
        for name, mirror in self._mirrors.items():
            settings = self._channels[name].settings
            present = [] if settings is None else [format_receiver(url) for url in settings.urls]
            mirror.answers = {url: answer for url, answer in mirror.answers.items() if url in present}
        self._labels = (config.metrics or MetricsTable()).with_salt(self._store.path.parent)
        self._save()

    def close(self) -> None:
        """Stop posting. Posted alerts keep firing there until their end."""
        for name in self._channels:
            self._scheduler.cancel(_name_resend_job(name))

    def update(self) -> None:
        """Post to each channel if its alerts changed or `resend` has passed."""
        for channel in self._channels.values():
            self._update_channel(channel)

    def _update_channel(self, channel: Channel) -> None:
        config, labels, settings = self._config, self._labels, channel.settings
        is_stopped = any(stop.channel == channel.name for stop in self._store.outbox.load_stops())
        if config is None or labels is None or settings is None or is_stopped or self._is_waiting():
            return
        now, mirror, job = self._environment.clock.now(), self._mirrors[channel.name], _name_resend_job(channel.name)
        firing = collect_firing_alerts(self._store, config, channel, labels, now)
        mirror.alerts = self._merge(mirror, firing, now)
        state = [(each.alert.identity, each.alert.starts_at, each.is_over) for each in mirror.alerts]
        has_changed = state != self._posted.get(channel.name, [])
        if has_changed:
            self._posted[channel.name] = state
            self._save()
        if not mirror.alerts:
            self._scheduler.cancel(job)
        elif has_changed or self._scheduler.get_due_at(job) is None:
            if not self._one_shot:
                self._scheduler.schedule_after(job, settings.resend_every, partial(self._update_channel, channel))
            certain = {identity for identity, each in firing.items() if each.is_certain}
            shown = [each for each in mirror.alerts if each.is_over or each.alert.identity in certain]
            post = Post(alerts=[each.alert for each in shown], muting=list_muting_alerts(shown))
            self._latest[channel.name] = post
            for url in settings.urls:
                self._post(channel, url, post)

    def _merge(self, mirror: Mirror, firing: Mapping[Identity, FiringAlert], now: datetime) -> list[ShownAlert]:
        """The alerts to post: those that fire, that ended lately, or whose end was not delivered everywhere."""
        is_failing = any(not answer.delivered for answer in mirror.answers.values())
        merged = {}
        for shown in mirror.alerts:
            each, identity = shown, shown.alert.identity
            if not each.is_over and identity not in firing:
                each = self._end(each, now)
            is_recent = now < each.alert.ends_at + SHOW_ENDED_FOR
            if not each.is_over or is_recent or (is_failing and now < each.lasts_until):
                merged[identity] = each
        merged.update({identity: each.shown for identity, each in firing.items() if each.is_certain})
        return list(merged.values())

    def _end(self, shown: ShownAlert, now: datetime) -> ShownAlert:
        """The alert as resolved: with the instant and text of the transition, if there was one."""
        ended = [
            each
            for each in self._store.alerts.load_transitions(since=shown.alert.starts_at, rule=shown.rule)
            if each.series == shown.series and each.event not in FIRING_EVENTS
        ]
        alert = structs.replace(shown.alert, ends_at=max(now, shown.alert.starts_at))
        if ended and self._config is not None and self._labels is not None:
            formatter = pipeline.build_routing(self._store, self._config).formatter
            account = shown.alert.labels.get("account", "")
            transition = _hide_account(ended[-1], account)
            rules = {rule.name: rule for rule in self._config.rules}
            message = compose_message(transition, rules.get(transition.rule), _hide_names(formatter), now)
            kept = {name: text for name, text in alert.annotations.items() if name == "send_resolved"}
            alert = structs.replace(
                alert, ends_at=transition.at, annotations={**make_annotations(transition, message), **kept}
            )
        return structs.replace(shown, alert=alert, is_over=True)

    # --- posts and their answers ------------------------------------------------------------------------------------

    def _post(self, channel: Channel, url: str, post: Post) -> None:
        key, settings, send = (channel.name, url), channel.settings, self._environment.send
        if key in self._in_flight:
            self._overtaken.add(key)
            return
        self._overtaken.discard(key)
        refused = self._refused.get(key, ())
        alerts, muting = ([each for each in part if each.identity not in refused] for part in post)
        if not alerts:
            return
        self._in_flight.add(key)
        self._work_queue.run_in_thread(
            lambda: post_alerts(url, alerts, settings, send, muting=muting), partial(self._on_posted, channel, url)
        )

    def _on_posted(self, channel: Channel, url: str, result: PostResult) -> None:
        key = channel.name, url
        self._in_flight.discard(key)
        if self._channels.get(channel.name) is not channel:  # the config has changed since
            return
        self._refused.setdefault(key, set()).update(alert.identity for alert in result.refused)
        self._save_answer(channel.name, url, result.outcome, is_partial=bool(result.refused))
        (self._permanent.add if result.outcome.permanent else self._permanent.discard)(key)
        if all((channel.name, each) in self._permanent for each in channel.settings.urls):
            self._stop(channel, result.outcome.detail)
        elif key in self._overtaken:
            self._post(channel, url, self._latest[channel.name])

    def _save_answer(self, name: str, url: str, outcome: DeliveryOutcome, *, is_partial: bool = False) -> None:
        """Record an answer; log when a problem begins and when it ends."""
        answers, receiver = self._mirrors[name].answers, format_receiver(url)
        before = answers.get(receiver)
        if before is not None and (before.detail, before.delivered) == (outcome.detail, outcome.delivered):
            return
        now, delivered = self._environment.clock.now(), outcome.delivered is True
        answers[receiver] = Answer(detail=outcome.detail, delivered=delivered, since=now)
        if not delivered or is_partial or (before is not None and not before.delivered):
            self._log_warning(f"channel {name}: {receiver} {outcome.detail}")
        self._save()

    def _stop(self, channel: Channel, detail: str) -> None:
        """Stop the channel until its settings change or a test succeeds."""
        now, self._permanent = self._environment.clock.now(), set()
        stop = StoppedChannel(
            channel=channel.name, settings_fingerprint=fingerprint_settings(channel), stopped_at=now, detail=detail
        )
        self._store.run_transaction(lambda: self._store.outbox.save_stop(stop), now=now)
        self._scheduler.cancel(_name_resend_job(channel.name))
        body = f"{detail}\nChange [channels.{channel.name}] in the config, or run `watcher notify test {channel.name}`."
        self._on_stopped(f'Channel "{channel.name}" has stopped', body)

    def _save(self) -> None:
        now, text = self._environment.clock.now(), msgspec.json.encode(self._mirrors).decode()
        self._store.save_fact(ALERTMANAGER_FACT, text, now)


def _name_resend_job(channel: str) -> str:
    return f"alertmanager {channel}"


def _decode_mirrors(text: str) -> dict[str, Mirror]:
    try:
        return msgspec.json.decode(text, type=dict[str, Mirror])
    except msgspec.DecodeError:  # written by another version: posted alerts end by themselves
        return {}


# --- what fires -------------------------------------------------------------------------------------------------------


def collect_firing_alerts(
    store: Store, config: Config, channel: Channel, labels: MetricsTable, now: datetime
) -> dict[Identity, FiringAlert]:
    """The firing alerts routed to a channel, one for each level that was reached."""
    collector = _Collector(store, config, channel, labels, now)
    found: dict[Identity, FiringAlert] = {}
    for each in collector.collect():  # without account labels, two accounts may be one alert: the first one stays
        found.setdefault(each.shown.alert.identity, each)
    return found


class _Collector:
    """One pass over the alerts."""

    def __init__(self, store: Store, config: Config, channel: Channel, labels: MetricsTable, now: datetime) -> None:
        self._channel, self._labels, self._now = channel, labels, now
        self._settings: Settings = channel.settings
        self._state: EngineState = store.alerts.load_state()
        self._rules = {rule.name: rule for rule in config.rules}
        self._routing = config.routing
        self._formatter = _hide_names(pipeline.build_routing(store, config).formatter)
        self._names = {(each.provider, each.account): each.name for each in store.accounts.load()}
        self._is_offline = pipeline.is_offline(store)

    def collect(self) -> Iterator[FiringAlert]:
        for (name, series), alert in sorted(self._state.alert_states.items()):
            rule, state = self._rules.get(name), self._state.series_states.get(series)
            if alert.phase is AlertPhase.FIRING and rule is not None and state is not None:
                yield from self._list_levels(rule, alert, state)

    def _list_levels(self, rule: Rule, alert: AlertState, state: SeriesState) -> Iterator[FiringAlert]:
        about_silence = compile_rule(rule).is_availability_rule
        not_polled = is_between_polls(state, self._now)
        metrics = SeriesMetrics(state, self._now, use_last_reading=about_silence, not_polled=not_polled)
        ends_at = compute_ends_at(self._now, None if about_silence else state.boundary_at, self._settings)
        account = label_account(
            self._labels, state.series.provider, state.series.account, self._names.get(state.account_key, "")
        )
        for event, severity in list_reached_levels(rule, alert):
            if self._channel.name not in self._find_route(rule, severity):
                continue
            reason = "above" if event is AlertEvent.FIRING else "escalated"
            leveled = structs.replace(alert, severity=severity)
            change = AlertChange(event=event, reason=reason, at=self._now, alert=leveled)
            transition = make_transition(event, rule, change, metrics, self._list_exhausted(state))
            transition = _hide_account(transition, account)
            shown = make_alert(
                transition,
                compose_message(transition, rule, self._formatter, self._now),
                self._settings,
                account=account,
                kind=state.kind.value,
                ends_at=ends_at,
                sends_resolved=AlertEvent.RESOLVED in rule.on,
            )
            yield FiringAlert(
                shown=ShownAlert(alert=shown, rule=rule.name, series=state.series, lasts_until=shown.ends_at),
                is_certain=not self._is_muted_offline(state)
                if about_silence
                else not has_reset_unread(state, self._now),
            )

    def _find_route(self, rule: Rule, severity: Severity) -> tuple[str, ...]:
        return rule.notify if rule.notify is not None else self._routing.routes.get(severity, self._routing.default)

    def _list_exhausted(self, state: SeriesState) -> list[SeriesMetrics]:
        """The account's other windows that are used up."""
        others = (
            SeriesMetrics(each, self._now, use_last_reading=True)
            for each in self._state.series_states.values()
            if each.account_key == state.account_key and each.series != state.series and not each.gone
        )
        return [metrics for metrics in others if is_exhausted(metrics)]

    def _is_muted_offline(self, state: SeriesState) -> bool:
        """Whether a missing reading says only that this machine is, or was at the last poll, offline."""
        if self._is_offline or state.error_kind != OFFLINE_KIND or state.failing_since is None:
            return self._is_offline
        answers = (each.last_seen_at for each in self._state.series_states.values() if each.error_kind is None)
        return not any(state.failing_since < at <= state.polled_at for at in answers)


def list_reached_levels(rule: Rule, alert: AlertState) -> list[tuple[AlertEvent, Severity]]:
    """The levels reached since the alert began to fire, if `on` includes them; each lasts until the alert ends."""
    first, *later = alert.notified_severities or ((alert.severity,) if alert.severity is not None else ())
    reached = [(AlertEvent.FIRING, first)]
    reached += [(AlertEvent.ESCALATED, severity) for severity in later if severity.rank > first.rank]
    return [(event, severity) for event, severity in reached if event in rule.on]


def list_muting_alerts(shown: Iterable[ShownAlert]) -> list[Alert]:
    """The highest level of each alert that fires with several."""
    levels: dict[tuple[str, Series], list[Alert]] = {}
    for each in shown:
        if not each.is_over:
            levels.setdefault((each.rule, each.series), []).append(each.alert)
    return [max(each, key=_get_rank) for each in levels.values() if len(each) > 1]


def _get_rank(alert: Alert) -> int:
    return Severity(alert.labels["severity"]).rank


def has_reset_unread(state: SeriesState, now: datetime) -> bool:
    """Whether the window has reset since it was last read here; another machine may have newer readings."""
    return state.boundary_at is not None and state.last_seen_at < state.boundary_at <= now


def _hide_names(formatter: Formatter) -> Formatter:
    """The formatter without account names, so that messages use the label of the transition."""
    return structs.replace(formatter, account_names={})


def _hide_account(transition: Transition, label: str) -> Transition:
    """The transition without private facts: the account's name and key, its plan, error texts."""
    facts = {name: value for name, value in transition.facts.items() if name not in ("plan", "error", "error_kind")}
    if transition.facts.get("error_kind"):
        facts["error"] = transition.facts["error_kind"]
    series = structs.replace(transition.series, account=label)
    return structs.replace(transition, series=series, account_name=label, facts=facts)
