"""Which logins are one account, and the account's key.

A key stays the same over restarts and token renewals. It is the account id, or the email if there is no id or two
people share it. A login with neither is anonymous. One anonymous login has the key "": the one that had it before, else
the one in the best place. Each other one has a short hash: of its place if it is alone there (tokens are renewed every
few hours, places stay), else of its token. A login keeps its hash when the other login is gone.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from datetime import datetime

from msgspec import Struct
from msgspec.structs import replace

from watcher.credentials import OWNER_UNKNOWN_KEY, Credential
from watcher.credentials.files import short_hash


class KnownKeys(Struct, frozen=True, kw_only=True):
    """The keys until now."""

    keys: frozenset[str] = frozenset()  # of all accounts
    default_fallback_key: str = ""  # see `make_fallback_key`; of the login with the key ""; empty: there was none


NO_KNOWN_KEYS = KnownKeys()


def merge_duplicates(credentials: Sequence[Credential], now: datetime) -> list[Credential]:
    """Each account once, with the token of the best place unless that has expired and another has not."""
    accounts: list[Credential] = []
    for credential in credentials:
        whole, place = credential, len(accounts)
        while same := [
            known for known in accounts if _is_same_account(known, whole)
        ]:  # a merged login may match another one
            place = min(place, accounts.index(same[0]))
            accounts.remove(same[0])
            whole = _merge_credentials(same[0], whole, now)
        accounts.insert(place, whole)
    return accounts


def _is_same_account(one: Credential, other: Credential) -> bool:
    if one.extra.get("host") != other.extra.get("host"):
        return False
    ids = {_account_id(one), _account_id(other)} - {""}
    emails = {_email(one), _email(other)} - {""}
    if len(ids) == 2:  # noqa: PLR2004 - both say, and they differ: two workspaces of one person are two quotas
        return False
    if _account_id(one) and _account_id(one) == _account_id(other):
        return len(emails) < 2  # noqa: PLR2004 - two people of one workspace are two quotas
    secrets = [(one.token, other.token), (one.refresh_token, other.refresh_token)]
    if any(mine and mine == theirs for mine, theirs in secrets):
        return True
    return bool(_email(one)) and _email(one) == _email(other)


def _merge_credentials(first: Credential, second: Credential, now: datetime) -> Credential:
    lends = _is_expired(first, now) and not _is_expired(second, now)
    used, spare = (second, first) if lends else (first, second)
    return replace(
        used,
        account=_account_id(used) or _account_id(spare) or used.account or spare.account,
        account_name=used.account_name or spare.account_name,
        plan=used.plan or spare.plan,
        fallbacks=_collect_spares(used, spare),
    )


def _is_expired(credential: Credential, now: datetime) -> bool:
    """Whether it has no valid token and cannot be renewed, so that another login of the account is better."""
    if credential.refresh_token:
        return False
    return not credential.token or (credential.expires_at is not None and credential.expires_at <= now)


def _collect_spares(used: Credential, other: Credential) -> tuple[Credential, ...]:
    """The fallbacks of both logins and the other login, each secret once, without those that have none."""
    found = {hash_token(each): each for each in (used, *used.fallbacks, replace(other, fallbacks=()), *other.fallbacks)}
    others = (each for each in found.values() if hash_token(each) != hash_token(used))
    return tuple(each for each in others if each.token or each.refresh_token)


def _account_id(credential: Credential) -> str:
    return "" if "@" in credential.account else credential.account


def _email(credential: Credential) -> str:
    names = (credential.account, credential.account_name)
    return next((name.lower() for name in names if "@" in name), "")


# --- keys -------------------------------------------------------------------------------------------------------------


def assign_keys(
    credentials: Sequence[Credential], known_keys: KnownKeys = NO_KNOWN_KEYS, *, all_sources_read: bool = True
) -> tuple[Credential, ...]:
    """The same logins with their stable keys in `account`, no two alike.

    Args:
        credentials: each account once, best place first.
        known_keys: the keys until now.
        all_sources_read: whether every place could be read; if not, the login with the key "" may be in another.
    """
    anonymous = [each for each in credentials if not (each.account or each.account_name)]
    default = _find_default_login(anonymous, known_keys, all_sources_read=all_sources_read)
    taken: set[str] = set()
    result = []
    ids = [each.account for each in credentials]
    for credential in credentials:
        key = credential.account or credential.account_name
        if ids.count(key) > 1:  # two people of one workspace: the first one found would get its key
            key = _email(credential) or key
        if "@" in key:
            key = key.lower()
        if not key and credential is not default:
            key = make_fallback_key(credential, anonymous)
        spares = (_email(credential), short_hash(hash_token(credential)))
        key = next((name for name in (key, *spares) if name not in taken), spares[-1])
        taken.add(key)
        name = credential.account_name or credential.account
        extra = (
            {**credential.extra, OWNER_UNKNOWN_KEY: "yes"} if not name and len(credentials) > 1 else credential.extra
        )
        result.append(replace(credential, account=key, account_name=name, extra=extra))
    return tuple(result)


def _find_default_login(
    anonymous: Sequence[Credential], known_keys: KnownKeys, *, all_sources_read: bool
) -> Credential | None:
    """The login that has the key ""."""
    stand_ins = [(make_fallback_key(each, anonymous), each) for each in anonymous]
    for name, each in stand_ins:
        if known_keys.default_fallback_key and name == known_keys.default_fallback_key:
            return each
    if known_keys.default_fallback_key and not all_sources_read:
        return None
    return next((each for name, each in stand_ins if name not in known_keys.keys), None)


def make_fallback_key(credential: Credential, anonymous: Sequence[Credential]) -> str:
    """A key for an anonymous login: a hash of its place, or of its token if others are in that place."""
    alone = [other.path for other in anonymous].count(credential.path) == 1
    return short_hash(credential.path if alone else hash_token(credential))


def is_anonymous(credential: Credential) -> bool:
    """Whether the login's key is a fallback key, because its place does not name its owner."""
    return credential.account in ("", short_hash(credential.path), short_hash(hash_token(credential)))


