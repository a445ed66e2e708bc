"""Antigravity: what its own cache says is left of each model, without a request.

Observed only: the layout of `state.vscdb` (SQLite) and of the protobuf in it is not documented; last checked
2026-11-22. Needs no secret: Antigravity's file is only read (`cache`). If nobody is signed in there, the quota of the
same account of `antigravity-accounts.json` is requested from Google (`cloud`). With `source = "server"` or `"auto"` the
running editor's language server is asked first (`server`).
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

from msgspec import structs

from watcher.credentials import Credential, HostInfo
from watcher.credentials import antigravity as login_places
from watcher.credentials import antigravity_server as login_servers
from watcher.errors import NotSignedInError, ProviderError
from watcher.providers import Conversation, Overrides, Provider, ProviderState
from watcher.providers.antigravity import cache, cloud, server


def find_credentials(host_info: HostInfo, overrides: Overrides) -> Sequence[Credential]:
    """The cache, or the running server if `source` says so; [] if there is neither."""
    if overrides.source not in ("server", "auto"):
        return _find_cache(host_info, overrides)
    servers = login_servers.find_servers(host_info)
    if overrides.source == "server":
        return servers or [login_servers.NOT_RUNNING]
    try:
        caches = _find_cache(host_info, overrides)
    except ProviderError:
        if not servers:
            raise
        return servers
    if servers and caches and cloud.FALLBACK_REASON_KEY not in caches[0].extra:
        cached = caches[0]
        extra = {**servers[0].extra, "database": cached.path}  # read if the server does not answer
        return [structs.replace(servers[0], account=cached.account, account_name=cached.account_name, extra=extra)]
    return servers or caches


def _find_cache(host_info: HostInfo, overrides: Overrides) -> Sequence[Credential]:
    """The cache with an account to fall back on; the account alone if the user named its file."""
    try:
        found = login_places.find_cache(host_info, overrides.database)
    except ProviderError as error:
        alone = cloud.find_account_only(host_info, overrides.accounts, str(error)) if overrides.accounts else []
        if not alone:
            raise
        return alone
    if found:
        return [cloud.add_account(found[0], host_info, overrides.accounts)]
    return cloud.find_account_only(host_info, overrides.accounts, "no cache was found") if overrides.accounts else []


def fetch_usage(credential: Credential, now: datetime, provider_state: ProviderState) -> Conversation:
    """What is left of each model, from the place where the login was found."""
    path = credential.path
    if login_servers.ENDPOINTS_KEY in credential.extra:
        try:
            return (yield from server.fetch_server_usage(credential))
        except ProviderError:
            path = credential.extra.get("database", "")
            if not path:
                raise
    reason = credential.extra.get(cloud.FALLBACK_REASON_KEY)
    if reason is not None:
        return (yield from cloud.fetch_cloud_usage(credential, now, provider_state, reason))
    try:
        return (yield from cache.fetch_cached_usage(path, provider_state, credential.account_name))
    except NotSignedInError as error:
        if not credential.refresh_token:
            raise
        try:
            return (yield from cloud.fetch_cloud_usage(credential, now, provider_state, str(error)))
        except ProviderError:
            raise error from None


PROVIDER = Provider(
    id="antigravity",
    name=cache.NAME,
    usage_page="https://antigravity.google",
    sign_in_hint=cache.SIGN_IN_HINT,
    primary_windows=(),
    find_credentials=find_credentials,
    fetch_usage=fetch_usage,
    min_interval=timedelta(seconds=30),
    default_interval=timedelta(seconds=60),
    max_interval=timedelta(minutes=30),
)
