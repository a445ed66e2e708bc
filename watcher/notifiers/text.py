"""What several channels need: texts clipped to a limit, usage bars, colours and links.

A service's own escaping and limits are in its file. Texts arrive clean: text from outside is cleaned where a response
becomes a snapshot.
"""

import re
from collections.abc import Callable

from watcher.core.formatting import format_amount, format_percent
from watcher.core.model import Message, Severity

SEVERITY_COLOURS = {Severity.INFO: 0x2F81F7, Severity.WARNING: 0xD29922, Severity.CRITICAL: 0xDA3633}
"""Severity -> 0xRRGGBB, the same on every channel."""

GREEN = 0x2DA44E
"""For alerts that are resolved and windows that were reset."""

APP_NAME = "AI usage watcher"


def clip(
    text: str,
    limit: int,
    *,
    escape: Callable[[str], str] = str,
    measure: Callable[[str], int] = len,
) -> str:
    """`text` escaped, and ending in an ellipsis where that would measure more than `limit`; never half an escape."""
    whole = escape(text)
    if measure(whole) <= limit:
        return whole
    low, high = 0, len(text)
    while low < high:  # the longest start that fits together with its ellipsis
        middle = (low + high + 1) // 2
        if measure(escape(text[:middle]) + "…") <= limit:
            low = middle
        else:
            high = middle - 1
    return escape(text[:low].rstrip(" \n\u200d\ufe0f")) + "…" if limit > 0 else ""


def count_utf16_units(text: str) -> int:
    """Length as Windows and JavaScript count it."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def count_utf8_bytes(text: str) -> int:
    """Length in bytes."""
    return len(text.encode("utf-8", "replace"))


def draw_bar(used_percent: float, width: int = 10) -> str:
    """`used_percent` as a row of blocks: at least one where it is above 0, all where it is 100 or more."""
    full = round(max(0.0, min(100.0, used_percent)) * width / 100)
    if used_percent > 0 and full == 0:
        full = 1
    return "\u2588" * full + "\u2591" * (width - full)


def get_colour(message: Message) -> int:
    """0xRRGGBB: green where the alert is over, else by severity."""
    return GREEN if message.event in {"resolved", "reset"} else SEVERITY_COLOURS[message.severity]


def format_usage(message: Message) -> str:
    """A bar and the percent used; empty where it is unknown."""
    return (
        ""
        if message.used_percent is None
        else f"{draw_bar(message.used_percent)} {format_percent(message.used_percent)}"
    )


def format_remaining(message: Message) -> str:
    """What is left, with its unit; empty where it is unknown or repeats the percent."""
    if message.remaining is None or message.unit in {"", "percent"}:
        return ""
    return format_amount(message.remaining, message.unit)


def get_safe_link(message: Message) -> str:
    """The provider's usage page; empty where it is no plain web address."""
    return message.link if re.fullmatch(r"https?://[\w.:-]+(/[\w./?=&%#~+,:@-]*)?", message.link, re.ASCII) else ""
