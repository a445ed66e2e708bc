"""What Antigravity's language server says is left: pools with a cadence, and models.

Observed only; last checked 2026-11-22. `RetrieveUserQuotaSummary`: `groups[{displayName, buckets[{bucketId,
displayName, description, disabled, resetTime, remainingFraction | remaining}]}]`, bare or inside `response` or
`summary`; `GetUserStatus` and `GetCommandModelConfigs`: `clientModelConfigs[{label, quotaInfo{remainingFraction,
resetTime}}]`. Never ask anybody here.
"""

import re
from collections.abc import Mapping
from typing import Any

from msgspec import structs

from watcher.core.model import Reading
from watcher.providers import answers, fractions

LENGTH_PATTERNS = (
    (re.compile(r"\b(session|5h|5 hours?|five hours?)\b"), 5 * answers.HOUR_S),
    (re.compile(r"\bweekly\b"), answers.WEEK_S),
)


def parse_models(configs: object) -> list[Reading]:
    """One reading for each model that has a quota."""
    found = []
    for config in answers.as_mappings(configs):
        label, quota = answers.parse_text(config.get("label")), config.get("quotaInfo")
        if label and isinstance(quota, dict):
            found.append(fractions.parse_reading(label, quota, source="server"))
    return found


def parse_summary(summary: Mapping[str, Any]) -> list[Reading]:
    """One reading for each bucket of each group, wherever the groups are."""
    wrapped = [answers.as_mapping(summary.get(name)).get("groups") for name in ("response", "summary")]
    groups = next((each for each in (summary.get("groups"), *wrapped) if each), None)
    return [
        _parse_pool(group, bucket)
        for group in answers.as_mappings(groups)
        for bucket in answers.as_mappings(group.get("buckets"))
    ]


def _parse_pool(group: Mapping[str, Any], bucket: Mapping[str, Any]) -> Reading:
    names = [answers.parse_text(each) or "" for each in (group.get("displayName"), bucket.get("displayName"))]
    label = ": ".join(name for name in names if name)
    id_ = answers.parse_text(bucket.get("bucketId")) or label
    words = (
        f"{id_} {label} {answers.parse_text(bucket.get('description')) or ''}".lower()
        .replace("_", " ")
        .replace("-", " ")
    )
    seconds = next((length for pattern, length in LENGTH_PATTERNS if pattern.search(words)), None)
    reading = fractions.make_reading(
        id_,
        _parse_remaining_fraction(bucket),
        answers.parse_timestamp(bucket.get("resetTime")),
        kind=answers.classify_window(seconds),
        source="server",
    )
    return structs.replace(reading, label=label or id_, window_seconds=seconds)


def _parse_remaining_fraction(bucket: Mapping[str, Any]) -> float | None:
    """The fraction left in any of its three spellings; None where the bucket is disabled."""
    if bucket.get("disabled"):
        return None
    inner = answers.as_mapping(bucket.get("remaining"))
    value = inner.get("value") if inner.get("case") == "remainingFraction" else inner.get("remainingFraction")
    said = bucket.get("remainingFraction")
    return answers.parse_number(value if said is None else said)


def parse_plan(status: Mapping[str, Any]) -> str | None:
    """The plan's name for people; None where the answer does not say."""
    info = answers.as_mapping(answers.as_mapping(status.get("planStatus")).get("planInfo"))
    names = ("planDisplayName", "displayName", "productName", "planName", "planShortName")
    tier = answers.parse_text(answers.as_mapping(status.get("userTier")).get("name"))
    return tier or next((name for name in (answers.parse_text(info.get(key)) for key in names) if name), None)