def is_fallback_key(key: str) -> bool:
    """Whether this is a key of an anonymous login."""
    return not key or re.fullmatch(r"[0-9a-f]{8}", key) is not None


def find_successor_key(
    key: str, name: str, last_token_hash: str, logins: Sequence[Credential], known_keys: KnownKeys
) -> str | None:
    """The key of an account's login now that none has the account's key; None if it has no login.

    An account whose key is a fallback key or an email continues as the login that bears its name. Else it continues as
    a login of a new account with the same token or, if its key stands for a place, in the same place.

    Args:
        key: the account's own.
        name: the owner that its answers named.
        last_token_hash: hash of the token of its last poll; empty if unknown.
        logins: as found now, each account once.
        known_keys: the keys until now.
    """
    names = {key.casefold(), name.casefold()} - {""}
    place = key or known_keys.default_fallback_key
    unknown = [login for login in logins if login.account not in known_keys.keys]
    named = logins if is_fallback_key(key) or "@" in key else ()
    found = [
        *(login for login in named if names & {login.account.casefold(), login.account_name.casefold()}),
        *(login for login in unknown if hash_token(login) == last_token_hash),
        *(login for login in unknown if is_fallback_key(key) and short_hash(login.path) == place),
    ]
    return found[0].account if found else None


# --- one account under two tokens -------------------------------------------------------------------------------------


def merge_anonymous(logins: Sequence[Credential], keys_by_token: Mapping[str, str], now: datetime) -> list[Credential]:
    """The logins, each anonymous one that proved to be another's account joined to that one.

    It is the same quota, found in two places under two tokens: shown twice, every alert would come twice. Where the
    first login's token has expired the other is used, else it is a fallback.

    Args:
        logins: as `assign_keys` gave them.
        keys_by_token: token hash -> key of the account that the token proved to be of.
        now: the present.
    """
    joined = map_anonymous_keys(logins, keys_by_token)
    kept = {login.account: login for login in logins if login.account not in joined}
    for each in logins:
        if each.account not in joined:
            continue
        first = kept[joined[each.account]]
        whole = _merge_credentials(first, each, now)
        kept[first.account] = replace(whole, account=first.account, account_name=first.account_name)
    return list(kept.values())


def map_anonymous_keys(logins: Sequence[Credential], keys_by_token: Mapping[str, str]) -> dict[str, str]:
    """Key of each anonymous login that proved to be another's account -> key of that one.

    A login that names itself goes first, then the one in the better place.
    """
    first: dict[str, str] = {}
    joined: dict[str, str] = {}
    for each in sorted(logins, key=is_anonymous):
        account = keys_by_token.get(hash_token(each), each.account) if is_anonymous(each) else each.account
        key = first.setdefault(account, each.account)
        if key != each.account:
            joined[each.account] = key
    return joined


def find_logins_of_owner(
    logins: Sequence[Credential], login: Credential, owner: str, names: Mapping[str, str]
) -> list[Credential]:
    """The logins of one account: this anonymous one, and those of the same server that bear its owner's name.

    A login that names itself goes first, then the one in the better place.

    Args:
        logins: as `assign_keys` gave them.
        login: one of them, whose owner its API named.
        owner: that name; empty where the API gave none.
        names: key -> name of the account as its answers said.
    """

    def is_same(other: Credential) -> bool:
        known = {other.account, other.account_name, names.get(other.account, "")}
        bears_name = bool(owner) and owner.casefold() in {name.casefold() for name in known}
        return bears_name and login.extra.get("host") == other.extra.get("host")

    same = [each for each in logins if each.account == login.account or is_same(each)]
    return sorted(same, key=is_anonymous) or [login]


def hash_token(credential: Credential) -> str:
    """A hash of the secret that identifies the login, for example for its cooldown.

    The secret is the refresh token if there is one: another access token is not another login.
    """
    secret = credential.refresh_token or credential.token or credential.path
    return hashlib.sha256(secret.encode(errors="replace")).hexdigest()[:32]
