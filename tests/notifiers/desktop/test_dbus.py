"""The D-Bus backend against a daemon that records, one that misbehaves, and a bus that comes and goes."""

import queue
import socket
import threading
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest

from tests.notifiers.desktop.conftest import PATIENCE_S, wait_until
from tests.notifiers.desktop.samples import message
from watcher.core.model import Severity
from watcher.notifiers.base import BackendResult
from watcher.notifiers.desktop import Backend, try_backends
from watcher.notifiers.desktop.dbus_connection import BusConnection, NoReplyError, UnreachableError
from watcher.notifiers.desktop.linux import (
    MAX_REMEMBERED,
    DBusNotifier,
    _Shown,
    get_server_info,
    list_bus_addresses,
)

NOW = datetime(2026, 1, 5, 14, 20, tzinfo=UTC)


def not_run(_command):
    raise AssertionError("the bus needs no program")


def show(bubbles, sent, env):
    return bubbles.show(sent, not_run, env)


def read_line(connection):
    """A line of the client's; what follows it is not read."""
    line = b""
    while not line.endswith(b"\r\n") and (byte := connection.recv(1)):
        line += byte


def quick(at):
    return BusConnection(at, timeout_s=0.2)


def give_up_on(*methods):
    """Connections that wait long, as a busy machine needs, but not for the answer to these."""

    class Connection(BusConnection):
        def _call(self, destination, method, *arguments):
            if method in methods:
                self._timeout_s, self._deadline_s = 0.2, time.monotonic() + 0.2
            return super()._call(destination, method, *arguments)

    return lambda at: Connection(at, PATIENCE_S)


@pytest.mark.system
def test_the_arguments_of_notify_are_exact(bus_env, daemon):
    recorder = daemon()
    answer = show(DBusNotifier(), message(), bus_env)
    assert answer.delivered is True
    assert answer.reason == "the notification daemon took it (id 41)"
    assert recorder.notified == [
        (
            "AI usage watcher",
            0,
            "dialog-warning",
            "Claude 5-hour window at 82 %",
            'resets in 1 h 40 min (16:00)\n<a href="https://claude.ai/settings/usage">Usage page</a>',
            [],
            {
                "urgency": ("y", 1),
                "x-watcher-alert-id": ("s", "claude-session|claude.five_hour|3|firing"),
                "value": ("i", 82),
            },
            -1,
        )
    ]


@pytest.mark.system
@pytest.mark.parametrize(
    ("event", "severity", "urgency"),
    [
        ("firing", Severity.INFO, 0),
        ("firing", Severity.WARNING, 1),
        ("escalated", Severity.CRITICAL, 2),
        ("reminder", Severity.CRITICAL, 2),
        ("resolved", Severity.CRITICAL, 1),
        ("reset", Severity.INFO, 0),
    ],
)
def test_urgency_is_the_severity_and_an_ended_alert_is_never_critical(bus_env, daemon, event, severity, urgency):
    recorder = daemon()
    show(DBusNotifier(), message(event=event, severity=severity), bus_env)
    [shown] = recorder.notified
    assert shown[6]["urgency"] == ("y", urgency)
    assert shown[2] == ("dialog-information", "dialog-warning", "dialog-error")[urgency]


@pytest.mark.system
@pytest.mark.parametrize(
    ("capabilities", "body"),
    [
        (("body",), "91 % > <90 %> & up\nhttps://example.com/a?b=1&c=2"),
        (("body", "body-markup"), "91 % &gt; &lt;90 %&gt; &amp; up\nhttps://example.com/a?b=1&amp;c=2"),
        (
            ("body", "body-markup", "body-hyperlinks"),
            '91 % &gt; &lt;90 %&gt; &amp; up\n<a href="https://example.com/a?b=1&amp;c=2">Usage page</a>',
        ),
    ],
)
def test_the_body_is_escaped_only_for_a_daemon_that_reads_markup(bus_env, daemon, capabilities, body):
    recorder = daemon(capabilities=capabilities)
    show(DBusNotifier(), message(body="91 % > <90 %> & up", link="https://example.com/a?b=1&c=2"), bus_env)
    assert recorder.notified[0][4] == body


