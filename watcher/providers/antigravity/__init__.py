"""Antigravity: what Google says is left, or what its own cache or running server says.

Observed only; last checked 2026-11-28. Needs the login of Antigravity 2.x or `agy`, which asks Google's daily host
(`retrieveUserQuotaSummary` is the true quota), or else no secret: Antigravity's file `state.vscdb` is only read
(`cache`). If there is no login in it, Google is asked for the same account of `antigravity-accounts.json`. With
`source = "server"` or `"auto"` the running language server is asked first (`server`).
"""

from collections.abc import Generator, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from watcher.core.model import Reading, Request, Response, Snapshot
from watcher.credentials import Credential, HostInfo, gemini
from watcher.credentials import antigravity as antigravity_logins
from watcher.credentials.antigravity import DATABASE_KEY, ENDPOINTS_KEY, OWN_KEY, TOKEN_FILE
from watcher.credentials.files import UnusableSourceError, collect_credentials
from watcher.errors import (
    ExpiredError,
    NotSignedInError,
    ProviderError,
    RateLimitedError,
    ShapeChangedError,
    UnsupportedError,
)
from watcher.providers import Conversation, Overrides, Provider, ProviderState, parsing
from watcher.providers.antigravity import cache, server
from watcher.providers.google import DAILY_API_URL, GoogleSession

PLAN_NAME = "accounts-fallback"
FETCH_EVERY = timedelta(minutes=5)  # the cache may be read every minute; Google is asked as rarely as for Gemini CLI
FALLBACK_NOTE = "asked by the plugin's account: there is no login in Antigravity's cache"
DOUBT_NOTE = "low confidence: only the production host answered"
UNUSED_BELOW_PERCENT = 0.1  # a model with less use counts as full, which is unknown at the production host


def find_credentials(host_info: HostInfo, overrides: Overrides) -> Sequence[Credential]:
    """The login of Antigravity 2.x, else the cache; the running server before them if `source` says so.

    Raises:
        UnusableSourceError: a place cannot be used; it carries the logins of the others.
    """
    if overrides.source == "server":
        return antigravity_logins.find_servers(host_info) or [antigravity_logins.NOT_RUNNING]
    if overrides.login_path is not None:
        return _find_in_named_file(host_info, overrides.login_path)
    sources = [partial(_find_cache, host_info, overrides)]
    if not (overrides.source == "cache" or overrides.database or overrides.accounts):
        sources.insert(0, partial(antigravity_logins.find_own_login, host_info))
    if overrides.source == "auto":
        sources.insert(0, partial(antigravity_logins.find_servers, host_info))
    try:
        return collect_credentials(*sources, select=_combine)
    except UnusableSourceError as error:
        if any(ENDPOINTS_KEY in each.extra for each in error.credentials):
            return error.credentials  # the server knows what a broken place would say
        raise


def _find_in_named_file(host_info: HostInfo, path: str) -> Sequence[Credential]:
    """The login in a file that the user named: a cache, accounts of the plugin, or a token file."""
    if path.endswith(".vscdb"):
        return _find_cache(host_info, Overrides(database=path))
    if Path(path).name == gemini.ACCOUNTS_FILE:
        return _find_account(host_info, path)
    return antigravity_logins.find_in_token_file(host_info, Path(path))


def _find_account(host_info: HostInfo, path: str) -> list[Credential]:
    """The active account of the plugin, in a file that the user named."""
    found = gemini.find_in_accounts(host_info, path, gemini.ANTIGRAVITY_POOLS)
    return [replace(each, provider="antigravity", extra={**each.extra, DATABASE_KEY: ""}) for each in found[:1]]


def _find_cache(host_info: HostInfo, overrides: Overrides) -> list[Credential]:
    """The cache, with the plugin's account of the same person behind it; that alone if the user named its file."""
    try:
        caches = antigravity_logins.find_cache(host_info, overrides.database)
    except ProviderError:
        if not overrides.accounts:
            raise
        caches = []
    if not caches:
        return _find_account(host_info, overrides.accounts) if overrides.accounts else []
    try:
        accounts = gemini.find_in_accounts(host_info, overrides.accounts, gemini.ANTIGRAVITY_POOLS)
    except ProviderError as error:
        if overrides.accounts:
            raise UnusableSourceError(caches, [error]) from None
        return caches  # Gemini CLI reports a broken file; here it is only a fallback
    cached = caches[0]
    account = next((each for each in accounts if cached.account in ("", each.account)), None)
    if account is None or gemini.CLIENTS_KEY not in account.extra:
        return caches
    return [
        replace(
            cached,
            account=account.account,
            account_name=account.account_name,
            refresh_token=account.refresh_token,
            extra={**account.extra, **cached.extra},
        )
    ]


