"""Codex (ChatGPT subscriptions): `GET https://chatgpt.com/backend-api/wham/usage`.

Undocumented by its vendor, observed only; last checked 2026-11. The answer: `plan_type`, `rate_limit` with up to two
windows `{used_percent, limit_window_seconds, reset_after_seconds, reset_at}`, `additional_rate_limits`,
`code_review_rate_limit`, `credits`, `individual_limit`, `rate_limit_reset_credits`. Needs the ChatGPT access token of
OpenCode or Codex.

A window is named by its length, never by its slot: OpenAI has moved windows between the slots more than once. A length
of 0 is a window that is switched off. Two sources need no such token: a proxy's usage of an API key, and usage that a
plugin has cached.
"""

import json
import re
from collections.abc import Generator, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any, NamedTuple
from urllib.parse import quote, urlsplit

from msgspec.structs import replace

from watcher.core.engine.windows import classify_length
from watcher.core.model import Pace, Reading, Request, Response, Snapshot, WindowKind
from watcher.credentials import OWNER_UNKNOWN_KEY, Credential, HostInfo
from watcher.credentials import codex as codex_logins
from watcher.credentials.codex import CACHED_USAGE_KEY
from watcher.credentials.files import collect_credentials, get_id, get_mapping, get_text
from watcher.errors import (
    NotSignedInError,
    OfflineError,
    ProviderError,
    RateLimitedError,
    ShapeChangedError,
    UnsupportedError,
)
from watcher.providers import Conversation, Overrides, Provider, ProviderState, parsing

ID, NAME, SIGN_IN_HINT = "codex", "Codex", "run `codex` once"
USAGE_URL = "https://chatgpt.com/backend-api/wham/usage"
USER_AGENT, PERSONAL_USER_AGENT = "codex-cli", "codex_cli_rs/0.50.0"
_REFUSAL_STATUSES = range(400, 429)  # above it a server has a problem, but knows the login
WHOAMI_URL = "https://auth.openai.com/api/accounts/v1/user-auth-credential/whoami"
PERSONAL_PLANS = frozenset({"", "unknown", "guest", "free", "go", "plus", "pro", "prolite"})  # without a workspace
TIMEOUT_S = 4.0
MONTHLY_LIMIT_EVERY, RESET_CREDITS_EVERY = timedelta(minutes=15), timedelta(hours=1)
REFUSAL_COOLDOWN = timedelta(hours=1)


class UsageResponse(NamedTuple):
    """The usage as it was requested and answered."""

    url: str
    headers: Mapping[str, str]
    content: Mapping[str, Any]
    at: datetime


def fetch_usage(credential: Credential, now: datetime, provider_state: ProviderState) -> Conversation:
    """The usage; before it the owner of a personal access token, after it what takes a request of its own."""
    if CACHED_USAGE_KEY in credential.extra:
        return read_cached_snapshot(credential, now)
    if "api_key" in credential.extra:
        return (yield from fetch_key_usage(credential))
    url = credential.extra.get("usage_url", USAGE_URL)
    owner: Mapping[str, Any] | None = None  # of a personal access token
    if "personal" in credential.extra and codex_logins.is_vendor_url(url):
        request = Request(url=WHOAMI_URL, headers=_build_headers(credential))
        owner = yield from parsing.fetch_owner(provider_state, credential.token, [request], dict)
    owner = owner or {}
    account_id = credential.extra.get("account_id") or get_id(owner, "chatgpt_account_id")
    headers = _build_headers(credential, account_id)
    response = yield Request(url=url, headers=headers)
    if "if_unknown" in credential.extra and _is_unknown_login(response):
        url = USAGE_URL
        response = yield Request(url=url, headers=headers)
    content = parsing.parse_response(response, name=NAME, sign_in_hint=SIGN_IN_HINT)
    usage = UsageResponse(url=url, headers=headers, content=content, at=response.received_at)
    return (yield from _build_snapshot(credential, owner, usage, provider_state))


