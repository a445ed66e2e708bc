"""What is known of each login when its next poll is chosen: its token's uses and rests, its account, its series.

The store remembers the cooldowns, this process the rest: a token is used by one process at a time. Never choose an
instant here: `watcher.polling.interval` does.
"""

from datetime import datetime, timedelta

import msgspec

from watcher.config.loader import Config
from watcher.core.engine import thresholds
from watcher.core.model import Pace, PollFailure, Snapshot
from watcher.credentials import Credential
from watcher.polling import accounts, activity, interval
from watcher.polling.interval import NextPoll, PollContext
from watcher.storage.store import Store
from watcher.system.environment import Environment

_RECENT_FOR = timedelta(hours=1)


class PollPlanner:
    """One sight a login.

    Attributes:
        woke_at: when the machine last woke from sleep; None: never since this process began.
    """

    def __init__(self, *, environment: Environment, store: Store) -> None:
        self.woke_at: datetime | None = None
        self._environment, self._store = environment, store
        self._config: Config | None = None
        self._recent_requests: dict[str, list[datetime]] = {}  # token hash -> uses in the last hour

    def apply_config(self, config: Config) -> None:
        """See by this config from now on."""
        self._config = config

    def record_request(self, credential: Credential, now: datetime) -> None:
        """The login is about to be asked with."""
        token_hash = accounts.hash_token(credential)
        recent = [at for at in self._recent_requests.get(token_hash, ()) if timedelta(0) <= now - at < _RECENT_FOR]
        self._recent_requests[token_hash] = [*recent, now]

    def is_cooling_down(self, credential: Credential, now: datetime) -> bool:
        """Whether the token cools down after a 429."""
        until, _ = self._store.polls.load_cooldowns().get(accounts.hash_token(credential), (None, 0))
        return interval.is_cooling_down(until, now)

    def apply_cooldown(self, credential: Credential, result: Snapshot | PollFailure) -> Snapshot | PollFailure:
        """The news, with the cooldown in it where the token was refused with 429; a good answer forgives one strike.

        Nobody says which of the account's logins was refused, and their quota is one: its spares rest as long, so that
        none is asked early when it takes the first one's place.
        """
        token_hash = accounts.hash_token(credential)
        cooldowns = self._store.polls.load_cooldowns()
        _, strikes = cooldowns.get(token_hash, (result.at, 0))
        if isinstance(result, PollFailure) and result.kind == "rate_limited":
            said = None if result.retry_at is None else result.retry_at - result.at
            until = interval.compute_cooldown(strikes + 1, said, result.at)
            logins = {token_hash, *map(accounts.hash_token, credential.fallbacks)}

            def rest() -> None:
                for login in logins:
                    self._store.polls.save_cooldown(login, until, cooldowns.get(login, (until, 0))[1] + 1)

            self._store.run_transaction(rest, now=result.at)
            return msgspec.structs.replace(result, retry_at=until)
        if isinstance(result, Snapshot) and strikes:
            forgiven = interval.forgive_strike(strikes)
            self._store.run_transaction(
                lambda: self._store.polls.save_cooldown(token_hash, result.at, forgiven), now=result.at
            )
        return result

    def plan_next_poll(
        self,
        provider: str,
        credential: Credential,
        now: datetime,
        *,
        login_changed: bool | None = False,
        requested_at: datetime | None = None,
    ) -> NextPoll:
        """When to ask this login next, and why.

        Args:
            provider: its id.
            credential: the login as it was found now.
            now: the instant.
            login_changed: whether the account was asked with another login before; None: it never was asked.
            requested_at: when the provider itself was last asked for the account, where that is known.
        """
        sight = self._build_context(provider, credential, login_changed=login_changed)
        if requested_at is not None and sight.polled_at is not None and requested_at < sight.polled_at:
            sight = msgspec.structs.replace(sight, requested_at=requested_at)
        return interval.choose_next_poll(sight, now)

    def _build_context(self, provider: str, credential: Credential, *, login_changed: bool | None) -> PollContext:
        if self._config is None:
            raise RuntimeError("no config in use yet")
        known = (each for each in self._store.accounts.load() if each.provider == provider)
        account = next((each for each in known if each.account == credential.account), None)
        failure = None if account is None else account.failure
        if login_changed is None:  # it was a place that was of no use; now there is a login
            login_changed = failure is not None and failure.kind == "unsupported"
        token_hash = accounts.hash_token(credential)
        until, strikes = self._store.polls.load_cooldowns().get(token_hash, (None, 0))
        outlook = thresholds.build_outlook(
            self._store.alerts.load_state(), self._config.rules, provider, credential.account
        )
        return PollContext(
            pace=self._config.providers[provider].pace,
            polled_at=None if account is None else account.polled_at,
            series_outlooks=outlook.series_outlooks,
            suspect_count=outlook.suspect_count,
            failure_kind=None if failure is None else failure.kind,
            failure_count=0 if account is None else account.failure_count,
            retry_at=None if failure is None else failure.retry_at,
            cooldown_until=until,
            strikes=strikes,
            login_changed=login_changed,
            recent_requests=tuple(self._recent_requests.get(token_hash, ())),
            active_at=activity.find_last_activity(provider, self._environment.read_host_info())
            if self._config.hints
            else None,
            woke_at=self.woke_at,
            jitter=self._environment.jitter(),
        )


# --- How far apart the polls of an account really are, which says how much a silence or a leap means


MAX_GAP_FACTOR = (
    4  # a gap many times longer than the one before is no schedule but a sleep: three polls of this are the limit
)


def estimate_interval(store: Store, result: Snapshot | PollFailure, pace: Pace, *, one_shot: bool) -> timedelta:
    """The pause that is usual for this news' account at present.

    Args:
        store: from before the news.
        result: an answer, or a poll that gave none.
        pace: what the provider is asked at as a rule; a calm account is asked less often, by plan.
        one_shot: polled by `check`, and not by the daemon: then cron's pace is the one that counts, however slow it is.
    """
    planned = store.polls.load_next_polls().get(result.provider)
    known = (
        each for each in store.accounts.load() if (each.provider, each.account) == (result.provider, result.account)
    )
    account = next(known, None)
    if account is not None and one_shot:
        return max(
            pace.every,
            min(result.at - account.polled_at, MAX_GAP_FACTOR * _find_previous_interval(store, result, pace.every)),
        )
    if planned is None or account is None:
        return pace.every
    return max(pace.every, min(planned[0] - account.polled_at, pace.ceiling))  # beyond: a cooldown, not calm


def _find_previous_interval(store: Store, result: Snapshot | PollFailure, default: timedelta) -> timedelta:
    """How far apart polls of this account were when it last was heard of."""
    states = store.alerts.load_state().series_states.values()
    of_account = (state.every for state in states if state.account_key == (result.provider, result.account))
    return max(of_account, default=default)
