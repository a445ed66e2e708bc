"""Codex (ChatGPT subscriptions): `GET https://chatgpt.com/backend-api/wham/usage`.

Undocumented by its vendor, observed only; last checked 2026-11. The answer: `plan_type`, `rate_limit` with up to two
windows `{used_percent, limit_window_seconds, reset_after_seconds, reset_at}`, `additional_rate_limits`,
`code_review_rate_limit`, `credits`, `individual_limit`, `rate_limit_reset_credits`. Needs the ChatGPT access token of
OpenCode or Codex.

`usage` reads the answer and makes the further requests. Two sources need no such token: `api_keys` (a proxy's usage of
an API key) and usage that a plugin has cached.
"""

import json
from collections.abc import Generator, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from msgspec.structs import replace

from watcher.core.model import Request, Response, Snapshot
from watcher.credentials import OWNER_UNKNOWN_KEY, Credential, HostInfo, codex
from watcher.credentials.codex import CACHED_USAGE_KEY
from watcher.credentials.files import collect_credentials
from watcher.errors import NotSignedInError, ShapeChangedError
from watcher.providers import Conversation, Overrides, Provider, ProviderState, parsing
from watcher.providers.codex import api_keys
from watcher.providers.codex import usage as codex_usage
from watcher.providers.codex.usage import TokenOwner, UsageResponse

ID, NAME, SIGN_IN_HINT = "codex", "Codex", "run `codex` once"
USAGE_URL = "https://chatgpt.com/backend-api/wham/usage"
USER_AGENT, PERSONAL_USER_AGENT = "codex-cli", "codex_cli_rs/0.50.0"
_REFUSAL_STATUSES = range(400, 429)  # above it a server has a problem, but knows the login


def fetch_usage(credential: Credential, now: datetime, provider_state: ProviderState) -> Conversation:
    """The usage; before it the owner of a personal access token, after it what takes a request of its own."""
    if CACHED_USAGE_KEY in credential.extra:
        return read_cached_snapshot(credential, now)
    if "api_key" in credential.extra:
        return (yield from api_keys.fetch_key_usage(credential))
    owner, url = None, credential.extra.get("usage_url", USAGE_URL)
    if "personal" in credential.extra and codex.is_vendor_url(url):
        request = Request(url=codex_usage.WHOAMI_URL, headers=_build_headers(credential))
        owner = yield from parsing.fetch_owner(provider_state, credential.token, [request], codex_usage.read_owner)
    owner = owner or TokenOwner()
    headers = _build_headers(credential, credential.extra.get("account_id") or owner.account_id)
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
    credential: Credential, owner: TokenOwner, usage: UsageResponse, provider_state: ProviderState
) -> Generator[Request, Response, Snapshot]:
    content = usage.content
    readings = codex_usage.parse_readings(content, usage.at)
    if not readings:
        raise ShapeChangedError(
            f"{NAME}: no window in the answer (rate_limit, credits): look for a newer version of this program"
        )
    account_id = usage.headers.get("ChatGPT-Account-Id", "") or parsing.parse_text(content.get("account_id")) or ""
    further = yield from codex_usage.fetch_monthly_limit(usage, account_id, provider_state)
    notes = [_describe_limit_reached(content)]
    if credential.extra.get(RESET_CREDITS_KEY):
        reset_credits, note = yield from codex_usage.fetch_reset_credits(usage, provider_state)
        further, notes = (*further, *reset_credits), [*notes, note]
    merged = {each.window: each for each in (*readings, *further)}
    # Beside other logins the workspace is the name: two workspaces of one person are two quotas, with one email.
    workspace = owner.account_id if OWNER_UNKNOWN_KEY in credential.extra else ""
    return Snapshot(
        provider=ID,
        account_name=workspace or parsing.parse_text(content.get("email")) or owner.email,
        plan=parsing.parse_text(content.get("plan_type")) or credential.plan or owner.plan or None,
        at=usage.at,
        readings=tuple(merged.values()),
        note="; ".join(filter(None, notes)) or None,
    )


def _describe_limit_reached(content: Mapping[str, Any]) -> str:
    if codex_usage.is_blocked(parsing.get_mapping(content, "rate_limit")):
        return "limit reached: Codex refuses work until the reset"
    is_spent = parsing.get_mapping(content, "spend_control").get("reached") is True
    return "spend limit reached" if is_spent else ""


USER_AGENT_KEY = "user_agent"  # key of `Credential.extra`: the User-Agent that the user set
RESET_CREDITS_KEY = "reset_credits"  # likewise: the user wants the reset credits


def find_credentials(host_info: HostInfo, overrides: Overrides) -> Sequence[Credential]:
    """ChatGPT logins, OpenCode's first; API keys if a proxy gives their usage, or if the user named one.

    A key for OpenAI's own server is common and cannot read usage: it is no login unless the user named it.
    """
    if overrides.token:
        return _select_usable([codex.make_credential_from_token(overrides.token)], overrides)
    path = overrides.login_path
    finders = codex.find_opencode_credentials, codex.find_codex_credentials
    sources = [partial(find, host_info, path) for find in finders]
    if path is None:
        sources.append(partial(codex.find_plugin_credentials, host_info))
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
        return {**found, **codex.build_api_key_extra(base_url)}
    if codex.is_vendor_url(base_url):  # the user wants the vendor asked, whatever proxy the tools use
        return {name: value for name, value in found.items() if name not in codex.SERVER_KEYS}
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
    limit = {slot: _convert_window(parsing.get_mapping(usage, key)) for key, slot in SLOT_KEYS.items()}
    balance = {"balance": usage.get("creditsBalance"), "unlimited": usage.get("creditsUnlimited")}
    is_old = fetched_at is None or now - fetched_at > FRESH_FOR
    readings = tuple(
        replace(each, source="cache", stale=is_old or (each.resets_at is not None and each.resets_at <= now))
        for each in codex_usage.parse_readings({"rate_limit": limit, "credits": balance}, now)
    )
    if not readings:
        raise NotSignedInError(f"Codex: {credential.path} holds neither a token nor usage: run `codex login`")
    seen = f"{fetched_at:%Y-%m-%d %H:%M} UTC" if fetched_at else "an unknown time"
    return Snapshot(
        provider=credential.provider,
        plan=parsing.parse_text(usage.get("planType")),
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
    min_interval=timedelta(minutes=2),
    default_interval=timedelta(minutes=5),
    max_interval=timedelta(minutes=30),
)
