"""What Copilot's answer says of each quota: a snapshot, a pair of the free plan, or nothing.

The order of the questions is the meaning: unlimited, the sentinel -1/-1, the placeholder 0/0, the percentage, the
counts, the free plan's pair. Remaining alone says nothing of unlimited: -1 of 300 is overage by one. Never ask anybody
here.
"""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from watcher.core.model import Reading, WindowKind
from watcher.providers import answers

RESET_FIELDS = ("quota_reset_date_utc", "quota_reset_date", "limited_user_reset_date")
UNITS = {"premium_interactions": "requests", "chat": "messages", "completions": "completions"}


def parse_readings(content: Mapping[str, Any]) -> list[Reading]:
    """One reading for each quota that says anything; [] also where all are placeholders."""
    snapshots = answers.as_mapping(content.get("quota_snapshots"))
    limits = answers.as_mapping(content.get("monthly_quotas"))
    left = answers.as_mapping(content.get("limited_user_quotas"))
    ids = [id_ for id_ in dict.fromkeys((*snapshots, *limits, *left)) if answers.slugify(id_)]
    resets_at = next(
        (reset for reset in (answers.parse_timestamp(content.get(name)) for name in RESET_FIELDS) if reset), None
    )
    found = []
    for id_ in ids:
        direct = _parse_quota(id_, answers.as_mapping(snapshots.get(id_)), resets_at) if id_ in snapshots else None
        monthly = _make_reading(
            id_, answers.parse_decimal(limits.get(id_)), answers.parse_decimal(left.get(id_)), resets_at
        )
        finite = monthly.used_percent is not None  # such a pair says more than a sentinel or a placeholder
        if finite and (direct is None or direct.unlimited or direct.used_percent is None):
            found.append(monthly)
        elif direct is not None:
            found.append(direct)
        elif id_ not in snapshots:
            found.append(monthly)
    return list({reading.window: reading for reading in found}.values())


def _parse_quota(id_: str, fields: Mapping[str, Any], resets_at: datetime | None) -> Reading | None:
    """The reading of one snapshot; None where it is a placeholder or says nothing at all."""
    limit, remaining = answers.parse_decimal(fields.get("entitlement")), answers.parse_decimal(fields.get("remaining"))
    if remaining is None:
        remaining = answers.parse_decimal(fields.get("quota_remaining"))
    overage = max(answers.parse_decimal(fields.get("overage_count")) or Decimal(0), Decimal(0))
    if fields.get("unlimited") is True or (limit == remaining == -1):
        return Reading(
            window=answers.slugify(id_),
            kind=WindowKind.MONTHLY,
            label=_make_label(id_),
            unit=_get_unit(id_),
            unlimited=True,
        )
    left = answers.parse_number(fields.get("percent_remaining"))
    if limit == 0 and not remaining and not overage and (left is None or left >= 0):
        return None
    if not remaining and overage:
        remaining = -overage
    if left is not None and left >= 0 and remaining is not None and remaining < 0:
        left = None  # clamped: the counts say more
    return _make_reading(id_, limit, remaining, resets_at, left)


def _make_reading(
    id_: str,
    limit: Decimal | None,
    remaining: Decimal | None,
    resets_at: datetime | None,
    percent_remaining: float | None = None,
) -> Reading:
    """A finite quota: its percentage as given, else from the counts."""
    limit = limit if limit is not None and limit > 0 else None
    used = limit - remaining if limit is not None and remaining is not None else None
    percent = max(0.0, 100 - percent_remaining) if percent_remaining is not None else None
    if percent is None and used is not None:
        percent = answers.compute_percent(max(used, Decimal(0)), limit)
    return Reading(
        window=answers.slugify(id_),
        kind=WindowKind.MONTHLY,
        label=_make_label(id_),
        used_percent=percent,
        used=used,
        limit=limit,
        remaining=remaining,
        unit=_get_unit(id_),
        resets_at=resets_at,
    )


def _make_label(id_: str) -> str:
    return id_.replace("_", " ")


def _get_unit(id_: str) -> str:
    return UNITS.get(id_, "requests")


def has_quotas(content: Mapping[str, Any]) -> bool:
    """Whether the answer has a quota in any of its forms, placeholders too."""
    return any(
        answers.as_mapping(content.get(name)) for name in ("quota_snapshots", "monthly_quotas", "limited_user_quotas")
    )
