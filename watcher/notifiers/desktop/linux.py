"""Linux: org.freedesktop.Notifications over the session's D-Bus through jeepney, else libnotify's `notify-send`.

`notify-send -p` prints the id from the daemon, which proves that the daemon accepted the message; exit code 0 does not.
In the body, notify-send interprets backslashes and always allows markup, so both are escaped. It drops an empty title.
"""

import os
import sys
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any, NamedTuple

from watcher.core.formatting import escape_markup
from watcher.core.model import Command, Message
from watcher.notifiers import base

if TYPE_CHECKING:
    from watcher.notifiers.desktop.dbus_connection import BusConnection

if sys.platform == "win32":
    _USER_RUNTIME_FOLDER = ""
else:
    _USER_RUNTIME_FOLDER = f"/run/user/{os.getuid()}"  # systemd's
_URGENCIES = ("low", "normal", "critical")


def show(message: Message, run: base.Run, _env: Mapping[str, str]) -> base.BackendResult:
    """Show by notify-send: delivered with an id, failed with an exit code, else unknown."""
    finished, answer = base.run_backend(build_command(message), run)
    if answer is not None:
        return answer
    number = finished.stdout.strip()
    if number.isascii() and number.isdigit():
        return base.BackendResult(delivered=True, reason=f"the notification daemon took it (id {number})")
    return base.BackendResult(delivered=None, reason="it ended well but gave no id", accepted=True)


def build_command(message: Message) -> Command:
    """The arguments; `--` allows a title that begins with a dash."""
    hint = (
        () if message.used_percent is None else (f"--hint=int:value:{max(0, min(100, round(message.used_percent)))}",)
    )
    return Command(
        argv=(
            "notify-send",
            "-p",
            f"--app-name={base.APP_NAME}",
            f"--urgency={_URGENCIES[base.get_urgency(message)]}",
            f"--icon={base.get_icon(message)}",
            *hint,
            "--",
            base.clip(message.title, base.TITLE_LIMIT) or base.APP_NAME,
            "\n".join(
                part
                for part in (
                    base.clip(message.body, base.BODY_LIMIT, escape=escape_body),
                    escape_markup(base.get_safe_link(message)),
                )
                if part
            ),
        ),
        timeout_s=base.TIMEOUT_S,
    )


def escape_body(text: str) -> str:
    """Escape markup, and backslashes for notify-send."""
    return escape_markup(text).replace("\\", "\\\\")


MAX_REMEMBERED = 32
"""So many alerts have their last notification remembered: the next message replaces it, and it is listened to."""

LISTEN_FOR_S = 4 * 3600.0


class _Shown(NamedTuple):
    """The last notification of an alert."""

    daemon: str  # which daemon gave the id: after a restart of the daemon it may mean another notification
    number: int
    session: "BusConnection | None"  # listens for its actions


class DBusNotifier:
    """Shows messages; a later message of an alert replaces its notification."""

    def __init__(self, connect: Callable[[str], "BusConnection"] | None = None) -> None:
        self._connect = connect
        self._shown: OrderedDict[str, _Shown] = OrderedDict()  # by alert, oldest first

    def show(
        self, message: Message, _run: base.Run, env: Mapping[str, str], on_action: base.OnAction | None = None
    ) -> base.BackendResult:
        """Show over D-Bus: delivered with an id, failed without a bus or daemon, unknown without a reply.

        With `on_action`, if the daemon supports actions, it has buttons; a thread listens until it is closed.
        """
        try:
            from watcher.notifiers.desktop.dbus_connection import BusConnection, NoReplyError, UnreachableError  # noqa: PLC0415 - heavy
        except ImportError:
            return base.BackendResult(
                delivered=False, reason="the library jeepney is not installed; run: pip install jeepney"
            )
        is_sent = False
        try:
            with ExitStack() as stack:
                session = stack.enter_context(connect_first(list_bus_addresses(env), self._connect or BusConnection))
                capabilities, daemon = session.get_capabilities()
                actions = base.list_actions(message) if on_action and "actions" in capabilities else {}
                if actions:
                    session.subscribe()
                last = self._shown.get(message.thread)
                replaces = last.number if last is not None and last.daemon == daemon else 0
                is_sent = True
                number = session.notify(build_notify_arguments(message, capabilities, replaces, actions))
                if message.thread:
                    self._remember(message.thread, _Shown(daemon, number, session if actions else None))
                if on_action and actions:
                    stack.pop_all()
                    Thread(target=_listen, args=(session, number, message, on_action), daemon=True).start()
        except UnreachableError as error:
            return base.BackendResult(delivered=False, reason=str(error))
        except NoReplyError as error:
            if is_sent:
                return base.BackendResult(delivered=None, reason=f"{error}, so it may have been shown")
            return base.BackendResult(
                delivered=False, reason=str(error), is_bus_hung=True
            )  # the next backends ask the same daemon
        return base.BackendResult(delivered=True, reason=f"the notification daemon took it (id {number})")

    def _remember(self, thread: str, shown: _Shown) -> None:
        self._forget(thread)
        self._shown[thread] = shown
        if len(self._shown) > MAX_REMEMBERED:
            self._forget(next(iter(self._shown)))

    def _forget(self, thread: str) -> None:
        shown = self._shown.pop(thread, None)
        if shown is not None and shown.session is not None:
            shown.session.interrupt()


