"""The windows in Nano-GPT's answer, of both generations, under every name that they were seen under.

`percentUsed` is documented as a fraction and was seen as a percentage too, so used/limit decides wherever both are
known. Never ask anybody here.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

from watcher.core.model import Kind, Reading
from watcher.providers import answers

WINDOWS = (  # id in the answer, its aliases for the limit, window, unit, length, label
    ("daily", ("daily",), "daily", "requests", answers.DAY, "daily requests"),
    ("monthly", ("monthly",), "monthly", "requests", None, "monthly requests"),
    (
        "weeklyInputTokens",
        ("weekly", "weeklyInputToken"),
        "weekly_input_tokens",
        "tokens",
        answers.WEEK,
        "weekly input tokens",
    ),
    ("dailyInputTokens", ("dailyInputToken",), "daily_input_tokens", "tokens", answers.DAY, "daily input tokens"),
    ("dailyImages", ("dailyImage",), "daily_images", "images", answers.DAY, "daily images"),
)
USED = ("used", "usage", "inputTokensUsed", "usedTokens")
LEFT = ("remaining", "left")
PERCENT = ("percentUsed", "usagePercent")
RESET = ("resetAt", "nextResetAt")
FLAT = ("used", "remaining", "percentUsed", "resetAt")  # with more, `dailyInputTokensUsed` would be `daily`'s too


def read(content: Mapping[str, Any]) -> list[Reading]:
    """One reading for each window that the answer has, of either generation; none of an inactive subscription."""
    if content.get("active") is False or content.get("state") == "inactive":
        return []
    return list(_readings(content))


def names_any(content: Mapping[str, Any]) -> bool:
    """Whether the answer is one about usage at all."""
    return any(name in content for name in ("limits", "active", "state", *(each[0] for each in WINDOWS)))


def _readings(content: Mapping[str, Any]) -> Iterator[Reading]:
    ends = answers.instant(answers.mapping(content.get("period")).get("currentPeriodEnd"))
    for id_, aliases, window, unit, seconds, label in WINDOWS:
        if content.get(id_, ...) is None:
            continue  # null says that there is no such quota, whatever its limit was
        fields = _fields(content, id_)
        limit = _limit(content, id_, aliases)
        if not fields and limit is None:
            continue
        used, left = answers.decimal(_first(fields, USED)), answers.decimal(_first(fields, LEFT))
        if used is None and left is not None and limit is not None:
            used = limit - left
        if left is None and used is not None and limit is not None:
            left = limit - used
        if limit is None and used is not None and left is not None:
            limit = used + left
        yield Reading(
            window=window,
            kind=answers.kind_of(seconds) if seconds else Kind.MONTHLY,
            label=label,
            used_percent=_percent(used, limit, _first(fields, PERCENT)),
            used=used,
            limit=limit,
            remaining=left,
            unit=unit,
            resets_at=answers.instant(_first(fields, RESET)) or (ends if window == "monthly" else None),
            window_seconds=seconds,
        )


def _percent(used: Decimal | None, limit: Decimal | None, said: object) -> float | None:
    """Used of limit; else what was said: a text with % as it is, a plain number as a fraction."""
    computed = answers.ratio(used, limit)
    if computed is not None:
        return computed
    if isinstance(said, str) and said.strip().endswith("%"):
        return answers.percent(said.strip()[:-1])
    fraction = answers.percent(said)
    return None if fraction is None else answers.finite(fraction * 100)


def _fields(content: Mapping[str, Any], id_: str) -> dict[str, Any]:
    """The window's fields: its own object, one inside `inputTokens`, or flat with its id in front of each name."""
    holders = (content, *(answers.mapping(content.get(name)) for name in ("inputTokens", "input_tokens")))
    for holder in holders:
        for name in (id_, _snake(id_)):
            if isinstance(holder.get(name), dict):
                return dict(holder[name])
    flat = {}
    for name in FLAT:
        key = id_ + name[0].upper() + name[1:]
        for spelling in (key, _snake(key)):
            if spelling in content:
                flat[name] = content[spelling]
    return flat


def _limit(content: Mapping[str, Any], id_: str, aliases: Sequence[str]) -> Decimal | None:
    """The window's limit under any of its names; a negative one is none."""
    limits = answers.mapping(content.get("limits"))
    own = answers.mapping(content.get(id_))
    names = [each for name in (id_, *aliases) for each in (name, f"{name}Limit")]
    for name in names:
        for spelling in (name, _snake(name)):
            found = answers.decimal(limits.get(spelling))
            if found is not None and found >= 0:
                return found
    flat = next((content[each] for each in (f"{id_}Limit", _snake(f"{id_}Limit")) if each in content), own.get("limit"))
    return answers.decimal(flat)


def _first(fields: Mapping[str, Any], names: Sequence[str]) -> Any:
    """The first of those names, in either spelling, that is not null."""
    spellings = (spelling for name in names for spelling in (name, _snake(name)))
    return next((fields[each] for each in spellings if fields.get(each) is not None), None)


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()