def _build_headers(credential: Credential, account_id: str = "") -> dict[str, str]:
    headers = {
        "Authorization": f"Bearer {credential.token}",
        "Accept": "application/json",
        "User-Agent": USER_AGENT,
        "Cache-Control": "no-cache",  # answers may be marked public: no cache on the way may give them to another user
    }
    if "personal" in credential.extra:
        headers |= {"User-Agent": PERSONAL_USER_AGENT, "originator": "codex_cli_rs"}
    chosen = {"User-Agent": credential.extra.get(USER_AGENT_KEY), "ChatGPT-Account-Id": account_id}
    return headers | {name: value for name, value in chosen.items() if value}


def _is_unknown_login(response: Response) -> bool:
    """Whether OpenCode's proxy does not know this login or subscriptions: it is the vendor's in any case."""
    is_page = response.status < _REFUSAL_STATUSES.start and parsing.is_html(response)
    return is_page or response.status in _REFUSAL_STATUSES


def _build_snapshot(
    credential: Credential, owner: Mapping[str, Any], usage: UsageResponse, provider_state: ProviderState
) -> Generator[Request, Response, Snapshot]:
    content = usage.content
    readings = parse_readings(content, usage.at)
    if not readings:
        raise ShapeChangedError(
            f"{NAME}: no window in the answer (rate_limit, credits): look for a newer version of this program"
        )
    account_id = usage.headers.get("ChatGPT-Account-Id", "") or get_text(content, "account_id")
    further = yield from fetch_monthly_limit(usage, account_id, provider_state)
    notes = [_describe_limit_reached(content)]
    if credential.extra.get(RESET_CREDITS_KEY):
        reset_credits, note = yield from fetch_reset_credits(usage, provider_state)
        further, notes = (*further, *reset_credits), [*notes, note]
    merged = {each.window: each for each in (*readings, *further)}
    # Beside other logins the workspace is the name: two workspaces of one person are two quotas, with one email.
    workspace = get_id(owner, "chatgpt_account_id") if OWNER_UNKNOWN_KEY in credential.extra else ""
    return Snapshot(
        provider=ID,
        account_name=workspace or get_text(content, "email") or get_text(owner, "email"),
        plan=get_text(content, "plan_type") or credential.plan or get_text(owner, "chatgpt_plan_type") or None,
        at=usage.at,
        readings=tuple(merged.values()),
        note="; ".join(filter(None, notes)) or None,
    )


def _describe_limit_reached(content: Mapping[str, Any]) -> str:
    if is_blocked(get_mapping(content, "rate_limit")):
        return "limit reached: Codex refuses work until the reset"
    is_spent = get_mapping(content, "spend_control").get("reached") is True
    return "spend limit reached" if is_spent else ""


USER_AGENT_KEY = "user_agent"  # key of `Credential.extra`: the User-Agent that the user set
RESET_CREDITS_KEY = "reset_credits"  # likewise: the user wants the reset credits


def find_credentials(host_info: HostInfo, overrides: Overrides) -> Sequence[Credential]:
    """ChatGPT logins, OpenCode's first; API keys if a proxy gives their usage, or if the user named one.

    A key for OpenAI's own server is common and cannot read usage: it is no login unless the user named it.
    """
    if overrides.token:
        return _select_usable([codex_logins.make_credential_from_token(overrides.token)], overrides)
    path = overrides.login_path
    finders = codex_logins.find_opencode_credentials, codex_logins.find_codex_credentials
    sources = [partial(find, host_info, path) for find in finders]
    if path is None:
        sources.append(partial(codex_logins.find_plugin_credentials, host_info))
    return collect_credentials(*sources, select=partial(_select_usable, overrides=overrides))


def _select_usable(credentials: Sequence[Credential], overrides: Overrides) -> list[Credential]:
    """The logins that can be polled; a plugin's cached usage only of accounts without one."""
    logins = [replace(each, extra=_apply_overrides(each.extra, overrides)) for each in credentials]
    useful = [each for each in logins if "api_key" not in each.extra or "usage_url" in each.extra]
    live = [each for each in useful if CACHED_USAGE_KEY not in each.extra]
    known = {name.lower() for each in live for name in (each.account, each.account_name)} - {""}
    cached = [each for each in useful if CACHED_USAGE_KEY in each.extra]
    usable = live + [each for each in cached if not known & {each.account.lower(), each.account_name.lower()}]
    return usable or logins[: 1 if overrides.token or overrides.login_path else 0]


