"""macOS: `terminal-notifier` 3 or newer, else `osascript`.

Both take the text as arguments; osascript's script is a constant that reads them. Exit code 0 only means that the
system was asked: focus modes and permissions are not reported, so the result is unknown, never delivered.
"""

import re
from collections.abc import Mapping

from watcher.core.model import Command, Message
from watcher.notifiers import base

MIN_TERMINAL_NOTIFIER_VERSION = 3
"""Older ones use an interface that macOS no longer has, and fail silently."""

SCRIPT = (
    "on run argv",
    "display notification (item 2 of argv) with title (item 1 of argv)",
    "end run",
)
"""Constant: AppleScript reads the text as its arguments."""

_TIMEOUT_S = 5.0
_ACCEPTED = base.BackendResult(
    delivered=None,
    reason="handed to macOS, which does not say whether it was shown; if not, see System Settings, Notifications",
    accepted=True,
)


def show_by_terminal_notifier(message: Message, run: base.Run, _env: Mapping[str, str]) -> base.BackendResult:
    """Show by terminal-notifier: unknown if it ran; failed if it is missing, too old or returned an error."""
    version = run(Command(argv=("terminal-notifier", "-version"), timeout_s=_TIMEOUT_S))
    found = re.search(r"\b(\d{1,4})\.\d+", version.stdout)
    if version.exit_code != 0 or found is None:
        return base.BackendResult(delivered=False, reason=version.stderr or "it does not say its version")
    if int(found[1]) < MIN_TERMINAL_NOTIFIER_VERSION:
        return base.BackendResult(
            delivered=False, reason=f"version {found[0]} is too old; run: brew upgrade terminal-notifier"
        )
    _, answer = base.run_backend(build_terminal_notifier_command(message), run)
    return answer or _ACCEPTED


def show_by_osascript(message: Message, run: base.Run, _env: Mapping[str, str]) -> base.BackendResult:
    """Show by osascript: unknown if it ran; failed if it is missing or returned an error."""
    _, answer = base.run_backend(build_osascript_command(message), run)
    return answer or _ACCEPTED


def build_terminal_notifier_command(message: Message) -> Command:
    """The arguments; the group lets a later message of an alert replace the earlier."""
    page = base.get_safe_link(message)
    return Command(
        argv=(
            "terminal-notifier",
            *("-title", _escape_argument(base.clip(message.title, base.TITLE_LIMIT) or base.APP_NAME)),
            *("-message", _escape_argument(base.clip(message.body, base.BODY_LIMIT) or " ")),
            *(("-group", _escape_argument(message.thread)) if message.thread else ()),
            *(("-open", page) if page else ()),
        ),
        timeout_s=_TIMEOUT_S,
    )


def build_osascript_command(message: Message) -> Command:
    """The arguments: the constant script, `--`, the text."""
    script = tuple(part for line in SCRIPT for part in ("-e", line))
    title, body = base.clip(message.title, base.TITLE_LIMIT) or base.APP_NAME, base.clip(message.body, base.BODY_LIMIT)
    return Command(argv=("osascript", *script, "--", title, body), timeout_s=_TIMEOUT_S)


def _escape_argument(text: str) -> str:
    """Put an invisible character before a text that looks like an option or a property list."""
    return "\u200b" + text if text[:1] in set('-[({<"\\') else text
