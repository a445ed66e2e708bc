"""Antigravity: what its own cache says is left of each model, without a request.

Observed only: the layout of `state.vscdb` (SQLite) and of the protobuf in it is not documented; last checked
2026-11-22. Needs no secret: Antigravity's file is only read (`cache`). If nobody is signed in there, the quota of the
same account of `antigravity-accounts.json` is requested from Google. With `source = "server"` or `"auto"` the
running editor's language server is asked first (`server`).
"""

from collections.abc import Generator, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from msgspec import structs

from watcher.core.model import Reading, Request, Response, Snapshot
from watcher.credentials import Credential, HostInfo, gemini
from watcher.credentials import antigravity as antigravity_logins
from watcher.credentials.antigravity import ANTIGRAVITY_POOLS
from watcher.credentials.files import UnusableSourceError
from watcher.errors import NotSignedInError, ProviderError, ShapeChangedError, UnsupportedError
from watcher.providers import Conversation, Overrides, Provider, ProviderState, parsing
from watcher.providers.antigravity import cache, server
from watcher.providers.google import GoogleSession


def find_credentials(host_info: HostInfo, overrides: Overrides) -> Sequence[Credential]:
    """The cache, or the running server if `source` says so; [] if there is neither."""
    if overrides.source not in ("server", "auto"):
        return _find_cache(host_info, overrides)
    servers = antigravity_logins.find_servers(host_info)
    if overrides.source == "server":
        return servers or [antigravity_logins.NOT_RUNNING]
    try:
        caches = _find_cache(host_info, overrides)
    except ProviderError:
        if not servers:
            raise
        return servers
    if servers and caches and FALLBACK_REASON_KEY not in caches[0].extra:
        cached = caches[0]
        extra = {**servers[0].extra, "database": cached.path}  # read if the server does not answer
        return [structs.replace(servers[0], account=cached.account, account_name=cached.account_name, extra=extra)]
    return servers or caches


def _find_cache(host_info: HostInfo, overrides: Overrides) -> Sequence[Credential]:
    """The cache with an account to fall back on; the account alone if the user named its file."""
    try:
        found = antigravity_logins.find_cache(host_info, overrides.database)
    except ProviderError as error:
        alone = find_account_only(host_info, overrides.accounts, str(error)) if overrides.accounts else []
        if not alone:
            raise
        return alone
    if found:
        return [add_account(found[0], host_info, overrides.accounts)]
    return find_account_only(host_info, overrides.accounts, "no cache was found") if overrides.accounts else []


def fetch_usage(credential: Credential, now: datetime, provider_state: ProviderState) -> Conversation:
    """What is left of each model, from the place where the login was found."""
    path = credential.path
    if antigravity_logins.ENDPOINTS_KEY in credential.extra:
        try:
            return (yield from server.fetch_server_usage(credential))
        except ProviderError:
            path = credential.extra.get("database", "")
            if not path:
                raise
    reason = credential.extra.get(FALLBACK_REASON_KEY)
    if reason is not None:
        return (yield from fetch_cloud_usage(credential, now, provider_state, reason))
    try:
        return (yield from cache.fetch_cached_usage(path, provider_state, credential.account_name))
    except NotSignedInError as error:
        if not credential.refresh_token:
            raise
        try:
            return (yield from fetch_cloud_usage(credential, now, provider_state, str(error)))
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


# --- Antigravity's quota from Google, for an account of opencode-antigravity-auth: used if the cache has no login -----


PLAN_NAME = "accounts-fallback"
FALLBACK_REASON_KEY = "alone"  # key of `Credential.extra`: why there is no cache
FETCH_EVERY = timedelta(minutes=5)  # the cache may be read every minute; Google is asked as rarely as for Gemini CLI
UNUSED_BELOW_PERCENT = 0.1  # a model with less use counts as full


