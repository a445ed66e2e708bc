"""Antigravity: what Google says is left, or what its own cache or running server says.

Observed only; last checked 2026-11-28. Needs the login of Antigravity 2.x or `agy`, which asks Google's daily host
(`retrieveUserQuotaSummary` is the true quota), or else no secret: Antigravity's file `state.vscdb` is only read
(`cache`). If there is no login in it, Google is asked for the same account of `antigravity-accounts.json`. With
`source = "server"` or `"auto"` the running language server is asked first (`server`).
"""

import json
from collections.abc import Generator, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from msgspec import structs

from watcher.core.model import Reading, Request, Response, Snapshot
from watcher.credentials import Credential, HostInfo, gemini
from watcher.credentials import antigravity as antigravity_logins
from watcher.credentials.antigravity import ACCOUNTS_FILE, ANTIGRAVITY_POOLS, TOKEN_FILE
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


def find_credentials(host_info: HostInfo, overrides: Overrides) -> Sequence[Credential]:
    """The login of Antigravity 2.x, else the cache; the running server before them if `source` says so.

    Raises:
        UnusableSourceError: a place cannot be used; it carries the logins of the others.
    """
    if overrides.login_path is not None and overrides.source != "server":
        return _find_in_named_file(host_info, overrides.login_path)
    servers = antigravity_logins.find_servers(host_info) if overrides.source in ("server", "auto") else []
    if overrides.source == "server":
        return servers or [antigravity_logins.NOT_RUNNING]
    is_place_named = overrides.source == "cache" or overrides.database or overrides.accounts
    if is_place_named:
        sources = [partial(_find_cache, host_info, overrides)]
    else:
        sources = [partial(_find_own_login, host_info), partial(_find_cache, host_info, overrides)]
    try:
        return collect_credentials(*sources, select=partial(_combine, servers))
    except UnusableSourceError as error:
        if not servers:
            raise
        return error.credentials


def _find_in_named_file(host_info: HostInfo, path: str) -> Sequence[Credential]:
    """The login in a file that the user named: a cache, accounts of the plugin, or a token file."""
    if path.endswith(".vscdb"):
        return _find_cache(host_info, Overrides(database=path))
    if Path(path).name == ACCOUNTS_FILE:
        return find_account_only(host_info, path, "no cache was found")
    return _add_clients(host_info, antigravity_logins.find_in_token_file(Path(path)))


def _find_own_login(host_info: HostInfo) -> Sequence[Credential]:
    try:
        return _add_clients(host_info, antigravity_logins.find_own_login(host_info))
    except UnusableSourceError as error:
        raise UnusableSourceError(_add_clients(host_info, error.credentials), error.errors) from None


def _add_clients(host_info: HostInfo, found: Sequence[Credential]) -> list[Credential]:
    clients = gemini.find_clients(host_info.env)
    extra = {FALLBACK_REASON_KEY: "", **({gemini.CLIENTS_KEY: json.dumps(clients)} if clients else {})}
    return [structs.replace(each, extra={**each.extra, **extra}) for each in found]


def _combine(servers: Sequence[Credential], found: list[Credential]) -> list[Credential]:
    """The logins, with the cache behind a login that may be the same person's, and all that behind a server."""
    if (len(found) > 1 and "" in (found[0].account, found[1].account)) or len({each.account for each in found}) == 1:
        extra = {"database": found[-1].path, **found[0].extra} if len(found) > 1 else {}
        found = [structs.replace(found[0], extra=extra or found[0].extra)]
    if not servers or not found:
        return [*servers] or found
    first, server_login = found[0], servers[0]
    extra = {**first.extra, **server_login.extra}
    if FALLBACK_REASON_KEY not in first.extra:
        extra["database"] = first.path
    return [structs.replace(first, source_name=server_login.source_name, path=server_login.path, extra=extra)]


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
    """What is left of each model, from the place where the login was found, else from the ones behind it."""
    reason = credential.extra.get(FALLBACK_REASON_KEY)
    has_server = antigravity_logins.ENDPOINTS_KEY in credential.extra
    path = credential.extra.get("database", "" if has_server or reason is not None else credential.path)
    if has_server:
        try:
            return (yield from server.fetch_server_usage(credential))
        except ProviderError:
            if not path and reason is None:
                raise
    if reason is not None:
        return (yield from _fetch_cloud_or_cache(credential, now, provider_state, path))
    try:
        return (yield from cache.fetch_cached_usage(path, provider_state, credential.account_name))
    except NotSignedInError as error:
        if not credential.refresh_token:
            raise
        try:
            return (yield from fetch_cloud_usage(credential, now, provider_state, str(error)))
        except ProviderError:
            raise error from None


def _fetch_cloud_or_cache(
    credential: Credential, now: datetime, provider_state: ProviderState, path: str
) -> Conversation:
    try:
        return (yield from fetch_cloud_usage(credential, now, provider_state, credential.extra[FALLBACK_REASON_KEY]))
    except ProviderError as error:
        if not path:
            raise
        try:
            return (yield from cache.fetch_cached_usage(path, provider_state, credential.account_name))
        except ProviderError:
            raise error from None


PROVIDER = Provider(
    id="antigravity",
    name=cache.NAME,
    usage_page="https://antigravity.google",
    sign_in_hint=cache.SIGN_IN_HINT,
    login_files=(TOKEN_FILE.name, "User/globalStorage/state.vscdb", ACCOUNTS_FILE),
    find_credentials=find_credentials,
    fetch_usage=fetch_usage,
    min_interval=timedelta(seconds=30),
    default_interval=timedelta(seconds=60),
    max_interval=timedelta(minutes=30),
)


# --- Antigravity's quota from Google ----------------------------------------------------------------------------------


PLAN_NAME = "accounts-fallback"
FALLBACK_REASON_KEY = "alone"  # key of `Credential.extra`: why Google is asked before the cache; "": own login
FETCH_EVERY = timedelta(minutes=5)  # the cache may be read every minute; Google is asked as rarely as for Gemini CLI
DOUBT_NOTE = "low confidence: only the production host answered"
UNUSED_BELOW_PERCENT = 0.1  # a model with less use counts as full, which is unknown at the production host


def add_account(cache: Credential, host_info: HostInfo, path: str | None) -> Credential:
    """The cache's login with the refresh token of the same account; of the active one if the cache names no account."""
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
    is_own = FALLBACK_REASON_KEY in credential.extra and not reason
    if not is_own:
        credential = structs.replace(credential, token="")  # the token is the editor's own
    session = GoogleSession(credential, now, provider_state)
    try:
        project, plan = yield from session.fetch_project()
        body = {"project": project} if project else {}
        readings, response, is_true = yield from _fetch_readings(session, body)
    except UnsupportedError:
        raise ShapeChangedError("Antigravity: Google gives this account no quota: open Antigravity once") from None
    notes = [*([reason] if reason else []), *([] if is_true else [DOUBT_NOTE])]
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
        structs.replace(
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
