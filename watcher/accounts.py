"""Which logins are one account, and what it is called.

An account's key outlives restarts and token renewals: the account id, else, also where two people share that, the
email. Of the logins that say neither, one has the key "": the one that always had it, else the one in the best place.
Each further one has a short hash, of its place where it is alone there (tokens are renewed every few hours, places
stay), else of its token; and who once has a hash keeps it, also when the other is gone. What was called what comes as
`Keys`. Never ask anybody here.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from datetime import datetime

from msgspec import Struct
from msgspec.structs import replace

from watcher.credentials import OTHERS, Credential
from watcher.credentials.places import short_hash


class Keys(Struct, frozen=True, kw_only=True):
    """What was called what until now."""

    used: frozenset[str] = frozenset()  # keys under which something is known
    nameless: str = ""  # stand-in (see `stand_in`) of the login that has the key ""; empty: none had it yet


NO_KEYS = Keys()


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
        spares=_spares(used, spare),
    )


def _spares(used: Credential, other: Credential) -> tuple[Credential, ...]:
    """The first login's spares with the other one and its own, each secret once; what holds none answers for nobody."""
    found = {token_hash(each): each for each in (used, *used.spares, replace(other, spares=()), *other.spares)}
    others = (each for each in found.values() if token_hash(each) != token_hash(used))
    return tuple(each for each in others if each.token or each.refresh_token)


def _id(credential: Credential) -> str:
    return "" if "@" in credential.account else credential.account


def _email(credential: Credential) -> str:
    names = (credential.account, credential.account_name)
    return next((name.lower() for name in names if "@" in name), "")


# --- keys -------------------------------------------------------------------------------------------------------------


def identify(
    credentials: Sequence[Credential], keys: Keys = NO_KEYS, *, complete: bool = True
) -> tuple[Credential, ...]:
    """The same logins with their stable keys in `account`, no two alike.

    Args:
        credentials: each account once, best place first.
        keys: what was called what until now.
        complete: whether every place could be read; in one that could not be, the bearer of the key "" may be.
    """
    nameless = [each for each in credentials if not (each.account or each.account_name)]
    bearer = _bearer(nameless, keys, complete=complete)
    taken: set[str] = set()
    result = []
    ids = [each.account for each in credentials]
    for credential in credentials:
        key = credential.account or credential.account_name
        if ids.count(key) > 1:  # two people of one workspace: whoever is found first would have its key
            key = _email(credential) or key
        if "@" in key:
            key = key.lower()
        if not key and credential is not bearer:
            key = stand_in(credential, nameless)
        spares = (_email(credential), short_hash(token_hash(credential)))
        key = next((name for name in (key, *spares) if name not in taken), spares[-1])
        taken.add(key)
        name = credential.account_name or credential.account
        extra = {**credential.extra, OTHERS: "yes"} if not name and len(credentials) > 1 else credential.extra
        result.append(replace(credential, account=key, account_name=name, extra=extra))
    return tuple(result)


def _bearer(nameless: Sequence[Credential], keys: Keys, *, complete: bool) -> Credential | None:
    """The login that has the key ""."""
    stand_ins = [(stand_in(each, nameless), each) for each in nameless]
    for name, each in stand_ins:
        if keys.nameless and name == keys.nameless:
            return each
    if keys.nameless and not complete:
        return None
    return next((each for name, each in stand_ins if name not in keys.used), None)


def stand_in(credential: Credential, nameless: Sequence[Credential]) -> str:
    """What a nameless login is known by among the nameless: a hash of its place, else of its token."""
    alone = [other.path for other in nameless].count(credential.path) == 1
    return short_hash(credential.path if alone else token_hash(credential))


def is_nameless(credential: Credential) -> bool:
    """Whether the login's key is only a stand-in, because its place does not say whose it is."""
    return credential.account in ("", short_hash(credential.path), short_hash(token_hash(credential)))