def _apply_overrides(extra: Mapping[str, str], overrides: Overrides) -> dict[str, str]:
    base_url, found = overrides.base_url or "", dict(extra)
    if overrides.user_agent:
        found[USER_AGENT_KEY] = overrides.user_agent
    if overrides.reset_credits:
        found[RESET_CREDITS_KEY] = "yes"
    if "api_key" in extra:
        return {**found, **codex_logins.build_api_key_extra(base_url)}
    if codex_logins.is_vendor_url(base_url):  # the user wants the vendor asked, whatever proxy the tools use
        return {name: value for name, value in found.items() if name not in codex_logins.SERVER_KEYS}
    return found


FRESH_FOR = timedelta(minutes=30)
SLOT_KEYS = {  # the cache's key -> the usage answer's
    "primary": "primary_window",
    "secondary": "secondary_window",
    "sparkPrimary": "spark_primary_window",
    "sparkSecondary": "spark_secondary_window",
}


def read_cached_snapshot(credential: Credential, now: datetime) -> Snapshot:
    """The snapshot in the cache.

    Raises:
        NotSignedInError: the cache is empty.
    """
    usage = parsing.as_mapping(json.loads(credential.extra[CACHED_USAGE_KEY]))
    fetched_at = parsing.parse_timestamp(usage.get("fetchedAt"))
    limit = {slot: _convert_window(get_mapping(usage, key)) for key, slot in SLOT_KEYS.items()}
    balance = {"balance": usage.get("creditsBalance"), "unlimited": usage.get("creditsUnlimited")}
    is_old = fetched_at is None or now - fetched_at > FRESH_FOR
    readings = tuple(
        replace(each, source="cache", stale=is_old or (each.resets_at is not None and each.resets_at <= now))
        for each in parse_readings({"rate_limit": limit, "credits": balance}, now)
    )
    if not readings:
        raise NotSignedInError(f"Codex: {credential.path} holds neither a token nor usage: run `codex login`")
    seen = f"{fetched_at:%Y-%m-%d %H:%M} UTC" if fetched_at else "an unknown time"
    return Snapshot(
        provider=credential.provider,
        plan=get_text(usage, "planType") or None,
        at=now,
        readings=readings,
        note=f"no login: as opencode-anthropic-auth saw it at {seen}; `codex login` brings it up to date",
    )


def _convert_window(fields: Mapping[str, Any]) -> dict[str, Any]:
    length_ms = parsing.parse_count(fields.get("windowMs"))
    return {
        "used_percent": fields.get("utilization"),
        "limit_window_seconds": None if length_ms is None else length_ms // 1000,
        "reset_at": fields.get("resetsAt"),
    }


# --- the windows and balances in the answer ---------------------------------------------------------------------------


SESSION_S = 5 * parsing.HOUR_S
MONTH_LENGTHS_S = (720 * parsing.HOUR_S, 730 * parsing.HOUR_S)  # both have been observed
MAIN_LIMIT_ID = "codex"
LENGTH_TOLERANCE = 1.2  # times the length: clocks differ
RESET_CREDITS_WINDOW, INDIVIDUAL_LIMIT_WINDOW = "reset_credits", "individual_limit"
_NAMES = {SESSION_S: ("five_hour", "5-hour"), parsing.WEEK_S: ("weekly", "weekly")} | dict.fromkeys(
    MONTH_LENGTHS_S, ("monthly", "monthly")
)
_NO_LIMIT_MODES = frozenset({"none", "disabled", "off", "no_limit"})


def parse_readings(content: Mapping[str, Any], at: datetime) -> list[Reading]:
    """Every window and balance that can be read; of two with one name the first counts."""
    found: dict[str, Reading] = {}
    for reading in (
        *parse_windows(content.get("rate_limit"), at),
        *_parse_additional(content.get("additional_rate_limits"), at),
        *parse_windows(content.get("code_review_rate_limit"), at, "code_review", "code review ", parsing.WEEK_S),
        *_parse_credits(content.get("credits")),
        *parse_individual_limit(content, at),
        *parse_reset_credits(content.get("rate_limit_reset_credits"), at),
        *_parse_models(content.get("model_usage")),
    ):
        found.setdefault(reading.window, reading)
    return list(found.values())


