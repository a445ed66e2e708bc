"""What Codex's answer, and what was asked beside it, comes to: windows, whose they are, what the person should know.

The shape stands in `codex`. Never look for a login here.
"""

from collections.abc import Generator, Mapping
from typing import Any

from watcher.core.model import Reading, Request, Response, Snapshot
from watcher.credentials import OWNER_UNKNOWN_KEY, Credential
from watcher.errors import ShapeChangedError
from watcher.providers import ProviderState, answers, codex_extras, codex_logins, codex_windows
from watcher.providers.codex_extras import UsageResponse
from watcher.providers.codex_owner import TokenOwner

ID, NAME = "codex", "Codex"


def build_snapshot(
    credential: Credential, owner: TokenOwner, usage: UsageResponse, provider_state: ProviderState
) -> Generator[Request, Response, Snapshot]:
    """The answer as a snapshot, with what only further requests tell; without any window the shape has changed."""
    content = usage.content
    readings = codex_windows.parse_readings(content, usage.at)
    if not readings:
        raise ShapeChangedError(
            f"{NAME}: no window in the answer (rate_limit, credits): look for a newer version of this program"
        )
    account = usage.headers.get("ChatGPT-Account-Id", "") or answers.parse_text(content.get("account_id")) or ""
    further: tuple[Reading, ...] = yield from codex_extras.fetch_monthly_limit(usage, account, provider_state)
    notes = [_describe_limit_reached(content)]
    if credential.extra.get(codex_logins.RESET_CREDITS_KEY):
        resets, note = yield from codex_extras.fetch_reset_credits(usage, provider_state)
        further, notes = (*further, *resets), [*notes, note]
    known = {each.window for each in readings}
    return Snapshot(
        provider=ID,
        # beside other logins the workspace is the name: one person's two are two quotas, and joined by email
        account_name=owner.account_id
        if owner.account_id and credential.extra.get(OWNER_UNKNOWN_KEY)
        else answers.parse_text(content.get("email")) or owner.email,
        plan=answers.parse_text(content.get("plan_type")) or credential.plan or owner.plan or None,
        at=usage.at,
        readings=(*readings, *(each for each in further if each.window not in known)),
        note="; ".join(filter(None, notes)) or None,
    )


def _describe_limit_reached(content: Mapping[str, Any]) -> str:
    limit, spend = answers.as_mapping(content.get("rate_limit")), answers.as_mapping(content.get("spend_control"))
    if limit.get("limit_reached") is True or limit.get("allowed") is False:
        return "limit reached: Codex refuses work until the reset"
    return "spend limit reached" if spend.get("reached") is True else ""
