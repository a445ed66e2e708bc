"""What status bars and menus show, from `status.json`, each in its host's own syntax.

Names come from servers and files: each format escapes them, so that no name can style text or start an action.

Bars run this many times a minute, so it loads little of the standard library and reads only that file. What depends on
the moment is computed at reading: whether a reading is stale, and how long each window still runs.
"""

from __future__ import annotations

import json
import os
import re
import sys
from datetime import datetime, timedelta

from watcher.core import formatting
from watcher.system import clock
from watcher.system.files import read_file

FILE_NAME = "status.json"
MAX_BYTES = 64 * 1024 * 1024  # far more than any document has
SCHEMA_NAME = "watcher.status.v1"
STALE_AFTER_POLLS = 3  # a reading older than this many polls is stale
OVERDUE_FOR = timedelta(minutes=5)  # a poll that is overdue for longer than this is not being made
_FULL_PERCENT = 100.0
_HEX_COLOURS = {"info": "39c5cf", "warning": "d29922", "critical": "ff7b72"}
_BAR_WIDTH = 12
_SAFE_WORD_PATTERN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")  # no shell, glob or menu gives it a meaning
_COLOURS = {"info": "cyan", "warning": "yellow", "critical": "red"}  # by severity, lowest first
_NO_READINGS = "watcher: no readings yet"

TYPE_CHECKING = False  # as in `typing`, which takes a tenth of the time of a status line
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path
    from typing import Any

    Document = dict[str, Any]
    """The content of `status.json`."""


class _Account:
    """One account as a bar shows it."""

    def __init__(self, account: Document, alerts: list[Document], now: datetime, *, is_only: bool) -> None:
        self.windows: list[Document] = account["windows"]
        for window in self.windows:
            firing = [a["severity"] for a in alerts if a["state"] == "firing" and a["series"] == window["series"]]
            window["severity"] = _highest_severity(firing)
        stale = (bool(self.windows) and all(window["stale"] for window in self.windows)) or is_stale(
            _parse_time(account["fetched_at"]),
            account["poll_every_seconds"],
            _parse_time(account["next_poll_at"]),
            now,
            failing=account["error"] is not None,
        )
        primary = [window for window in self.windows if window["primary"]] or self.windows
        self.name = account["provider"] if is_only else f"{account['provider']} {account['account'] or ''}".strip()
        self.error: str | None = None if account["error"] is None else account["error"]["message"]
        self.is_old = stale or account["error"] is not None
        self.severity = _highest_severity([window["severity"] for window in self.windows])  # that fires
        self.primary_window = max(primary, key=lambda window: window["used_percent"] or 0.0, default=None)


def read_status_file(state_dir: str | Path) -> Document | None:
    """The content of `status.json`; None if it is missing or unreadable."""
    try:
        content = json.loads(read_file(os.path.join(state_dir, FILE_NAME), MAX_BYTES))
    except (OSError, ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) and content.get("schema") == SCHEMA_NAME else None


def is_stale(
    fetched_at: datetime | None,
    poll_every_s: float | None,
    next_poll_at: datetime | None,
    now: datetime,
    *,
    failing: bool,
) -> bool:
    """Whether a reading is too old to describe this moment.

    Args:
        fetched_at: when it was made; None: there is none.
        poll_every_s: the provider's usual interval; None: unknown.
        next_poll_at: when the provider is polled next.
        now: this moment.
        failing: whether the last poll failed.
    """
    if fetched_at is None:
        return True
    if poll_every_s is None or now - fetched_at <= STALE_AFTER_POLLS * timedelta(seconds=poll_every_s):
        return False
    # a provider whose use has not moved for hours is polled more rarely on purpose
    return failing or next_poll_at is None or now > next_poll_at + OVERDUE_FOR


def format_line(document: Document, now: datetime) -> str:
    """`claude 82%! 1h40m · codex 12% 3h05m`: each account's primary window, the worst first. `!`: fires, `?`: old."""
    accounts = _list_worst_first(document, now)
    return " · ".join(_format_account(account, now) for account in accounts) or _explain_absence(document)


