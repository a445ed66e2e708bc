"""What Codex's answer counts beside its windows: credits, resets in hand, and a limit set for this person.

Never put a window with a length here, nor how to ask.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from watcher.core.model import Reading, WindowKind
from watcher.providers import answers

RESET_CREDITS_WINDOW, INDIVIDUAL_LIMIT_WINDOW = "reset_credits", "individual_limit"
_NO_LIMIT_MODES = frozenset({"none", "disabled", "off", "no_limit"})


def parse_balances(content: Mapping[str, Any], at: datetime) -> Iterator[Reading]:
    """Each of them that the usage answer says anything of."""
    yield from _parse_credits(content.get("credits"))
    yield from parse_individual_limit(content, at)
    yield from parse_reset_credits(content.get("rate_limit_reset_credits"))


def _parse_credits(value: object) -> Iterator[Reading]:
    fields = value if isinstance(value, dict) else {"balance": value}
    unlimited = fields.get("unlimited") is True
    balance = None if unlimited else answers.parse_decimal(fields.get("balance"))
    if unlimited or balance is not None:
        yield Reading(
            window="credits",
            kind=WindowKind.BALANCE,
            label="credits",
            remaining=balance,
            unit="credits",
            unlimited=unlimited,
        )


def parse_reset_credits(value: object) -> Iterator[Reading]:
    """How often the person may still start a window anew: `{available_count}`."""
    count = answers.parse_count(answers.as_mapping(value).get("available_count"))
    if count is not None:
        yield Reading(
            window=RESET_CREDITS_WINDOW,
            kind=WindowKind.BALANCE,
            label="resets in hand",
            remaining=answers.parse_decimal(count),
            unit="resets",
        )


def parse_individual_limit(content: Mapping[str, Any], at: datetime) -> Iterator[Reading]:
    """A limit set for this person, from the first of three places that says anything of it."""
    for holder in (content, content.get("rate_limit"), content.get("spend_control")):
        fields = answers.as_mapping(answers.as_mapping(holder).get(INDIVIDUAL_LIMIT_WINDOW))
        used, limit, remaining = (answers.parse_decimal(fields.get(name)) for name in ("used", "limit", "remaining"))
        used_percent = answers.parse_percent(fields.get("used_percent"))
        left = answers.parse_number(fields.get("remaining_percent"))
        if used_percent is None:
            used_percent = max(0.0, 100 - left) if left is not None else answers.compute_percent(used, limit)
        if used_percent is None and used is None and remaining is None:
            continue
        ends = (answers.parse_timestamp(fields.get(name)) for name in ("resets_at", "reset_at", "resetsAt"))
        yield Reading(
            window=INDIVIDUAL_LIMIT_WINDOW,
            kind=WindowKind.OTHER,
            label="individual limit",
            used_percent=used_percent,
            used=used,
            limit=limit,
            remaining=remaining,
            unit="credits",
            resets_at=next((end for end in ends if end), None)
            or answers.add_seconds(at, fields.get("reset_after_seconds")),
        )
        return


def parse_monthly_limit(content: Mapping[str, Any]) -> Iterator[Reading]:
    """The same limit as a workspace's spend controls tell it.

    `{current_month_usage, effective_monthly_limit: {limit, enforcement_mode, limit_mode}}`: a limit that is switched
    off, missing or nothing is told as none, so that an alert on it can end.
    """
    fields = answers.as_mapping(content.get("effective_monthly_limit"))
    used, limit = answers.parse_decimal(content.get("current_month_usage")), answers.parse_decimal(fields.get("limit"))
    mode = answers.slugify(answers.parse_text(fields.get("enforcement_mode")) or "")
    unlimited = mode in _NO_LIMIT_MODES or not limit
    if used is None or used < 0:
        return
    yield Reading(
        window=INDIVIDUAL_LIMIT_WINDOW,
        kind=WindowKind.OTHER,
        label="individual limit",
        used_percent=None if unlimited else answers.compute_percent(used, limit),
        used=used,
        limit=None if unlimited else limit,
        remaining=None if unlimited or limit is None else limit - used,
        unit="credits",
        unlimited=unlimited,
    )
