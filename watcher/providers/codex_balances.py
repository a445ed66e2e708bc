"""What Codex's answer counts beside its windows: credits, resets in hand, and a limit set for this person.

Never put a window with a length here, nor how to ask.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from watcher.core.model import Kind, Reading
from watcher.providers import answers

RESETS, LIMIT = "reset_credits", "individual_limit"
_NO_LIMIT = frozenset({"none", "disabled", "off", "no_limit"})


def read(content: Mapping[str, Any], at: datetime) -> Iterator[Reading]:
    """Each of them that the usage answer says anything of."""
    yield from _credits(content.get("credits"))
    yield from individual(content, at)
    yield from resets(content.get("rate_limit_reset_credits"))


def _credits(value: object) -> Iterator[Reading]:
    fields = value if isinstance(value, dict) else {"balance": value}
    unlimited = fields.get("unlimited") is True
    balance = None if unlimited else answers.decimal(fields.get("balance"))
    if unlimited or balance is not None:
        yield Reading(
            window="credits", kind=Kind.BALANCE, label="credits", remaining=balance, unit="credits", unlimited=unlimited
        )


def resets(value: object) -> Iterator[Reading]:
    """How often the person may still start a window anew: `{available_count}`."""
    count = answers.count(answers.mapping(value).get("available_count"))
    if count is not None:
        yield Reading(
            window=RESETS, kind=Kind.BALANCE, label="resets in hand", remaining=answers.decimal(count), unit="resets"
        )


def individual(content: Mapping[str, Any], at: datetime) -> Iterator[Reading]:
    """A limit set for this person, from the first of three places that says anything of it."""
    for holder in (content, content.get("rate_limit"), content.get("spend_control")):
        fields = answers.mapping(answers.mapping(holder).get(LIMIT))
        used, limit, remaining = (answers.decimal(fields.get(name)) for name in ("used", "limit", "remaining"))
        used_percent = answers.percent(fields.get("used_percent"))
        left = answers.number(fields.get("remaining_percent"))
        if used_percent is None:
            used_percent = max(0.0, 100 - left) if left is not None else answers.ratio(used, limit)
        if used_percent is None and used is None and remaining is None:
            continue
        ends = (answers.instant(fields.get(name)) for name in ("resets_at", "reset_at", "resetsAt"))
        yield Reading(
            window=LIMIT,
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


def monthly(content: Mapping[str, Any]) -> Iterator[Reading]:
    """The same limit as a workspace's spend controls tell it.

    `{current_month_usage, effective_monthly_limit: {limit, enforcement_mode, limit_mode}}`: a limit that is switched
    off, missing or nothing is told as none, so that an alert on it can end.
    """
    fields = answers.mapping(content.get("effective_monthly_limit"))
    used, limit = answers.decimal(content.get("current_month_usage")), answers.decimal(fields.get("limit"))
    mode = answers.slug(answers.text(fields.get("enforcement_mode")) or "")
    unlimited = mode in _NO_LIMIT or not limit
    if used is None or used < 0:
        return
    yield Reading(
        window=LIMIT,
        kind=Kind.OTHER,
        label="individual limit",
        used_percent=None if unlimited else answers.ratio(used, limit),
        used=used,
        limit=None if unlimited else limit,
        remaining=None if unlimited or limit is None else limit - used,
        unit="credits",
        unlimited=unlimited,
    )