@pytest.mark.system
def test_a_later_message_of_an_alert_replaces_the_earlier_and_no_other(bus_env, daemon):
    recorder, bubbles = daemon(), DBusNotifier()
    for thread in ("a", "b", "a", "", ""):
        show(bubbles, message(thread=thread), bus_env)
    assert [call[1] for call in recorder.notified] == [0, 0, 41, 0, 0]


WITH_BUTTONS = ("body", "body-markup", "actions")
RESET_AT = NOW + timedelta(hours=2)


@pytest.fixture
def chosen():
    return queue.SimpleQueue()


def show_buttons(bubbles, sent, env, chosen):
    return bubbles.show(sent, not_run, env, on_action=lambda about, action: chosen.put((about.thread, action)))


@pytest.mark.system
def test_a_notification_has_buttons_where_the_daemon_listens(bus_env, daemon, chosen):
    recorder = daemon(capabilities=WITH_BUTTONS)
    for sent in (
        message(resets_at=RESET_AT),
        message(thread="ended", event="resolved", resets_at=RESET_AT),
        message(thread="balance", link=""),
    ):
        show_buttons(DBusNotifier(), sent, bus_env, chosen)
    snooze, page = ["snooze", "Snooze until reset"], ["open", "Open usage page"]
    assert [call[5] for call in recorder.notified] == [snooze + page, page, []]
    assert recorder.notified[0][4] == "resets in 1 h 40 min (16:00)"  # the page is behind the button


@pytest.mark.system
@pytest.mark.parametrize(("capabilities", "listens"), [(WITH_BUTTONS, False), (("body", "body-markup"), True)])
def test_no_button_is_shown_that_would_do_nothing(bus_env, daemon, chosen, capabilities, listens):
    recorder, sent = daemon(capabilities=capabilities), message(resets_at=RESET_AT)
    bubbles = DBusNotifier()
    answer = show_buttons(bubbles, sent, bus_env, chosen) if listens else show(bubbles, sent, bus_env)
    assert answer.delivered is True
    assert recorder.notified[0][5] == []
    assert "https://claude.ai/settings/usage" in recorder.notified[0][4]


@pytest.mark.system
@pytest.mark.parametrize("to_all", [True, False])
def test_a_choice_is_reported_once_for_its_own_notification(bus_env, daemon, chosen, to_all):
    recorder, bubbles = daemon(capabilities=WITH_BUTTONS), DBusNotifier()
    for thread in ("a", "b"):
        show_buttons(bubbles, message(thread=thread, resets_at=RESET_AT), bus_env, chosen)
    for number, sender, action in zip((41, 42), recorder.senders, ("snooze", "open"), strict=True):
        to = None if to_all else sender
        recorder.report("NotificationClosed", "uu", (7, 2), to)
        recorder.report("ActionInvoked", "us", (number, action), to)
        recorder.report("NotificationClosed", "uu", (number, 2), to)
        assert chosen.get(timeout=60) == ("ab"[number - 41], action)
    assert chosen.empty()


@pytest.mark.system
def test_listening_ends_with_the_notification_its_successor_or_the_bus(bus, bus_env, daemon, chosen):
    before = set(threading.enumerate())
    recorder, bubbles = daemon(capabilities=WITH_BUTTONS), DBusNotifier()

    def count_listeners():
        return len(set(threading.enumerate()) - before) - 1  # the recorder is a thread too

    for thread in ("a", "a", "b"):
        show_buttons(bubbles, message(thread=thread), bus_env, chosen)
    wait_until(lambda: count_listeners() == 2)
    recorder.report("NotificationClosed", "uu", (41, 1))
    wait_until(lambda: count_listeners() == 1)
    for number in range(2 * MAX_REMEMBERED):
        show_buttons(bubbles, message(thread=str(number)), bus_env, chosen)
    wait_until(lambda: count_listeners() == MAX_REMEMBERED)
    bus.stop()
    wait_until(lambda: set(threading.enumerate()) <= before)
    assert chosen.empty()


