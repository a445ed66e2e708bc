"""Notifications on this machine's desktop: no settings.

Each system has a chain of backends, tried in order until one accepts the message::

    Linux    D-Bus, then notify-send, then plyer
    WSL      D-Bus, then a toast by the PowerShell of Windows
    macOS    terminal-notifier (3 or newer), then osascript, then plyer
    Windows  a toast by PowerShell, then plyer

Each returns delivered, failed with a reason, or unknown. Text is passed as an argument, a variable or a D-Bus string,
never in a script or a shell. Lost: all beyond 200 characters of title and 1,000 of body (63 and 255 on Windows),
colours, and on macOS the urgency. Permanent: nothing, because the desktop may be back at the next login. Plyer comes
last because it does not report failures.

While the daemon runs, a notification over D-Bus has buttons.
"""

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from msgspec import Struct, structs

from watcher.core.model import DeliveryOutcome, Message
from watcher.notifiers import base
from watcher.notifiers.desktop import linux, macos, plyer, windows


class Settings(base.ChannelSettings, frozen=True, forbid_unknown_fields=True):
    """`[channels.NAME]` with `type = "desktop"`: there is nothing to set."""


class Backend(Struct, frozen=True, kw_only=True):
    """One way to show a notification."""

    name: str  # for messages
    show: Callable[[Message, base.Run, Mapping[str, str]], base.BackendResult]
    uses_session_bus: bool = False


_NOTIFIER = linux.DBusNotifier()
_DBUS = Backend(name="D-Bus", show=_NOTIFIER.show, uses_session_bus=True)
_NOTIFY_SEND = Backend(name="notify-send", show=linux.show, uses_session_bus=True)
_TERMINAL_NOTIFIER = Backend(name="terminal-notifier", show=macos.show_by_terminal_notifier)
_OSASCRIPT = Backend(name="osascript", show=macos.show_by_osascript)
_TOAST = Backend(name="Windows toast", show=windows.show)
_WSL_TOAST = Backend(name="Windows toast", show=windows.show_from_wsl)
_PLYER = Backend(name="plyer", show=plyer.show, uses_session_bus=True)  # on Linux

BACKENDS: Mapping[str, Sequence[Backend]] = {
    "linux": (_DBUS, _NOTIFY_SEND, _PLYER),
    "darwin": (_TERMINAL_NOTIFIER, _OSASCRIPT, _PLYER),
    "win32": (_TOAST, _PLYER),
    "wsl": (_DBUS, _WSL_TOAST),
}
"""sys.platform, or "wsl" -> backends, best first."""


def get_backends(platform: str, env: Mapping[str, str]) -> Sequence[Backend]:
    """The backends of a system; the BSDs have what Linux has."""
    return BACKENDS[
        "wsl" if platform == "linux" and windows.is_wsl(env) else platform if platform in BACKENDS else "linux"
    ]


def deliver(
    message: Message, _settings: Settings, _send: base.Send, run: base.Run, on_action: base.OnAction | None
) -> DeliveryOutcome:
    """Show the message on this machine's desktop."""
    backends = get_backends(sys.platform, os.environ)
    if on_action is not None:
        with_buttons = structs.replace(_DBUS, show=partial(_NOTIFIER.show, on_action=on_action))
        backends = [with_buttons if backend is _DBUS else backend for backend in backends]
    return try_backends(backends, message, run, os.environ)


def try_backends(
    backends: Sequence[Backend], message: Message, run: base.Run, env: Mapping[str, str]
) -> DeliveryOutcome:
    """Try the backends in order until one accepts the message or its result is unknown."""
    failures: list[str] = []
    is_bus_hung = False
    for backend in backends:
        if is_bus_hung and backend.uses_session_bus:
            continue
        result = backend.show(message, run, env)
        if result.delivered:
            return DeliveryOutcome(delivered=True, detail=f"{backend.name}: {result.reason}")
        if result.delivered is None:
            detail = "; ".join([f"{backend.name}: {result.reason}", *failures])
            return DeliveryOutcome(delivered=None, detail=detail, accepted=result.accepted)
        failures.append(f"{backend.name}: {result.reason}")
        is_bus_hung = is_bus_hung or result.is_bus_hung
    return DeliveryOutcome(delivered=False, detail="; ".join(failures))


NOTIFIER = base.Notifier(type="desktop", settings_class=Settings, deliver=deliver)