def format_tmux(document: Document, now: datetime) -> str:
    """The same with tmux colours: what fires in the colour of its severity, what is old in grey."""
    parts = []
    for account in _list_worst_first(document, now):
        text = _format_account(account, now).replace("#", "##")
        has_alert = account.severity is not None and account.primary_window is not None
        colour = _COLOURS[account.severity or "info"] if has_alert else "colour244" if account.is_old else ""
        parts.append(f"#[fg={colour}]{text}#[default]" if colour else text)
    return " · ".join(parts) or _explain_absence(document).replace("#", "##")


def format_waybar(document: Document, now: datetime) -> str:
    """Waybar's JSON: `text`, `alt`, `tooltip`, `class`, `percentage`; its texts are markup, so they are escaped."""
    accounts = _list_accounts(document, now)
    state = "error" if "problem" in document else "empty"
    if accounts:
        is_old = any(account.is_old for account in accounts)
        state = _find_severity(document) or ("stale" if is_old else "ok")
    fullest = max((account.primary_window["used_percent"] or 0.0 for account in accounts if account.primary_window),
                  default=0.0)  # fmt: skip
    tooltip = "\n".join(line for account in accounts for line in _format_tooltip(account, now))
    return json.dumps(
        {
            "text": formatting.escape_markup(format_line(document, now)),
            "alt": state,
            "tooltip": formatting.escape_markup(tooltip or _explain_absence(document)),
            "class": state,
            "percentage": int(min(max(fullest, 0.0), _FULL_PERCENT)),
        }
    )


def format_swiftbar(document: Document, now: datetime) -> str:
    """The menu of a plugin for SwiftBar, xbar or Argos: the line, then alerts, windows and actions."""
    accounts = _list_accounts(document, now)
    lines = [_make_menu_item(format_line(document, now), _find_severity(document)), "---"]
    for alert in _list_firing(document):
        lines.append(_make_menu_item(f"{alert['rule']} fires on {alert['series']}", alert["severity"]))
        lines += _make_snooze_items(alert["rule"])
    for account in accounts:
        lines += ["---", _make_menu_item(account.name + (f": {account.error}" if account.error else ""))]
        for window in account.windows:
            left, used = _get_time_left(window, now), window["used_percent"]
            reset = "" if left is None else f", resets in {formatting.format_duration(left)}"
            text = f"{window['label'] or window['window']}: {_format_usage(window)}{reset}"
            if used is not None and not window["unlimited"]:
                text = f"{formatting.draw_bar(used, _BAR_WIDTH)} {text}"
            lines.append(_make_menu_item(text, window["severity"]))
            lines += _make_snooze_items(window["series"])
    actions = {"Ask now": ("status", "--refresh"), "Open the dashboard": ("dashboard",)}
    return "\n".join([*lines, "---", *(_make_menu_item(name, run=words) for name, words in actions.items())])


def _make_snooze_items(target: str) -> list[str]:
    """Below an item, the actions that snooze a rule or a series; none where its name is not safe in every shell."""
    if not _SAFE_WORD_PATTERN.fullmatch(target):
        return []
    choices = {"Snooze for 2 hours": ("--for", "2h"), "Snooze until the reset": ("--until-reset",)}
    return [_make_menu_item(name, run=("snooze", target, *words), level="--") for name, words in choices.items()]


def _make_menu_item(text: str, severity: str | None = None, *, run: Sequence[str] = (), level: str = "") -> str:
    """A line of the menu. A bar would begin its attributes, a hyphen at its start a submenu or a separator."""
    shown = "".join(each if each.isprintable() else "?" for each in text).replace("|", "¦")
    shown = re.sub("^-", "\u2010", shown)
    attributes = ["trim=false", "ansi=false", "emojize=false", "symbolize=false", "useMarkup=false", "unescape=false"]
    if severity:
        attributes.append(f"color=#{_HEX_COLOURS[severity]}")
    if run:
        words = enumerate(("-m", "watcher", *run), 1)
        command = [f'bash="{sys.executable}"', *(f"param{number}={word}" for number, word in words)]
        attributes += [*command, "terminal=false", "refresh=true"]
    return f"{level}{shown} | {' '.join(attributes)}"


def format_i3blocks(document: Document, now: datetime) -> str:
    """The JSON of a block with `format=json`; no markup is read in it."""
    severity = _find_severity(document)
    colour = {"color": f"#{_HEX_COLOURS[severity]}"} if severity else {}
    return json.dumps(
        {"full_text": format_line(document, now), "markup": "none", "urgent": severity == "critical", **colour}
    )


