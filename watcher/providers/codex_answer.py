"""What Codex's answer, and what was asked beside it, comes to: windows, whose they are, what the person should know.

The shape stands in `codex`. Never look for a login here.
"""

from collections.abc import Generator, Mapping
from typing import Any

from watcher.core.model import Reading, Request, Response, Snapshot
from watcher.credentials import OTHERS, Credential
from watcher.errors import ShapeChangedError
from watcher.providers import Kept, answers, codex_extras, codex_logins, codex_windows
from watcher.providers.codex_extras import Usage
from watcher.providers.codex_owner import Owner

ID, NAME = "codex", "Codex"


def read(credential: Credential, owner: Owner, usage: Usage, kept: Kept) -> Generator[Request, Response, Snapshot]:
    """The answer as a snapshot, with what only further requests tell; without any window the shape has changed."""
    content = usage.content
    readings = codex_windows.read(content, usage.at)
    if not readings:
        raise ShapeChangedError(
            f"{NAME}: no window in the answer (rate_limit, credits): look for a newer version of this program"
        )
    account = usage.headers.get("ChatGPT-Account-Id", "") or answers.text(content.get("account_id")) or ""
    further: tuple[Reading, ...] = yield from codex_extras.monthly(usage, account, kept)
    notes = [_note(content)]
    if credential.extra.get(codex_logins.RESETS):
        resets, note = yield from codex_extras.resets(usage, kept)
        further, notes = (*further, *resets), [*notes, note]
    known = {each.window for each in readings}
    return Snapshot(
        provider=ID,
        # beside other logins the workspace is the name: one person's two are two quotas, and joined by email
        account_name=owner.account
        if owner.account and credential.extra.get(OTHERS)
        else answers.text(content.get("email")) or owner.email,
        plan=answers.text(content.get("plan_type")) or credential.plan or owner.plan or None,
        at=usage.at,
        readings=(*readings, *(each for each in further if each.window not in known)),
        note="; ".join(filter(None, notes)) or None,
    )


def _note(content: Mapping[str, Any]) -> str:
    limit, spend = answers.mapping(content.get("rate_limit")), answers.mapping(content.get("spend_control"))
    if limit.get("limit_reached") is True or limit.get("allowed") is False:
        return "limit reached: Codex refuses work until the reset"
    return "spend limit reached" if spend.get("reached") is True else ""
