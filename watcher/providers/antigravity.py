"""Antigravity: what Google says is left, or what its own cache or running server says.

Observed only; last checked 2026-11-28. Needs the login of Antigravity 2.x or `agy`, which asks Google's daily host
(`retrieveUserQuotaSummary` is the true quota), or else no secret: Antigravity's file `state.vscdb` is only read. If
there is no login in it, Google is asked for the same account of `antigravity-accounts.json`. With `source = "server"`
or `"auto"` the running language server is asked first.
"""

import json
import re
from base64 import b64decode
from collections.abc import Generator, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from msgspec.structs import replace

from watcher.core.engine.windows import classify_length
from watcher.core.model import DatabaseQuery, Pace, QueryResult, Reading, Request, Response, Snapshot
from watcher.credentials import Credential, HostInfo, gemini
from watcher.credentials import antigravity as antigravity_logins
from watcher.credentials.antigravity import DATABASE_KEY, ENDPOINTS_KEY, OWN_KEY, TOKEN_FILE
from watcher.credentials.files import UnusableSourceError, collect_credentials, get_mapping, get_text
from watcher.errors import (
    ExpiredError,
    ForbiddenError,
    NotSignedInError,
    OfflineError,
    ProviderError,
    RateLimitedError,
    ShapeChangedError,
    UnsupportedError,
)
from watcher.providers import Conversation, Overrides, Provider, ProviderState, parsing
from watcher.providers.google import DAILY_API_URL, GoogleSession
from watcher.providers.protobuf import Field, MalformedError, iter_fields, iter_values

NAME = "Antigravity"
SIGN_IN_HINT = "open Antigravity and sign in"
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
    for each in reversed(found):
        after = combined[0] if combined else None
        if after is None or (each.account and after.account and each.account != after.account):
            combined.insert(0, each)
        elif ENDPOINTS_KEY in each.extra:  # the server: the login is that of the place behind it
            extra = {**each.extra, DATABASE_KEY: after.path, **after.extra}
            combined[0] = replace(after, source_name=each.source_name, path=each.path, extra=extra)
        else:
            combined[0] = replace(each, extra={**each.extra, DATABASE_KEY: after.path})
    return combined


def fetch_usage(credential: Credential, now: datetime, provider_state: ProviderState) -> Conversation:
    """What is left of each model, from the first source of the login that knows it."""
    extra, path = credential.extra, credential.extra.get(DATABASE_KEY, credential.path)
    google = fetch_cloud_usage(credential, now, provider_state)
    sources: list[Conversation] = []
    if ENDPOINTS_KEY in extra:
        sources.append(fetch_server_usage(credential))
    if OWN_KEY in extra:
        sources.append(google)
    if path:
        sources.append(fetch_cached_usage(path, credential.account_name))
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
    notes += session.describe_plugin_refusal(response.received_at)
    name = yield from session.fetch_owner_email()
    snapshot = _make_snapshot(name, response.received_at, readings, notes, plan if is_own else PLAN_NAME)
    provider_state["cloud"] = snapshot
    return snapshot


def _make_snapshot(
    account_name: str, at: datetime, readings: Sequence[Reading], notes: Sequence[str], plan: str | None = None
) -> Snapshot:
    return Snapshot(
        provider="antigravity",
        account_name=account_name,
        plan=plan,
        at=at,
        readings=tuple(readings),
        note="; ".join([*parsing.describe_unknown(readings), *notes]) or None,
    )


def _fetch_readings(
    session: GoogleSession, body: Mapping[str, Any]
) -> Generator[Request, Response, tuple[Sequence[Reading], Response, bool]]:
    """The readings, their response, and whether they are the true ones, which only the daily host gives."""
    try:
        content, response = yield from session.call_api("retrieveUserQuotaSummary", body, DAILY_API_URL)
        readings = parse_summary(content, source="cloud")
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
        for each in parse_available_models(content)
    ]
    return doubtful, response, False


def parse_available_models(content: Mapping[str, Any]) -> Sequence[Reading]:
    """One reading for each model that has a quota, under its label, as in the cache."""
    found: dict[str, Reading] = {}
    for id_, value in get_mapping(content, "models").items():
        model = parsing.as_mapping(value)
        label = get_text(model, "displayName", "label", "modelName")
        label, quota = label or id_.strip(), model.get("quotaInfo")
        if label and parsing.slugify(label) and isinstance(quota, dict):
            reading = parsing.parse_reading(label, quota, source="cloud")
            found[reading.window] = reading
    if not found:
        raise ShapeChangedError("Antigravity: no model in the answer (models): nothing is claimed")
    return list(found.values())


