"""What several commands say."""

import sys

from watcher import notifiers
from watcher.core import wording
from watcher.doors import Environment
from watcher.notifiers import Channel
from watcher.notifiers.registry import NOTIFIERS


def format_already_running(process_id: int | None) -> str:
    """The word to a second instance."""
    who = f" (process {process_id})" if process_id else ""
    return f"a watcher is running already{who}: `watcher status` shows what it knows"


def print_error(line: str) -> None:
    """One line on stderr, where there is one: under `pythonw` there is not."""
    if sys.stderr is not None:
        sys.stderr.write(f"{line}\n")


def notify_desktop(title: str, body: str, environment: Environment) -> None:
    """One notification outside of the outbox, for what happens before there is one; best effort."""
    message = wording.compose_notice("start", title, body, environment.clock.now())
    desktop = Channel(name="desktop", type="desktop", settings=NOTIFIERS["desktop"].settings_class())
    notifiers.send_message(message, desktop, send=environment.send, run=environment.run)
