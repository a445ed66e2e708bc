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

from watcher.credentials import Credential, HostInfo
from watcher.credentials import antigravity as places
from watcher.credentials import antigravity_server as servers
from watcher.errors import NotSignedInError, ProviderError
from watcher.providers import Conversation, Overrides, Provider, ProviderState
from watcher.providers.antigravity import cache as antigravity_cache
from watcher.providers.antigravity import cloud
from watcher.providers.antigravity import server as antigravity_server


def find_credentials(host_info: HostInfo, overrides: Overrides) -> Sequence[Credential]:
    """The cache, or the running server where `source` says so; [] where there is neither."""
    if overrides.source not in ("server", "auto"):
        return _find_cache(host_info, overrides)
    found = servers.find_servers(host_info)
    if overrides.source == "server":
        return found or [servers.NOT_RUNNING]
    try:
        cache = _find_cache(host_info, overrides)
    except ProviderError:
        if not found:
            raise
        cache = []
    if found and cache and cloud.FALLBACK_REASON_KEY not in cache[0].extra:
        return [_add_cache_fallback(found[0], cache[0])]
    return found or cache


def _find_cache(host_info: HostInfo, overrides: Overrides) -> Sequence[Credential]:
    """The cache, with an account to fall back on; the account alone where the person named its file."""
    try:
        found = places.find_cache(host_info, overrides.database)
    except ProviderError as error:
        found = cloud.find_account_only(host_info, overrides.accounts, str(error)) if overrides.accounts else []
        if not found:
            raise
        return found
    if not found:
        return (
            cloud.find_account_only(host_info, overrides.accounts, "no cache was found") if overrides.accounts else []
        )
    return [cloud.add_account(found[0], host_info, overrides.accounts)]


def _add_cache_fallback(server: Credential, cache: Credential) -> Credential:
    """One login in two places: the server, and the cache for when it does not answer."""
    account = {"account": cache.account, "account_name": cache.account_name}
    return structs.replace(server, **account, extra={**server.extra, "database": cache.path})


def fetch_usage(credential: Credential, now: datetime, provider_state: ProviderState) -> Conversation:
    """What is left of each model, from the place where the login was found."""
    path = credential.path
    if servers.ENDPOINTS_KEY in credential.extra:
        try:
            return (yield from antigravity_server.fetch_server_usage(credential))
        except ProviderError:
            path = credential.extra.get("database", "")
            if not path:
                raise
    if cloud.FALLBACK_REASON_KEY in credential.extra:
        return (
            yield from cloud.fetch_cloud_usage(
                credential, now, provider_state, credential.extra[cloud.FALLBACK_REASON_KEY]
            )
        )
    try:
        return (yield from antigravity_cache.fetch_cached_usage(path, provider_state, credential.account_name))
    except NotSignedInError as trouble:
        if not credential.refresh_token:
            raise
        try:
            return (yield from cloud.fetch_cloud_usage(credential, now, provider_state, str(trouble)))
        except ProviderError:
            raise trouble from None


PROVIDER = Provider(
    id="antigravity",
    name=antigravity_cache.NAME,
    usage_page="https://antigravity.google",
    sign_in_hint=antigravity_cache.SIGN_IN_HINT,
    primary_windows=(),
    find_credentials=find_credentials,
    fetch_usage=fetch_usage,
    min_interval=timedelta(seconds=30),
    default_interval=timedelta(seconds=60),
    max_interval=timedelta(minutes=30),
)
