"""One poll's news -> transitions -> deliveries, in one transaction: a crash loses nothing between seen and queued.

`observe` is the whole of it: the engine judges, the plan decides who hears of it, the store keeps all three together.
Never judge, word or send here.
"""

from datetime import datetime, timedelta

from msgspec import Struct, structs

from watcher.config import Config
from watcher.core import judge, offline, plan
from watcher.core.model import Failure, Phase, Series, Snapshot
from watcher.core.view import FROM_AFAR
from watcher.rows import Account
from watcher.store import Store


class Observed(Struct, frozen=True, kw_only=True):
    """What one piece of news came to."""

    judgement: judge.Judgement
    plan: plan.Plan


def observe(
    store: Store, config: Config, news: Snapshot | Failure | None, *, now: datetime, every: timedelta
) -> Observed:
    """Judge the news, plan its deliveries and keep all of it; `news` None: only time has passed."""

    def work() -> Observed:
        if news is not None:
            store.record(news)
        judgement = judge.judge(config.rules, store.memory(), news, now, every=every)
        planned = plan.plan(
            judgement.transitions,
            {rule.name: rule for rule in config.rules},
            store.outbox(),
            routing(store, config),
            store.snoozes(),
            now,
            closed=over(judgement),
            offline=is_offline(store),
        )
        store.save(judgement)
        keep(store, planned)
        return Observed(judgement=judgement, plan=planned)

    return store.write(work, now=now)


def forget(store: Store, config: Config, provider: str, account: str, *, now: datetime) -> None:
    """Forget an account that proved to be one that is known already, and withdraw what is still to be said of it."""
    store.write(lambda: _forget(store, config, provider, account, now), now=now)


def _forget(store: Store, config: Config, provider: str, account: str, now: datetime) -> None:
    closed = store.forget_account(provider, account)
    rules = {rule.name: rule for rule in config.rules}
    keep(store, plan.plan((), rules, store.outbox(), routing(store, config), store.snoozes(), now, closed=closed))


def rename(store: Store, config: Config, provider: str, old: str, new: str, *, now: datetime) -> bool:  # noqa: PLR0913 - as `forget`, with both keys
    """Put all that is known of an account under its new key, its alerts as they stand; False where that is taken.

    An account of that key that never answered gives way: what is still to be said of it is withdrawn.
    """

    def work() -> bool:
        if store.has_readings(provider, new):
            return False
        _forget(store, config, provider, new, now)
        return store.rename_account(provider, old, new)

    return store.write(work, now=now)


def over(judgement: judge.Judgement) -> list[tuple[str, Series]]:
    """The alerts that no longer fire, whether or not a transition says so: their unsaid messages would be false."""
    quiet = [(alert.rule, alert.series) for alert in judgement.alerts if alert.phase is not Phase.FIRING]
    return [*judgement.closed, *quiet]


def release(store: Store, config: Config, *, now: datetime) -> plan.Plan:
    """What time alone changes in the outbox: quiet hours and snoozes begin and end, messages expire."""

    def work() -> plan.Plan:
        states = store.memory().series
        planned = plan.release(
            store.outbox(),
            {rule.name: rule for rule in config.rules},
            routing(store, config),
            store.snoozes(),
            now,
            offline=is_offline(store),
            latest={series: state.reading for series, state in states.items() if state.reading is not None},
            episodes={str(series): state.episode for series, state in states.items()},
        )
        keep(store, planned)
        return planned

    return store.write(work, now=now)


def routing(store: Store, config: Config) -> plan.Routing:
    """The config's routing, with the accounts named in messages of the providers that have several."""
    crowded = store.crowded()
    if not crowded:
        return config.routing
    return structs.replace(config.routing, voice=structs.replace(config.routing.voice, crowded=crowded))


def is_offline(store: Store) -> bool:
    """Whether this machine itself seems cut off, as far as the last polls can tell."""
    afar = (account for account in store.accounts() if _is_asked_afar(account))
    return offline.is_cut_off(None if account.failure is None else account.failure.kind for account in afar)


def _is_asked_afar(account: Account) -> bool:
    """Whether its answers come over the network; a tool's own file answers in any weather."""
    readings = () if account.snapshot is None else account.snapshot.readings
    return not readings or any(reading.source == FROM_AFAR for reading in readings)


def keep(store: Store, planned: plan.Plan) -> None:
    """What a plan changes; inside `Store.write`."""
    store.enqueue(planned.new)
    store.update(planned.changed)
    store.note(planned.choices)
    for snooze in planned.ended:
        store.unsnooze(snooze.target)
