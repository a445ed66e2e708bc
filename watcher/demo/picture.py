"""What the demonstration shows, as lines of at most 80 columns. Pure: the watcher's own status in, text out."""

import textwrap
from collections.abc import Mapping
from datetime import datetime, tzinfo

from msgspec import Struct

from watcher.demo.machine import CLEARS_BELOW_PERCENT, FIRES_ABOVE_PERCENT
from watcher.status_document import StatusDocument, WindowStatus

DISPLAYED_WINDOWS = (
    ("Claude, 5 hours", "claude", "five_hour"),
    ("Claude, week", "claude", "seven_day"),
    ("Codex, 5 hours", "codex", "five_hour"),
    ("Codex, week", "codex", "weekly"),
    ("Copilot, month", "copilot", "premium_interactions"),
    ("Nano-GPT, day", "nano_gpt", "daily"),
    ("Gemini 2.5 Pro", "gemini_cli", "gemini_2_5_pro"),
    ("Antigravity, Sonnet", "antigravity", "claude_sonnet_4_6_thinking"),
)
BAR_WIDTH = 26
TEXT_WIDTH = 72  # of what is said beside the time


class ScreenSymbols(Struct, frozen=True):
    """What the terminal can show."""

    full: str
    empty: str
    alert: str


BLOCK_SCREEN_SYMBOLS = ScreenSymbols("█", "░", "●")
ASCII_SCREEN_SYMBOLS = ScreenSymbols("#", ".", "!")


def choose_symbols(encoding: str | None) -> ScreenSymbols:
    """Blocks where the terminal's encoding has them."""
    try:
        f"{BLOCK_SCREEN_SYMBOLS.full}{BLOCK_SCREEN_SYMBOLS.empty}{BLOCK_SCREEN_SYMBOLS.alert}".encode(
            encoding or "ascii"
        )
    except (UnicodeEncodeError, LookupError):
        return ASCII_SCREEN_SYMBOLS
    return BLOCK_SCREEN_SYMBOLS


def render_status(
    status: StatusDocument, now: datetime, symbols: ScreenSymbols, zone: tzinfo | None = None
) -> list[str]:
    """A title with the simulated time, then a bar for each window."""
    windows = {(account.provider, window.window): window for account in status.providers for window in account.windows}
    firing = {alert.series for alert in status.alerts if alert.state == "firing"}
    lines = [f"{now.astimezone(zone):%A %H:%M}, simulated"]
    for label, provider, name in DISPLAYED_WINDOWS:
        window = windows.get((provider, name))
        mark = symbols.alert if f"{provider}.{name}" in firing else " "
        lines.append(
            f"{mark} {label:<20}{_render_bar(window, symbols)} {_format_window_amount(window):>9}  {_format_reset(window, now, zone)}".rstrip()
        )
    return lines


def _render_bar(window: WindowStatus | None, symbols: ScreenSymbols) -> str:
    percent = 0.0 if window is None or window.used_percent is None else window.used_percent
    filled = min(max(round(percent / 100 * BAR_WIDTH), 0), BAR_WIDTH)
    return symbols.full * filled + symbols.empty * (BAR_WIDTH - filled)


def _format_window_amount(window: WindowStatus | None) -> str:
    if window is None or window.used_percent is None:
        return "?"
    if window.window == "premium_interactions" and window.used is not None:
        return f"{window.used:.0f} / {window.limit:.0f}"
    return f"{window.used_percent:.1f} %"


def _format_reset(window: WindowStatus | None, now: datetime, zone: tzinfo | None) -> str:
    """An unused window's boundary only rolls along with the clock: it is not worth a word."""
    if window is None or window.resets_at is None or not window.used_percent:
        return ""
    there = window.resets_at.astimezone(zone)
    return f"resets {there:%H:%M}" if (window.resets_at - now).days < 1 else f"resets {there:%a %d %b}"


def explain_no_message(percent_before: float | None, percent_now: float | None) -> str | None:
    """Why nothing is said though a firing session crosses its threshold once more; None: it does not cross."""
    if percent_before is None or percent_now is None:
        return None
    if percent_before > FIRES_ABOVE_PERCENT >= percent_now >= CLEARS_BELOW_PERCENT:
        return (
            f"Claude back at {percent_now:.1f} %: not below {CLEARS_BELOW_PERCENT} %, so still firing; nothing is sent"
        )
    if percent_before <= FIRES_ABOVE_PERCENT < percent_now:
        return f"Claude again at {percent_now:.1f} %: the same alert; nothing is sent"
    return None


def get_firing_session_percent(status: StatusDocument) -> float | None:
    """Percent used of Claude's session while its alert is firing; None: it is not, or not known."""
    if not any(alert.state == "firing" and alert.rule == "claude-session" for alert in status.alerts):
        return None
    windows = (window for account in status.providers if account.provider == "claude" for window in account.windows)
    return next((window.used_percent for window in windows if window.window == "five_hour"), None)


def format_notification(payload: Mapping[str, object], symbols: ScreenSymbols) -> list[str]:
    """A message as it arrived at the webhook: its title, and below it the body."""
    word = payload["severity"] if payload["event"] == "firing" else payload["event"]
    title = f"{symbols.alert} {str(word).upper()}: {payload['title']}"
    body = [line for text in str(payload["message"]).splitlines() for line in textwrap.wrap(text, TEXT_WIDTH - 2)]
    return [*textwrap.wrap(title, TEXT_WIDTH, subsequent_indent="  "), *(f"  {line}" for line in body)]
