"""What is known of each login when its next poll is chosen: its token's uses and rests, its account, its series.

The store remembers the cooldowns, this process the rest: a token is used by one process at a time. Never choose an
instant here: `watcher.core.cadence` does.
"""

from datetime import datetime, timedelta

import msgspec

from watcher import accounts, activity
from watcher.config import Config
from watcher.core import cadence, lookout
from watcher.core.model import Failure, Snapshot
from watcher.core.sight import NextPoll, Sight
from watcher.credentials import Credential
from watcher.doors import Doors
from watcher.store import Store

_AN_HOUR = timedelta(hours=1)


class Sights:
    """One sight a login.

    Attributes:
        woke_at: when the machine last woke from sleep; None: never since this process began.
    """

    def __init__(self, *, doors: Doors, store: Store) -> None:
        self.woke_at: datetime | None = None
        self._doors, self._store = doors, store
        self._config: Config | None = None
        self._spent: dict[str, list[datetime]] = {}  # token hash -> uses in the last hour

    def use(self, config: Config) -> None:
        """See by this config from now on."""
        self._config = config

    def note_use(self, credential: Credential, now: datetime) -> None:
        """The login is about to be asked with."""
        token_hash = accounts.token_hash(credential)
        recent = [at for at in self._spent.get(token_hash, ()) if timedelta(0) <= now - at < _AN_HOUR]
        self._spent[token_hash] = [*recent, now]

    def is_resting(self, credential: Credential, now: datetime) -> bool:
        """Whether the token cools down after a 429."""
        until, _ = self._store.cooldowns().get(accounts.token_hash(credential), (None, 0))
        return cadence.is_resting(until, now)

    def settle(self, credential: Credential, news: Snapshot | Failure) -> Snapshot | Failure:
        """The news, with the cooldown in it where the token was refused with 429; a good answer forgives one strike.

        Nobody says which of the account's logins was refused, and their quota is one: its spares rest as long, so that
        none is asked early when it takes the first one's place.
        """
        token_hash = accounts.token_hash(credential)
        cooldowns = self._store.cooldowns()
        _, strikes = cooldowns.get(token_hash, (news.at, 0))
        if isinstance(news, Failure) and news.kind == "rate_limited":
            said = None if news.retry_at is None else news.retry_at - news.at
            until = cadence.cooldown(strikes + 1, said, news.at)
            logins = {token_hash, *map(accounts.token_hash, credential.spares)}

            def rest() -> None:
                for login in logins:
                    self._store.cool_down(login, until, cooldowns.get(login, (until, 0))[1] + 1)

            self._store.write(rest, now=news.at)
            return msgspec.structs.replace(news, retry_at=until)
        if isinstance(news, Snapshot) and strikes:
            forgiven = cadence.forgive(strikes)
            self._store.write(lambda: self._store.cool_down(token_hash, news.at, forgiven), now=news.at)
        return news

    def next_poll(
        self,
        provider: str,
        credential: Credential,
        now: datetime,
        *,
        changed: bool | None = False,
        requested_at: datetime | None = None,
    ) -> NextPoll:
        """When to ask this login next, and why.

        Args:
            provider: its id.
            credential: the login as it was found now.
            now: the instant.
            changed: whether the account was asked with another login before; None: it never was asked.
            requested_at: when the provider itself was last asked for the account, where that is known.
        """
        sight = self._sight(provider, credential, changed=changed)
        if requested_at is not None and sight.asked_at is not None and requested_at < sight.asked_at:
            sight = msgspec.structs.replace(sight, requested_at=requested_at)
        return cadence.next_poll(sight, now)

    def _sight(self, provider: str, credential: Credential, *, changed: bool | None) -> Sight:
        if self._config is None:
            raise RuntimeError("no config in use yet")
        known = (each for each in self._store.accounts() if each.provider == provider)
        account = next((each for each in known if each.account == credential.account), None)
        failure = None if account is None else account.failure
        if changed is None:  # it was a place that was of no use; now there is a login
            changed = failure is not None and failure.kind == "unsupported"
        token_hash = accounts.token_hash(credential)
        until, strikes = self._store.cooldowns().get(token_hash, (None, 0))
        outlook = lookout.look(self._store.memory(), self._config.rules, provider, credential.account)
        return Sight(
            pace=self._config.providers[provider].pace,
            asked_at=None if account is None else account.asked_at,
            watches=outlook.watches,
            doubts=outlook.doubts,
            failure=None if failure is None else failure.kind,
            failures=0 if account is None else account.failures,
            retry_at=None if failure is None else failure.retry_at,
            cooldown_until=until,
            strikes=strikes,
            login_changed=changed,
            spent=tuple(self._spent.get(token_hash, ())),
            active_at=activity.newest(provider, self._doors.surroundings()) if self._config.hints else None,
            woke_at=self.woke_at,
            jitter=self._doors.jitter(),
        )