@pytest.mark.system
def test_listening_has_an_end(bus_env, daemon, chosen, monkeypatch):
    monkeypatch.setattr("watcher.notifiers.desktop.linux.LISTEN_FOR_S", 0.05)
    daemon(capabilities=WITH_BUTTONS)
    before = set(threading.enumerate())
    show_buttons(DBusNotifier(), message(), bus_env, chosen)
    wait_until(lambda: set(threading.enumerate()) <= before)
    assert chosen.empty()


@pytest.mark.system
def test_a_daemon_that_was_restarted_is_not_asked_to_replace_what_it_never_showed(bus_env, daemon):
    bubbles, first = DBusNotifier(), daemon()
    show(bubbles, message(), bus_env)
    first.close()
    second = daemon()
    show(bubbles, message(), bus_env)
    assert [call[1] for call in second.notified] == [0]


def test_memory_of_shown_alerts_is_bounded():
    bubbles = DBusNotifier()
    for number in range(3 * MAX_REMEMBERED):
        bubbles._remember(f"alert {number}", _Shown("daemon", number, None))
    assert len(bubbles._shown) == MAX_REMEMBERED


@pytest.mark.system
def test_a_bus_that_restarts_is_survived(bus, daemon, bus_env):
    bubbles = DBusNotifier()
    daemon()
    assert show(bubbles, message(), bus_env).delivered is True
    bus.stop()
    gone = show(bubbles, message(), bus_env)
    assert (gone.delivered, gone.is_bus_hung) == (False, False)
    assert gone.reason == "the session bus cannot be reached (No such file or directory); log in to a desktop"
    bus.start()
    second = daemon()
    assert show(bubbles, message(), bus_env).delivered is True
    assert second.notified[0][1] == 0  # ids of the old bus mean nothing on the new one


@pytest.mark.system
def test_without_a_daemon_the_reason_says_so(bus_env):
    answer = show(DBusNotifier(), message(), bus_env)
    assert answer.delivered is False
    assert answer.reason == "no notification daemon is running; start one, for instance dunst or mako"


@pytest.mark.system
@pytest.mark.parametrize(
    ("behaviour", "delivered", "last", "reason"),
    [
        ({"GetCapabilities": "hang"}, False, True, "the notification daemon did not answer within 0.2 s"),
        (
            {"Notify": "hang"},
            None,
            False,
            "the notification daemon did not answer within 0.2 s, so it may have been shown",
        ),
        (
            {"Notify": "leave"},
            None,
            False,
            "the notification daemon went away before it answered, so it may have been shown",
        ),
        ({"Notify": "org.example.Full"}, False, False, "the notification daemon refused it (org.example.Full)"),
    ],
)
def test_a_daemon_that_misbehaves_is_recognized(bus_env, daemon, *, behaviour, delivered, last, reason):
    daemon(behaviour=behaviour)
    hanging = (method for method, how in behaviour.items() if how == "hang")
    answer = show(DBusNotifier(give_up_on(*hanging)), message(), bus_env)
    assert (answer.delivered, answer.is_bus_hung, answer.reason) == (delivered, last, reason)


@pytest.mark.system
def test_a_hung_daemon_holds_nothing_up_for_more_than_two_seconds(bus_env, daemon):
    daemon(behaviour={"GetCapabilities": "hang"})
    began = time.monotonic()
    outcome = try_backends([Backend(name="D-Bus", show=DBusNotifier().show), NEVER], message(), not_run, bus_env)
    assert 1.9 < time.monotonic() - began < 5
    assert outcome.delivered is False
    assert outcome.detail == "D-Bus: the notification daemon did not answer within 2 s"


NEVER = Backend(name="never", uses_session_bus=True, show=lambda *_: pytest.fail("it would ask the same hung daemon"))