def is_stand_in(key: str) -> bool:
    """Whether the key is one that a nameless login gets."""
    return not key or re.fullmatch(r"[0-9a-f]{8}", key) is not None


def heir(key: str, name: str, asked_with: str, logins: Sequence[Credential], keys: Keys) -> str | None:
    """The key under which an account's login is found now that none has its own any more; None: under none.

    A key that is a stand-in or an email gives way to a login of that name, whoever has it. Beyond that, the login that
    was asked with, or the one in the place for which the stand-in stood, is the same account better known, unless
    something is known of that one already.

    Args:
        key: the account's own.
        name: whose it is, as far as its answers said.
        asked_with: hash of the token it was last asked with; empty where nobody knows.
        logins: as found now, each account once.
        keys: what was called what until now.
    """
    names = {key.casefold(), name.casefold()} - {""}
    place = key or keys.nameless
    unknown = [login for login in logins if login.account not in keys.used]
    named = logins if is_stand_in(key) or "@" in key else ()
    found = [
        *(login for login in named if names & {login.account.casefold(), login.account_name.casefold()}),
        *(login for login in unknown if token_hash(login) == asked_with),
        *(login for login in unknown if is_stand_in(key) and short_hash(login.path) == place),
    ]
    return found[0].account if found else None


# --- one account under two tokens -------------------------------------------------------------------------------------


def merge(logins: Sequence[Credential], owners: Mapping[str, str], now: datetime) -> list[Credential]:
    """The logins, each nameless one that proved to be another's account joined to that one.

    It is the same quota, found in two places under two tokens: shown twice, every alert would come twice. A login that
    names itself goes first, then the better place. Where the first one's token has run out the other lends its own,
    else it is a spare.

    Args:
        logins: as `identify` gave them.
        owners: token hash -> whose the login is, as its API said; empty where it did not say.
        now: the present.
    """
    joined = joins(logins, owners)
    kept = {login.account: login for login in logins if login.account not in joined}
    for each in logins:
        first = kept[joined.get(each.account, each.account)]
        if each.account not in joined:
            continue
        lends = _has_run_out(first, now) and not _has_run_out(each, now)
        used, spare = (each, first) if lends else (first, each)
        kept[first.account] = replace(
            used,
            account=first.account,
            account_name=first.account_name,
            plan=used.plan or spare.plan,
            spares=_spares(used, spare),
        )
    return list(kept.values())


def joins(logins: Sequence[Credential], owners: Mapping[str, str]) -> dict[str, str]:
    """Key of each nameless login that proved to be another's account -> key of that one."""
    kept: list[Credential] = []
    joined: dict[str, str] = {}
    for each in sorted(logins, key=is_nameless):
        owner = owners.get(token_hash(each), "").casefold() if is_nameless(each) else ""
        first = next((other for other in kept if owner and _is_of(other, owner, owners, each)), None)
        if first is None:
            kept.append(each)
        else:
            joined[each.account] = first.account
    return joined


def _is_of(login: Credential, owner: str, owners: Mapping[str, str], like: Credential) -> bool:
    names = (login.account, login.account_name, owners.get(token_hash(login), ""))
    return owner in {name.casefold() for name in names} and login.extra.get("host") == like.extra.get("host")


def _has_run_out(credential: Credential, now: datetime) -> bool:
    """Whether it can answer no more, or never could, so that another login of the same account is welcome."""
    if credential.refresh_token:
        return False
    return not credential.token or (credential.expires_at is not None and credential.expires_at <= now)


def token_hash(credential: Credential) -> str:
    """Stands for the secret that a server counts against: the key of its cooldown. It tells nothing of the secret.

    Where the access token is renewed from a refresh token it is that one: another access token is not another login.
    """
    secret = credential.refresh_token or credential.token or credential.path
    return hashlib.sha256(secret.encode(errors="replace")).hexdigest()[:32]
