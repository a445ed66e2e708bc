"""What Codex tells of an account for a further request: its share of a workspace's spending, and its resets in hand.

Observed only, in ChatGPT's own clients; last checked 2026-11. Both stand beside the usage's own address, where that is
the vendor's: `accounts/ID/spend-controls/current-user/monthly-usage` for a workspace with spend controls whose usage
does not tell the limit, `wham/rate-limit-reset-credits` where the person asked for it, because it is known to refuse
those who ask often. Neither ever costs a reading of the usage. Nothing is ever redeemed here.
"""

from collections.abc import Generator, Mapping
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from urllib.parse import quote

from watcher.core.model import Reading, Request, Response
from watcher.errors import OfflineError, ProviderError, RateLimitedError
from watcher.providers import ProviderState, parsing
from watcher.providers.codex import windows

PERSONAL_PLANS = frozenset(
    {"", "unknown", "guest", "free", "go", "plus", "pro", "prolite"}
)  # plans without a workspace
TIMEOUT_S = 4.0  # nobody waits longer for what is not needed
MONTHLY_LIMIT_EVERY, RESET_CREDITS_EVERY = timedelta(minutes=15), timedelta(hours=1)
REFUSAL_COOLDOWN = timedelta(hours=1)  # after a refusal

JsonConversation = Generator[Request, Response, Mapping[str, Any]]


class UsageResponse(NamedTuple):
    """The usage as it was asked for and answered."""

    url: str
    headers: Mapping[str, str]
    content: Mapping[str, Any]
    at: datetime


def fetch_monthly_limit(
    usage: UsageResponse, account_id: str, provider_state: ProviderState
) -> Generator[Request, Response, tuple[Reading, ...]]:
    """The limit set for this person by a workspace, where only its spend controls tell it; () elsewhere.

    Args:
        usage: what was just told.
        account_id: the workspace.
        provider_state: what was told the last time.
    """
    base, found, _ = usage.url.partition("/wham/usage")
    plan = (parsing.parse_text(usage.content.get("plan_type")) or "").lower()
    has_controls = isinstance(usage.content.get("spend_control"), dict)
    is_told = any(windows.parse_individual_limit(usage.content, usage.at))
    if not (found and account_id and has_controls) or is_told or plan in PERSONAL_PLANS:
        return ()
    url = f"{base}/accounts/{quote(account_id, safe='')}/spend-controls/current-user/monthly-usage"
    request = Request(url=url, headers=usage.headers, timeout_s=TIMEOUT_S)
    return tuple(
        windows.parse_monthly_limit((yield from _fetch_cached(request, MONTHLY_LIMIT_EVERY, usage.at, provider_state)))
    )


def fetch_reset_credits(
    usage: UsageResponse, provider_state: ProviderState
) -> Generator[Request, Response, tuple[tuple[Reading, ...], str]]:
    """The resets in hand, where the usage does not count them, and a line that says until when they are good."""
    base, found, _ = usage.url.partition("/wham/usage")
    if not found:
        return (), ""
    headers = {**usage.headers, "OpenAI-Beta": "codex-1", "originator": "Codex Desktop"}
    request = Request(url=f"{base}/wham/rate-limit-reset-credits", headers=headers, timeout_s=TIMEOUT_S)
    content = yield from _fetch_cached(request, RESET_CREDITS_EVERY, usage.at, provider_state)
    ends = [
        parsing.parse_timestamp(each.get("expires_at"))
        for each in parsing.as_mappings(content.get("credits"))
        if _is_available(each)
    ]
    first = min((end for end in ends if end and end > usage.at), default=None)
    note = f"a reset in hand is good until {first:%Y-%m-%d %H:%M} UTC" if first else ""
    return tuple(windows.parse_reset_credits(content)), note


def _is_available(credit: Mapping[str, Any]) -> bool:
    return (parsing.parse_text(credit.get("status")) or "available").lower() == "available"


def _fetch_cached(request: Request, every: timedelta, now: datetime, provider_state: ProviderState) -> JsonConversation:
    """The answer, asked for so seldom; {} where there is none, which costs nothing else."""
    until, content = provider_state.get(request.url, (now, {}))
    if now < until:
        return dict(content)
    try:
        content = parsing.parse_response((yield request), name="Codex", sign_in_hint="")
    except OfflineError:
        return {}  # it was never asked
    except ProviderError as error:
        wait = error.retry_after if isinstance(error, RateLimitedError) else None
        provider_state[request.url] = now + max(REFUSAL_COOLDOWN, wait or REFUSAL_COOLDOWN), {}
        return {}
    provider_state[request.url] = now + every, content
    return content


# --- Whose a personal access token is, because it does not say so itself


WHOAMI_URL = "https://auth.openai.com/api/accounts/v1/user-auth-credential/whoami"


class TokenOwner(NamedTuple):
    """Whose a personal access token is; empty where it is not said."""

    account_id: str = ""
    plan: str = ""
    email: str = ""


def fetch_owner(
    token: str, headers: Mapping[str, str], provider_state: ProviderState
) -> Generator[Request, Response, TokenOwner]:
    """Whose the token is, asked once; nobody where it is not said, which costs no reading."""
    if provider_state.get("owner_of") != token:
        provider_state["owner_of"], provider_state["owner"] = token, TokenOwner()
        try:
            content = parsing.parse_response(
                (yield Request(url=WHOAMI_URL, headers=headers)), name="Codex", sign_in_hint=""
            )
            names = ("chatgpt_account_id", "chatgpt_plan_type", "email")
            provider_state["owner"] = TokenOwner(*(parsing.parse_text(content.get(name)) or "" for name in names))
        except ProviderError as error:
            if isinstance(error, OfflineError):
                del provider_state["owner_of"]  # it was never asked
    owner: TokenOwner = provider_state["owner"]
    return owner