@pytest.fixture
def silent_socket(tmp_path_factory):
    """A socket that takes connections and never says a word."""
    folder = tmp_path_factory.mktemp("s")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / "bus"))
        listener.listen()
        yield f"unix:path={folder / 'bus'}"


@pytest.mark.posix
def test_a_bus_that_never_replies_is_given_up(silent_socket):
    answer = show(DBusNotifier(quick), message(), {"DBUS_SESSION_BUS_ADDRESS": silent_socket})
    assert (answer.delivered, answer.is_bus_hung) == (False, True)
    assert answer.reason == "the session bus did not answer within 0.2 s"


def show_on_false_bus(tmp_path_factory, respond, timeout_s):
    """The answer of a notification to a bus that responds with `respond(connection)` and then only reads."""
    path = str(tmp_path_factory.mktemp("s") / "bus")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()

        def serve():
            connection, _ = listener.accept()
            with connection, suppress(OSError):
                respond(connection)
                while connection.recv(100):
                    pass

        serving = threading.Thread(target=serve, daemon=True)
        serving.start()
        notifier = DBusNotifier(lambda at: BusConnection(at, timeout_s))
        answer = show(notifier, message(), {"DBUS_SESSION_BUS_ADDRESS": f"unix:path={path}"})
        serving.join(PATIENCE_S)
    return answer


@pytest.mark.posix
@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"REJECTED KERBEROS\r\n", "the session bus refused this user; log in to your own desktop"),
        (b"x" * 9000, "the session bus refused this user; log in to your own desktop"),
        (b"", "the session bus cannot be reached (Connection reset by peer); log in to a desktop"),
    ],
)
def test_a_bus_that_refuses_is_a_reason_and_not_an_exception(tmp_path_factory, line, reason):
    def refuse(connection):
        read_line(connection)
        connection.sendall(line)
        connection.shutdown(socket.SHUT_WR)

    answer = show_on_false_bus(tmp_path_factory, refuse, PATIENCE_S)
    assert (answer.delivered, answer.reason) == (False, reason)


@pytest.mark.posix
@pytest.mark.parametrize(
    "garbage",
    [
        b"\0" * 400,
        b"\xff" * 400,
        b"l\x02\0\x01" + b"\xff" * 12,
        b"l\x02\0\x01" + bytes(range(256)) * 4,
        b"HTTP/1.1 400\r\n\r\n",
    ],
)
def test_a_bus_that_talks_nonsense_is_given_up(tmp_path_factory, garbage):
    def talk(connection):
        read_line(connection)
        connection.sendall(b"OK 1234deadbeef\r\n")
        read_line(connection)  # BEGIN
        connection.sendall(garbage)

    answer = show_on_false_bus(tmp_path_factory, talk, 0.2)
    assert (answer.delivered, answer.is_bus_hung) == (False, True)


@pytest.mark.system
@pytest.mark.parametrize(
    ("strange", "delivered"),
    [({"GetCapabilities": ("s", ("body",))}, False), ({"Notify": ("s", ("7",))}, None), ({"Notify": ("", ())}, None)],
)
def test_a_daemon_that_answers_in_another_shape_is_not_believed(bus_env, daemon, strange, delivered):
    daemon(strange=strange)
    assert show(DBusNotifier(), message(), bus_env).delivered is delivered


@pytest.mark.posix
@pytest.mark.parametrize(
    ("env", "reason"),
    [
        ({}, "there is no session bus; log in to a desktop, set DBUS_SESSION_BUS_ADDRESS, or use another channel"),
        (
            {"DBUS_SESSION_BUS_ADDRESS": "tcp:host=localhost,port=1"},
            "DBUS_SESSION_BUS_ADDRESS names no Unix socket; correct it",
        ),
        ({"DBUS_SESSION_BUS_ADDRESS": "nonsense"}, "DBUS_SESSION_BUS_ADDRESS names no Unix socket; correct it"),
        (
            {"DBUS_SESSION_BUS_ADDRESS": "unix:path=/nowhere/bus"},
            "the session bus cannot be reached (No such file or directory); log in to a desktop",
        ),
        (
            {"DBUS_SESSION_BUS_ADDRESS": "unix:path=/" + "x" * 200},
            "the session bus cannot be reached (AF_UNIX path too long); log in to a desktop",
        ),
    ],
)
def test_no_bus_is_one_line_that_says_what_to_do(env, reason):
    answer = show(DBusNotifier(), message(), env)
    assert (answer.delivered, answer.reason) == (False, reason)


