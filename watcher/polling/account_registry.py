"""What the polls have taught of each provider's logins, kept in the store so that a restart forgets none of it.

Which nameless login has the key "", whose a login proved to be, and with which login an account was asked last. Never
look for logins here, and never ask anybody.
"""

from collections.abc import Callable, Collection, MutableMapping, Sequence
from datetime import datetime

import msgspec
from msgspec import Struct, field
from msgspec.structs import replace

from watcher import pipeline
from watcher.config.loader import Config
from watcher.core.model import PollFailure, Snapshot
from watcher.credentials import OWNER_UNKNOWN_KEY, Credential
from watcher.polling import accounts, fetch
from watcher.providers import ProviderState
from watcher.storage.records import Account
from watcher.storage.store import Store


class AccountRecord(Struct):
    """What is kept of one provider."""

    nameless: str = ""  # stand-in of the login that has the key ""
    owners: dict[str, str] = field(default_factory=dict)  # token hash -> whose it is; empty: it was asked in vain
    asked_with: dict[str, str] = field(default_factory=dict)  # account -> token hash
    asked_at: dict[str, datetime] = field(default_factory=dict)  # account -> when the provider itself was last asked


class AccountRegistry:
    """The logins of every provider, as last found."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._records: dict[str, AccountRecord] = {}
        self._credentials: dict[str, Sequence[Credential]] = {}

    def get_known_keys(self, provider: str) -> accounts.KnownKeys:
        """What was called what until now."""
        used = frozenset(account.account for account in self._store.accounts.load() if account.provider == provider)
        return accounts.KnownKeys(keys=used, default_fallback_key=self._load_record(provider).nameless)

    def record_credentials(self, provider: str, credentials: Sequence[Credential], now: datetime) -> None:
        """Keep what was found."""
        self._credentials[provider] = credentials
        book = self._load_record(provider)
        nameless = [login for login in credentials if accounts.is_anonymous(login)]
        bearer = next((login for login in nameless if not login.account), None)
        if bearer is not None:
            book.nameless = accounts.make_fallback_key(bearer, nameless)
        if credentials:
            hashes = {accounts.hash_token(login) for login in credentials}
            book.owners = {known: owner for known, owner in book.owners.items() if known in hashes}
        self._save_record(provider, now)

    def list_logins(self, provider: str, now: datetime) -> list[Credential]:
        """Each account's login, once; a nameless one bears its owner's name as far as that is known."""
        owners = self._load_record(provider).owners
        merged = accounts.merge_anonymous(self._credentials.get(provider, ()), owners, now)
        return [_apply_owner_name(login, owners) for login in merged]

    def find_successor_keys(
        self, provider: str, stored_accounts: Sequence[Account], now: datetime
    ) -> dict[str, str | None]:
        """Key of each account that no login has any more under its own -> key that it has now; None: it has none.

        Args:
            provider: its id.
            stored_accounts: the provider's accounts of which something is known.
            now: the present.
        """
        book, logins = self._load_record(provider), self.list_logins(provider, now)
        here = {login.account for login in logins}
        joined = accounts.map_anonymous_keys(self._credentials.get(provider, ()), book.owners)
        gone = [each for each in stored_accounts if each.account not in here]
        keys = self.get_known_keys(provider)
        return {
            each.account: joined[each.account]
            if each.account in joined
            else accounts.find_successor_key(
                each.account, each.name, book.asked_with.get(each.account, ""), logins, keys
            )
            for each in gone
        }

    def is_ambiguous(self, provider: str, login: Credential) -> bool:
        """Whether this login may yet prove to be one that is there under its name."""
        if len(self._credentials.get(provider, ())) < 2 or not accounts.is_anonymous(login):  # noqa: PLR2004 - another
            return False
        return accounts.hash_token(login) not in self._load_record(provider).owners

    def record_owner(self, provider: str, login: Credential, result: Snapshot | PollFailure) -> None:
        """Keep whose the login is, as the answer said; a failure that does not say it leaves the question open."""
        name = "" if result.account_name == login.account else result.account_name
        asked_in_vain = OWNER_UNKNOWN_KEY in login.extra and isinstance(result, Snapshot)
        if accounts.is_anonymous(login) and (name or asked_in_vain):
            self._load_record(provider).owners[accounts.hash_token(login)] = name
            self._save_record(provider, result.at)

    def record_request(self, provider: str, login: Credential, now: datetime) -> None:
        """Keep when and with which login the account is asked."""
        book = self._load_record(provider)
        book.asked_with[login.account], book.asked_at[login.account] = accounts.hash_token(login), now
        self._save_record(provider, now)

    def get_last_requested_at(self, provider: str, login: Credential) -> datetime | None:
        """When the provider itself was last asked for the account; None where nobody knows."""
        return self._load_record(provider).asked_at.get(login.account)

    def has_changed(self, provider: str, login: Credential) -> bool | None:
        """Whether the account was last asked with another login; None where it never was asked."""
        asked_with = self._load_record(provider).asked_with.get(login.account)
        return None if asked_with is None else asked_with != accounts.hash_token(login)

    def rename_account(self, provider: str, old: str, new: str, now: datetime) -> None:
        """Keep under its new key what is known of an account."""
        book = self._load_record(provider)
        if old in book.asked_with:
            book.asked_with[new] = book.asked_with.pop(old)
        if old in book.asked_at:
            book.asked_at[new] = book.asked_at.pop(old)
        self._save_record(provider, now)

    def forget_account(self, provider: str, account: str, now: datetime) -> None:
        """Forget what is known under a key that no login has any more."""
        book = self._load_record(provider)
        book.asked_with.pop(account, None)
        book.asked_at.pop(account, None)
        self._save_record(provider, now)

    def _load_record(self, provider: str) -> AccountRecord:
        if provider not in self._records:
            kept = self._store.facts.load(f"logins {provider}")
            try:
                self._records[provider] = (
                    AccountRecord() if kept is None else msgspec.json.decode(kept[0], type=AccountRecord)
                )
            except msgspec.DecodeError:  # of another version: all of it is learnt again
                self._records[provider] = AccountRecord()
        return self._records[provider]

    def _save_record(self, provider: str, now: datetime) -> None:
        text = msgspec.json.encode(self._load_record(provider)).decode()
        kept = self._store.facts.load(f"logins {provider}")
        if kept is None or kept[0] != text:
            self._store.run_transaction(lambda: self._store.facts.save(f"logins {provider}", text, now), now=now)


def _apply_owner_name(login: Credential, owners: dict[str, str]) -> Credential:
    """The same login with its owner's name; asked for no more where that is known, or was asked in vain."""
    owner = owners.get(accounts.hash_token(login))
    if owner is None or not accounts.is_anonymous(login):
        return login
    extra = {key: value for key, value in login.extra.items() if key != OWNER_UNKNOWN_KEY}
    return replace(login, account_name=login.account_name or owner, extra=extra)


# --- Accounts that no login has any more under their key: signed out, or known by a better key now


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
        stored = [account for account in self._store.accounts.load() if account.provider == provider]
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
            self._hear(fetch.make_signed_out_failure(account, now))
        else:
            self._store.run_transaction(
                lambda: self._store.accounts.forget_unanswered(account.provider, account.account), now=now
            )
