"""Linux: org.freedesktop.Notifications over the session's D-Bus, through jeepney.

https://specifications.freedesktop.org/notification-spec/1.2/ - the reply to `Notify` holds an id, which proves that the
daemon took the message. A new connection for each message, so that a bus that restarts is no event, and two seconds for
all of it, so that a hung daemon is none either. This is the one socket outside `watcher.http`: it is a Unix socket, and
never leaves the machine.
"""

import os
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from watcher.core.model import Message
from watcher.notifiers import Run
from watcher.notifiers.desktop.answer import BODY_LIMIT, TITLE_LIMIT, Answer, urgency
from watcher.notifiers.text import APP_NAME, clip, link

if TYPE_CHECKING:
    from watcher.notifiers.desktop.session import Session

REMEMBERED = 256
"""Alerts whose last bubble is remembered, so that the next message replaces it."""

Shown = tuple[str, int]
"""Which daemon (bus, owner) gave which id: an id of a daemon that has been restarted belongs to somebody else now."""


class Bubbles:
    """Shows messages, and remembers in memory which bubble each alert has."""

    def __init__(self, connect: Callable[[str], "Session"] | None = None) -> None:
        self._connect = connect
        self._shown: OrderedDict[str, Shown] = OrderedDict()

    def show(self, message: Message, _run: Run, env: Mapping[str, str]) -> Answer:
        """Delivered with the daemon's id; failed without a bus or daemon; unknown where no reply came."""
        try:
            from watcher.notifiers.desktop.session import Session, Silence, Unreachable  # noqa: PLC0415 - heavy
        except ImportError:
            return Answer(delivered=False, reason="the library jeepney is not installed; run: pip install jeepney")
        asked = False
        try:
            with open_first(addresses(env), self._connect or Session) as session:
                capabilities, daemon = session.capabilities()
                replaces = self._id_to_replace(message.thread, daemon)
                asked = True
                number = session.notify(arguments(message, capabilities, replaces))
        except Unreachable as error:
            return Answer(delivered=False, reason=str(error))
        except Silence as error:
            if asked:
                return Answer(delivered=None, reason=f"{error}, so it may have been shown")
            return Answer(delivered=False, reason=str(error), last=True)  # others would ask the same daemon
        self._remember(message.thread, (daemon, number))
        return Answer(delivered=True, reason=f"the notification daemon took it (id {number})")

    def _id_to_replace(self, thread: str, daemon: str) -> int:
        known, number = self._shown.get(thread, ("", 0))
        return number if known == daemon else 0

    def _remember(self, thread: str, shown: Shown) -> None:
        if thread:
            self._shown[thread] = shown
            self._shown.move_to_end(thread)
            if len(self._shown) > REMEMBERED:
                self._shown.popitem(last=False)


def addresses(env: Mapping[str, str], runtime: str | None = None) -> list[str]:
    """Where the session bus may be: as the environment says, then where systemd puts it. `runtime`: its usual folder.

    A shell that outlived its session (tmux) has the address of a bus that is gone; a cron job has none at all.
    """
    folders = [env.get("XDG_RUNTIME_DIR", ""), f"/run/user/{os.getuid()}" if runtime is None else runtime]
    usual = [f"unix:path={folder}/bus" for folder in folders if folder and Path(folder, "bus").exists()]
    given = env.get("DBUS_SESSION_BUS_ADDRESS", "")
    return list(dict.fromkeys([given, *usual] if given else usual))


def server(env: Mapping[str, str], connect: Callable[[str], "Session"] | None = None) -> str:
    """Name and version of the notification daemon, asked without showing anything.

    Raises:
        Unreachable: there is no bus or no daemon; says what to do.
        Silence: it does not answer.
    """
    from watcher.notifiers.desktop.session import Session  # noqa: PLC0415 - heavy

    with open_first(addresses(env), connect or Session) as session:
        return " ".join(word for word in session.server() if word.isprintable())


def open_first(candidates: Sequence[str], connect: Callable[[str], "Session"]) -> "Session":
    """A conversation with the first bus that takes one.

    Raises:
        Unreachable: none did; the reason is the first one's.
        Silence: one took the connection and said nothing.
    """
    from watcher.notifiers.desktop.session import Unreachable  # noqa: PLC0415 - heavy

    first: Unreachable | None = None
    for candidate in candidates:
        try:
            return connect(candidate)
        except Unreachable as error:
            first = first or error
    raise first or Unreachable(
        "there is no session bus; log in to a desktop, set DBUS_SESSION_BUS_ADDRESS, or use another channel"
    )


def arguments(message: Message, capabilities: Sequence[str], replaces: int) -> tuple[Any, ...]:
    """The arguments of `Notify`, signature `susssasa{sv}i`."""
    hints: dict[str, tuple[str, Any]] = {
        "urgency": ("y", urgency(message)),
        "x-watcher-alert-id": ("s", message.id),
    }
    if message.used_percent is not None:
        hints["value"] = ("i", max(0, min(100, round(message.used_percent))))  # many daemons draw it as a bar
    title = clip(message.title, TITLE_LIMIT) or APP_NAME
    return (APP_NAME, replaces, "", title, body(message, capabilities), [], hints, -1)


def body(message: Message, capabilities: Sequence[str]) -> str:
    """The body, escaped where the daemon reads markup; the usage page as a link where it can show one, else as text."""
    markup = "body-markup" in capabilities
    own: Callable[[str], str] = escape if markup else str
    text, page = clip(message.body, BODY_LIMIT, escape=own), own(link(message))
    if page and markup and "body-hyperlinks" in capabilities:
        page = f'<a href="{page}">Usage page</a>'
    return "\n".join(part for part in (text, page) if part)


def escape(text: str) -> str:
    """The three characters that a daemon reads as markup: unescaped, `> 80 <` loses its middle."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
