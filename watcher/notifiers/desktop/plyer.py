"""Any system: plyer, the last in every chain, in a process of its own (`plyer_sender`).

Plyer never says whether it failed, has no urgency, blocks 25 s on a hung daemon and keeps a dead bus for the life of
its process: so it gets a process with a time limit, and its best answer is unknown.
"""

import sys
from collections.abc import Mapping

import msgspec

from watcher.core.model import Command, Message
from watcher.notifiers import Run
from watcher.notifiers.desktop.result import BackendResult, run_backend
from watcher.notifiers.desktop.windows import BODY_LIMIT, TITLE_LIMIT, format_body
from watcher.notifiers.text import APP_NAME, clip, count_utf16_units

_TIMEOUT_S = 10.0  # on Windows the balloon lives as long as the process


def show(message: Message, run: Run, _env: Mapping[str, str]) -> BackendResult:
    """Unknown where plyer ran; failed where it said so."""
    _, answer = run_backend(build_command(message), run)
    return answer or BackendResult(delivered=None, reason="plyer took it, and never says how it went", accepted=True)


def build_command(message: Message) -> Command:
    """The sender, with the text on its stdin."""
    job = {
        "title": clip(message.title, TITLE_LIMIT, measure=count_utf16_units) or APP_NAME,
        "message": clip(format_body(message), BODY_LIMIT, measure=count_utf16_units) or " ",
        "app_name": APP_NAME,
    }
    argv = (sys.executable, "-P", "-m", "watcher.notifiers.desktop.plyer_child")
    return Command(argv=argv, stdin=msgspec.json.encode(job).decode(), timeout_s=_TIMEOUT_S)
