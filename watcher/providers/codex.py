"""Codex (ChatGPT subscriptions): `GET https://chatgpt.com/backend-api/wham/usage`.

Undocumented by its vendor, observed only; last checked 2026-09. The answer: `plan_type`, `rate_limit` with up to two
windows `{used_percent, limit_window_seconds, reset_after_seconds, reset_at}`, `additional_rate_limits`,
`code_review_rate_limit`, `credits`, `individual_limit`. Needs the ChatGPT access token of OpenCode or Codex.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from watcher.core.model import Request, Response, Snapshot
from watcher.credentials import Credential, Surroundings, codex, opencode_plugins
from watcher.credentials.places import gather
from watcher.errors import ShapeChangedError
from watcher.providers import Conversation, Kept, Overrides, Provider, answers, codex_windows

ID, NAME, SIGN_IN = "codex", "Codex", "run `codex` once"
URL = "https://chatgpt.com/backend-api/wham/usage"


def find(surroundings: Surroundings, overrides: Overrides) -> Sequence[Credential]:
    """ChatGPT logins, OpenCode's first."""
    if overrides.token:
        return [codex.credential("config", "config", overrides.token)]
    path = overrides.credentials
    places = [partial(codex.from_opencode, surroundings, path), partial(codex.find, surroundings, path)]
    if path is None:
        places.append(partial(opencode_plugins.chatgpt, surroundings))
    return gather(*places)


def ask(credential: Credential, _now: datetime, _kept: Kept) -> Conversation:
    """One question, one answer."""
    headers = {
        "Authorization": f"Bearer {credential.token}",
        "Accept": "application/json",
        "User-Agent": "codex-cli",
    }
    if credential.extra.get("account_id"):
        headers["ChatGPT-Account-Id"] = credential.extra["account_id"]
    if credential.extra.get("personal"):
        headers |= {"User-Agent": "codex_cli_rs/0.50.0", "originator": "codex_cli_rs"}
    response: Response = yield Request(url=credential.extra.get("usage_url", URL), headers=headers)
    content = answers.read(response, name=NAME, sign_in=SIGN_IN)
    readings = codex_windows.read(content, response.at)
    if not readings:
        raise ShapeChangedError(
            f"{NAME}: no window in the answer (rate_limit, credits): look for a newer version of this program"
        )
    return Snapshot(
        provider=ID,
        account_name=answers.text(content.get("email")) or "",
        plan=answers.text(content.get("plan_type")) or credential.plan,
        at=response.at,
        readings=tuple(readings),
        note=_note(content),
    )


def _note(content: Mapping[str, Any]) -> str | None:
    limit, spend = answers.mapping(content.get("rate_limit")), answers.mapping(content.get("spend_control"))
    if limit.get("limit_reached") is True or limit.get("allowed") is False:
        return "limit reached: Codex refuses work until the reset"
    return "spend limit reached" if spend.get("reached") is True else None


PROVIDER = Provider(
    id=ID,
    name=NAME,
    page="https://chatgpt.com/codex/settings/usage",
    sign_in=SIGN_IN,
    primary=("five_hour", "weekly", "monthly"),
    find=find,
    ask=ask,
    floor=timedelta(minutes=2),
    default=timedelta(minutes=5),
    ceiling=timedelta(minutes=30),
)
