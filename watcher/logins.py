"""What the polls have taught of each provider's logins, kept in the store so that a restart forgets none of it.

Which nameless login has the key "", whose a login proved to be, and with which login an account was asked last. Never
look for logins here, and never ask anybody.
"""

from collections.abc import Sequence
from datetime import datetime

import msgspec
from msgspec import Struct, field
from msgspec.structs import replace

from watcher import accounts
from watcher.core.model import Failure, Snapshot
from watcher.credentials import OTHERS, Credential
from watcher.rows import Account
from watcher.store import Store


class Book(Struct):
    """What is kept of one provider."""

    nameless: str = ""  # stand-in of the login that has the key ""
    owners: dict[str, str] = field(default_factory=dict)  # token hash -> whose it is; empty: it was asked in vain
    asked_with: dict[str, str] = field(default_factory=dict)  # account -> token hash
    asked_at: dict[str, datetime] = field(default_factory=dict)  # account -> when the provider itself was last asked


class Logins:
    """The logins of every provider, as last found."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._books: dict[str, Book] = {}
        self._found: dict[str, Sequence[Credential]] = {}

    def keys(self, provider: str) -> accounts.Keys:
        """What was called what until now."""
        used = frozenset(account.account for account in self._store.accounts() if account.provider == provider)
        return accounts.Keys(used=used, nameless=self._book(provider).nameless)

    def take(self, provider: str, found: Sequence[Credential], now: datetime) -> None:
        """Keep what was found."""
        self._found[provider] = found
        book = self._book(provider)
        nameless = [login for login in found if accounts.is_nameless(login)]
        bearer = next((login for login in nameless if not login.account), None)
        if bearer is not None:
            book.nameless = accounts.stand_in(bearer, nameless)
        if found:
            hashes = {accounts.token_hash(login) for login in found}
            book.owners = {known: owner for known, owner in book.owners.items() if known in hashes}
        self._keep(provider, now)

    def now(self, provider: str, now: datetime) -> list[Credential]:
        """Each account's login, once; a nameless one bears its owner's name as far as that is known."""
        owners = self._book(provider).owners
        merged = accounts.merge(self._found.get(provider, ()), owners, now)
        return [_named(login, owners) for login in merged]

    def heirs(self, provider: str, stored: Sequence[Account], now: datetime) -> dict[str, str | None]:
        """Key of each account that no login has any more under its own -> key that it has now; None: it has none.

        Args:
            provider: its id.
            stored: the provider's accounts of which something is known.
            now: the present.
        """
        book, logins = self._book(provider), self.now(provider, now)
        here = {login.account for login in logins}
        joined = accounts.joins(self._found.get(provider, ()), book.owners)
        gone = [each for each in stored if each.account not in here]
        keys = self.keys(provider)
        return {
            each.account: joined[each.account]
            if each.account in joined
            else accounts.heir(each.account, each.name, book.asked_with.get(each.account, ""), logins, keys)
            for each in gone
        }

    def is_unsure(self, provider: str, login: Credential) -> bool:
        """Whether this login may yet prove to be one that is there under its name."""
        if len(self._found.get(provider, ())) < 2 or not accounts.is_nameless(login):  # noqa: PLR2004 - another
            return False
        return accounts.token_hash(login) not in self._book(provider).owners

    def learn(self, provider: str, login: Credential, news: Snapshot | Failure) -> None:
        """Keep whose the login is, as the answer said; a failure that does not say it leaves the question open."""
        name = "" if news.account_name == login.account else news.account_name
        asked_in_vain = OTHERS in login.extra and isinstance(news, Snapshot)
        if accounts.is_nameless(login) and (name or asked_in_vain):
            self._book(provider).owners[accounts.token_hash(login)] = name
            self._keep(provider, news.at)

    def ask(self, provider: str, login: Credential, now: datetime) -> None:
        """Keep when and with which login the account is asked."""
        book = self._book(provider)
        book.asked_with[login.account], book.asked_at[login.account] = accounts.token_hash(login), now
        self._keep(provider, now)

    def asked_at(self, provider: str, login: Credential) -> datetime | None:
        """When the provider itself was last asked for the account; None where nobody knows."""
        return self._book(provider).asked_at.get(login.account)

    def has_changed(self, provider: str, login: Credential) -> bool | None:
        """Whether the account was last asked with another login; None where it never was asked."""
        asked_with = self._book(provider).asked_with.get(login.account)
        return None if asked_with is None else asked_with != accounts.token_hash(login)

    def rename(self, provider: str, old: str, new: str, now: datetime) -> None:
        """Keep under its new key what is known of an account."""
        book = self._book(provider)
        if old in book.asked_with:
            book.asked_with[new] = book.asked_with.pop(old)
        if old in book.asked_at:
            book.asked_at[new] = book.asked_at.pop(old)
        self._keep(provider, now)

    def forget(self, provider: str, account: str, now: datetime) -> None:
        """Forget what is known under a key that no login has any more."""
        book = self._book(provider)
        book.asked_with.pop(account, None)
        book.asked_at.pop(account, None)
        self._keep(provider, now)

    def _book(self, provider: str) -> Book:
        if provider not in self._books:
            kept = self._store.fact(f"logins {provider}")
            try:
                self._books[provider] = Book() if kept is None else msgspec.json.decode(kept[0], type=Book)
            except msgspec.DecodeError:  # of another version: all of it is learnt again
                self._books[provider] = Book()
        return self._books[provider]

    def _keep(self, provider: str, now: datetime) -> None:
        text = msgspec.json.encode(self._book(provider)).decode()
        kept = self._store.fact(f"logins {provider}")
        if kept is None or kept[0] != text:
            self._store.write(lambda: self._store.set_fact(f"logins {provider}", text, now), now=now)


def _named(login: Credential, owners: dict[str, str]) -> Credential:
    """The same login with its owner's name; asked for no more where that is known, or was asked in vain."""
    owner = owners.get(accounts.token_hash(login))
    if owner is None or not accounts.is_nameless(login):
        return login
    extra = {key: value for key, value in login.extra.items() if key != OTHERS}
    return replace(login, account_name=login.account_name or owner, extra=extra)