def add_account(cache: Credential, host_info: HostInfo, path: str | None) -> Credential:
    """The cache's login with the refresh token of the same account; of the active one if the cache names nobody."""
    try:
        found = gemini.find_in_accounts(host_info, path, ANTIGRAVITY_POOLS)
    except ProviderError as error:
        if path:
            raise UnusableSourceError([cache], [error]) from None
        return cache  # Gemini CLI reports a broken file; here it is only a fallback
    account = next((each for each in found if cache.account in ("", each.account)), None)
    if account is None or gemini.CLIENTS_KEY not in account.extra:
        return cache
    return structs.replace(
        cache,
        account=cache.account or account.account,
        account_name=cache.account_name or account.account_name,
        refresh_token=account.refresh_token,
        extra={**account.extra, **cache.extra},
    )


def find_account_only(host_info: HostInfo, path: str, reason: str) -> list[Credential]:
    """The active account of a file that the user named, if there is no cache; [] if the file has none."""
    return [
        structs.replace(each, provider="antigravity", extra={**each.extra, FALLBACK_REASON_KEY: reason})
        for each in gemini.find_in_accounts(host_info, path, ANTIGRAVITY_POOLS)[:1]
    ]


def fetch_cloud_usage(
    credential: Credential, now: datetime, provider_state: ProviderState, reason: str
) -> Conversation:
    """What is left of each model, with the reason why the cache was not used in the note."""
    last: Snapshot | None = provider_state.get("cloud")
    if last and last.at + FETCH_EVERY > now:
        has_reset = any(each.resets_at and each.resets_at <= now for each in last.readings)
        if not has_reset:
            return structs.replace(last, at=now)
    session = GoogleSession(structs.replace(credential, token=""), now, provider_state)  # the token is the editor's own
    try:
        project, _ = yield from session.fetch_project()
        body = {"project": project} if project else {}
        content, response = yield from session.call_api("fetchAvailableModels", body)
        readings = parse_readings(content)
        is_doubtful = not _has_usage(each.used_percent for each in readings)
        if is_doubtful and project:
            is_doubtful = yield from _check_for_usage(session, body)
    except UnsupportedError:
        raise ShapeChangedError("Antigravity: Google gives this account no quota: open Antigravity once") from None
    if is_doubtful:
        readings = [structs.replace(each, low_confidence=True) for each in readings]
    notes = [
        reason,
        *parsing.describe_unknown(readings),
        *(["every model full: not believed"] if is_doubtful else []),
    ]
    notes += session.describe_plugin_refusal(response.received_at)
    snapshot = Snapshot(
        provider="antigravity",
        account=credential.account,
        account_name=credential.account_name,
        plan=PLAN_NAME,
        at=response.received_at,
        readings=tuple(readings),
        note="; ".join(notes),
    )
    provider_state["cloud"] = snapshot
    return snapshot


def parse_readings(content: Mapping[str, Any]) -> Sequence[Reading]:
    """One reading for each model that has a quota, under its label, as in the cache."""
    found: dict[str, Reading] = {}
    for id_, value in parsing.get_mapping(content, "models").items():
        model = parsing.as_mapping(value)
        label = parsing.parse_first(parsing.parse_text, model, "displayName", "label", "modelName")
        label, quota = label or parsing.parse_text(id_), model.get("quotaInfo")
        if label and parsing.slugify(label) and isinstance(quota, dict):
            reading = parsing.parse_reading(label, quota, source="cloud")
            found[reading.window] = reading
    if not found:
        raise ShapeChangedError("Antigravity: no model in the answer (models): nothing is claimed")
    return list(found.values())


def _check_for_usage(session: GoogleSession, body: Mapping[str, Any]) -> Generator[Request, Response, bool]:
    """Whether the other method reports any use; False if it does not answer."""
    try:
        content, _ = yield from session.call_api("retrieveUserQuota", body)
    except ProviderError:
        return False
    buckets = parsing.as_mappings(content.get("buckets"))
    left = [parsing.parse_number(bucket.get("remainingFraction")) for bucket in buckets]
    return _has_usage(parsing.compute_used_percent(each) for each in left)


def _has_usage(used_percents: Iterable[float | None]) -> bool:
    return any((each or 0) >= UNUSED_BELOW_PERCENT for each in used_percents)
