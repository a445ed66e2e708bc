"""Codex (ChatGPT subscriptions): `GET https://chatgpt.com/backend-api/wham/usage`.

Undocumented by its vendor, observed only; last checked 2026-11. The answer: `plan_type`, `rate_limit` with up to two
windows `{used_percent, limit_window_seconds, reset_after_seconds, reset_at}`, `additional_rate_limits`,
`code_review_rate_limit`, `credits`, `individual_limit`, `rate_limit_reset_credits`. Needs the ChatGPT access token of
OpenCode or Codex.

The parts: `codex_logins` finds it, `codex_owner` asks whose a personal token is, `codex_answer` reads the answer with
`codex_windows` and `codex_balances`, `codex_extras` asks what takes a further request, `codex_keys` asks a proxy about
an API key, `codex_cache` asks nobody.
"""

from collections.abc import Generator, Mapping
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from watcher.core.model import Reading, Request, Response, Snapshot
from watcher.credentials import OWNER_UNKNOWN_KEY, Credential, codex, codex_plugins
from watcher.errors import ShapeChangedError
from watcher.providers import Conversation, Provider, ProviderState, parsing
from watcher.providers.codex import api_keys, cache, extras, logins, windows
from watcher.providers.codex.extras import TokenOwner, UsageResponse

# --- What Codex's answer, and what was asked beside it, comes to: windows, whose they are, what the person should know


ID, NAME = "codex", "Codex"


def build_snapshot(
    credential: Credential, owner: TokenOwner, usage: UsageResponse, provider_state: ProviderState
) -> Generator[Request, Response, Snapshot]:
    """The answer as a snapshot, with what only further requests tell; without any window the shape has changed."""
    content = usage.content
    readings = windows.parse_readings(content, usage.at)
    if not readings:
        raise ShapeChangedError(
            f"{NAME}: no window in the answer (rate_limit, credits): look for a newer version of this program"
        )
    account = usage.headers.get("ChatGPT-Account-Id", "") or parsing.parse_text(content.get("account_id")) or ""
    further: tuple[Reading, ...] = yield from extras.fetch_monthly_limit(usage, account, provider_state)
    notes = [_describe_limit_reached(content)]
    if credential.extra.get(logins.RESET_CREDITS_KEY):
        resets, note = yield from extras.fetch_reset_credits(usage, provider_state)
        further, notes = (*further, *resets), [*notes, note]
    known = {each.window for each in readings}
    return Snapshot(
        provider=ID,
        # beside other logins the workspace is the name: one person's two are two quotas, and joined by email
        account_name=owner.account_id
        if owner.account_id and credential.extra.get(OWNER_UNKNOWN_KEY)
        else parsing.parse_text(content.get("email")) or owner.email,
        plan=parsing.parse_text(content.get("plan_type")) or credential.plan or owner.plan or None,
        at=usage.at,
        readings=(*readings, *(each for each in further if each.window not in known)),
        note="; ".join(filter(None, notes)) or None,
    )


def _describe_limit_reached(content: Mapping[str, Any]) -> str:
    limit, spend = parsing.as_mapping(content.get("rate_limit")), parsing.as_mapping(content.get("spend_control"))
    if limit.get("limit_reached") is True or limit.get("allowed") is False:
        return "limit reached: Codex refuses work until the reset"
    return "spend limit reached" if spend.get("reached") is True else ""


SIGN_IN_HINT = "run `codex` once"
USAGE_URL = "https://chatgpt.com/backend-api/wham/usage"
USER_AGENT, PERSONAL_USER_AGENT = "codex-cli", "codex_cli_rs/0.50.0"
_REFUSAL_STATUSES = range(400, 429)  # those above it are troubles of a server that does know


def fetch_usage(credential: Credential, now: datetime, provider_state: ProviderState) -> Conversation:
    """The usage; before it, whose a personal access token is; after it, what takes a request of its own."""
    if codex_plugins.CACHED_USAGE_KEY in credential.extra:
        return cache.read_cached_snapshot(credential, now)
    if "api_key" in credential.extra:
        return (yield from api_keys.fetch_key_usage(credential))
    owner = yield from _fetch_token_owner(credential, provider_state)
    usage = yield from _request_usage(credential, owner)
    return (yield from build_snapshot(credential, owner, usage, provider_state))


def _build_headers(credential: Credential, account_id: str = "") -> dict[str, str]:
    headers = {
        "Authorization": f"Bearer {credential.token}",
        "Accept": "application/json",
        "User-Agent": USER_AGENT,
        "Cache-Control": "no-cache",  # an answer may call itself public: no cache on the way may give it to another
    }
    if credential.extra.get("personal"):
        headers |= {"User-Agent": PERSONAL_USER_AGENT, "originator": "codex_cli_rs"}
    if credential.extra.get(logins.USER_AGENT_KEY):
        headers["User-Agent"] = credential.extra[logins.USER_AGENT_KEY]
    return {**headers, "ChatGPT-Account-Id": account_id} if account_id else headers


def _fetch_token_owner(
    credential: Credential, provider_state: ProviderState
) -> Generator[Request, Response, TokenOwner]:
    """Whose a personal access token is; one for another server is shown to that one alone."""
    host = urlsplit(credential.extra.get("usage_url", USAGE_URL)).hostname
    if not credential.extra.get("personal") or not codex.is_vendor_host(host):
        return TokenOwner()
    return (yield from extras.fetch_owner(credential.token, _build_headers(credential), provider_state))


def _request_usage(credential: Credential, owner: TokenOwner) -> Generator[Request, Response, UsageResponse]:
    url = credential.extra.get("usage_url", USAGE_URL)
    headers = _build_headers(credential, credential.extra.get("account_id") or owner.account_id)
    response: Response = yield Request(url=url, headers=headers)
    if "if_unknown" in credential.extra and _is_unknown_login(response):
        url = USAGE_URL
        response = yield Request(url=url, headers=headers)
    content = parsing.parse_response(response, name=NAME, sign_in_hint=SIGN_IN_HINT)
    return UsageResponse(url=url, headers=headers, content=content, at=response.received_at)


def _is_unknown_login(response: Response) -> bool:
    """Whether OpenCode's proxy knows nothing of this login or of subscriptions: it is the vendor's all the same."""
    return response.status in _REFUSAL_STATUSES or (
        response.status < _REFUSAL_STATUSES.start and parsing.is_html(response)
    )


PROVIDER = Provider(
    id=ID,
    name=NAME,
    usage_page="https://chatgpt.com/codex/settings/usage",
    sign_in_hint=SIGN_IN_HINT,
    primary_windows=("five_hour", "weekly", "monthly"),
    find_credentials=logins.find_credentials,
    fetch_usage=fetch_usage,
    min_interval=timedelta(minutes=2),
    default_interval=timedelta(minutes=5),
    max_interval=timedelta(minutes=30),
)
