"""Linux: libnotify's `notify-send`, where D-Bus itself could not be used.

`-p` prints the id that the daemon gave, which proves that it took the message; exit code 0 alone proves nothing. In the
body it unescapes backslashes and reads markup whatever the daemon can do: both are escaped. It drops an empty title.
"""

from collections.abc import Mapping

from watcher.core.model import Command, Message
from watcher.notifiers.base import Run
from watcher.notifiers.desktop.dbus import escape_markup
from watcher.notifiers.desktop.result import BODY_LIMIT, TIMEOUT_S, TITLE_LIMIT, BackendResult, get_urgency, run_backend
from watcher.notifiers.text import APP_NAME, clip, get_safe_link

_URGENCIES = ("low", "normal", "critical")


def show(message: Message, run: Run, _env: Mapping[str, str]) -> BackendResult:
    """Delivered with an id; failed with an exit code; unknown without either."""
    finished, answer = run_backend(build_command(message), run)
    if answer is not None:
        return answer
    number = finished.stdout.strip()
    if number.isascii() and number.isdigit():
        return BackendResult(delivered=True, reason=f"the notification daemon took it (id {number})")
    return BackendResult(delivered=None, reason="it ended well but gave no id", accepted=True)


def build_command(message: Message) -> Command:
    """The argument list; `--` in front of the text, so that a title may begin with a dash."""
    hint = (
        () if message.used_percent is None else (f"--hint=int:value:{max(0, min(100, round(message.used_percent)))}",)
    )
    return Command(
        argv=(
            "notify-send",
            "-p",
            f"--app-name={APP_NAME}",
            f"--urgency={_URGENCIES[get_urgency(message)]}",
            *hint,
            "--",
            clip(message.title, TITLE_LIMIT) or APP_NAME,
            "\n".join(
                part
                for part in (clip(message.body, BODY_LIMIT, escape=escape_body), escape_markup(get_safe_link(message)))
                if part
            ),
        ),
        timeout_s=TIMEOUT_S,
    )


def escape_body(text: str) -> str:
    """Markup, and the backslash that notify-send would take for an escape."""
    return escape_markup(text).replace("\\", "\\\\")
