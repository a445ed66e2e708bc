"""Any system: plyer, the last in every chain, in a child process (`run_child`).

Plyer does not report failures, has no urgency, blocks for 25 s on a hung daemon and never reconnects to a bus. So it
runs in a process with a timeout, and its best result is unknown.
"""

import os
import sys
import warnings
from collections.abc import Mapping
from importlib.util import find_spec

import msgspec

from watcher.core.formatting import escape_markup
from watcher.core.model import Command, Message
from watcher.notifiers import base
from watcher.notifiers.desktop.windows import BODY_LIMIT, TITLE_LIMIT, format_body

BALLOON_TIMEOUT_S = 5
_CHILD = "import sys; from watcher.notifiers.desktop.plyer import run_child; sys.exit(run_child())"
_TIMEOUT_S = 10.0  # on Windows the balloon lives as long as the process


def show(message: Message, run: base.Run, _env: Mapping[str, str]) -> base.BackendResult:
    """Show by plyer: unknown if it ran, failed if it raised."""
    _, answer = base.run_backend(build_command(message), run)
    return answer or base.BackendResult(
        delivered=None, reason="plyer took it and does not report the result", accepted=True
    )


def build_command(message: Message) -> Command:
    """The command of the child process, with the text on stdin."""
    job = {
        "title": base.clip(message.title, TITLE_LIMIT, measure=base.count_utf16_units) or base.APP_NAME,
        "message": base.clip(format_body(message), BODY_LIMIT, measure=base.count_utf16_units) or " ",
        "app_name": base.APP_NAME,
    }
    argv = (sys.executable, "-P", "-c", _CHILD)
    return Command(argv=argv, stdin=msgspec.json.encode(job).decode(), timeout_s=_TIMEOUT_S)


def run_child() -> int:
    """The child process: show the message on stdin. Exit code 1: plyer raised, or was not safe to call."""
    job = msgspec.json.decode(sys.stdin.buffer.read())
    warnings.simplefilter("ignore")
    try:
        if sys.platform.startswith("linux"):
            check_linux_backend()
            job["message"] = escape_markup(job["message"])
        from plyer import notification  # noqa: PLC0415 - the whole point of this process

        notification.notify(**job, timeout=BALLOON_TIMEOUT_S)
    except Exception as error:  # noqa: BLE001 - whatever it is, the next backend is tried
        sys.stderr.write(f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no reason given'}\n")
        return 1
    return 0


def check_linux_backend() -> None:
    """Check that plyer would use dbus-python, its only method on Linux that reports failures.

    Raises:
        RuntimeError: there is a folder `/app`, where plyer would put the text into a `gdbus` call's expression; or it
            would run notify-send, which has just failed, and ignore that it fails again.
    """
    if os.path.isdir("/app"):  # noqa: PTH112 - the very test that plyer makes
        raise RuntimeError("plyer takes a machine with a folder /app for a Flatpak")
    if find_spec("dbus") is None:
        raise RuntimeError("plyer would only run notify-send again")