# --- the cache, from one value of `state.vscdb` -----------------------------------------------------------------------


# Key `antigravityAuthStatus` of `ItemTable` holds JSON `{email, apiKey, userStatusProtoBinaryBase64}`. In the message
# root.7 is the email; root.33.1 are the models, each {1: label, 15: {1: fraction left, as float32, else float64 or
# varint, 2: {1: reset s, 2: ns}}}. A model that cannot be read costs only itself. The cache is as old as Antigravity
# left it: a reading past its reset, or one without a reset time that was not written for a day, is stale.

STALE_AFTER = timedelta(hours=24)  # for a cache without a reset time

EMAIL_FIELD, GROUP_FIELD, MODEL_FIELD, LABEL_FIELD, QUOTA_FIELD = 7, 33, 1, 1, 15  # field numbers
FRACTION_FIELD, RESET_FIELD = 1, 2
FLOAT32_DIGITS = 6  # decimal places of a fraction that a float32 is sure to hold
MAX_BASE64_CHARS = 1_500_000


class UserStatus(NamedTuple):
    """The whole message."""

    email: str
    readings: Sequence[Reading]  # one for each model
    unreadable_count: int  # how many models could not be read


def fetch_cached_usage(path: str, account_name: str) -> Generator[DatabaseQuery, QueryResult, Snapshot]:
    """The snapshot in the cache.

    Raises:
        NotSignedInError: no login is cached.
        ShapeChangedError: the cache cannot be read.
    """
    parameters = (antigravity_logins.STATUS_KEY,)
    rows = yield DatabaseQuery(path=path, sql=antigravity_logins.ITEM_QUERY, parameters=parameters)
    return parse_snapshot(rows, path, account_name)


def parse_snapshot(rows: QueryResult, path: str, account_name: str = "") -> Snapshot:
    """The snapshot in the cache's rows; errors as in `fetch_cached_usage`."""
    status = antigravity_logins.parse_status(rows, path)
    encoded = status.get("userStatusProtoBinaryBase64")
    if not isinstance(encoded, str) or not encoded.strip():
        raise NotSignedInError(f"{NAME}: signed out: no login in {path}: {SIGN_IN_HINT}")
    try:
        message = parse_user_status(encoded)
    except MalformedError as error:
        raise ShapeChangedError(f"{NAME}: the cache in {path} cannot be read ({error}): open {NAME} once") from None
    if not message.readings:
        raise ShapeChangedError(f"{NAME}: the cache in {path} names no model: open {NAME} once")
    owner = status["email"] if isinstance(status.get("email"), str) else ""
    is_foreign = bool(owner and message.email and owner.casefold() != message.email.casefold())
    readings = tuple(replace(each, stale=is_foreign or _is_stale(each.resets_at, rows)) for each in message.readings)
    notes = []
    if message.unreadable_count:
        notes.append(f"{message.unreadable_count} models could not be read")
    if is_foreign:
        notes.append("the cache belongs to another account: open Antigravity once")
    return _make_snapshot(account_name or message.email or owner, rows.received_at, readings, notes)


def _is_stale(resets_at: datetime | None, rows: QueryResult) -> bool:
    if resets_at is None:
        return rows.received_at - rows.modified_at > STALE_AFTER
    return resets_at <= rows.received_at


def parse_user_status(encoded: str) -> UserStatus:
    """The message, from base64; of two models with one name the last counts.

    Raises:
        MalformedError: it is no such message.
    """
    root = list(iter_fields(decode_base64(encoded)))
    readings: dict[str, Reading] = {}
    unreadable_count = 0
    for group in iter_values(root, GROUP_FIELD):
        try:
            models = list(iter_values(iter_fields(group), MODEL_FIELD))
        except MalformedError:
            models = [group]  # counts as one model that cannot be read
        for model in models:
            try:
                reading = _parse_model(model)
            except MalformedError:
                unreadable_count += 1
                continue
            if reading is not None:
                readings[reading.window] = reading
    return UserStatus(_get_text(root, EMAIL_FIELD), tuple(readings.values()), unreadable_count)


def decode_base64(encoded: str) -> bytes:
    """Base64 in either alphabet, with or without blanks and padding."""
    if len(encoded) > MAX_BASE64_CHARS:
        raise MalformedError("too large")
    letters = "".join(encoded.split()).replace("-", "+").replace("_", "/").rstrip("=")
    try:
        return b64decode(letters + "=" * (-len(letters) % 4), validate=True)
    except ValueError:
        raise MalformedError("not base64") from None


