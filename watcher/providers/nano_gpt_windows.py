"""The windows in Nano-GPT's answer, of both generations: by requests, and by tokens since 2026-02.

`percentUsed` is documented as a fraction and was seen as a percentage too, so used/limit decides wherever both are
known. Never ask anybody here; under which names things stand is known to `nano_gpt_fields`.
"""

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

from msgspec import Struct

from watcher.core.model import Kind, Reading
from watcher.providers import answers
from watcher.providers import nano_gpt_fields as names
from watcher.providers.nano_gpt_fields import Shape


class Window(Struct, frozen=True):
    """One window: how the answer has it, and what it is called here."""

    shape: Shape
    window: str
    unit: str
    seconds: int | None  # None: a calendar month

    @property
    def label(self) -> str:
        """For people."""
        return self.window.replace("_", " ") if self.unit != "requests" else f"{self.window} requests"


DAILY = Window(Shape("daily"), "daily", "requests", answers.DAY)
DAILY_TOKENS = Window(
    Shape("dailyInputTokens", ("dailyInputToken",), "daily"), "daily_input_tokens", "tokens", answers.DAY
)
WEEKLY_TOKENS = Window(
    Shape("weeklyInputTokens", ("weekly", "weeklyInputToken"), "weekly"), "weekly_input_tokens", "tokens", answers.WEEK
)
WINDOWS = (
    DAILY,
    Window(Shape("monthly"), "monthly", "requests", None),
    WEEKLY_TOKENS,
    DAILY_TOKENS,
    Window(Shape("dailyImages", ("dailyImage",)), "daily_images", "images", answers.DAY),
)


def read(content: Mapping[str, Any]) -> list[Reading]:
    """One reading for each window that the answer has, of either generation; none of an inactive subscription."""
    if is_inactive(content):
        return []
    return [
        _reading(each, content, fields, limit)
        for each, fields, limit in _windows(content)
        if content.get(each.shape.id, ...) is not None  # null says that there is no such quota, whatever its limit was
        and (fields or limit is not None)
    ]


def is_inactive(content: Mapping[str, Any]) -> bool:
    """Whether the answer says that there is no subscription."""
    return content.get("active") is False or content.get("state") == "inactive"


def names_any(content: Mapping[str, Any]) -> bool:
    """Whether the answer is one about usage at all."""
    return any(name in content for name in ("limits", "active", "state", *(each.shape.id for each in WINDOWS)))


def _windows(content: Mapping[str, Any]) -> Iterator[tuple[Window, dict[str, Any], Decimal | None]]:
    """Every window with its fields and its limit. Where days are counted in tokens `limits.daily` is of tokens too."""
    by_tokens = bool(names.fields(content, DAILY_TOKENS.shape)) and not names.fields(content, DAILY.shape)
    for each in WINDOWS:
        fields, limit = names.fields(content, each.shape), names.limit(content, each.shape)
        if by_tokens and each is DAILY:
            continue
        if by_tokens and each is DAILY_TOKENS and limit is None:
            limit = names.limit(content, DAILY.shape)
        yield each, fields, limit


def _reading(each: Window, content: Mapping[str, Any], fields: Mapping[str, Any], limit: Decimal | None) -> Reading:
    used, left = answers.decimal(names.first(fields, names.USED)), answers.decimal(names.first(fields, names.LEFT))
    if used is None and left is not None and limit is not None:
        used = limit - left
    if left is None and used is not None and limit is not None:
        left = limit - used
    if limit is None and used is not None and left is not None:
        limit = used + left
    ends = answers.mapping(content.get("period")).get("currentPeriodEnd") if each.window == "monthly" else None
    return Reading(
        window=each.window,
        kind=answers.kind_of(each.seconds) if each.seconds else Kind.MONTHLY,
        label=each.label,
        used_percent=_percent(used, limit, names.first(fields, names.PERCENT)),
        used=used,
        limit=limit,
        remaining=left,
        unit=each.unit,
        resets_at=answers.instant(names.first(fields, names.RESET)) or answers.instant(ends),
        window_seconds=each.seconds,
    )


def _percent(used: Decimal | None, limit: Decimal | None, said: object) -> float | None:
    """Used of limit; else what was said: a text with % as it is, a plain number as a fraction. Of nothing: unknown."""
    computed = answers.ratio(used, limit)
    if computed is not None or limit == 0:
        return computed
    if isinstance(said, str) and said.strip().endswith("%"):
        return answers.percent(said.strip()[:-1])
    fraction = answers.percent(said)
    return None if fraction is None else answers.finite(fraction * 100)
