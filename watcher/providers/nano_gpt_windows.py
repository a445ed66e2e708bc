"""The windows in Nano-GPT's answer, of both generations: by requests, and by tokens since 2026-02.

`percentUsed` is documented as a fraction and was seen as a percentage too, so used/limit decides wherever both are
known. Never ask anybody here; under which names things stand is known to `nano_gpt_fields`.
"""

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

from msgspec import Struct

from watcher.core.model import Reading, WindowKind
from watcher.providers import answers
from watcher.providers import nano_gpt_fields as names
from watcher.providers.nano_gpt_fields import FieldNames


class WindowSpec(Struct, frozen=True):
    """One window: how the answer has it, and what it is called here."""

    field_names: FieldNames
    window: str
    unit: str
    length_s: int | None  # None: a calendar month

    @property
    def label(self) -> str:
        """For people."""
        return self.window.replace("_", " ") if self.unit != "requests" else f"{self.window} requests"


DAILY = WindowSpec(FieldNames("daily"), "daily", "requests", answers.DAY_S)
DAILY_TOKENS = WindowSpec(
    FieldNames("dailyInputTokens", ("dailyInputToken",), "daily"), "daily_input_tokens", "tokens", answers.DAY_S
)
WEEKLY_TOKENS = WindowSpec(
    FieldNames("weeklyInputTokens", ("weekly", "weeklyInputToken"), "weekly"),
    "weekly_input_tokens",
    "tokens",
    answers.WEEK_S,
)
WINDOWS = (
    DAILY,
    WindowSpec(FieldNames("monthly"), "monthly", "requests", None),
    WEEKLY_TOKENS,
    DAILY_TOKENS,
    WindowSpec(FieldNames("dailyImages", ("dailyImage",)), "daily_images", "images", answers.DAY_S),
)


def parse_readings(content: Mapping[str, Any]) -> list[Reading]:
    """One reading for each window that the answer has, of either generation; none of an inactive subscription."""
    if is_inactive(content):
        return []
    return [
        _make_reading(each, content, fields, limit)
        for each, fields, limit in _iter_windows(content)
        if content.get(each.field_names.id, ...)
        is not None  # null says that there is no such quota, whatever its limit was
        and (fields or limit is not None)
    ]


def is_inactive(content: Mapping[str, Any]) -> bool:
    """Whether the answer says that there is no subscription."""
    return content.get("active") is False or content.get("state") == "inactive"


def has_usage(content: Mapping[str, Any]) -> bool:
    """Whether the answer is one about usage at all."""
    return any(name in content for name in ("limits", "active", "state", *(each.field_names.id for each in WINDOWS)))


def _iter_windows(content: Mapping[str, Any]) -> Iterator[tuple[WindowSpec, dict[str, Any], Decimal | None]]:
    """Every window with its fields and its limit. Where days are counted in tokens `limits.daily` is of tokens too."""
    by_tokens = bool(names.get_fields(content, DAILY_TOKENS.field_names)) and not names.get_fields(
        content, DAILY.field_names
    )
    for each in WINDOWS:
        fields, limit = names.get_fields(content, each.field_names), names.get_limit(content, each.field_names)
        if by_tokens and each is DAILY:
            continue
        if by_tokens and each is DAILY_TOKENS and limit is None:
            limit = names.get_limit(content, DAILY.field_names)
        yield each, fields, limit


def _make_reading(
    spec: WindowSpec, content: Mapping[str, Any], fields: Mapping[str, Any], limit: Decimal | None
) -> Reading:
    used, left = (
        answers.parse_decimal(names.get_first(fields, names.USED_NAMES)),
        answers.parse_decimal(names.get_first(fields, names.REMAINING_NAMES)),
    )
    if used is None and left is not None and limit is not None:
        used = limit - left
    if left is None and used is not None and limit is not None:
        left = limit - used
    if limit is None and used is not None and left is not None:
        limit = used + left
    ends = answers.as_mapping(content.get("period")).get("currentPeriodEnd") if spec.window == "monthly" else None
    return Reading(
        window=spec.window,
        kind=answers.classify_window(spec.length_s) if spec.length_s else WindowKind.MONTHLY,
        label=spec.label,
        used_percent=_compute_percent(used, limit, names.get_first(fields, names.PERCENT_NAMES)),
        used=used,
        limit=limit,
        remaining=left,
        unit=spec.unit,
        resets_at=answers.parse_timestamp(names.get_first(fields, names.RESET_NAMES)) or answers.parse_timestamp(ends),
        window_seconds=spec.length_s,
    )


def _compute_percent(used: Decimal | None, limit: Decimal | None, reported: object) -> float | None:
    """Used of limit; else what was said: a text with % as it is, a plain number as a fraction. Of nothing: unknown."""
    computed = answers.compute_percent(used, limit)
    if computed is not None or limit == 0:
        return computed
    if isinstance(reported, str) and reported.strip().endswith("%"):
        return answers.parse_percent(reported.strip()[:-1])
    fraction = answers.parse_percent(reported)
    return None if fraction is None else answers.discard_huge(fraction * 100)
