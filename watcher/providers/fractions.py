"""Quotas that Google gives per model as the fraction that is left: what Gemini CLI and Antigravity have in common.

A fraction is 0..1 and says what remains; readings say what is used. A missing fraction may mean exhausted (proto3 does
not send 0) or nothing at all, so it stays unknown and `doubts` says so. Never put an endpoint here.
"""

import math
from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from watcher.core.model import Kind, Reading
from watcher.providers.answers import instant, number, slug


def used_percent(left: float | None) -> float | None:
    """Percent used, 0..100, from the fraction left; None where that is unknown or no finite number."""
    if left is None or not math.isfinite(left):
        return None
    return float((1 - min(max(Decimal(str(left)), Decimal(0)), Decimal(1))) * 100)


def reading(label: str, left: float | None, resets_at: datetime | None, **more: Any) -> Reading:
    """The reading of one model or pool; `more` are further fields of it."""
    more.setdefault("kind", Kind.OTHER)
    return Reading(
        window=slug(label) or "unnamed", label=label, used_percent=used_percent(left), resets_at=resets_at, **more
    )


def from_json(label: str, quota: Mapping[str, Any], **more: Any) -> Reading:
    """The reading of an object `{remainingFraction, resetTime}`, either of which may be anything."""
    return reading(label, number(quota.get("remainingFraction")), instant(quota.get("resetTime")), **more)


def doubts(readings: Iterable[Reading]) -> list[str]:
    """Sentences about what is unknown, at most one; for a snapshot's note."""
    unknown = [each.label for each in readings if each.used_percent is None]
    return [f"not said how much is left (possibly exhausted): {', '.join(unknown)}"] if unknown else []
