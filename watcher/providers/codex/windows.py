"""What Codex's answer counts beside its windows: credits, resets in hand, and a limit set for this person.

Never put a window with a length here, nor how to ask.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from watcher.core.model import Reading, WindowKind
from watcher.providers import parsing

RESET_CREDITS_WINDOW, INDIVIDUAL_LIMIT_WINDOW = "reset_credits", "individual_limit"
_NO_LIMIT_MODES = frozenset({"none", "disabled", "off", "no_limit"})


def parse_balances(content: Mapping[str, Any], at: datetime) -> Iterator[Reading]:
    """Each of them that the usage answer says anything of."""
    yield from _parse_credits(content.get("credits"))
    yield from parse_individual_limit(content, at)
    yield from parse_reset_credits(content.get("rate_limit_reset_credits"))


def _parse_credits(value: object) -> Iterator[Reading]:
    fields = value if isinstance(value, dict) else {"balance": value}
    unlimited = fields.get("unlimited") is True
    balance = None if unlimited else parsing.parse_decimal(fields.get("balance"))
    if unlimited or balance is not None:
        yield Reading(
            window="credits",
            kind=WindowKind.BALANCE,
            label="credits",
            remaining=balance,
            unit="credits",
            unlimited=unlimited,
        )


def parse_reset_credits(value: object) -> Iterator[Reading]:
    """How often the person may still start a window anew: `{available_count}`."""
    count = parsing.parse_count(parsing.as_mapping(value).get("available_count"))
    if count is not None:
        yield Reading(
            window=RESET_CREDITS_WINDOW,
            kind=WindowKind.BALANCE,
            label="resets in hand",
            remaining=parsing.parse_decimal(count),
            unit="resets",
        )


def parse_individual_limit(content: Mapping[str, Any], at: datetime) -> Iterator[Reading]:
    """A limit set for this person, from the first of three places that says anything of it."""
    for holder in (content, content.get("rate_limit"), content.get("spend_control")):
        fields = parsing.as_mapping(parsing.as_mapping(holder).get(INDIVIDUAL_LIMIT_WINDOW))
        used, limit, remaining = (parsing.parse_decimal(fields.get(name)) for name in ("used", "limit", "remaining"))
        used_percent = parsing.parse_percent(fields.get("used_percent"))
        left = parsing.parse_number(fields.get("remaining_percent"))
        if used_percent is None:
            used_percent = max(0.0, 100 - left) if left is not None else parsing.compute_percent(used, limit)
        if used_percent is None and used is None and remaining is None:
            continue
        ends = (parsing.parse_timestamp(fields.get(name)) for name in ("resets_at", "reset_at", "resetsAt"))
        yield Reading(
            window=INDIVIDUAL_LIMIT_WINDOW,
            kind=WindowKind.OTHER,
            label="individual limit",
            used_percent=used_percent,
            used=used,
            limit=limit,
            remaining=remaining,
            unit="credits",
            resets_at=next((end for end in ends if end), None)
            or parsing.add_seconds(at, fields.get("reset_after_seconds")),
        )
        return


def parse_monthly_limit(content: Mapping[str, Any]) -> Iterator[Reading]:
    """The same limit as a workspace's spend controls tell it.

    `{current_month_usage, effective_monthly_limit: {limit, enforcement_mode, limit_mode}}`: a limit that is switched
    off, missing or nothing is told as none, so that an alert on it can end.
    """
    fields = parsing.as_mapping(content.get("effective_monthly_limit"))
    used, limit = parsing.parse_decimal(content.get("current_month_usage")), parsing.parse_decimal(fields.get("limit"))
    mode = parsing.slugify(parsing.parse_text(fields.get("enforcement_mode")) or "")
    unlimited = mode in _NO_LIMIT_MODES or not limit
    if used is None or used < 0:
        return
    yield Reading(
        window=INDIVIDUAL_LIMIT_WINDOW,
        kind=WindowKind.OTHER,
        label="individual limit",
        used_percent=None if unlimited else parsing.compute_percent(used, limit),
        used=used,
        limit=None if unlimited else limit,
        remaining=None if unlimited or limit is None else limit - used,
        unit="credits",
        unlimited=unlimited,
    )


# --- The windows in Codex's answer, named by their length: OpenAI has moved them between the slots more than once


SESSION_S = 5 * parsing.HOUR_S
MONTH_LENGTHS_S = (720 * parsing.HOUR_S, 730 * parsing.HOUR_S)  # both have been seen
LENGTH_TOLERANCE = 1.2  # of a length: clocks differ


def parse_readings(content: Mapping[str, Any], at: datetime) -> list[Reading]:
    """Every window that can be read; where two would have one name, the first is it."""
    found: dict[str, Reading] = {}
    for reading in (
        *parse_windows(content.get("rate_limit"), at),
        *_parse_additional(content.get("additional_rate_limits"), at),
        *parse_windows(content.get("code_review_rate_limit"), at, "code_review", "code review ", parsing.WEEK_S),
        *parse_balances(content, at),
    ):
        found.setdefault(reading.window, reading)
    return list(found.values())


def _parse_additional(entries: object, at: datetime) -> Iterator[Reading]:
    for entry in parsing.as_mappings(entries):
        name = parsing.parse_text(entry.get("limit_name")) or parsing.parse_text(entry.get("metered_feature")) or ""
        if parsing.slugify(name):
            yield from parse_windows(entry.get("rate_limit"), at, parsing.slugify(name), f"{name} ")


def parse_windows(
    limit: object, at: datetime, prefix: str = "", label: str = "", default_length_s: int = SESSION_S
) -> list[Reading]:
    """The windows that can be read, those that say their length first, because they are sure of their name.

    Args:
        limit: `{primary_window, secondary_window, ...}`, or junk, which has none.
        at: when the answer came.
        prefix: begins each window's id; empty for the main limit.
        label: begins each label.
        default_length_s: seconds of the primary window where it does not say its length.
    """
    sure: list[Reading] = []
    guessed: list[Reading] = []
    for key, value in parsing.as_mapping(limit).items():
        fields = parsing.as_mapping(value)
        if "window" not in key or not fields:
            continue
        resets_at = parsing.parse_timestamp(fields.get("reset_at")) or parsing.add_seconds(
            at, fields.get("reset_after_seconds")
        )
        said = parsing.parse_count(fields.get("limit_window_seconds"))
        seconds = said or _guess_length(key, resets_at, at, default_length_s)
        word = parsing.slugify(key.replace("primary", "").replace("secondary", "").replace("window", ""))
        id_, people = name_window(seconds)
        window = "_".join(part for part in (prefix, word, id_) if part)
        text = f"{label}{f'{word} ' if word else ''}{people} window"
        reading = parsing.make_percent_reading(window, text, fields.get("used_percent"), seconds, resets_at)
        if reading is not None:
            (sure if said else guessed).append(reading)
    return sure + guessed


def _guess_length(key: str, resets_at: datetime | None, at: datetime, default_length_s: int) -> int:
    """The length of a window that does not say it: by its slot, unless it ends later than that is long."""
    if "secondary" in key or (
        resets_at is not None and resets_at - at > timedelta(seconds=default_length_s * LENGTH_TOLERANCE)
    ):
        return parsing.WEEK_S
    return default_length_s


def name_window(seconds: int) -> tuple[str, str]:
    """A window's stable word and its word for people, by its length."""
    if seconds in MONTH_LENGTHS_S:
        return "monthly", "monthly"
    if seconds == parsing.WEEK_S:
        return "weekly", "weekly"
    if seconds == SESSION_S:
        return "five_hour", "5-hour"
    if seconds % parsing.HOUR_S:
        return f"{seconds // 60}m", f"{seconds // 60}-minute"
    return f"{seconds // parsing.HOUR_S}h", f"{seconds // parsing.HOUR_S}-hour"
