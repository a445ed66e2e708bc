"""Accounts that no login has any more under their key: signed out, or known by a better key now.

Runs on the loop's thread, in the rounds of `watcher.rounds`. Which key is whose is known to `logins`; never look for a
login here.
"""

from collections.abc import Callable, Collection, MutableMapping
from datetime import datetime

from watcher import absences, pipeline
from watcher.config import Config
from watcher.core.model import PollFailure
from watcher.logins import AccountRegistry
from watcher.providers import ProviderState
from watcher.rows import Account
from watcher.store import Store


class Successions:
    """What becomes of accounts whose login is gone."""

    def __init__(
        self,
        *,
        store: Store,
        logins: AccountRegistry,
        kept: MutableMapping[tuple[str, str], ProviderState],
        hear: Callable[[PollFailure], None],
    ) -> None:
        self._store, self._logins, self._kept, self._hear = store, logins, kept, hear

    def settle(
        self, provider: str, config: Config, now: datetime, *, spared: Collection[str] = (), whole: bool = True
    ) -> None:
        """Hand over what is known under a better key, and part with what no login has any more.

        Args:
            provider: its id.
            config: the config in use.
            now: the present.
            spared: accounts in whose places there is trouble: nobody knows yet.
            whole: whether every place was looked at; else nobody is known to be signed out.
        """
        stored = [account for account in self._store.load_accounts() if account.provider == provider]
        heirs = self._logins.find_successor_keys(provider, stored, now)
        for account in stored:
            if account.account not in heirs or account.account in spared:
                continue
            heir = heirs[account.account]
            if heir is not None:
                self._hand_over(account, heir, config, now)
            elif whole:
                self._is_gone(account, now)

    def _hand_over(self, account: Account, heir: str, config: Config, now: datetime) -> None:
        """What stood under one key stands under another now: nothing of it is lost, and nothing is told again."""
        provider, old = account.provider, account.account
        if pipeline.rename_account(self._store, config, provider, old, heir, now=now):
            self._logins.rename_account(provider, old, heir, now)
            self._kept[provider, heir] = self._kept.pop((provider, old), {})
            return
        pipeline.forget_account(self._store, config, provider, old, now=now)
        self._logins.forget_account(provider, old, now)

    def _is_gone(self, account: Account, now: datetime) -> None:
        """No place has that login: it was signed out, or it was only ever a place that could not be used."""
        if account.snapshot is not None:
            self._hear(absences.make_signed_out_failure(account, now))
        else:
            self._store.run_transaction(
                lambda: self._store.forget_unanswered_account(account.provider, account.account), now=now
            )