def _parse_model(encoded: bytes) -> Reading | None:
    """One model; None if it has no name or no quota."""
    fields = list(iter_fields(encoded))
    label, quotas = _get_text(fields, LABEL_FIELD), list(iter_values(fields, QUOTA_FIELD))
    if not label or not quotas:
        return None
    fraction_left, resets_at = None, None
    for field in iter_fields(quotas[0]):
        if field.number == FRACTION_FIELD and not isinstance(field.value, bytes):
            fraction_left = round(float(field.value), FLOAT32_DIGITS)
        elif field.number == RESET_FIELD and isinstance(field.value, bytes):
            resets_at = _parse_timestamp(field.value)
    return parsing.make_reading(label, fraction_left, resets_at, source="cache")


def _get_text(fields: Sequence[Field], number: int) -> str:
    """The text of that field; empty if it is missing, blank or not UTF-8."""
    try:
        return next(iter_values(fields, number), b"").decode().strip()
    except UnicodeDecodeError:
        return ""


def _parse_timestamp(encoded: bytes) -> datetime | None:
    """A Timestamp message; None if it is not one: only the reset time is lost."""
    try:
        values = {each.number: each.value for each in iter_fields(encoded)}
    except MalformedError:
        return None
    at, nanos = parsing.parse_timestamp(values.get(1)), parsing.parse_count(values.get(2, 0))
    return None if at is None or nanos is None or nanos >= 10**9 else at + timedelta(microseconds=nanos // 1000)


# --- the language server ----------------------------------------------------------------------------------------------


# The same quotas as in the cache, but current, while the editor runs. Connect RPC over loopback TLS with a self-signed
# certificate: `POST /exa.language_server_pb.LanguageServerService/<Method>`, header `X-Codeium-Csrf-Token` from the
# server's command line. Each of its three methods may be missing in a build, so all are tried: pools with a length, and
# single models, whose quota is that of their fullest pool. The command-line tool `agy` serves the same without a token.

SERVICE_NAME = "exa.language_server_pb.LanguageServerService"
EDITOR_METADATA = {
    "metadata": {"ideName": "antigravity", "extensionName": "antigravity", "ideVersion": "unknown", "locale": "en"}
}
SUCCESS_CODES = (None, 0, "0", "ok", "success")  # values of `code`; any other under status 200 is a refusal
REFUSED_STATUSES = (401, 403)  # a wrong token
UNKNOWN_STATUSES = (404, 405, 501)  # of a build that does not have the method, and of servers beside Antigravity's
LENGTHS = {"weekly": parsing.WEEK_S, "5h": 5 * parsing.HOUR_S, "five_hour": 5 * parsing.HOUR_S}  # by `window`
LENGTH_PATTERNS = (
    (re.compile(r"\b(session|5h|5 hours?|five hours?)\b"), 5 * parsing.HOUR_S),
    (re.compile(r"\bweekly\b"), parsing.WEEK_S),
)

Endpoint = tuple[str, str]  # address and token
JsonConversation = Generator[Request, Response, dict[str, Any]]


def fetch_server_usage(credential: Credential) -> Generator[Request, Response, Snapshot]:
    """Pools and models, as far as this build of the server gives them.

    Raises:
        OfflineError: no server runs or answers.
        ForbiddenError: it refuses its own token.
        ShapeChangedError: it answers without any quota.
    """
    endpoint, at = yield from _find_working_endpoint(json.loads(credential.extra[ENDPOINTS_KEY]))
    summary = yield from _call_method(endpoint, "RetrieveUserQuotaSummary", {"forceRefresh": True})
    status = get_mapping((yield from _call_method(endpoint, "GetUserStatus", EDITOR_METADATA)), "userStatus")
    configs = get_mapping(status, "cascadeModelConfigData").get("clientModelConfigs")
    if not configs:
        answer = yield from _call_method(endpoint, "GetCommandModelConfigs", EDITOR_METADATA)
        configs = answer.get("clientModelConfigs")
    found = {each.window: each for each in (*parse_summary(summary), *parse_models(configs))}
    if not found:
        raise ShapeChangedError(f"{NAME}: its server names no quota: look for a newer version of this program")
    name = get_text(status, "email") or credential.account_name
    return _make_snapshot(name, at, list(found.values()), [], parse_plan(status))


def _find_working_endpoint(endpoints: list[Endpoint]) -> Generator[Request, Response, tuple[Endpoint, datetime]]:
    """The first address that accepts the probe, else the first where a server does not know it; and when."""
    is_refused, spare = False, None
    for endpoint in endpoints:
        try:
            response = yield _build_request(endpoint, "GetUnleashData", EDITOR_METADATA, timeout_s=2.0)
        except ProviderError:
            continue
        if response.status == 200:  # noqa: PLR2004 - an HTTP status
            return endpoint, response.received_at
        if response.status in UNKNOWN_STATUSES:
            spare = spare or (endpoint, response.received_at)
        is_refused = is_refused or response.status in REFUSED_STATUSES
    if spare:
        return spare
    if is_refused:
        raise ForbiddenError(f"{NAME}: its server refuses its own token: restart {NAME}")
    raise OfflineError(f'{NAME}: not running: open it, or set source = "cache"')


def _call_method(endpoint: Endpoint, method: str, body: Mapping[str, Any]) -> JsonConversation:
    """The method's answer; {} if this build does not have the method or refuses it."""
    try:
        response = yield _build_request(endpoint, method, body, timeout_s=8.0)
        answer = parsing.parse_response(response, name=NAME, sign_in_hint=SIGN_IN_HINT)
    except ProviderError:
        return {}
    code = answer.get("code")
    code = code.lower() if isinstance(code, str) else code
    return answer if not isinstance(code, bool) and code in SUCCESS_CODES else {}


def _build_request(endpoint: Endpoint, method: str, body: Mapping[str, Any], timeout_s: float) -> Request:
    address, token = endpoint
    return Request(
        method="POST",
        url=f"{address}/{SERVICE_NAME}/{method}",
        headers={"Connect-Protocol-Version": "1", **({"X-Codeium-Csrf-Token": token} if token else {})},
        json=dict(body),
        allow_self_signed=address.startswith("https:"),
        timeout_s=timeout_s,
    )


def parse_models(configs: object) -> list[Reading]:
    """One reading for each model that has a quota."""
    found = []
    for config in parsing.as_mappings(configs):
        label, quota = get_text(config, "label"), config.get("quotaInfo")
        if label and isinstance(quota, dict):
            found.append(parsing.parse_reading(label, quota, source="server"))
    return found


def parse_summary(summary: Mapping[str, Any], source: str = "server") -> list[Reading]:
    """One reading for each bucket of each group, at the top or in wrappers."""
    for name in ("response", "quotaSummary", "summary"):
        summary = get_mapping(summary, name) or summary
    return [
        _parse_pool(group, bucket, source)
        for group in parsing.as_mappings(summary.get("groups"))
        for bucket in parsing.as_mappings(group.get("buckets"))
    ]


def _parse_pool(group: Mapping[str, Any], bucket: Mapping[str, Any], source: str) -> Reading:
    names = (get_text(each, "displayName") for each in (group, bucket))
    label = ": ".join(filter(None, names))
    id_ = get_text(bucket, "bucketId") or label
    words = re.sub(r"[_-]", " ", f"{id_} {label} {get_text(bucket, 'description')}".lower())
    seconds = LENGTHS.get(parsing.slugify(get_text(bucket, "window"))) or next(
        (length for pattern, length in LENGTH_PATTERNS if pattern.search(words)), None
    )
    return parsing.make_reading(
        id_,
        _parse_remaining_fraction(bucket),
        parsing.parse_timestamp(bucket.get("resetTime")),
        kind=classify_length(seconds or 0),
        label=label or id_,
        window_seconds=seconds,
        source=source,
    )


def _parse_remaining_fraction(bucket: Mapping[str, Any]) -> float | None:
    """The fraction left in any of its three spellings; None for a disabled bucket."""
    if bucket.get("disabled"):
        return None
    value = bucket.get("remainingFraction")
    if value is None:
        inner = get_mapping(bucket, "remaining")
        value = inner.get("value" if inner.get("case") == "remainingFraction" else "remainingFraction")
    return parsing.parse_number(value)


def parse_plan(status: Mapping[str, Any]) -> str | None:
    """The plan's name for people; None if the answer does not say."""
    info = get_mapping(status, "planStatus", "planInfo")
    names = ("planDisplayName", "displayName", "productName", "planName", "planShortName")
    tier = get_text(get_mapping(status, "userTier"), "name")
    return tier or get_text(info, *names) or None


PROVIDER = Provider(
    id="antigravity",
    name=NAME,
    usage_page="https://antigravity.google",
    sign_in_hint=SIGN_IN_HINT,
    login_files=(TOKEN_FILE.name, "User/globalStorage/state.vscdb", gemini.ACCOUNTS_FILE),
    find_credentials=find_credentials,
    fetch_usage=fetch_usage,
    pace=Pace(floor=timedelta(seconds=30), every=timedelta(seconds=60), ceiling=timedelta(minutes=30)),
)