def _parse_additional(entries: object, at: datetime) -> Iterator[Reading]:
    for entry in parsing.as_mappings(entries):
        name = get_text(entry, "limit_name", "metered_feature")
        if parsing.slugify(name):
            yield from parse_windows(entry.get("rate_limit"), at, parsing.slugify(name), f"{name} ")


def parse_windows(
    limit: object, at: datetime, prefix: str = "", label: str = "", default_length_s: int = SESSION_S
) -> list[Reading]:
    """The windows that can be read; those with a length come first, because their names are certain.

    Args:
        limit: `{primary_window, secondary_window, limit_reached, allowed, ...}`; anything else has no windows.
        at: when the answer came.
        prefix: begins each window's id; empty for the main limit.
        label: begins each label.
        default_length_s: seconds of a primary window without a length.
    """
    certain: list[Reading] = []
    guessed: list[Reading] = []
    blocked = is_blocked(parsing.as_mapping(limit))
    for key, value in parsing.as_mapping(limit).items():
        fields = parsing.as_mapping(value)
        length_s = parsing.parse_count(fields.get("limit_window_seconds"))
        if "window" not in key or length_s == 0:
            continue
        resets_at = parsing.parse_timestamp(fields.get("reset_at")) or parsing.add_seconds(
            at, fields.get("reset_after_seconds")
        )
        seconds = length_s or _guess_length(key, resets_at, at, default_length_s)
        word = parsing.slugify(key.replace("primary", "").replace("secondary", "").replace("window", ""))
        id_, name = name_window(seconds)
        reading = parsing.make_percent_reading(
            "_".join(filter(None, (prefix, word, id_))),
            f"{label}{f'{word} ' if word else ''}{name} window",
            fields.get("used_percent"),
            seconds,
            resets_at,
        )
        if reading is not None:
            (certain if length_s else guessed).append(replace(reading, blocked=blocked))
    return certain + guessed


def is_blocked(limit: Mapping[str, Any]) -> bool | None:
    """Whether a limit refuses work; None if it does not say."""
    reached, allowed = limit.get("limit_reached"), limit.get("allowed")
    if reached is True or allowed is False:
        return True
    return False if reached is False or allowed is True else None


def _guess_length(key: str, resets_at: datetime | None, at: datetime, default_length_s: int) -> int:
    """The length of a window that does not give it: by its slot, unless it ends later than that."""
    longest = timedelta(seconds=default_length_s * LENGTH_TOLERANCE)
    if "secondary" in key or (resets_at is not None and resets_at - at > longest):
        return parsing.WEEK_S
    return default_length_s


def parse_session_limits(limits: Mapping[str, Any], at: datetime) -> list[Reading]:
    """The windows and credits in a line of Codex's session files, written at that time.

    `{limit_id, limit_name, primary, secondary, credits}`, a window is `{used_percent, window_minutes, resets_at}`.
    Lines of older versions have no `limit_id`, `resets_in_seconds` in place of `resets_at`, and 299 minutes for 300.
    """
    windows = {}
    for slot in ("primary", "secondary"):
        fields = get_mapping(limits, slot)
        minutes = parsing.parse_count(fields.get("window_minutes"))
        length_s = None if minutes is None else minutes * 60
        windows[f"{slot}_window"] = {
            "used_percent": fields.get("used_percent"),
            "limit_window_seconds": next((each for each in _NAMES if _is_about(length_s, each)), length_s),
            "reset_at": fields.get("resets_at"),
            "reset_after_seconds": fields.get("resets_in_seconds"),
        }
    content: dict[str, Any] = {"credits": limits.get("credits"), "rate_limit": windows}
    name = get_text(limits, "limit_id")
    if name not in ("", MAIN_LIMIT_ID):
        limit = {"limit_name": limits.get("limit_name"), "metered_feature": name, "rate_limit": windows}
        content = {"credits": limits.get("credits"), "additional_rate_limits": [limit]}
    return [
        replace(each, source="session", stale=each.resets_at is not None and each.resets_at <= at)
        for each in parse_readings(content, at)
    ]


def _is_about(seconds: int | None, length_s: int) -> bool:
    return seconds is not None and abs(seconds - length_s) <= length_s // 100


def name_window(seconds: int) -> tuple[str, str]:
    """A window's id and its name for people, by its length."""
    if seconds in _NAMES:
        return _NAMES[seconds]
    if seconds % parsing.HOUR_S:
        return f"{seconds // 60}m", f"{seconds // 60}-minute"
    return f"{seconds // parsing.HOUR_S}h", f"{seconds // parsing.HOUR_S}-hour"


