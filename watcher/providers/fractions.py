"""Quotas that Google gives for each model as the fraction that is left: shared by Gemini CLI and Antigravity.

A fraction is 0..1 and is what remains; readings hold what is used. A missing fraction may mean exhausted (proto3 omits
0) or nothing at all, so it stays unknown and `describe_unknown` reports it.
"""

import math
from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from watcher.core.model import Reading, WindowKind
from watcher.providers.parsing import parse_number, parse_timestamp, slugify


def compute_used_percent(remaining_fraction: float | None) -> float | None:
    """Percent used, 0..100, from the fraction left; None if that is unknown or not finite."""
    if remaining_fraction is None or not math.isfinite(remaining_fraction):
        return None
    return float((1 - min(max(Decimal(str(remaining_fraction)), Decimal(0)), Decimal(1))) * 100)


def make_reading(name: str, remaining_fraction: float | None, resets_at: datetime | None, **fields: Any) -> Reading:
    """The reading of one model or pool; its label is its name unless `fields` has one."""
    return Reading(
        window=slugify(name) or "unnamed",
        used_percent=compute_used_percent(remaining_fraction),
        resets_at=resets_at,
        **{"kind": WindowKind.OTHER, "label": name, **fields},
    )


def parse_reading(name: str, quota: Mapping[str, Any], **fields: Any) -> Reading:
    """The reading of an object `{remainingFraction, resetTime}`, either of which may be anything."""
    return make_reading(
        name, parse_number(quota.get("remainingFraction")), parse_timestamp(quota.get("resetTime")), **fields
    )


def describe_unknown(readings: Iterable[Reading]) -> list[str]:
    """At most one sentence for a note, about readings without a value."""
    unknown = [each.label for each in readings if each.used_percent is None]
    return [f"not said how much is left (possibly exhausted): {', '.join(unknown)}"] if unknown else []