def test_the_bus_is_where_the_environment_says_then_where_systemd_puts_it(tmp_path):
    for folder in ("mine", "usual"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "bus").touch()
    mine, usual = str(tmp_path / "mine"), str(tmp_path / "usual")
    given = {"DBUS_SESSION_BUS_ADDRESS": "unix:abstract=x", "XDG_RUNTIME_DIR": mine}
    assert list_bus_addresses(given, usual) == ["unix:abstract=x", f"unix:path={mine}/bus", f"unix:path={usual}/bus"]
    assert list_bus_addresses({"XDG_RUNTIME_DIR": mine}, mine) == [f"unix:path={mine}/bus"]
    assert list_bus_addresses({"XDG_RUNTIME_DIR": "/nowhere"}, usual) == [f"unix:path={usual}/bus"]
    assert list_bus_addresses({}, "/nowhere") == []


@pytest.mark.system
def test_an_address_left_over_from_an_old_session_is_passed_over(bus, daemon):
    daemon()
    old = {"DBUS_SESSION_BUS_ADDRESS": "unix:path=/nowhere/bus", "XDG_RUNTIME_DIR": str(bus.folder)}
    assert show(DBusNotifier(), message(), old).delivered is True


@pytest.mark.system
def test_a_bus_that_only_the_runtime_folder_has_is_found(bus, daemon):
    daemon()
    assert show(DBusNotifier(), message(), {"XDG_RUNTIME_DIR": str(bus.folder)}).delivered is True


def test_the_chain_ends_at_the_first_that_takes_the_message():
    asked = []

    def backend(name, **answer):
        def show(*_):
            asked.append(name)
            return BackendResult(reason=f"{name} said so", **answer)

        return Backend(name=name, show=show)

    no, yes, perhaps = (
        backend("no", delivered=False),
        backend("yes", delivered=True),
        backend("perhaps", delivered=None),
    )
    took = backend("took", delivered=None, accepted=True)

    def end(*backends):
        return try_backends(backends, message(), not_run, {})

    assert end(no, yes, perhaps).detail == "yes: yes said so"
    assert asked == ["no", "yes"]
    doubtful = end(no, perhaps, yes)
    assert (doubtful.delivered, doubtful.accepted) == (None, False)
    assert doubtful.detail == "perhaps: perhaps said so; no: no said so"
    assert end(took, yes).accepted
    failed = end(no, no)
    assert (failed.delivered, failed.permanent) == (False, False)
    assert failed.detail == "no: no said so; no: no said so"


@pytest.mark.system
def test_the_daemon_is_asked_for_its_name_and_shows_nothing(bus_env, daemon):
    recorder = daemon()
    assert get_server_info(bus_env) == "recorder 1"
    assert recorder.notified == []


@pytest.mark.system
def test_without_a_daemon_there_is_no_name(bus_env):
    with pytest.raises(
        UnreachableError, match="no notification daemon is running; start one, for instance dunst or mako"
    ):
        get_server_info(bus_env)


@pytest.mark.system
def test_a_daemon_that_hangs_has_no_name(bus_env, daemon):
    daemon(behaviour={"GetServerInformation": "hang"})
    with pytest.raises(NoReplyError, match="did not answer"):
        get_server_info(bus_env, quick)


@pytest.mark.system
def test_a_daemon_that_gives_its_name_in_another_shape_is_not_believed(bus_env, daemon):
    daemon(strange={"GetServerInformation": ("u", (1,))})
    with pytest.raises(UnreachableError, match="answers in an unknown way"):
        get_server_info(bus_env)
