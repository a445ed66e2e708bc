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
from watcher.providers import Kept, answers, codex_balances

NOBODYS = frozenset({"", "unknown", "guest", "free", "go", "plus", "pro", "prolite"})  # plans without a workspace
TOTAL_S = 4.0  # nobody waits longer for what is not needed
MONTHLY_EVERY, RESETS_EVERY = timedelta(minutes=15), timedelta(hours=1)
REST = timedelta(hours=1)  # after a refusal

Answer = Generator[Request, Response, Mapping[str, Any]]


class Usage(NamedTuple):
    """The usage as it was asked for and answered."""

    url: str
    headers: Mapping[str, str]
    content: Mapping[str, Any]
    at: datetime


def monthly(usage: Usage, account: str, kept: Kept) -> Generator[Request, Response, tuple[Reading, ...]]:
    """The limit set for this person by a workspace, where only its spend controls tell it; () elsewhere.

    Args:
        usage: what was just told.
        account: the workspace.
        kept: what was told the last time.
    """
    base, found, _ = usage.url.partition("/wham/usage")
    plan = (answers.text(usage.content.get("plan_type")) or "").lower()
    has_controls = isinstance(usage.content.get("spend_control"), dict)
    is_told = any(codex_balances.individual(usage.content, usage.at))
    if not (found and account and has_controls) or is_told or plan in NOBODYS:
        return ()
    url = f"{base}/accounts/{quote(account, safe='')}/spend-controls/current-user/monthly-usage"
    request = Request(url=url, headers=usage.headers, total_s=TOTAL_S)
    return tuple(codex_balances.monthly((yield from _ask(request, MONTHLY_EVERY, usage.at, kept))))


def resets(usage: Usage, kept: Kept) -> Generator[Request, Response, tuple[tuple[Reading, ...], str]]:
    """The resets in hand, where the usage does not count them, and a line that says until when they are good."""
    base, found, _ = usage.url.partition("/wham/usage")
    if not found:
        return (), ""
    headers = {**usage.headers, "OpenAI-Beta": "codex-1", "originator": "Codex Desktop"}
    request = Request(url=f"{base}/wham/rate-limit-reset-credits", headers=headers, total_s=TOTAL_S)
    content = yield from _ask(request, RESETS_EVERY, usage.at, kept)
    ends = [
        answers.instant(each.get("expires_at")) for each in answers.mappings(content.get("credits")) if _is_good(each)
    ]
    first = min((end for end in ends if end and end > usage.at), default=None)
    note = f"a reset in hand is good until {first:%Y-%m-%d %H:%M} UTC" if first else ""
    return tuple(codex_balances.resets(content)), note


def _is_good(credit: Mapping[str, Any]) -> bool:
    return (answers.text(credit.get("status")) or "available").lower() == "available"


def _ask(request: Request, every: timedelta, now: datetime, kept: Kept) -> Answer:
    """The answer, asked for so seldom; {} where there is none, which costs nothing else."""
    until, content = kept.get(request.url, (now, {}))
    if now < until:
        return dict(content)
    try:
        content = answers.read((yield request), name="Codex", sign_in="")
    except OfflineError:
        return {}  # it was never asked
    except ProviderError as error:
        wait = error.retry_after if isinstance(error, RateLimitedError) else None
        kept[request.url] = now + max(REST, wait or REST), {}
        return {}
    kept[request.url] = now + every, content
    return content
