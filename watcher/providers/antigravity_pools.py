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

LENGTHS = (
    (re.compile(r"\b(session|5h|5 hours?|five hours?)\b"), 5 * answers.HOUR),
    (re.compile(r"\bweekly\b"), answers.WEEK),
)


def of_models(configs: object) -> list[Reading]:
    """One reading for each model that has a quota."""
    found = []
    for config in answers.mappings(configs):
        label, quota = answers.text(config.get("label")), config.get("quotaInfo")
        if label and isinstance(quota, dict):
            found.append(fractions.from_json(label, quota, source="server"))
    return found


def of_summary(summary: Mapping[str, Any]) -> list[Reading]:
    """One reading for each bucket of each group, wherever the groups are."""
    wrapped = [answers.mapping(summary.get(name)).get("groups") for name in ("response", "summary")]
    groups = next((each for each in (summary.get("groups"), *wrapped) if each), None)
    return [
        _pool(group, bucket) for group in answers.mappings(groups) for bucket in answers.mappings(group.get("buckets"))
    ]


def _pool(group: Mapping[str, Any], bucket: Mapping[str, Any]) -> Reading:
    names = [answers.text(each) or "" for each in (group.get("displayName"), bucket.get("displayName"))]
    label = ": ".join(name for name in names if name)
    id_ = answers.text(bucket.get("bucketId")) or label
    words = f"{id_} {label} {answers.text(bucket.get('description')) or ''}".lower().replace("_", " ").replace("-", " ")
    seconds = next((length for pattern, length in LENGTHS if pattern.search(words)), None)
    reading = fractions.reading(
        id_,
        _left(bucket),
        answers.instant(bucket.get("resetTime")),
        kind=answers.kind_of(seconds),
        source="server",
    )
    return structs.replace(reading, label=label or id_, window_seconds=seconds)


def _left(bucket: Mapping[str, Any]) -> float | None:
    """The fraction left in any of its three spellings; None where the bucket is disabled."""
    if bucket.get("disabled"):
        return None
    inner = answers.mapping(bucket.get("remaining"))
    value = inner.get("value") if inner.get("case") == "remainingFraction" else inner.get("remainingFraction")
    said = bucket.get("remainingFraction")
    return answers.number(value if said is None else said)


def plan(status: Mapping[str, Any]) -> str | None:
    """The plan's name for people; None where the answer does not say."""
    info = answers.mapping(answers.mapping(status.get("planStatus")).get("planInfo"))
    names = ("planDisplayName", "displayName", "productName", "planName", "planShortName")
    tier = answers.text(answers.mapping(status.get("userTier")).get("name"))
    return tier or next((name for name in (answers.text(info.get(key)) for key in names) if name), None)
