"""What a round says where no answer can come: no login, one that is gone, a thread that never came back.

Never decide here whether that is news.
"""

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta

from watcher.core.model import Failure
from watcher.providers.registry import PROVIDERS
from watcher.rows import Account


def no_login(provider: str, now: datetime) -> Failure:
    """A provider is switched on, and nowhere is there a login."""
    facts = PROVIDERS[provider]
    message = f"{facts.name}: switched on in the config, but no login is found; {facts.sign_in}"
    return Failure(provider=provider, at=now, kind="not_signed_in", message=message)


def signed_out(account: Account, now: datetime) -> Failure:
    """An account that was there has no login any more."""
    facts = PROVIDERS[account.provider]
    return Failure(
        provider=account.provider,
        account=account.account,
        account_name=account.name,
        at=now,
        kind="not_signed_in",
        message=f"{facts.name}: no login found any more; {facts.sign_in}",
    )


def never_came(
    provider: str, accounts: Iterable[str], limit: timedelta, now: datetime, *, finding: bool
) -> Iterator[Failure]:
    """A failure for each account that was waited for in vain; `finding`: not even the look for logins ended."""
    name, minutes = PROVIDERS[provider].name, limit.seconds // 60
    text = f"{name} gave no answer in {minutes} minutes; it is asked again later"
    if finding:
        text = f"{name}: the look for logins took over {minutes} minutes: a folder or a program of this machine hangs"
    for account in sorted(accounts):
        yield Failure(provider=provider, account=account, at=now, kind="timeout", message=text)