def _parse_credits(value: object) -> Iterator[Reading]:
    fields = value if isinstance(value, dict) else {"balance": value}
    unlimited = fields.get("unlimited") is True
    balance = None if unlimited else parsing.parse_decimal(fields.get("balance"))
    blocked = _parse_flag(fields.get("overage_limit_reached"))
    if unlimited or balance is not None or blocked is not None:
        yield _make_balance("credits", "credits", "credits", remaining=balance, unlimited=unlimited, blocked=blocked)


def _parse_flag(value: object) -> bool | None:
    return value if isinstance(value, bool) else None


def parse_reset_credits(value: object, at: datetime) -> Iterator[Reading]:
    """How often the user may still start a new period early, and when the first of these resets lapses.

    `{available_count, credits: [{status, expires_at}]}`, where `credits` may be missing.
    """
    fields = parsing.as_mapping(value)
    count = parsing.parse_count(fields.get("available_count"))
    if count is None:
        return
    ends = (
        parsing.parse_timestamp(each.get("expires_at"))
        for each in parsing.as_mappings(fields.get("credits"))
        if count and (get_text(each, "status") or "available").lower() == "available"
    )
    first = min((end for end in ends if end and end > at), default=None)
    remaining = parsing.parse_decimal(count)
    yield _make_balance(RESET_CREDITS_WINDOW, "resets in hand", "resets", remaining=remaining, resets_at=first)


def _parse_models(value: object) -> Iterator[Reading]:
    """Whether each model can be used: `{slug: {available, available_at}}`. How much of it is used is not given."""
    for name, usage in parsing.as_mapping(value).items():
        available = _parse_flag(parsing.as_mapping(usage).get("available"))
        if available is not None and parsing.slugify(name):
            yield Reading(
                window=f"model_{parsing.slugify(name)}",
                kind=WindowKind.OTHER,
                label=f"model {name}",
                resets_at=None if available else parsing.parse_timestamp(usage.get("available_at")),
                blocked=not available,
            )


def _make_balance(window: str, label: str, unit: str, **fields: Any) -> Reading:
    return Reading(window=window, kind=WindowKind.BALANCE, label=label, unit=unit, **fields)


def parse_individual_limit(content: Mapping[str, Any], at: datetime) -> Iterator[Reading]:
    """A limit set for this person, from the first of three places that has a value."""
    for holder in (content, content.get("rate_limit"), content.get("spend_control")):
        fields = get_mapping(parsing.as_mapping(holder), INDIVIDUAL_LIMIT_WINDOW)
        used, limit, remaining = (parsing.parse_decimal(fields.get(name)) for name in ("used", "limit", "remaining"))
        used_percent = parsing.parse_percent(fields.get("used_percent"))
        left = parsing.parse_number(fields.get("remaining_percent"))
        if used_percent is None:
            used_percent = max(0.0, 100 - left) if left is not None else parsing.compute_percent(used, limit)
        if used_percent is not None or used is not None or remaining is not None:
            resets_at = parsing.parse_first(parsing.parse_timestamp, fields, "resets_at", "reset_at", "resetsAt")
            resets_at = resets_at or parsing.add_seconds(at, fields.get("reset_after_seconds"))
            yield _make_individual_limit(
                content, used_percent=used_percent, used=used, limit=limit, remaining=remaining, resets_at=resets_at
            )
            return


def parse_monthly_limit(content: Mapping[str, Any]) -> Iterator[Reading]:
    """The same limit as a workspace's spend controls give it.

    `{current_month_usage, effective_monthly_limit: {limit, enforcement_mode, limit_mode}}`: a limit that is disabled,
    missing or zero is unlimited, so that an alert on it can end.
    """
    fields = get_mapping(content, "effective_monthly_limit")
    used, limit = parsing.parse_decimal(content.get("current_month_usage")), parsing.parse_decimal(fields.get("limit"))
    mode = parsing.slugify(get_text(fields, "enforcement_mode"))
    if used is None or used < 0:
        return
    if mode in _NO_LIMIT_MODES or not limit:
        yield _make_individual_limit(content, used=used, unlimited=True)
    else:
        percent = parsing.compute_percent(used, limit)
        yield _make_individual_limit(content, used_percent=percent, used=used, limit=limit, remaining=limit - used)


