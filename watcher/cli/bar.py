"""One line about everything, for status bars: `watcher status --format line`, `tmux`, `waybar`.

On the path of a command that runs many times a minute, before click: standard library and nothing that is not.
Whatever happens, a bar gets its line in its own form, and exit code 0. Never put here what only the table shows.
"""

import json
import os
import sys
from collections.abc import Callable
from datetime import datetime, timedelta

from watcher import clock, glance, paths
from watcher.core import phrases
from watcher.glance import Account, Glance, Window

DATABASE = "watcher.db"
_MINUTE, _HOUR = 60, 3600
_HOURS_UP_TO = 48
_FULL = 100.0
_COLOURS = {"info": "cyan", "warning": "yellow", "critical": "red"}


def show(form: str) -> int:
    """Print what is known now in one of `FORMS`; always 0, because a bar has no use for an exit code."""
    now = clock.now()
    encoding = sys.stdout.encoding or "ascii"
    try:
        seen: Glance | str = glance.take(paths.find(os.environ, paths.home()).state_dir / DATABASE, now)
    except Exception as error:  # noqa: BLE001 - a bar that shows nothing would be silent about it
        seen = f"watcher: no reading can be had ({error}); watcher status says more"
    print(writable(FORMS[form](seen, now), encoding))  # noqa: T201 - this is the command line
    return 0


def writable(text: str, encoding: str) -> str:
    """The text on one line, in signs that the terminal has and does not obey."""
    text = "".join(sign if sign.isprintable() else "?" for sign in text)
    try:
        text.encode(encoding)
    except UnicodeError:
        return text.replace("·", "|").encode(encoding, "replace").decode(encoding)
    return text


def line(seen: Glance | str, now: datetime) -> str:
    """`claude 82%! 1h40m · codex 12% 3h05m`: of each account its primary window. `!` an alert fires, `?` is old."""
    return _joined(seen, lambda account: _part(account, now))


def tmux(seen: Glance | str, now: datetime) -> str:
    """The same with tmux' colours: what fires in its severity's, what is old in grey."""

    def part(account: Account) -> str:
        text = _part(account, now).replace("#", "##")
        window = account.primary
        severity = None if window is None else _worst(account)
        colour = _COLOURS[severity] if severity else "colour244" if account.stale or account.error else ""
        return f"#[fg={colour}]{text}#[default]" if colour else text

    return _joined(seen, part)


def waybar(seen: Glance | str, now: datetime) -> str:
    """Waybar's JSON: `text`, `alt`, `tooltip`, `class`, `percentage`; its texts are markup, so they are escaped."""
    if isinstance(seen, str):
        word, tip, full = "error", seen, 0.0
    else:
        word = seen.severity or ("stale" if any(a.stale or a.error for a in seen.accounts) else "ok")
        word = word if seen.accounts else "empty"
        tip = "\n".join(_lines(seen, now)) or _NOTHING
        full = max((w.used_percent or 0.0 for a in seen.accounts if (w := a.primary)), default=0.0)
    content = {
        "text": _escaped(line(seen, now)),
        "alt": word,
        "tooltip": _escaped(tip),
        "class": word,
        "percentage": int(min(max(full, 0.0), _FULL)),
    }
    return json.dumps(content)


FORMS: dict[str, Callable[[Glance | str, datetime], str]] = {"line": line, "tmux": tmux, "waybar": waybar}

_NOTHING = "watcher: no readings yet"


def _joined(seen: Glance | str, part: Callable[[Account], str]) -> str:
    if isinstance(seen, str):
        return seen
    return " · ".join(part(account) for account in seen.accounts) or _NOTHING


def _part(account: Account, now: datetime) -> str:
    name = f"{account.provider} {account.name}".strip()
    window = account.primary
    if window is None:
        return f"{name} ?"
    mark = "!" if _worst(account) else ""
    old = "?" if account.stale or account.error else ""
    left = _left(window, now)
    return f"{name} {_much(window)}{mark}{old}" + (f" {left}" if left else "")


def _worst(account: Account) -> str | None:
    """The highest severity that fires on any window of the account."""
    found = [window.severity for window in account.windows if window.severity]
    return max(found, key=list(_COLOURS).index, default=None)


def _much(window: Window) -> str:
    if window.unlimited:
        return "unlimited"
    if window.used_percent is not None:
        used = round(window.used_percent)
        return f"{used if window.used_percent >= _FULL else min(used, 99)}%"  # never 100 of what is less
    return "?" if window.remaining is None else f"{phrases.amount(window.remaining, window.unit)} left"


def _left(window: Window, now: datetime) -> str:
    """The time to the reset, as short as it gets: 40m, 1h40m, 3d4h."""
    if window.resets_at is None or window.unlimited or window.resets_at <= now:
        return ""
    seconds = int((window.resets_at - now) / timedelta(seconds=1))
    hours = seconds // _HOUR
    if hours >= _HOURS_UP_TO:
        return f"{hours // 24}d{hours % 24}h"
    return f"{hours}h{seconds % _HOUR // _MINUTE:02d}m" if hours else f"{seconds // _MINUTE}m"


def _lines(seen: Glance, now: datetime) -> list[str]:
    zone = clock.LocalZone()
    found = []
    for account in seen.accounts:
        name = f"{account.provider} {account.name}".strip()
        if account.error:
            found.append(f"{name}: {account.error}")
        for window in account.windows:
            mark = f" ({window.severity})" if window.severity else ""
            reset = ""
            if window.resets_at is not None and window.resets_at > now and not window.unlimited:
                left, at = phrases.duration(window.resets_at - now), phrases.clock(window.resets_at, now, zone)
                reset = f", resets in {left} ({at})"
            found.append(f"{name} {window.label or window.window}: {_much(window)}{reset}{mark}")
    return found


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