def format_sketchybar(document: Document, now: datetime) -> str:
    """Properties for `sketchybar --set`, one a line: the caller passes each as one argument."""
    severity = _find_severity(document)
    label = "".join(each if each.isprintable() else "?" for each in format_line(document, now))
    return f"label={label}" + (f"\nlabel.color=0xff{_HEX_COLOURS[severity]}" if severity else "")


def format_starship(document: Document, now: datetime) -> str:
    """The line for a shell's prompt, with lookalikes for what bash and zsh expand there.

    Older versions of Starship pass it on.
    """
    return format_line(document, now).translate(str.maketrans("$`\\%", "\uff04\u02cb\uff3c\uff05"))


FORMATTERS: dict[str, Callable[[Document, datetime], str]] = {
    "line": format_line,
    "tmux": format_tmux,
    "waybar": format_waybar,
    "swiftbar": format_swiftbar,
    "i3blocks": format_i3blocks,
    "sketchybar": format_sketchybar,
    "starship": format_starship,
}
MULTILINE_FORMATS = ("swiftbar", "sketchybar")


def format_error(format_name: str, text: str) -> str:
    """A sentence in place of the readings."""
    return FORMATTERS[format_name]({"providers": [], "alerts": [], "problem": text}, clock.utc_now())


def _explain_absence(document: Document) -> str:
    """What takes the place of the readings where there are none."""
    problem: str = document.get("problem", _NO_READINGS)
    return problem


def _list_firing(document: Document) -> list[Document]:
    return [alert for alert in document["alerts"] if alert["state"] == "firing"]


def _find_severity(document: Document) -> str | None:
    """The highest severity that fires."""
    return _highest_severity([alert["severity"] for alert in _list_firing(document)])


def _list_accounts(document: Document, now: datetime) -> list[_Account]:
    providers = [account["provider"] for account in document["providers"]]
    return [
        _Account(account, document["alerts"], now, is_only=providers.count(account["provider"]) == 1)
        for account in document["providers"]
    ]


def _list_worst_first(document: Document, now: datetime) -> list[_Account]:
    """The accounts, with the highest severity first: a bar may have no room for all."""
    ranks = [None, *_COLOURS]
    return sorted(_list_accounts(document, now), key=lambda account: -ranks.index(account.severity))


def _highest_severity(severities: Sequence[str | None]) -> str | None:
    return max((each for each in severities if each), key=list(_COLOURS).index, default=None)


def _format_account(account: _Account, now: datetime) -> str:
    window = account.primary_window
    if window is None:
        return f"{account.name} ?"
    marks = ("!" if account.severity else "") + ("?" if account.is_old else "")
    left = _get_time_left(window, now)
    return f"{account.name} {_format_usage(window)}{marks}" + (
        "" if left is None else f" {formatting.format_short_duration(left)}"
    )


def _format_usage(window: Document) -> str:
    used, remaining = window["used_percent"], window["remaining"]
    if window["unlimited"]:
        return "unlimited"
    if used is not None:
        return f"{round(used) if used >= _FULL_PERCENT else min(round(used), 99)}%"  # never 100 if it is less
    return "?" if remaining is None else f"{formatting.format_amount(remaining, window['unit'])} left"


def _get_time_left(window: Document, now: datetime) -> timedelta | None:
    """The time to the reset; None if it is unknown, past or meaningless."""
    resets_at = _parse_time(window["resets_at"])
    return None if resets_at is None or resets_at <= now or window["unlimited"] else resets_at - now


def _format_tooltip(account: _Account, now: datetime) -> list[str]:
    lines = [f"{account.name}: {account.error}"] if account.error else []
    for window in account.windows:
        left, reset = _get_time_left(window, now), ""
        if left is not None:
            at = formatting.format_time(now + left, now, clock.LocalZone())
            reset = f", resets in {formatting.format_duration(left)} ({at})"
        alert = f" ({window['severity']})" if window["severity"] else ""
        lines.append(f"{account.name} {window['label'] or window['window']}: {_format_usage(window)}{reset}{alert}")
    return lines


def _parse_time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
