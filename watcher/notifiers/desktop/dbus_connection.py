"""A connection to the session bus with one deadline for connecting, authenticating and calls.

Jeepney's own blocking connection waits without limit for the reply to `Hello`, so a bus that accepts and does not
answer would block its caller forever. Here each wait ends at the deadline.
"""

import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from jeepney import DBusAddress, new_method_call
from jeepney.bus import get_connectable_addresses
from jeepney.io.blocking import DBusConnection, prep_socket
from jeepney.low_level import HeaderFields, MessageType
from jeepney.low_level import Message as BusMessage

from watcher.notifiers.base import TIMEOUT_S
from watcher.system.clock import monotonic_s

_BUS_OBJECT = DBusAddress("/org/freedesktop/DBus", "org.freedesktop.DBus", "org.freedesktop.DBus")
_DAEMON_OBJECT = DBusAddress(
    "/org/freedesktop/Notifications", "org.freedesktop.Notifications", "org.freedesktop.Notifications"
)
_PEER_NAMES = {_BUS_OBJECT.bus_name: "the session bus", _DAEMON_OBJECT.bus_name: "the notification daemon"}
_NO_DAEMON_ERRORS = ("ServiceUnknown", "NameHasNoOwner", "Spawn.", "NoServer")


class UnreachableError(Exception):
    """There is no bus or no daemon, or it refused: the message was not shown."""


class NoReplyError(Exception):
    """There was no reply before the deadline or the end of the connection."""


class BusConnection(DBusConnection):
    """One connection, used for one message."""

    def __init__(self, address: str, timeout_s: float = TIMEOUT_S) -> None:
        self._deadline_s, self._timeout_s = monotonic_s() + timeout_s, timeout_s
        try:
            path = next(iter(get_connectable_addresses(address)))
        except (RuntimeError, ValueError, StopIteration):
            raise UnreachableError("DBUS_SESSION_BUS_ADDRESS names no Unix socket; correct it") from None
        try:
            connected = prep_socket(path, timeout=timeout_s)
        except TimeoutError:
            raise NoReplyError(f"the session bus did not answer within {timeout_s:g} s") from None
        except OSError as error:
            reason = error.strerror or str(error)
            raise UnreachableError(f"the session bus cannot be reached ({reason}); log in to a desktop") from None
        except ValueError:
            raise UnreachableError("the session bus refused this user; log in to your own desktop") from None
        connected.settimeout(timeout_s)
        try:
            with self._explain_errors("the session bus"):
                super().__init__(connected)  # says Hello
        except NoReplyError:
            connected.close()
            raise

    def receive(self, *, timeout: float | None = None) -> BusMessage:  # noqa: ARG002 - one deadline counts
        """Receive the next message before the deadline."""
        return super().receive(timeout=max(self._deadline_s - monotonic_s(), 0.0))

    def interrupt(self) -> None:
        """End `wait_for_choice` in another thread."""
        with suppress(OSError):  # it has ended
            self.sock.shutdown(socket.SHUT_RDWR)

    def get_capabilities(self) -> tuple[tuple[str, ...], str]:
        """The daemon's capabilities, and its identity: the bus, and its name there."""
        reply = self._call(_DAEMON_OBJECT, "GetCapabilities")
        bus_id = self._call(_BUS_OBJECT, "GetId")
        match reply.body, bus_id.body:
            case (list(words),), (str(bus),):
                return tuple(map(str, words)), f"{bus} {reply.header.fields.get(HeaderFields.sender, '')}"
        raise UnreachableError("the notification daemon answers in an unknown way")

    def get_server_info(self) -> tuple[str, str]:
        """The daemon's name and version."""
        match self._call(_DAEMON_OBJECT, "GetServerInformation").body:
            case (str(name), str(_vendor), str(version), *_):
                return name, version
        raise UnreachableError("the notification daemon answers in an unknown way")

    def notify(self, arguments: tuple[Any, ...]) -> int:
        """Show a notification; returns the daemon's id for it."""
        match self._call(_DAEMON_OBJECT, "Notify", "susssasa{sv}i", arguments).body:
            case (int(number),):
                return number
        raise NoReplyError("the notification daemon gave no id")

    def subscribe(self) -> None:
        """Subscribe to the daemon's signals; some daemons send them to the sender alone, others broadcast."""
        rule = f"type='signal',interface='{_DAEMON_OBJECT.interface}',path='{_DAEMON_OBJECT.object_path}'"
        self._call(_BUS_OBJECT, "AddMatch", "s", (rule,))

    def wait_for_choice(self, number: int, timeout_s: float) -> str:
        """Wait for an action on a notification; empty when it or the connection is closed, or after the timeout."""
        self._deadline_s = monotonic_s() + timeout_s
        try:
            while True:
                message = self.receive()
                if message.header.message_type is MessageType.signal:
                    match message.header.fields.get(HeaderFields.member), message.body:
                        case "ActionInvoked", (int(about), str(action)) if about == number:
                            return action
                        case "NotificationClosed", (int(about), *_) if about == number:
                            return ""
        except Exception:  # noqa: BLE001 - as in `_call`; a notification whose buttons do nothing more is no error
            return ""

    def _call(
        self, destination: DBusAddress, method: str, signature: str | None = None, body: tuple[Any, ...] = ()
    ) -> BusMessage:
        with self._explain_errors(_PEER_NAMES[destination.bus_name]):
            reply: BusMessage = self.send_and_get_reply(  # type: ignore[no-untyped-call]
                new_method_call(destination, method, signature, body)
            )
        if reply.header.message_type is MessageType.error:
            name = str(reply.header.fields.get(HeaderFields.error_name, ""))
            if any(word in name for word in _NO_DAEMON_ERRORS):
                raise UnreachableError("no notification daemon is running; start one, for instance dunst or mako")
            if name.endswith(("NoReply", "Timeout", "TimedOut", "Disconnected")):
                raise NoReplyError("the notification daemon went away before it answered")
            raise UnreachableError(f"the notification daemon refused it ({name})")
        return reply

    @contextmanager
    def _explain_errors(self, peer: str) -> Iterator[None]:
        try:
            yield
        except TimeoutError:
            raise NoReplyError(f"{peer} did not answer within {self._timeout_s:g} s") from None
        except OSError:
            raise NoReplyError("the session bus broke off the connection") from None
        except Exception:  # noqa: BLE001 - jeepney's parser raises anything on bytes that are no message
            raise NoReplyError("the session bus sent what is no D-Bus message") from None
