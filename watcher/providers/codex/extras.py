"""Codex's further requests: a token's owner, the share of a workspace's spending, and the reset credits.

Observed only, in ChatGPT's own clients; last checked 2026-11. A personal access token does not name its owner, so
`https://auth.openai.com/api/accounts/v1/user-auth-credential/whoami` is asked. Beside the usage's address at the vendor
are `accounts/ID/spend-controls/current-user/monthly-usage`, for a workspace with spend controls whose usage lacks the
limit, and `wham/rate-limit-reset-credits`, which refuses those who ask often and is requested only if the user wants
it. None of them costs a reading of the usage if it fails, and nothing is ever redeemed.
"""

from collections.abc import Generator, Mapping
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from urllib.parse import quote

from watcher.core.model import Reading, Request, Response
from watcher.errors import OfflineError, ProviderError, RateLimitedError
from watcher.providers import ProviderState, parsing
from watcher.providers.codex import windows

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


class TokenOwner(NamedTuple):
    """The owner of a personal access token; empty if not known."""

    account_id: str = ""
    plan: str = ""
    email: str = ""


def fetch_owner(
    token: str, headers: Mapping[str, str], provider_state: ProviderState
) -> Generator[Request, Response, TokenOwner]:
    """The token's owner, requested once."""
    if provider_state.get("owner_of") != token:
        try:
            response = yield Request(url=WHOAMI_URL, headers=headers)
            content = parsing.parse_response(response, name="Codex", sign_in_hint="")
            names = ("chatgpt_account_id", "chatgpt_plan_type", "email")
            owner = TokenOwner(*(parsing.parse_text(content.get(name)) or "" for name in names))
        except OfflineError:
            return TokenOwner()  # the request was not answered: try again at the next poll
        except ProviderError:
            owner = TokenOwner()
        provider_state.update(owner_of=token, owner=owner)
    return TokenOwner(*provider_state["owner"])


def fetch_monthly_limit(
    usage: UsageResponse, account_id: str, provider_state: ProviderState
) -> Generator[Request, Response, tuple[Reading, ...]]:
    """The limit that a workspace set for this person, if only its spend controls have it; else ()."""
    base, found, _ = usage.url.partition("/wham/usage")
    plan = (parsing.parse_text(usage.content.get("plan_type")) or "").lower()
    has_controls = isinstance(usage.content.get("spend_control"), dict)
    is_known = any(windows.parse_individual_limit(usage.content, usage.at))
    if not (found and account_id and has_controls) or is_known or plan in PERSONAL_PLANS:
        return ()
    url = f"{base}/accounts/{quote(account_id, safe='', errors='replace')}/spend-controls/current-user/monthly-usage"
    request = Request(url=url, headers=usage.headers, timeout_s=TIMEOUT_S)
    content = yield from _fetch_cached(request, MONTHLY_LIMIT_EVERY, usage.at, provider_state)
    return tuple(windows.parse_monthly_limit(content))


def fetch_reset_credits(
    usage: UsageResponse, provider_state: ProviderState
) -> Generator[Request, Response, tuple[tuple[Reading, ...], str]]:
    """The reset credits, if the usage does not count them, and a note on when the first of them expires."""
    base, found, _ = usage.url.partition("/wham/usage")
    if not found:
        return (), ""
    headers = {**usage.headers, "OpenAI-Beta": "codex-1", "originator": "Codex Desktop"}
    request = Request(url=f"{base}/wham/rate-limit-reset-credits", headers=headers, timeout_s=TIMEOUT_S)
    content = yield from _fetch_cached(request, RESET_CREDITS_EVERY, usage.at, provider_state)
    ends = [
        parsing.parse_timestamp(each.get("expires_at"))
        for each in parsing.as_mappings(content.get("credits"))
        if (parsing.parse_text(each.get("status")) or "available").lower() == "available"
    ]
    first = min((end for end in ends if end and end > usage.at), default=None)
    note = f"a reset in hand is good until {first:%Y-%m-%d %H:%M} UTC" if first else ""
    return tuple(windows.parse_reset_credits(content)), note


def _fetch_cached(
    request: Request, every: timedelta, now: datetime, provider_state: ProviderState
) -> Generator[Request, Response, Mapping[str, Any]]:
    """The answer, requested at most this often; {} if there is none."""
    until, content = provider_state.get(request.url, (now, {}))
    if now < until:
        return dict(content)
    try:
        content = parsing.parse_response((yield request), name="Codex", sign_in_hint="")
    except OfflineError:
        return {}  # the request was not answered: try again at the next poll
    except ProviderError as error:
        wait = error.retry_after if isinstance(error, RateLimitedError) else None
        every, content = max(REFUSAL_COOLDOWN, wait or REFUSAL_COOLDOWN), {}
    provider_state[request.url] = now + every, content
    return dict(content)