def _listen(session: "BusConnection", number: int, message: Message, on_action: base.OnAction) -> None:
    """Wait for the actions on a notification; it may stay after one."""
    with session:
        while choice := session.wait_for_choice(number, LISTEN_FOR_S):
            on_action(message, choice)


def list_bus_addresses(env: Mapping[str, str], runtime_folder: str = "") -> list[str]:
    """Addresses to try for the session bus: the environment's, then systemd's (in `runtime_folder`).

    A shell that outlived its session (tmux) has a stale address; a cron job has none.
    """
    folders = [env.get("XDG_RUNTIME_DIR", ""), runtime_folder or _USER_RUNTIME_FOLDER]
    usual = [f"unix:path={folder}/bus" for folder in folders if folder and Path(folder, "bus").exists()]
    given = env.get("DBUS_SESSION_BUS_ADDRESS", "")
    return list(dict.fromkeys([given, *usual] if given else usual))


def get_server_info(env: Mapping[str, str], connect: Callable[[str], "BusConnection"] | None = None) -> str:
    """Name and version of the notification daemon.

    Raises:
        UnreachableError: there is no bus or no daemon; says what to do.
        NoReplyError: it does not answer.
    """
    from watcher.notifiers.desktop.dbus_connection import BusConnection  # noqa: PLC0415 - heavy

    with connect_first(list_bus_addresses(env), connect or BusConnection) as session:
        return " ".join(word for word in session.get_server_info() if word.isprintable())


def connect_first(addresses: Sequence[str], connect: Callable[[str], "BusConnection"]) -> "BusConnection":
    """Connect to the first bus that accepts.

    Raises:
        UnreachableError: none does; the reason is the first one's.
        NoReplyError: one accepts the connection and does not answer.
    """
    from watcher.notifiers.desktop.dbus_connection import UnreachableError  # noqa: PLC0415 - heavy

    first: UnreachableError | None = None
    for candidate in addresses:
        try:
            return connect(candidate)
        except UnreachableError as error:
            first = first or error
    raise first or UnreachableError(
        "there is no session bus; log in to a desktop, set DBUS_SESSION_BUS_ADDRESS, or use another channel"
    )


def build_notify_arguments(
    message: Message, capabilities: Sequence[str], replaced_id: int, actions: Mapping[str, str]
) -> tuple[Any, ...]:
    """The arguments of `Notify`, signature `susssasa{sv}i`."""
    hints: dict[str, tuple[str, Any]] = {
        "urgency": ("y", base.get_urgency(message)),
        "x-watcher-alert-id": ("s", message.id),
    }
    if message.used_percent is not None:
        hints["value"] = ("i", max(0, min(100, round(message.used_percent))))  # many daemons draw it as a bar
    title = base.clip(message.title, base.TITLE_LIMIT) or base.APP_NAME
    body = format_body(message, capabilities, with_page=base.OPEN_PAGE not in actions)
    buttons = [part for action in actions.items() for part in action]
    return (base.APP_NAME, replaced_id, base.get_icon(message), title, body, buttons, hints, -1)


def format_body(message: Message, capabilities: Sequence[str], *, with_page: bool = True) -> str:
    """The body, escaped if the daemon supports markup, with the usage page as a link or as text."""
    markup = "body-markup" in capabilities
    own: Callable[[str], str] = escape_markup if markup else str
    text, page = (
        base.clip(message.body, base.BODY_LIMIT, escape=own),
        own(base.get_safe_link(message)) if with_page else "",
    )
    if page and markup and "body-hyperlinks" in capabilities:
        page = f'<a href="{page}">Usage page</a>'
    return "\n".join(part for part in (text, page) if part)
