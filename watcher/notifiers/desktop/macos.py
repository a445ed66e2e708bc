"""macOS: `terminal-notifier` 3 or newer, else `osascript`.

Both take the text as arguments; the script of `osascript` is a constant that reads them. Their exit code 0 says only
that the system was asked: focus modes and permissions are not told, so the answer is unknown, never delivered.
"""

import re
from collections.abc import Mapping

from watcher.core.model import Command, Message
from watcher.notifiers import Run
from watcher.notifiers.desktop.answer import BODY_LIMIT, TITLE_LIMIT, Answer, attempt
from watcher.notifiers.text import APP_NAME, clip, link

OLDEST_TERMINAL_NOTIFIER = 3
"""Older ones use an interface that macOS no longer has, and fail without a word."""

SCRIPT = (
    "on run argv",
    "display notification (item 2 of argv) with title (item 1 of argv)",
    "end run",
)
"""Constant: AppleScript reads the text as its arguments."""

_TIMEOUT_S = 5.0
_HANDED_OVER = Answer(
    delivered=None,
    reason="handed to macOS, which does not say whether it was shown; if not, see System Settings, Notifications",
    accepted=True,
)


def show_by_terminal_notifier(message: Message, run: Run, _env: Mapping[str, str]) -> Answer:
    """Unknown where it ran; failed where it is missing, too old or ended badly."""
    version = run(Command(argv=("terminal-notifier", "-version"), timeout_s=_TIMEOUT_S))
    found = re.search(r"\b(\d{1,4})\.\d+", version.stdout)
    if version.exit_code != 0 or found is None:
        return Answer(delivered=False, reason=version.stderr or "it does not say its version")
    if int(found[1]) < OLDEST_TERMINAL_NOTIFIER:
        return Answer(delivered=False, reason=f"version {found[0]} is too old; run: brew upgrade terminal-notifier")
    _, answer = attempt(terminal_notifier(message), run)
    return answer or _HANDED_OVER


def show_by_osascript(message: Message, run: Run, _env: Mapping[str, str]) -> Answer:
    """Unknown where it ran; failed where it is missing or ended badly."""
    _, answer = attempt(osascript(message), run)
    return answer or _HANDED_OVER


def terminal_notifier(message: Message) -> Command:
    """The argument list; the group makes a later message of one alert replace the earlier."""
    page = link(message)
    return Command(
        argv=(
            "terminal-notifier",
            *("-title", _argument(clip(message.title, TITLE_LIMIT) or APP_NAME)),
            *("-message", _argument(clip(message.body, BODY_LIMIT) or " ")),
            *(("-group", _argument(message.thread)) if message.thread else ()),
            *(("-open", page) if page else ()),
        ),
        timeout_s=_TIMEOUT_S,
    )


def osascript(message: Message) -> Command:
    """The argument list: the constant script, then `--`, then the text."""
    script = tuple(part for line in SCRIPT for part in ("-e", line))
    title, body = clip(message.title, TITLE_LIMIT) or APP_NAME, clip(message.body, BODY_LIMIT)
    return Command(argv=("osascript", *script, "--", title, body), timeout_s=_TIMEOUT_S)


def _argument(text: str) -> str:
    """`text` as an argument: one that begins like an option or a property list gets an invisible mark in front."""
    return "\u200b" + text if text[:1] in set('-[({<"\\') else text
