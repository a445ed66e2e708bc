"""Which login belongs to which account: what polls have found out, saved in the store."""

from collections.abc import Collection, MutableMapping, Sequence
from datetime import datetime

from msgspec.structs import replace

from watcher import pipeline
from watcher.config.loader import Config
from watcher.core.model import PollFailure, Snapshot
from watcher.credentials import OWNER_UNKNOWN_KEY, Credential
from watcher.polling import accounts
from watcher.providers import ProviderState
from watcher.storage.accounts import PLACE, TOKEN
from watcher.storage.records import Account
from watcher.storage.store import Store


class AccountRegistry:
    """The logins of every provider, as last found, and their accounts.

    Args:
        store: where the accounts are.
        provider_states: (provider, key) -> what the provider keeps in memory; moves when an account gets another key.
    """

    def __init__(
        self, store: Store, provider_states: MutableMapping[tuple[str, str], ProviderState] | None = None
    ) -> None:
        self._store = store
        self._provider_states = {} if provider_states is None else provider_states
        self._credentials: dict[str, Sequence[Credential]] = {}

    def get_known_keys(self, provider: str) -> accounts.KnownKeys:
        """The keys that accounts have had until now."""
        places = self._store.accounts.load_aliases(provider, PLACE)
        return accounts.KnownKeys(
            keys=frozenset(account.account for account in self._list_accounts(provider)),
            default_fallback_key=next((place for place, key in places.items() if not key), ""),
        )

    def record_credentials(self, provider: str, credentials: Sequence[Credential], now: datetime) -> None:
        """Keep the logins that were found."""
        self._credentials[provider] = credentials
        anonymous = [login for login in credentials if accounts.is_anonymous(login)]
        default = next((login for login in anonymous if not login.account), None)
        hashes = {accounts.hash_token(login) for login in credentials}

        place = "" if default is None else accounts.make_fallback_key(default, anonymous)
        is_new_place = bool(place) and self._store.accounts.load_aliases(provider, PLACE).get(place) != ""
        has_old_tokens = bool(credentials) and not hashes.issuperset(self._store.accounts.load_aliases(provider, TOKEN))

        def work() -> None:
            if is_new_place:
                self._store.accounts.save_alias(provider, "", PLACE, place)
            if has_old_tokens:
                self._store.accounts.delete_other_aliases(provider, TOKEN, hashes)

        if is_new_place or has_old_tokens:
            self._store.run_transaction(work, now=now)

    def list_logins(self, provider: str, now: datetime) -> list[Credential]:
        """One login for each account; an anonymous one with its owner's name, if known."""
        found = self._credentials.get(provider, ())
        if not found:
            return []
        keys = self._store.accounts.load_aliases(provider, TOKEN)
        names = {account.account: account.name for account in self._list_accounts(provider)}
        merged = accounts.merge_anonymous(found, keys, now)
        return [_apply_owner_name(login, keys, names) for login in merged]

    def is_owner_open(self, provider: str, login: Credential) -> bool:
        """Whether it is unknown if this login belongs to an account that has another login."""
        if len(self._credentials.get(provider, ())) < 2 or not accounts.is_anonymous(login):  # noqa: PLR2004 - another
            return False
        return accounts.hash_token(login) not in self._store.accounts.load_aliases(provider, TOKEN)

    def record_owner(self, provider: str, login: Credential, result: Snapshot | PollFailure) -> bool:
        """Save the owner that the answer named; False if that was known, or it named none.

        After a failure that does not name the owner, the next poll asks again.
        """
        name = "" if result.account_name == login.account else result.account_name
        has_no_answer = OWNER_UNKNOWN_KEY in login.extra and isinstance(result, Snapshot)
        if not accounts.is_anonymous(login) or not (name or has_no_answer):
            return False
        names = {account.account: account.name for account in self._list_accounts(provider)}
        known = self._store.accounts.load_aliases(provider, TOKEN)
        same = accounts.find_logins_of_owner(self._credentials.get(provider, ()), login, name, names)
        tokens = {accounts.hash_token(each) for each in same if accounts.is_anonymous(each)}
        if all(known.get(token) == same[0].account for token in tokens):
            return False

        def work() -> None:
            for token in tokens:
                self._store.accounts.save_alias(provider, same[0].account, TOKEN, token)

        self._store.run_transaction(work, now=result.at)
        return True

    def settle(self, provider: str, config: Config, now: datetime, *, troubled: Collection[str] = ()) -> list[Account]:
        """Give each account the key that its login has now; return the accounts without a login.

        Args:
            provider: its id.
            config: the config in use.
            now: the present.
            troubled: keys of accounts whose login files cannot be read: they may have a login.
        """
        logins = self.list_logins(provider, now)
        present = {login.account for login in logins}
        keys = self._store.accounts.load_aliases(provider, TOKEN)
        joined = accounts.map_anonymous_keys(self._credentials.get(provider, ()), keys)
        gone = []
        for account in self._list_accounts(provider):
            key = account.account
            if key in present or key in troubled:
                continue
            successor = joined[key] if key in joined else self._find_successor_key(account, logins)
            if successor is None:
                gone.append(account)
            else:
                pipeline.move_account(self._store, config, provider, key, successor, now=now)
                state = self._provider_states.pop((provider, key), {})
                self._provider_states.setdefault((provider, successor), state)
        return gone

    def _find_successor_key(self, account: Account, logins: Sequence[Credential]) -> str | None:
        last = self._store.accounts.load_request(account.provider, account.account)
        token = "" if last is None else last[1]
        keys = self.get_known_keys(account.provider)
        return accounts.find_successor_key(account.account, account.name, token, logins, keys)

    def _list_accounts(self, provider: str) -> list[Account]:
        return [account for account in self._store.accounts.load() if account.provider == provider]


def _apply_owner_name(login: Credential, keys: dict[str, str], names: dict[str, str]) -> Credential:
    """The login with its owner's name; without the request to look it up if that was done."""
    key = keys.get(accounts.hash_token(login))
    if key is None or not accounts.is_anonymous(login):
        return login
    owner = names.get(key, "")
    extra = {name: value for name, value in login.extra.items() if name != OWNER_UNKNOWN_KEY}
    return replace(
        login,
        account_name=login.account_name or ("" if accounts.is_fallback_key(owner) else owner),
        extra=extra,
    )
