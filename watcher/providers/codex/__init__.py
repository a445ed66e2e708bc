"""Codex (ChatGPT subscriptions): `GET https://chatgpt.com/backend-api/wham/usage`.

Undocumented by its vendor, observed only; last checked 2026-11. The answer: `plan_type`, `rate_limit` with up to two
windows `{used_percent, limit_window_seconds, reset_after_seconds, reset_at}`, `additional_rate_limits`,
`code_review_rate_limit`, `credits`, `individual_limit`, `rate_limit_reset_credits`. Needs the ChatGPT access token of
OpenCode or Codex.

`logins` chooses the logins, `windows` reads the answer, `extras` makes the further requests. Two sources need no such
token: `api_keys` (a proxy's usage of an API key) and `cache` (usage that a plugin has cached).
"""

from collections.abc import Generator, Mapping
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from watcher.core.model import Request, Response, Snapshot
from watcher.credentials import OWNER_UNKNOWN_KEY, Credential, codex, codex_plugins
from watcher.errors import ShapeChangedError
from watcher.providers import Conversation, Provider, ProviderState, parsing
from watcher.providers.codex import api_keys, cache, extras, logins, windows

ID, NAME, SIGN_IN_HINT = "codex", "Codex", "run `codex` once"
USAGE_URL = "https://chatgpt.com/backend-api/wham/usage"
USER_AGENT, PERSONAL_USER_AGENT = "codex-cli", "codex_cli_rs/0.50.0"
_REFUSAL_STATUSES = range(400, 429)  # above it a server has a problem, but knows the login


def fetch_usage(credential: Credential, now: datetime, provider_state: ProviderState) -> Conversation:
    """The usage; before it the owner of a personal access token, after it what takes a request of its own."""
    if codex_plugins.CACHED_USAGE_KEY in credential.extra:
        return cache.read_cached_snapshot(credential, now)
    if "api_key" in credential.extra:
        return (yield from api_keys.fetch_key_usage(credential))
    owner = extras.TokenOwner()
    if "personal" in credential.extra and codex.is_vendor_host(urlsplit(_get_url(credential)).hostname):
        owner = yield from extras.fetch_owner(credential.token, _build_headers(credential), provider_state)
    usage = yield from _request_usage(credential, owner)
    return (yield from _build_snapshot(credential, owner, usage, provider_state))


def _get_url(credential: Credential) -> str:
    return credential.extra.get("usage_url", USAGE_URL)


def _build_headers(credential: Credential, account_id: str = "") -> dict[str, str]:
    headers = {
        "Authorization": f"Bearer {credential.token}",
        "Accept": "application/json",
        "User-Agent": USER_AGENT,
        "Cache-Control": "no-cache",  # answers may be marked public: no cache on the way may give them to another user
    }
    if "personal" in credential.extra:
        headers |= {"User-Agent": PERSONAL_USER_AGENT, "originator": "codex_cli_rs"}
    if credential.extra.get(logins.USER_AGENT_KEY):
        headers["User-Agent"] = credential.extra[logins.USER_AGENT_KEY]
    return {**headers, "ChatGPT-Account-Id": account_id} if account_id else headers


def _request_usage(
    credential: Credential, owner: extras.TokenOwner
) -> Generator[Request, Response, extras.UsageResponse]:
    url = _get_url(credential)
    headers = _build_headers(credential, credential.extra.get("account_id") or owner.account_id)
    response = yield Request(url=url, headers=headers)
    if "if_unknown" in credential.extra and _is_unknown_login(response):
        url = USAGE_URL
        response = yield Request(url=url, headers=headers)
    content = parsing.parse_response(response, name=NAME, sign_in_hint=SIGN_IN_HINT)
    return extras.UsageResponse(url=url, headers=headers, content=content, at=response.received_at)


def _is_unknown_login(response: Response) -> bool:
    """Whether OpenCode's proxy does not know this login or subscriptions: it is the vendor's in any case."""
    is_page = response.status < _REFUSAL_STATUSES.start and parsing.is_html(response)
    return is_page or response.status in _REFUSAL_STATUSES


def _build_snapshot(
    credential: Credential, owner: extras.TokenOwner, usage: extras.UsageResponse, provider_state: ProviderState
) -> Generator[Request, Response, Snapshot]:
    content = usage.content
    readings = windows.parse_readings(content, usage.at)
    if not readings:
        raise ShapeChangedError(
            f"{NAME}: no window in the answer (rate_limit, credits): look for a newer version of this program"
        )
    account_id = usage.headers.get("ChatGPT-Account-Id", "") or parsing.parse_text(content.get("account_id")) or ""
    further = yield from extras.fetch_monthly_limit(usage, account_id, provider_state)
    notes = [_describe_limit_reached(content)]
    if credential.extra.get(logins.RESET_CREDITS_KEY):
        reset_credits, note = yield from extras.fetch_reset_credits(usage, provider_state)
        further, notes = (*further, *reset_credits), [*notes, note]
    known = {each.window for each in readings}
    # Beside other logins the workspace is the name: two workspaces of one person are two quotas, with one email.
    workspace = owner.account_id if OWNER_UNKNOWN_KEY in credential.extra else ""
    return Snapshot(
        provider=ID,
        account_name=workspace or parsing.parse_text(content.get("email")) or owner.email,
        plan=parsing.parse_text(content.get("plan_type")) or credential.plan or owner.plan or None,
        at=usage.at,
        readings=(*readings, *(each for each in further if each.window not in known)),
        note="; ".join(filter(None, notes)) or None,
    )


def _describe_limit_reached(content: Mapping[str, Any]) -> str:
    limit = parsing.get_mapping(content, "rate_limit")
    if limit.get("limit_reached") is True or limit.get("allowed") is False:
        return "limit reached: Codex refuses work until the reset"
    is_spent = parsing.get_mapping(content, "spend_control").get("reached") is True
    return "spend limit reached" if is_spent else ""


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
