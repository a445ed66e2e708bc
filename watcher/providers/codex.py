"""Codex (ChatGPT subscriptions): `GET https://chatgpt.com/backend-api/wham/usage`.

Undocumented by its vendor, observed only; last checked 2026-09. The answer: `plan_type`, `rate_limit` with up to two
windows `{used_percent, limit_window_seconds, reset_after_seconds, reset_at}`, `additional_rate_limits`,
`code_review_rate_limit`, `credits`, `individual_limit`. Needs the ChatGPT access token of OpenCode or Codex.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from watcher.core.model import Kind, Reading, Request, Response, Snapshot
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
    readings = read(content, response.at)
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


def read(content: Mapping[str, Any], at: datetime) -> list[Reading]:
    """Every window that can be read; where two would have one name, the first is it."""
    found: dict[str, Reading] = {}
    for reading in (
        *codex_windows.read(content.get("rate_limit"), at),
        *_additional(content.get("additional_rate_limits"), at),
        *codex_windows.read(content.get("code_review_rate_limit"), at, "code_review", "code review ", answers.WEEK),
        *_credits(content.get("credits")),
        *_individual(content, at),
    ):
        found.setdefault(reading.window, reading)
    return list(found.values())


def _additional(entries: object, at: datetime) -> Iterator[Reading]:
    for entry in answers.mappings(entries):
        name = answers.text(entry.get("limit_name")) or answers.text(entry.get("metered_feature")) or ""
        if answers.slug(name):
            yield from codex_windows.read(entry.get("rate_limit"), at, answers.slug(name), f"{name} ")


def _credits(value: object) -> Iterator[Reading]:
    fields = value if isinstance(value, dict) else {"balance": value}
    unlimited = fields.get("unlimited") is True
    balance = None if unlimited else answers.decimal(fields.get("balance"))
    if unlimited or balance is not None:
        yield Reading(
            window="credits", kind=Kind.BALANCE, label="credits", remaining=balance, unit="credits", unlimited=unlimited
        )


def _individual(content: Mapping[str, Any], at: datetime) -> Iterator[Reading]:
    """A limit set for this person, from the first of three places that says anything of it."""
    for holder in (content, content.get("rate_limit"), content.get("spend_control")):
        fields = answers.mapping(answers.mapping(holder).get("individual_limit"))
        used, limit, remaining = (answers.decimal(fields.get(name)) for name in ("used", "limit", "remaining"))
        used_percent = answers.percent(fields.get("used_percent"))
        left = answers.number(fields.get("remaining_percent"))
        if used_percent is None:
            used_percent = max(0.0, 100 - left) if left is not None else answers.ratio(used, limit)
        if used_percent is None and used is None and remaining is None:
            continue
        ends = (answers.instant(fields.get(name)) for name in ("resets_at", "reset_at", "resetsAt"))
        yield Reading(
            window="individual_limit",
            kind=Kind.OTHER,
            label="individual limit",
            used_percent=used_percent,
            used=used,
            limit=limit,
            remaining=remaining,
            unit="credits",
            resets_at=next((end for end in ends if end), None) or answers.later(at, fields.get("reset_after_seconds")),
        )
        return


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