def _make_individual_limit(content: Mapping[str, Any], **fields: Any) -> Reading:
    return Reading(
        window=INDIVIDUAL_LIMIT_WINDOW,
        kind=WindowKind.MONTHLY,
        label="individual limit",
        unit="credits",
        blocked=_parse_flag(get_mapping(content, "spend_control").get("reached")),
        **fields,
    )


# --- further requests -------------------------------------------------------------------------------------------------


def fetch_monthly_limit(
    usage: UsageResponse, account_id: str, provider_state: ProviderState
) -> Generator[Request, Response, tuple[Reading, ...]]:
    """The limit that a workspace set for this person, if only its spend controls have it; else ()."""
    base, found, _ = usage.url.partition("/wham/usage")
    plan = get_text(usage.content, "plan_type").lower()
    has_controls = isinstance(usage.content.get("spend_control"), dict)
    is_known = any(parse_individual_limit(usage.content, usage.at))
    if not (found and account_id and has_controls) or is_known or plan in PERSONAL_PLANS:
        return ()
    url = f"{base}/accounts/{quote(account_id, safe='', errors='replace')}/spend-controls/current-user/monthly-usage"
    request = Request(url=url, headers=usage.headers, timeout_s=TIMEOUT_S)
    content = yield from _fetch_cached(request, MONTHLY_LIMIT_EVERY, usage.at, provider_state)
    return tuple(parse_monthly_limit({**content, "spend_control": usage.content["spend_control"]}))


def fetch_reset_credits(
    usage: UsageResponse, provider_state: ProviderState
) -> Generator[Request, Response, tuple[tuple[Reading, ...], str]]:
    """The reset credits, counted by the usage or else by the answer, and a note on when the first of them expires."""
    base, found, _ = usage.url.partition("/wham/usage")
    if not found:
        return (), ""
    headers = {**usage.headers, "OpenAI-Beta": "codex-1", "originator": "Codex Desktop"}
    request = Request(url=f"{base}/wham/rate-limit-reset-credits", headers=headers, timeout_s=TIMEOUT_S)
    content = yield from _fetch_cached(request, RESET_CREDITS_EVERY, usage.at, provider_state)
    content = {**content, **get_mapping(usage.content, "rate_limit_reset_credits")}
    readings = tuple(parse_reset_credits(content, usage.at))
    first = readings[0].resets_at if readings else None
    return readings, f"a reset in hand is good until {first:%Y-%m-%d %H:%M} UTC" if first else ""


def _fetch_cached(
    request: Request, every: timedelta, now: datetime, provider_state: ProviderState
) -> Generator[Request, Response, Mapping[str, Any]]:
    """The answer, requested at most this often; {} if there is none."""
    until, content = provider_state.get(request.url, (now, {}))
    if now < until:
        return dict(content)
    try:
        content = parsing.parse_response((yield request), name=NAME, sign_in_hint="")
    except OfflineError:
        return {}  # the request was not answered: try again at the next poll
    except ProviderError as error:
        wait = error.retry_after if isinstance(error, RateLimitedError) else None
        every, content = max(REFUSAL_COOLDOWN, wait or REFUSAL_COOLDOWN), {}
    provider_state[request.url] = now + every, content
    return dict(content)


# --- usage of an API key at a proxy that shares subscriptions ---------------------------------------------------------


# `GET <host>/v1/usage`. Observed only; last checked 2026-11. The answer: `{request_count, total_tokens, total_cost_usd,
# limits: [{limit_type, limit_window: 5h | 7d | weekly | lifetime ..., max_value, current_value, remaining_value,
# model_filter, reset_at}], upstream_limits: [...]}`, where `upstream_limits` are shared by all keys: the windows of the
# subscriptions behind the proxy. OpenAI's own server gives an API key no usage and is not asked.

KEY_SIGN_IN_HINT = "take a new key from the proxy"
SHARED_PREFIX = "upstream"  # begins the id of a window that all keys share
_LENGTHS_S = {"daily": parsing.DAY_S, "weekly": parsing.WEEK_S, "monthly": MONTH_LENGTHS_S[0]}
_UNITS_S = {"h": parsing.HOUR_S, "d": parsing.DAY_S}


