"""Which logins are one account, and what it is called.

An account's key outlives restarts and token renewals: the account id, else the email. A login that says neither has the
key "" while it is the only such one of its provider; of several, each has a short hash, of its place where it is alone
there (tokens are renewed every few hours, places stay), else of its token. Never ask anybody here.
"""

import hashlib
from collections.abc import Collection, Sequence
from datetime import datetime

from msgspec.structs import replace

from watcher.core.model import Snapshot
from watcher.credentials import OTHERS, Credential
from watcher.credentials.places import short_hash


def once(found: Sequence[Credential], now: datetime) -> list[Credential]:
    """Each account once. The better place's token is used, unless it has run out and another's has not."""
    accounts: list[Credential] = []
    for credential in found:
        whole, place = credential, len(accounts)
        while same := [known for known in accounts if _same(known, whole)]:  # what is joined may match yet another
            place = min(place, accounts.index(same[0]))
            accounts.remove(same[0])
            whole = _join(same[0], whole, now)
        accounts.insert(place, whole)
    return accounts


def _same(one: Credential, other: Credential) -> bool:
    ids = {_id(one), _id(other)} - {""}
    emails = {_email(one), _email(other)} - {""}
    if len(ids) == 2:  # noqa: PLR2004 - both say, and they differ: two workspaces of one person are two quotas
        return False
    if _id(one) and _id(one) == _id(other):
        return len(emails) < 2  # noqa: PLR2004 - two people of one workspace are two quotas
    secrets = [(one.token, other.token), (one.refresh_token, other.refresh_token)]
    if any(mine and mine == theirs for mine, theirs in secrets):
        return True
    return bool(_email(one)) and _email(one) == _email(other)


def _join(first: Credential, second: Credential, now: datetime) -> Credential:
    expired = first.expires_at is not None and first.expires_at <= now
    lives = second.expires_at is None or second.expires_at > now
    used, spare = (second, first) if expired and lives else (first, second)
    return replace(
        used,
        account=_id(used) or _id(spare) or used.account or spare.account,
        account_name=used.account_name or spare.account_name,
        plan=used.plan or spare.plan,
    )


def _id(credential: Credential) -> str:
    return "" if "@" in credential.account else credential.account


def _email(credential: Credential) -> str:
    names = (credential.account, credential.account_name)
    return next((name.lower() for name in names if "@" in name), "")


def identify(credentials: Sequence[Credential]) -> tuple[Credential, ...]:
    """The same logins with their stable keys in `account`, no two alike, and a name for people."""
    nameless = [credential for credential in credentials if not (credential.account or credential.account_name)]
    taken: set[str] = set()
    result = []
    for credential in credentials:
        key = credential.account or credential.account_name
        if "@" in key:
            key = key.lower()
        if not key and len(nameless) > 1:
            alone = [other.path for other in nameless].count(credential.path) == 1
            key = short_hash(credential.path if alone else token_hash(credential))
        spares = (_email(credential), short_hash(token_hash(credential)))
        key = next((name for name in (key, *spares) if name not in taken), spares[-1])
        taken.add(key)
        name = credential.account_name or credential.account
        extra = (
            {**credential.extra, OTHERS: "yes"} if not name and len(nameless) < len(credentials) else credential.extra
        )
        result.append(replace(credential, account=key, account_name=name or key, extra=extra))
    return tuple(result)


def is_nameless(credential: Credential) -> bool:
    """Whether the login's key is only a stand-in, because its place does not say whose it is."""
    return credential.account in ("", short_hash(credential.path), short_hash(token_hash(credential)))


def is_twin(credential: Credential, snapshot: Snapshot, logins: Sequence[Credential]) -> bool:
    """Whether the answer told a nameless login's owner, and another login is that owner's by name.

    It is the same quota, found in two places under two tokens: shown twice, every alert would come twice.
    """
    owner = snapshot.account_name.casefold()
    others = [each for each in logins if each.account != credential.account and not _has_run_out(each, snapshot.at)]
    names = {name.casefold() for each in others for name in (each.account, each.account_name)}
    return is_nameless(credential) and bool(owner) and owner in names


def without_twins(logins: Sequence[Credential], twins: Collection[str], now: datetime) -> list[Credential]:
    """The logins less those whose token hash is a known twin's; all of them once no other can answer any more."""
    others = [each for each in logins if token_hash(each) not in twins]
    return others if any(not _has_run_out(each, now) for each in others) else list(logins)


def _has_run_out(credential: Credential, now: datetime) -> bool:
    """Whether it can answer no more, so that another login of the same account is welcome."""
    return not credential.refresh_token and credential.expires_at is not None and credential.expires_at <= now


def token_hash(credential: Credential) -> str:
    """Stands for the secret that a server counts against: the key of its cooldown. It tells nothing of the secret."""
    secret = credential.token or credential.refresh_token or credential.path
    return hashlib.sha256(secret.encode(errors="replace")).hexdigest()[:32]
