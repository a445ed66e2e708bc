"""The windows in Codex's answer, named by their length: OpenAI has moved them between the slots more than once.

A slot is trusted only where the length is missing: primary is then the shortest usual one, secondary a week. Never put
here how to ask.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from watcher.core.model import Reading
from watcher.providers import answers, codex_balances

SESSION_S = 5 * answers.HOUR_S
MONTH_LENGTHS_S = (720 * answers.HOUR_S, 730 * answers.HOUR_S)  # both have been seen
LENGTH_TOLERANCE = 1.2  # of a length: clocks differ


def parse_readings(content: Mapping[str, Any], at: datetime) -> list[Reading]:
    """Every window that can be read; where two would have one name, the first is it."""
    found: dict[str, Reading] = {}
    for reading in (
        *parse_windows(content.get("rate_limit"), at),
        *_parse_additional(content.get("additional_rate_limits"), at),
        *parse_windows(content.get("code_review_rate_limit"), at, "code_review", "code review ", answers.WEEK_S),
        *codex_balances.parse_balances(content, at),
    ):
        found.setdefault(reading.window, reading)
    return list(found.values())


def _parse_additional(entries: object, at: datetime) -> Iterator[Reading]:
    for entry in answers.as_mappings(entries):
        name = answers.parse_text(entry.get("limit_name")) or answers.parse_text(entry.get("metered_feature")) or ""
        if answers.slugify(name):
            yield from parse_windows(entry.get("rate_limit"), at, answers.slugify(name), f"{name} ")


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
    for key, value in answers.as_mapping(limit).items():
        fields = answers.as_mapping(value)
        if "window" not in key or not fields:
            continue
        resets_at = answers.parse_timestamp(fields.get("reset_at")) or answers.add_seconds(
            at, fields.get("reset_after_seconds")
        )
        said = answers.parse_count(fields.get("limit_window_seconds"))
        seconds = said or _guess_length(key, resets_at, at, default_length_s)
        word = answers.slugify(key.replace("primary", "").replace("secondary", "").replace("window", ""))
        id_, people = name_window(seconds)
        window = "_".join(part for part in (prefix, word, id_) if part)
        text = f"{label}{f'{word} ' if word else ''}{people} window"
        reading = answers.make_percent_reading(window, text, fields.get("used_percent"), seconds, resets_at)
        if reading is not None:
            (sure if said else guessed).append(reading)
    return sure + guessed


def _guess_length(key: str, resets_at: datetime | None, at: datetime, default_length_s: int) -> int:
    """The length of a window that does not say it: by its slot, unless it ends later than that is long."""
    if "secondary" in key or (
        resets_at is not None and resets_at - at > timedelta(seconds=default_length_s * LENGTH_TOLERANCE)
    ):
        return answers.WEEK_S
    return default_length_s


def name_window(seconds: int) -> tuple[str, str]:
    """A window's stable word and its word for people, by its length."""
    if seconds in MONTH_LENGTHS_S:
        return "monthly", "monthly"
    if seconds == answers.WEEK_S:
        return "weekly", "weekly"
    if seconds == SESSION_S:
        return "five_hour", "5-hour"
    if seconds % answers.HOUR_S:
        return f"{seconds // 60}m", f"{seconds // 60}-minute"
    return f"{seconds // answers.HOUR_S}h", f"{seconds // answers.HOUR_S}-hour"
