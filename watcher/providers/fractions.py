"""Quotas that Google gives per model as the fraction that is left: what Gemini CLI and Antigravity have in common.

A fraction is 0..1 and says what remains; readings say what is used. A missing fraction may mean exhausted (proto3 does
not send 0) or nothing at all, so it stays unknown and `describe_unknown` says so. Never put an endpoint here.
"""

import math
from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from watcher.core.model import Reading, WindowKind
from watcher.providers.parsing import parse_number, parse_timestamp, slugify


def compute_used_percent(remaining_fraction: float | None) -> float | None:
    """Percent used, 0..100, from the fraction left; None where that is unknown or no finite number."""
    if remaining_fraction is None or not math.isfinite(remaining_fraction):
        return None
    return float((1 - min(max(Decimal(str(remaining_fraction)), Decimal(0)), Decimal(1))) * 100)


def make_reading(label: str, remaining_fraction: float | None, resets_at: datetime | None, **fields: Any) -> Reading:
    """The reading of one model or pool; `fields` are further fields of it."""
    fields.setdefault("kind", WindowKind.OTHER)
    return Reading(
        window=slugify(label) or "unnamed",
        label=label,
        used_percent=compute_used_percent(remaining_fraction),
        resets_at=resets_at,
        **fields,
    )


def parse_reading(label: str, quota: Mapping[str, Any], **fields: Any) -> Reading:
    """The reading of an object `{remainingFraction, resetTime}`, either of which may be anything."""
    return make_reading(
        label, parse_number(quota.get("remainingFraction")), parse_timestamp(quota.get("resetTime")), **fields
    )


def describe_unknown(readings: Iterable[Reading]) -> list[str]:
    """Sentences about what is unknown, at most one; for a snapshot's note."""
    unknown = [each.label for each in readings if each.used_percent is None]
    return [f"not said how much is left (possibly exhausted): {', '.join(unknown)}"] if unknown else []
