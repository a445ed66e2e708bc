"""What a round says where no answer can come: no login, one that is gone, a thread that never came back.

Never decide here whether that is news.
"""

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta

from watcher.core.model import PollFailure
from watcher.providers.registry import PROVIDERS
from watcher.rows import Account


def make_no_login_failure(provider: str, now: datetime) -> PollFailure:
    """A provider is switched on, and nowhere is there a login."""
    facts = PROVIDERS[provider]
    message = f"{facts.name}: switched on in the config, but no login is found; {facts.sign_in_hint}"
    return PollFailure(provider=provider, at=now, kind="not_signed_in", message=message)


def make_signed_out_failure(account: Account, now: datetime) -> PollFailure:
    """An account that was there has no login any more."""
    facts = PROVIDERS[account.provider]
    return PollFailure(
        provider=account.provider,
        account=account.account,
        account_name=account.name,
        at=now,
        kind="not_signed_in",
        message=f"{facts.name}: no login found any more; {facts.sign_in_hint}",
    )


def make_timeout_failures(
    provider: str, accounts: Iterable[str], timeout: timedelta, now: datetime, *, finding_logins: bool
) -> Iterator[PollFailure]:
    """A failure for each account that was waited for in vain; `finding_logins`: not even the look for logins ended."""
    name, minutes = PROVIDERS[provider].name, timeout.seconds // 60
    text = f"{name} gave no answer in {minutes} minutes; it is asked again later"
    if finding_logins:
        text = f"{name}: the look for logins took over {minutes} minutes: a folder or a program of this machine hangs"
    for account in sorted(accounts):
        yield PollFailure(provider=provider, account=account, at=now, kind="timeout", message=text)
