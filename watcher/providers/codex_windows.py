"""The windows in Codex's answer, named by their length: OpenAI has moved them between the slots more than once.

A slot is trusted only where the length is missing: primary is then the shortest usual one, secondary a week. Never put
here how to ask.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from watcher.core.model import Reading
from watcher.providers import answers, codex_balances

SESSION = 5 * answers.HOUR
MONTHS = (720 * answers.HOUR, 730 * answers.HOUR)  # both have been seen
SLACK = 1.2  # of a length: clocks differ


def read(content: Mapping[str, Any], at: datetime) -> list[Reading]:
    """Every window that can be read; where two would have one name, the first is it."""
    found: dict[str, Reading] = {}
    for reading in (
        *windows(content.get("rate_limit"), at),
        *_additional(content.get("additional_rate_limits"), at),
        *windows(content.get("code_review_rate_limit"), at, "code_review", "code review ", answers.WEEK),
        *codex_balances.read(content, at),
    ):
        found.setdefault(reading.window, reading)
    return list(found.values())


def _additional(entries: object, at: datetime) -> Iterator[Reading]:
    for entry in answers.mappings(entries):
        name = answers.text(entry.get("limit_name")) or answers.text(entry.get("metered_feature")) or ""
        if answers.slug(name):
            yield from windows(entry.get("rate_limit"), at, answers.slug(name), f"{name} ")


def windows(limit: object, at: datetime, prefix: str = "", label: str = "", shortest: int = SESSION) -> list[Reading]:
    """The windows that can be read, those that say their length first, because they are sure of their name.

    Args:
        limit: `{primary_window, secondary_window, ...}`, or junk, which has none.
        at: when the answer came.
        prefix: begins each window's id; empty for the main limit.
        label: begins each label.
        shortest: seconds of the primary window where it does not say its length.
    """
    sure: list[Reading] = []
    guessed: list[Reading] = []
    for key, value in answers.mapping(limit).items():
        fields = answers.mapping(value)
        if "window" not in key or not fields:
            continue
        resets_at = answers.instant(fields.get("reset_at")) or answers.later(at, fields.get("reset_after_seconds"))
        said = answers.count(fields.get("limit_window_seconds"))
        seconds = said or _guess(key, resets_at, at, shortest)
        word = answers.slug(key.replace("primary", "").replace("secondary", "").replace("window", ""))
        id_, people = named(seconds)
        window = "_".join(part for part in (prefix, word, id_) if part)
        text = f"{label}{f'{word} ' if word else ''}{people} window"
        reading = answers.share(window, text, fields.get("used_percent"), seconds, resets_at)
        if reading is not None:
            (sure if said else guessed).append(reading)
    return sure + guessed


def _guess(key: str, resets_at: datetime | None, at: datetime, shortest: int) -> int:
    """The length of a window that does not say it: by its slot, unless it ends later than that is long."""
    if "secondary" in key or (resets_at is not None and resets_at - at > timedelta(seconds=shortest * SLACK)):
        return answers.WEEK
    return shortest


def named(seconds: int) -> tuple[str, str]:
    """A window's stable word and its word for people, by its length."""
    if seconds in MONTHS:
        return "monthly", "monthly"
    if seconds == answers.WEEK:
        return "weekly", "weekly"
    if seconds == SESSION:
        return "five_hour", "5-hour"
    if seconds % answers.HOUR:
        return f"{seconds // 60}m", f"{seconds // 60}-minute"
    return f"{seconds // answers.HOUR}h", f"{seconds // answers.HOUR}-hour"