def fetch_key_usage(credential: Credential) -> Conversation:
    """The key's usage; `UnsupportedError` for a key of OpenAI's own server."""
    url = credential.extra.get("usage_url")
    if url is None:
        raise UnsupportedError(f"{NAME}: an API key cannot read subscription usage: run `codex login` with ChatGPT")
    headers = {"Authorization": f"Bearer {credential.token}", "Accept": "application/json", "User-Agent": "codex-cli"}
    response: Response = yield Request(url=url, headers=headers)
    if response.status == 404:  # noqa: PLR2004 - an HTTP status
        host = urlsplit(url).hostname
        raise UnsupportedError(
            f"{NAME}: {host} does not tell an API key its usage (404): run `codex login` with ChatGPT"
        )
    readings = parse_key_readings(parsing.parse_response(response, name=NAME, sign_in_hint=KEY_SIGN_IN_HINT))
    if not readings:
        raise ShapeChangedError(
            f"{NAME}: no window in the answer (limits, total_cost_usd): look for a newer version of this program"
        )
    return Snapshot(provider=credential.provider, at=response.received_at, readings=tuple(readings))


def parse_key_readings(content: Mapping[str, Any]) -> list[Reading]:
    """Every limit that can be read, and the cost; of limits of several types in one window the fullest."""
    entries = [("", entry) for entry in parsing.as_mappings(content.get("limits"))]
    entries += [(SHARED_PREFIX, entry) for entry in parsing.as_mappings(content.get("upstream_limits"))]
    found: dict[str, Reading] = {}
    for prefix, entry in entries:
        reading = _parse_limit(entry, prefix)
        if reading is not None and parsing.get_fullness(reading) > parsing.get_fullness(found.get(reading.window)):
            found[reading.window] = reading
    cost = parsing.parse_decimal(content.get("total_cost_usd"))
    if cost is not None:
        found.setdefault("cost", Reading(window="cost", kind=WindowKind.OTHER, label="cost", used=cost, unit="usd"))
    return list(found.values())


def _parse_limit(entry: Mapping[str, Any], prefix: str) -> Reading | None:
    word, model = get_text(entry, "limit_window"), get_text(entry, "model_filter")
    limit_type = parsing.slugify(get_text(entry, "limit_type"))
    seconds = _parse_length(word.lower())
    id_, name = name_window(seconds) if seconds else (parsing.slugify(word), word)
    limit, used, remaining = (
        parsing.parse_decimal(entry.get(name)) for name in ("max_value", "current_value", "remaining_value")
    )
    if used is None and limit is not None and remaining is not None:
        used = limit - remaining
    percent = parsing.compute_percent(used, limit)
    if percent is None or not id_:
        return None
    reading = Reading(
        window="_".join(filter(None, (prefix, parsing.slugify(model), id_))),
        kind=classify_length(seconds or 0),
        label=" ".join(filter(None, (prefix, model, name, "window"))),
        used_percent=percent,
        used=used,
        limit=limit,
        remaining=remaining,
        unit=limit_type.rpartition("_")[2] or "units",
        resets_at=parsing.parse_timestamp(entry.get("reset_at")),
        window_seconds=seconds,
    )
    if limit_type.startswith("cost"):  # the unit is not given: dollars, cents or millionths
        return replace(reading, used=None, limit=None, remaining=None, unit="percent")
    return reading


def _parse_length(text: str) -> int | None:
    """A window's length from its name: `5h`, `7d`, `weekly`; None for any other."""
    found = re.fullmatch(r"([1-9]\d{0,3})([hd])", text)
    return int(found[1]) * _UNITS_S[found[2]] if found else _LENGTHS_S.get(text)


PROVIDER = Provider(
    id=ID,
    name=NAME,
    usage_page="https://chatgpt.com/codex/settings/usage",
    addresses=(USAGE_URL,),
    status_page="https://status.openai.com/api/v2/status.json",
    sign_in_hint=SIGN_IN_HINT,
    login_files=("auth.json",),
    find_credentials=find_credentials,
    fetch_usage=fetch_usage,
    pace=Pace(floor=timedelta(minutes=2), every=timedelta(minutes=5), ceiling=timedelta(minutes=30)),
)
