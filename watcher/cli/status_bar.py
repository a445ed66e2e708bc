"""One line about everything, for status bars: `watcher status --format line`, `tmux`, `waybar`.

On the path of a command that runs many times a minute, before click: standard library and nothing that is not.
Whatever happens, a bar gets its line in its own form, and exit code 0. Never put here what only the table shows.
"""

import json
import os
import sys
from collections.abc import Callable
from datetime import datetime, timedelta

from watcher.core import formatting
from watcher.status import fast_reader
from watcher.status.fast_reader import AccountSummary, StatusSummary, WindowSummary
from watcher.system import clock, paths

DATABASE_FILE_NAME = "watcher.db"
_MINUTE_S, _HOUR_S = 60, 3600
_MAX_HOURS = 48
_FULL_PERCENT = 100.0
_COLOURS = {"info": "cyan", "warning": "yellow", "critical": "red"}


def print_status_line(format_name: str) -> int:
    """Print what is known now in one of `FORMATTERS`; always 0, because a bar has no use for an exit code."""
    now = clock.utc_now()
    encoding = sys.stdout.encoding or "ascii"
    try:
        seen: StatusSummary | str = fast_reader.read_summary(
            paths.resolve_paths(os.environ, paths.find_home()).state_dir / DATABASE_FILE_NAME, now
        )
    except Exception as error:  # noqa: BLE001 - a bar that shows nothing would be silent about it
        seen = f"watcher: no reading can be had ({error}); watcher status says more"
    print(sanitize_line(FORMATTERS[format_name](seen, now), encoding))  # noqa: T201 - this is the command line
    return 0


def sanitize_line(text: str, encoding: str) -> str:
    """The text on one line, in signs that the terminal has and does not obey."""
    text = "".join(sign if sign.isprintable() else "?" for sign in text)
    try:
        text.encode(encoding)
    except UnicodeError:
        return text.replace("·", "|").encode(encoding, "replace").decode(encoding)
    return text


def format_line(summary: StatusSummary | str, now: datetime) -> str:
    """`claude 82%! 1h40m · codex 12% 3h05m`: of each account its primary window. `!` an alert fires, `?` is old."""
    return _join_accounts(summary, lambda account: _format_account(account, now))


def format_tmux(summary: StatusSummary | str, now: datetime) -> str:
    """The same with tmux' colours: what fires in its severity's, what is old in grey."""

    def part(account: AccountSummary) -> str:
        text = _format_account(account, now).replace("#", "##")
        window = account.primary_window
        severity = None if window is None else _find_highest_severity(account)
        colour = _COLOURS[severity] if severity else "colour244" if account.stale or account.error else ""
        return f"#[fg={colour}]{text}#[default]" if colour else text

    return _join_accounts(summary, part)


def format_waybar(summary: StatusSummary | str, now: datetime) -> str:
    """Waybar's JSON: `text`, `alt`, `tooltip`, `class`, `percentage`; its texts are markup, so they are escaped."""
    if isinstance(summary, str):
        word, tip, full = "error", summary, 0.0
    else:
        word = summary.severity or ("stale" if any(a.stale or a.error for a in summary.accounts) else "ok")
        word = word if summary.accounts else "empty"
        tip = "\n".join(_format_tooltip_lines(summary, now)) or _NO_READINGS
        full = max((w.used_percent or 0.0 for a in summary.accounts if (w := a.primary_window)), default=0.0)
    content = {
        "text": _escape_markup(format_line(summary, now)),
        "alt": word,
        "tooltip": _escape_markup(tip),
        "class": word,
        "percentage": int(min(max(full, 0.0), _FULL_PERCENT)),
    }
    return json.dumps(content)


FORMATTERS: dict[str, Callable[[StatusSummary | str, datetime], str]] = {
    "line": format_line,
    "tmux": format_tmux,
    "waybar": format_waybar,
}

_NO_READINGS = "watcher: no readings yet"


def _join_accounts(summary: StatusSummary | str, format_account: Callable[[AccountSummary], str]) -> str:
    if isinstance(summary, str):
        return summary
    return " · ".join(format_account(account) for account in summary.accounts) or _NO_READINGS


def _format_account(account: AccountSummary, now: datetime) -> str:
    name = f"{account.provider} {account.name}".strip()
    window = account.primary_window
    if window is None:
        return f"{name} ?"
    mark = "!" if _find_highest_severity(account) else ""
    old = "?" if account.stale or account.error else ""
    left = _format_time_left(window, now)
    return f"{name} {_format_usage(window)}{mark}{old}" + (f" {left}" if left else "")


def _find_highest_severity(account: AccountSummary) -> str | None:
    """The highest severity that fires on any window of the account."""
    found = [window.severity for window in account.windows if window.severity]
    return max(found, key=list(_COLOURS).index, default=None)


def _format_usage(window: WindowSummary) -> str:
    if window.unlimited:
        return "unlimited"
    if window.used_percent is not None:
        used = round(window.used_percent)
        return f"{used if window.used_percent >= _FULL_PERCENT else min(used, 99)}%"  # never 100 of what is less
    return "?" if window.remaining is None else f"{formatting.format_amount(window.remaining, window.unit)} left"


def _format_time_left(window: WindowSummary, now: datetime) -> str:
    """The time to the reset, as short as it gets: 40m, 1h40m, 3d4h."""
    if window.resets_at is None or window.unlimited or window.resets_at <= now:
        return ""
    seconds = int((window.resets_at - now) / timedelta(seconds=1))
    hours = seconds // _HOUR_S
    if hours >= _MAX_HOURS:
        return f"{hours // 24}d{hours % 24}h"
    return f"{hours}h{seconds % _HOUR_S // _MINUTE_S:02d}m" if hours else f"{seconds // _MINUTE_S}m"


def _format_tooltip_lines(summary: StatusSummary, now: datetime) -> list[str]:
    zone = clock.LocalZone()
    found = []
    for account in summary.accounts:
        name = f"{account.provider} {account.name}".strip()
        if account.error:
            found.append(f"{name}: {account.error}")
        for window in account.windows:
            mark = f" ({window.severity})" if window.severity else ""
            reset = ""
            if window.resets_at is not None and window.resets_at > now and not window.unlimited:
                left, at = (
                    formatting.format_duration(window.resets_at - now),
                    formatting.format_time(window.resets_at, now, zone),
                )
                reset = f", resets in {left} ({at})"
            found.append(f"{name} {window.label or window.window}: {_format_usage(window)}{reset}{mark}")
    return found


def _escape_markup(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
