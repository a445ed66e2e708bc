"""The channels of type `alertmanager`: firing alerts are posted after each evaluation and every `resend`.

The outbox is not used. Posted alerts are stored, so that whatever ends one (a reset, an edited rule, another route) is
posted as resolved, also after a restart. An Alertmanager that restarts gets all alerts again within `resend`.
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from functools import partial

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
from watcher.core.routing.messages import compose_message
from watcher.core.rules.rule import Rule
from watcher.core.rules.vocabulary import parse_duration
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
from watcher.prometheus.metrics import make_account_labeler
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
    is_paused: bool = False  # the readings are too old to post it
    is_muting: bool = False  # it inhibits lower levels of the same alert
    lasts_until: datetime  # when it ends at an Alertmanager that does not receive its resolution

    @property
    def state(self) -> tuple[Identity, datetime, bool]:
        """What is posted at once when it changes."""
        return self.alert.identity, self.alert.starts_at, self.is_over


class Mirror(Struct, kw_only=True):
    """The stored state of one channel."""

    alerts: list[ShownAlert] = []
    answers: dict[str, Answer] = {}  # by address without secrets


class AlertmanagerMirrors:
    """All channels of type `alertmanager` of one config."""

    def __init__(  # noqa: PLR0913 - what a daemon is made of
        self,
        config: Config,
        *,
        store: Store,
        environment: Environment,
        scheduler: Scheduler,
        work_queue: WorkQueue,
        is_waiting: Callable[[], bool],
        on_stopped: Callable[[str, str], None],
        log_warning: Callable[[str], None],
    ) -> None:
        self._config, self._store, self._environment = config, store, environment
        self._scheduler, self._work_queue = scheduler, work_queue
        self._is_waiting, self._on_stopped, self._log_warning = is_waiting, on_stopped, log_warning
        self._metrics = (config.metrics or MetricsTable()).with_salt(store.path.parent)
        self._channels = {name: config.channels[name] for name in config.channels if name in config.routing.mirrors}
        fact = store.facts.load(ALERTMANAGER_FACT)
        stored = _decode_mirrors(fact[0] if fact is not None else "{}")
        self._mirrors = {name: stored.get(name) or Mirror() for name in self._channels}
        for name, mirror in self._mirrors.items():
            settings = self._channels[name].settings
            present = [] if settings is None else [format_receiver(url) for url in settings.urls]
            mirror.answers = {url: answer for url, answer in mirror.answers.items() if url in present}
        self._in_flight: set[tuple[str, str]] = set()  # channel and address
        self._refused: dict[tuple[str, str], set[Identity]] = {}  # alerts that are not posted there again
        self._permanent: set[tuple[str, str]] = set()  # likewise: refuses every post
        self._save()

    @property
    def is_busy(self) -> bool:
        """Whether a post is in flight."""
        return bool(self._in_flight)

    def close(self) -> None:
        """Stop posting. Posted alerts keep firing there until their end."""
        for name in self._channels:
            self._scheduler.cancel(_name_resend_job(name))
        self._channels = {}

    def update(self) -> None:
        """Post to each channel if its alerts changed or `resend` has passed."""
        for channel in self._channels.values():
            self._update_channel(channel)

    def _update_channel(self, channel: Channel) -> None:
        settings = channel.settings
        is_stopped = any(stop.channel == channel.name for stop in self._store.outbox.load_stops())
        if settings is None or is_stopped or self._is_waiting():
            return
        if any(name == channel.name for name, _ in self._in_flight):
            return  # it is updated after the last answer
        now, mirror, job = self._environment.clock.now(), self._mirrors[channel.name], _name_resend_job(channel.name)
        collector = AlertCollector(self._store, self._config, channel, self._metrics, now)
        is_failing = any(not answer.delivered for answer in mirror.answers.values())
        before, mirror.alerts = mirror.alerts, collector.update_alerts(mirror.alerts, is_failing=is_failing)
        has_changed = [each.state for each in mirror.alerts] != [each.state for each in before]
        if has_changed:
            self._save()
        if not mirror.alerts:
            self._scheduler.cancel(job)
        elif has_changed or self._scheduler.get_due_at(job) is None:
            self._scheduler.schedule_after(job, parse_duration(settings.resend), partial(self._update_channel, channel))
            shown = [each for each in mirror.alerts if not each.is_paused]
            for url in settings.urls:
                self._post(channel, url, shown)

    # --- posts and their answers ------------------------------------------------------------------------------------

    def _post(self, channel: Channel, url: str, shown: Sequence[ShownAlert]) -> None:
        key, settings, send = (channel.name, url), channel.settings, self._environment.send
        accepted = [each for each in shown if each.alert.identity not in self._refused.get(key, ())]
        if not accepted:
            return
        alerts = [each.alert for each in accepted]
        muting = [each.alert for each in accepted if each.is_muting and not each.is_over]
        self._in_flight.add(key)
        self._work_queue.run_in_thread(
            lambda: post_alerts(url, alerts, settings, send, muting=muting), partial(self._on_posted, channel, url)
        )

    def _on_posted(self, channel: Channel, url: str, result: PostResult) -> None:
        key = channel.name, url
        self._in_flight.discard(key)
        if not self._channels:  # another config is in force since
            return
        self._refused.setdefault(key, set()).update(alert.identity for alert in result.refused)
        self._save_answer(channel.name, url, result.outcome, is_partial=bool(result.refused))
        (self._permanent.add if result.outcome.permanent else self._permanent.discard)(key)
        if all((channel.name, each) in self._permanent for each in channel.settings.urls):
            self._stop(channel, result.outcome.detail)
        self._update_channel(channel)

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


class AlertCollector:
    """One pass over the alerts: those that are routed to a channel, one for each level that was reached."""

    def __init__(self, store: Store, config: Config, channel: Channel, metrics: MetricsTable, now: datetime) -> None:
        self._store, self._channel, self._now = store, channel, now
        self._settings: Settings = channel.settings
        self._state: EngineState = store.alerts.load_state()
        self._rules = {rule.name: rule for rule in config.rules}
        self._routing = config.routing
        formatter = pipeline.build_routing(store, config).formatter
        self._formatter = structs.replace(formatter, account_names={})  # messages name an account by its label
        self._label_account = make_account_labeler(store, metrics)
        self._is_offline = pipeline.is_offline(store)

    def update_alerts(self, shown: Sequence[ShownAlert], *, is_failing: bool) -> list[ShownAlert]:
        """The alerts to show now: those that fire, that ended lately, or whose end was not delivered everywhere.

        Args:
            shown: the alerts that were shown until now.
            is_failing: whether an Alertmanager could not be reached.
        """
        known = {each.alert.identity: each for each in shown if not each.is_over}
        firing: dict[Identity, ShownAlert] = {}
        for each, is_doubtful in self._collect_firing():
            identity = each.alert.identity
            if not is_doubtful:  # without account labels, two accounts may be one alert: the first one stays
                firing.setdefault(identity, each)
            elif identity in known:
                firing.setdefault(identity, structs.replace(known[identity], is_paused=True))
        alerts = list(firing.values())
        for each in shown:
            if each.alert.identity in firing:
                continue
            ended = each if each.is_over else self._end(each)
            is_recent = self._now < ended.alert.ends_at + SHOW_ENDED_FOR
            if is_recent or (is_failing and self._now < ended.lasts_until):
                alerts.append(ended)
        return alerts

    def _end(self, shown: ShownAlert) -> ShownAlert:
        """The alert as resolved: with the instant and text of the transition, if there was one."""
        found = [
            each
            for each in self._store.alerts.load_transitions(since=shown.alert.starts_at, rule=shown.rule)
            if each.series == shown.series and each.event not in FIRING_EVENTS
        ]
        alert = structs.replace(shown.alert, ends_at=max(self._now, shown.alert.starts_at))
        if found:
            transition = _hide_account(found[-1], alert.labels.get("account", ""))
            message = compose_message(transition, self._rules.get(transition.rule), self._formatter, self._now)
            annotations = {**alert.annotations, **make_annotations(transition, message)}
            alert = structs.replace(alert, ends_at=transition.at, annotations=annotations)
        return structs.replace(shown, alert=alert, is_over=True, is_paused=False)

    def _collect_firing(self) -> Iterator[tuple[ShownAlert, bool]]:
        """Each alert that fires, and whether the readings are too old to say so."""
        for (name, series), alert in sorted(self._state.alert_states.items()):
            rule, state = self._rules.get(name), self._state.series_states.get(series)
            if alert.phase is AlertPhase.FIRING and rule is not None and state is not None:
                yield from self._list_levels(rule, alert, state)

    def _list_levels(self, rule: Rule, alert: AlertState, state: SeriesState) -> Iterator[tuple[ShownAlert, bool]]:
        about_silence = compile_rule(rule).is_availability_rule
        not_polled = is_between_polls(state, self._now)
        metrics = SeriesMetrics(state, self._now, use_last_reading=about_silence, not_polled=not_polled)
        ends_at = compute_ends_at(self._now, None if about_silence else state.boundary_at, self._settings)
        account = self._label_account(*state.account_key)
        is_doubtful = self._is_muted_offline(state) if about_silence else has_reset_unread(state, self._now)
        name, routing = self._channel.name, self._routing
        levels = [each for each in list_reached_levels(rule, alert) if name in routing.find_channels(rule, each[1])]
        for event, severity in levels:
            reason = "above" if event is AlertEvent.FIRING else "escalated"
            leveled = structs.replace(alert, severity=severity)
            change = AlertChange(event=event, reason=reason, at=self._now, alert=leveled)
            transition = make_transition(event, rule, change, metrics, self._list_exhausted(state))
            transition = _hide_account(transition, account)
            posted = make_alert(
                transition,
                compose_message(transition, rule, self._formatter, self._now),
                self._settings,
                kind=state.kind.value,
                ends_at=ends_at,
                sends_resolved=AlertEvent.RESOLVED in rule.on,
            )
            is_muting = len(levels) > 1 and severity is levels[-1][1]
            shown = ShownAlert(
                alert=posted, rule=rule.name, series=state.series, is_muting=is_muting, lasts_until=ends_at
            )
            yield shown, is_doubtful

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


def has_reset_unread(state: SeriesState, now: datetime) -> bool:
    """Whether the window has reset since it was last read here; another machine may have newer readings."""
    return state.boundary_at is not None and state.last_seen_at < state.boundary_at <= now


def _hide_account(transition: Transition, label: str) -> Transition:
    """The transition without private facts: the account's name and key, its plan, error texts."""
    facts = structs.replace(transition.facts, plan=None, error=transition.facts.error_kind)
    series = structs.replace(transition.series, account=label)
    return structs.replace(transition, series=series, account_name=label, facts=facts)
