"""Text as channels need it: cleaned of what breaks them, clipped to their limits, with bars and fields.

Every function is pure. Never put a service's own escaping here: that stands beside its limits, in its file.
"""

import math
import re
from collections.abc import Callable

from msgspec import structs

from watcher.core.formatting import format_amount, format_percent
from watcher.core.model import Message, Severity

SEVERITY_COLOURS = {Severity.INFO: 0x2F81F7, Severity.WARNING: 0xD29922, Severity.CRITICAL: 0xDA3633}
"""Severity -> 0xRRGGBB, the same on every channel."""

GREEN = 0x2DA44E
"""For good news: resolved, and a window that was reset."""

APP_NAME = "AI usage watcher"

# C0 but tab and newline, DEL, C1, and the marks that turn the direction of what follows: a NUL makes a bus drop the
# connection, an escape sequence writes on terminals, and a turned direction can show a false number.
_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ufffe\uffff]")


def clean_text(text: str) -> str:
    """`text` without anything that makes a program choke: control characters, direction marks, lone surrogates."""
    paired = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return _UNPRINTABLE.sub("", paired.replace("\r\n", "\n").replace("\r", "\n")).strip()


def clean_line(text: str) -> str:
    """`text` cleaned, on one line."""
    return " ".join(clean_text(text).split())


def clean_message(message: Message) -> Message:
    """The message with every text cleaned, never without a title, and no number that is none."""
    used, left = message.used_percent, message.remaining
    used = used if used is not None and math.isfinite(used) else None
    left = left if left is not None and left.is_finite() else None
    texts = {name: clean_line(getattr(message, name)) for name in _SINGLE_LINE_FIELDS}
    own = {
        "title": texts["title"] or APP_NAME,
        "body": clean_text(message.body),
        "used_percent": used,
        "remaining": left,
    }
    return structs.replace(message, **texts | own)


_SINGLE_LINE_FIELDS = (
    "id",
    "thread",
    "event",
    "title",
    "rule",
    "provider",
    "account",
    "window",
    "label",
    "unit",
    "link",
)


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
    """`used_percent` as a row of blocks; more than 100 is a full one, and anything above nothing shows."""
    full = round(max(0.0, min(100.0, used_percent)) * width / 100)
    if used_percent > 0 and full == 0:
        full = 1
    return "\u2588" * full + "\u2591" * (width - full)


def get_colour(message: Message) -> int:
    """0xRRGGBB by severity; good news is green."""
    return GREEN if message.event in {"resolved", "reset"} else SEVERITY_COLOURS[message.severity]


def format_usage(message: Message) -> str:
    """A bar and the percent used; empty where it is unknown."""
    return (
        ""
        if message.used_percent is None
        else f"{draw_bar(message.used_percent)} {format_percent(message.used_percent)}"
    )


def format_remaining(message: Message) -> str:
    """What is left, with its unit; empty where it is unknown or says no more than the percent."""
    if message.remaining is None or message.unit in {"", "percent"}:
        return ""
    return format_amount(message.remaining, message.unit)


def get_safe_link(message: Message) -> str:
    """The provider's page, if it is a plain web address; else nothing, as a channel would have to trust it."""
    return message.link if re.fullmatch(r"https?://[\w.:-]+(/[\w./?=&%#~+,:@-]*)?", message.link, re.ASCII) else ""
