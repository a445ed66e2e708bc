"""The windows in Claude's answer: the API's own keys, weekly limits of single models, and money past the subscription.

A key that nobody has told of is a window all the same if it has a `utilization`. Never put here how to ask.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from msgspec.structs import replace

from watcher.core.model import Reading, WindowKind
from watcher.providers import answers

NON_WINDOW_KEYS = frozenset({"extra_usage", "limits"})
SHARED_WINDOWS = frozenset(
    {"seven_day_design", "seven_day_omelette", "iguana_necktie"}
)  # count against a limit shown already
ROUTINES_KEYS = (  # names of one window over time: the first that is filled in is it
    *("seven_day_cowork", "seven_day_routines", "seven_day_claude_routines"),
    *("claude_routines", "routines", "routine", "cowork"),
)


def parse_readings(content: Mapping[str, Any]) -> list[Reading]:
    """Every window that can be read, in the answer's order, money last."""
    filled = [
        name
        for name in ROUTINES_KEYS
        if answers.parse_percent(answers.as_mapping(content.get(name)).get("utilization")) is not None
    ]
    found: dict[str, Reading] = {}
    for key, value in content.items():
        if key in NON_WINDOW_KEYS or key in filled[1:]:
            continue
        window, fields = answers.slugify(key), answers.as_mapping(value)
        reading = _parse_window(window, _make_label(window), fields.get("utilization"), fields.get("resets_at"))
        if reading is not None:
            found.setdefault(window, reading)
    for entry in answers.as_mappings(content.get("limits")):
        reading = _parse_limit(entry)
        if reading is not None:
            found.setdefault(reading.window, reading)
    extra = _parse_extra_usage(answers.as_mapping(content.get("extra_usage")))
    return [*found.values(), *([extra] if extra else [])]


def _parse_window(window: str, label: str, utilization: object, resets_at: object) -> Reading | None:
    weekly = window.startswith("seven_day") or window in ROUTINES_KEYS
    seconds = answers.WEEK_S if weekly else 5 * answers.HOUR_S if window == "five_hour" else None
    reading = answers.make_percent_reading(window, label, utilization, seconds, answers.parse_timestamp(resets_at))
    return replace(reading, low_confidence=True) if reading and window in SHARED_WINDOWS else reading


def _make_label(window: str) -> str:
    if window == "five_hour":
        return "5-hour window"
    if window in ROUTINES_KEYS:
        return "weekly routines window"
    if window.startswith("seven_day"):
        model = window.removeprefix("seven_day").replace("_", " ").strip().title()
        return f"weekly {model} window" if model else "weekly window"
    return f"{window.replace('_', ' ')} window"


def _parse_limit(entry: Mapping[str, Any]) -> Reading | None:
    """One of `limits`. The plain ones repeat `five_hour` and `seven_day`, and count only where those are missing."""
    plain = {"session": "five_hour", "weekly_all": "seven_day"}.get(str(entry.get("kind")))
    if plain is not None:
        return _parse_window(plain, _make_label(plain), entry.get("percent"), entry.get("resets_at"))
    name = answers.parse_text(
        answers.as_mapping(answers.as_mapping(entry.get("scope")).get("model")).get("display_name")
    )
    if entry.get("kind") != "weekly_scoped" or entry.get("group") != "weekly" or name is None:
        return None
    word = answers.slugify(name)
    if word in ("", "all_models", "all"):
        return None
    return _parse_window(f"seven_day_{word}", f"weekly {name} window", entry.get("percent"), entry.get("resets_at"))


def _parse_extra_usage(fields: Mapping[str, Any]) -> Reading | None:
    """Money beyond the subscription; None where it is switched off, or says nothing."""
    currency = answers.parse_text(fields.get("currency", "usd")) if fields.get("currency") is not None else "usd"
    if fields.get("is_enabled") is not True or currency is None:
        return None
    used, limit = (_parse_cents(fields.get(name)) for name in ("used_credits", "monthly_limit"))
    used_percent = answers.parse_percent(fields.get("utilization"))
    if used_percent is None:
        used_percent = answers.compute_percent(used, limit)
    if used is None and used_percent is None:
        return None
    return Reading(
        window="extra_usage",
        kind=WindowKind.MONTHLY,
        label="extra usage",
        used_percent=used_percent,
        used=used,
        limit=limit,
        remaining=limit - used if limit is not None and used is not None else None,
        unit=currency.lower(),
    )


def _parse_cents(value: object) -> Decimal | None:
    cents = answers.parse_decimal(value)
    return (cents / 100).quantize(Decimal("0.01")) if cents is not None and cents >= 0 else None