def _combine(found: list[Credential]) -> list[Credential]:
    """The logins, one that may be the same person's behind the one before it."""
    combined: list[Credential] = []
    for each in found:
        first = combined.pop() if combined else None
        if first is None:
            combined.append(each)
        elif first.account and each.account and first.account != each.account:
            combined += [first, each]
        elif ENDPOINTS_KEY in first.extra:
            extra = {**first.extra, DATABASE_KEY: each.path, **each.extra}
            combined.append(replace(each, source_name=first.source_name, path=first.path, extra=extra))
        else:
            combined.append(replace(first, extra={**first.extra, DATABASE_KEY: each.path}))
    return combined


def fetch_usage(credential: Credential, now: datetime, provider_state: ProviderState) -> Conversation:
    """What is left of each model, from the first source of the login that knows it."""
    extra, path = credential.extra, credential.extra.get(DATABASE_KEY, credential.path)
    google = fetch_cloud_usage(credential, now, provider_state)
    sources: list[Conversation] = []
    if ENDPOINTS_KEY in extra:
        sources.append(server.fetch_server_usage(credential))
    if OWN_KEY in extra:
        sources.append(google)
    if path:
        sources.append(cache.fetch_cached_usage(path, provider_state, credential.account_name))
    if OWN_KEY not in extra and credential.refresh_token:
        sources.append(google)
    errors: list[ProviderError] = []
    for source in sources:
        try:
            return (yield from source)
        except ProviderError as error:
            errors.append(error)
    raise errors[0]


def fetch_cloud_usage(credential: Credential, now: datetime, provider_state: ProviderState) -> Conversation:
    """What is left of each model, as Google says."""
    last: Snapshot | None = provider_state.get("cloud")
    if last and last.at + FETCH_EVERY > now:
        has_reset = any(each.resets_at and each.resets_at <= now for each in last.readings)
        if not has_reset:
            return replace(last, at=now)
    is_own = OWN_KEY in credential.extra
    if not is_own:
        credential = replace(credential, token="")  # the token is the editor's own
    session = GoogleSession(credential, now, provider_state)
    try:
        project, plan = yield from session.fetch_project()
        body = {"project": project} if project else {}
        readings, response, is_true = yield from _fetch_readings(session, body)
    except UnsupportedError:
        raise ShapeChangedError("Antigravity: Google gives this account no quota: open Antigravity once") from None
    notes = [*([] if is_own else [FALLBACK_NOTE]), *([] if is_true else [DOUBT_NOTE])]
    notes += [*session.describe_plugin_refusal(response.received_at), *parsing.describe_unknown(readings)]
    name = credential.account_name or (yield from session.fetch_owner_email())
    snapshot = Snapshot(
        provider="antigravity",
        account=credential.account or name.casefold(),
        account_name=name,
        plan=plan if is_own else PLAN_NAME,
        at=response.received_at,
        readings=tuple(readings),
        note="; ".join(notes) or None,
    )
    provider_state["cloud"] = snapshot
    return snapshot


def _fetch_readings(
    session: GoogleSession, body: Mapping[str, Any]
) -> Generator[Request, Response, tuple[Sequence[Reading], Response, bool]]:
    """The readings, their response, and whether they are the true ones, which only the daily host gives."""
    try:
        content, response = yield from session.call_api("retrieveUserQuotaSummary", body, DAILY_API_URL)
        readings = server.parse_summary(content, source="cloud")
        if readings:
            return readings, response, True
    except (ExpiredError, NotSignedInError, RateLimitedError):
        raise
    except ProviderError:
        pass  # an older account or a network that lets only the production host through
    content, response = yield from session.call_api("fetchAvailableModels", body)
    doubtful = [
        replace(
            each,
            low_confidence=True,
            used_percent=None if (each.used_percent or 0) < UNUSED_BELOW_PERCENT else each.used_percent,
        )
        for each in parse_readings(content)
    ]
    return doubtful, response, False


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


PROVIDER = Provider(
    id="antigravity",
    name=cache.NAME,
    usage_page="https://antigravity.google",
    sign_in_hint=cache.SIGN_IN_HINT,
    login_files=(TOKEN_FILE.name, "User/globalStorage/state.vscdb", gemini.ACCOUNTS_FILE),
    find_credentials=find_credentials,
    fetch_usage=fetch_usage,
    min_interval=timedelta(seconds=30),
    default_interval=timedelta(seconds=60),
    max_interval=timedelta(minutes=30),
)
