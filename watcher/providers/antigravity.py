"""Antigravity: what its own cache says is left of each model, without a request.

Observed only: the layout of `state.vscdb` (SQLite) and of the protobuf in it is not documented; last checked
2026-11-22. Key `antigravityAuthStatus` of `ItemTable` holds JSON `{email, apiKey, userStatusProtoBinaryBase64}`; the
message is read by `antigravity_message`. Needs no secret: Antigravity's file is only read. The cache is as old as
Antigravity left it: a reset that has passed, or a day without a write where there is no reset, makes a reading stale.
Where nobody is signed in there, the same account of `antigravity-accounts.json` is asked for (`antigravity_cloud`).
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

from msgspec import structs

from watcher.credentials import Credential, Surroundings
from watcher.credentials import antigravity as places
from watcher.credentials import antigravity_server as servers
from watcher.errors import NotSignedInError, ProviderError
from watcher.providers import Conversation, Kept, Overrides, Provider, antigravity_cache, antigravity_server
from watcher.providers import antigravity_cloud as cloud


def find(surroundings: Surroundings, overrides: Overrides) -> Sequence[Credential]:
    """The cache, or the running server where `source` says so; [] where there is neither."""
    if overrides.source not in ("server", "auto"):
        return _cache(surroundings, overrides)
    found = servers.find(surroundings)
    if overrides.source == "server":
        return found or [servers.NOT_RUNNING]
    try:
        cache = _cache(surroundings, overrides)
    except ProviderError:
        if not found:
            raise
        cache = []
    if found and cache and cloud.ALONE not in cache[0].extra:
        return [_with_cache(found[0], cache[0])]
    return found or cache


def _cache(surroundings: Surroundings, overrides: Overrides) -> Sequence[Credential]:
    """The cache, with an account to fall back on; the account alone where the person named its file."""
    try:
        found = places.cache(surroundings, overrides.database)
    except ProviderError as error:
        found = cloud.alone(surroundings, overrides.accounts, str(error)) if overrides.accounts else []
        if not found:
            raise
        return found
    if not found:
        return cloud.alone(surroundings, overrides.accounts, "no cache was found") if overrides.accounts else []
    return [cloud.with_account(found[0], surroundings, overrides.accounts)]


def _with_cache(server: Credential, cache: Credential) -> Credential:
    """One login in two places: the server, and the cache for when it does not answer."""
    account = {"account": cache.account, "account_name": cache.account_name}
    return structs.replace(server, **account, extra={**server.extra, "database": cache.path})


def ask(credential: Credential, now: datetime, kept: Kept) -> Conversation:
    """What is left of each model, from the place where the login was found."""
    path = credential.path
    if servers.BASES in credential.extra:
        try:
            return (yield from antigravity_server.ask(credential))
        except ProviderError:
            path = credential.extra.get("database", "")
            if not path:
                raise
    if cloud.ALONE in credential.extra:
        return (yield from cloud.ask(credential, now, kept, credential.extra[cloud.ALONE]))
    try:
        return (yield from antigravity_cache.ask(path, kept, credential.account_name))
    except NotSignedInError as trouble:
        if not credential.refresh_token:
            raise
        try:
            return (yield from cloud.ask(credential, now, kept, str(trouble)))
        except ProviderError:
            raise trouble from None


PROVIDER = Provider(
    id="antigravity",
    name=antigravity_cache.NAME,
    page="https://antigravity.google",
    sign_in=antigravity_cache.SIGN_IN,
    primary=(),
    find=find,
    ask=ask,
    floor=timedelta(seconds=30),
    default=timedelta(seconds=60),
    ceiling=timedelta(minutes=30),
)
