"""A session bus of our own, a notification daemon that records, and dunst on a display without a screen."""

import contextlib
import json
import os
import shutil
import subprocess
import tempfile
import threading
import time
from pathlib import Path

import pytest
from jeepney import DBusAddress, HeaderFields, MatchRule, MessageType, new_error, new_method_return, new_signal
from jeepney.bus_messages import message_bus
from jeepney.io.blocking import DBusConnection, prep_socket

REQUIRED = os.environ.get("WATCHER_REQUIRE_SYSTEM_TESTS") == "1"
PATIENCE_S = 60

BUS_CONFIG = """\
<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>session</type>
  <listen>unix:path={path}</listen>
  <policy context="default">
    <allow send_destination="*" eavesdrop="true"/>
    <allow eavesdrop="true"/>
    <allow own="*"/>
  </policy>
</busconfig>
"""
# without <standard_session_servicedirs/> nothing is started on demand: "no daemon" means it

URGENCIES = ("LOW", "NORMAL", "CRITICAL")

DUNST_CONFIG = """\
[global]
    monitor = 0
    follow = none
    width = 620
    height = 300
    origin = top-right
    offset = 20x20
    notification_limit = 20
    font = DejaVu Sans 11
    frame_width = 1
    padding = 14
    horizontal_padding = 16
    gap_size = 8
    corner_radius = 8
    separator_height = 1
    markup = full
    format = "<b>%s</b>\\n%b"
    alignment = left
    word_wrap = yes
    ignore_newline = no
    history_length = 0
    idle_threshold = 0
    stack_duplicates = false
    sort = no
    icon_position = left
    icon_theme = Adwaita
    enable_recursive_icon_lookup = true
    min_icon_size = 48
    max_icon_size = 48
    show_indicators = no
    progress_bar_height = 8
    progress_bar_frame_width = 0
    progress_bar_min_width = 586
    progress_bar_max_width = 586
[urgency_low]
    background = "#1f2937"
    foreground = "#e5e7eb"
    frame_color = "#374151"
    highlight = "#2ea44e"
    timeout = 0
[urgency_normal]
    background = "#1f2937"
    foreground = "#e5e7eb"
    frame_color = "#d29922"
    highlight = "#d29922"
    timeout = 0
[urgency_critical]
    background = "#1f2937"
    foreground = "#ffffff"
    frame_color = "#da3633"
    highlight = "#da3633"
    timeout = 0
"""


def wait_until(is_true):
    deadline = time.monotonic() + PATIENCE_S
    while not is_true():
        assert time.monotonic() < deadline, f"not within {PATIENCE_S} s"
        time.sleep(0.005)


def need(*programs):
    """Skip the test where a program is missing; fail it where everything is promised to be there."""
    missing = [program for program in programs if shutil.which(program) is None]
    if missing and REQUIRED:
        pytest.fail(f"missing: {', '.join(missing)}; install what .ci/system-packages.txt lists")
    if missing:
        pytest.skip(f"missing: {', '.join(missing)}")


class PrivateBus:
    """A session bus in a folder of its own, which can be stopped and started again at the same address."""

    def __init__(self, folder):
        self.folder = folder
        self.path = folder / "bus"
        self.address = f"unix:path={self.path}"
        self.env = {"DBUS_SESSION_BUS_ADDRESS": self.address, "XDG_RUNTIME_DIR": str(folder), "HOME": str(folder)}
        self._process = None

    def start(self):
        config = self.folder / "bus.conf"
        config.write_text(BUS_CONFIG.format(path=self.path))
        self._process = subprocess.Popen(
            ["dbus-daemon", f"--config-file={config}", "--nofork", "--nopidfile", "--print-address"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # as root it complains of limits it may not raise
            text=True,
        )
        assert self._process.stdout.readline().startswith("unix:"), "the bus did not start"

    def stop(self):
        if self._process is not None:
            stop(self._process)
            self._process.stdout.close()
            self._process = None
        self.path.unlink(missing_ok=True)

    def connect(self):
        return DBusConnection(prep_socket(str(self.path)))


def stop(process):
    process.terminate()
    try:
        process.wait(PATIENCE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(PATIENCE_S)


@pytest.fixture
def bus():
    need("dbus-daemon")
    folder = Path(tempfile.mkdtemp(prefix="w-"))  # short: a socket's path has at most 107 bytes
    private = PrivateBus(folder)
    private.start()
    yield private
    private.stop()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def bus_env(bus):
    """The environment of a program on that bus."""
    return bus.env


class RecordingDaemon:
    """Owns org.freedesktop.Notifications, records the arguments of each Notify, and behaves as configured."""

    def __init__(self, bus, capabilities=("body", "body-markup", "body-hyperlinks"), behaviour=None, strange=None):
        self.notified = []
        self.senders = []
        self.capabilities = list(capabilities)
        self.behaviour = behaviour or {}  # method -> "hang", "leave" or the name of an error
        self.strange = strange or {}  # method -> signature and body of its reply
        self._ids = iter(range(41, 1000))
        self._connection = bus.connect()
        self._connection.send_and_get_reply(
            message_bus.RequestName("org.freedesktop.Notifications"), timeout=PATIENCE_S
        )
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self):
        with contextlib.suppress(OSError, ValueError, KeyError):  # ends when the connection or the bus does
            while True:
                call = self._connection.receive()
                if call.header.message_type is MessageType.method_call:
                    self._answer(call)

    def _answer(self, call):
        method = call.header.fields[HeaderFields.member]
        if method == "Notify":
            self.notified.append(call.body)
            self.senders.append(call.header.fields[HeaderFields.sender])
        behaviour = self.behaviour.get(method)
        if behaviour == "hang":
            return
        if behaviour == "leave":
            self._connection.close()
            return
        if behaviour is not None:
            self._connection.send(new_error(call, behaviour))
        elif method in self.strange:
            self._connection.send(new_method_return(call, *self.strange[method]))
        elif method == "GetCapabilities":
            self._connection.send(new_method_return(call, "as", (self.capabilities,)))
        elif method == "Notify":
            number = call.body[1] or next(self._ids)
            self._connection.send(new_method_return(call, "u", (number,)))
        elif method == "GetServerInformation":
            self._connection.send(new_method_return(call, "ssss", ("recorder", "tests", "1", "1.2")))
        else:
            self._connection.send(new_error(call, "org.freedesktop.DBus.Error.UnknownMethod"))

    def report(self, member, signature, body, to=None):
        """Send a signal to everyone, or to one program alone."""
        emitter = DBusAddress("/org/freedesktop/Notifications", interface="org.freedesktop.Notifications")
        signal = new_signal(emitter, member, signature, body)
        if to is not None:
            signal.header.fields[HeaderFields.destination] = to
        self._connection.send(signal)

    def close(self):
        with contextlib.suppress(OSError, ValueError, KeyError):
            self._connection.sock.shutdown(2)
        self._thread.join(PATIENCE_S)
        with contextlib.suppress(OSError, ValueError, KeyError):
            self._connection.close()


@pytest.fixture
def daemon(bus):
    """Starts recording daemons: `daemon(capabilities=..., behaviour=...)`."""
    running = []

    def start(**how):
        running.append(RecordingDaemon(bus, **how))
        return running[-1]

    yield start
    for each in running:
        each.close()


class Dunst:
    """Dunst on an invisible display."""

    def __init__(self, bus, display):
        self.env = {**bus.env, "DISPLAY": display, "PATH": os.environ["PATH"]}
        self._folder = bus.folder
        config = bus.folder / "dunstrc"
        self._hook = bus.folder / "hook"
        self._hook.write_text(f"#!/bin/sh\nprintf '%s\\n' \"$2|$3|$5\" >> {bus.folder}/hooked\n")
        self._hook.chmod(0o700)
        menu = bus.folder / "menu"  # chooses a line of what `dunstctl context` offers
        menu.write_text(f'#!/bin/sh\ngrep -m 1 -F "$(cat {bus.folder}/choice)"\n')
        menu.chmod(0o700)
        settings = DUNST_CONFIG.replace("[global]\n", f"[global]\n    dmenu = {menu}\n")
        config.write_text(f'{settings}[hook]\n    summary = "*"\n    script = {self._hook}\n')
        with bus.connect() as connection:
            rule = MatchRule(type="signal", member="NameOwnerChanged", sender="org.freedesktop.DBus")
            rule.add_arg_condition(0, "org.freedesktop.Notifications")
            connection.send_and_get_reply(message_bus.AddMatch(rule), timeout=PATIENCE_S)
            with connection.filter(rule) as arrivals:
                self._process = subprocess.Popen(
                    ["dunst", "-config", str(config)], env=self.env, stderr=subprocess.DEVNULL
                )
                connection.recv_until_filtered(arrivals, timeout=PATIENCE_S)

    def control(self, *words):
        done = subprocess.run(
            ["dunstctl", *words], env=self.env, capture_output=True, text=True, timeout=PATIENCE_S, check=True
        )
        return done.stdout

    def wait_for(self, displayed):
        """Until that many are on the display: the daemon answers before it draws."""
        deadline = time.monotonic() + PATIENCE_S
        while int(self.control("count", "displayed")) != displayed:
            assert time.monotonic() < deadline, f"{self.control('count')} after {PATIENCE_S} s"

    def choose(self, words):
        """Press the first button of those words."""
        (self._folder / "choice").write_text(words)
        self.control("context")

    def hooked(self, count):
        """Title, body and urgency of each message, in order, as dunst gave them to a program of its own."""
        deadline = time.monotonic() + PATIENCE_S
        lines = []
        while len(lines) < count:
            assert time.monotonic() < deadline, f"dunst ran its hook {len(lines)} times"
            written = self._folder / "hooked"
            lines = written.read_text("utf-8").splitlines() if written.exists() else []
        return [line.split("|") for line in sorted(lines, key=lambda line: URGENCIES.index(line.rpartition("|")[2]))]

    def picture(self, path):
        subprocess.run(
            ["import", "-window", "root", str(path)], env=self.env, check=True, timeout=PATIENCE_S, capture_output=True
        )

    def history(self):
        """Oldest first: summary, body and the hint `value` of what was shown and closed."""
        self.control("close-all")
        listed = json.loads(self.control("history"))["data"][0]
        return [{name: entry[name]["data"] for name in ("summary", "body", "progress", "id")} for entry in listed[::-1]]

    def stop(self):
        stop(self._process)


@pytest.fixture
def dunst(bus):
    need("Xvfb", "dunst", "dunstctl", "busctl", "import", "notify-send")
    read, write = os.pipe()
    display = subprocess.Popen(
        ["Xvfb", "-displayfd", str(write), "-screen", "0", "900x900x24", "-nolisten", "tcp"],
        pass_fds=[write],
        stderr=subprocess.DEVNULL,
    )
    os.close(write)
    with os.fdopen(read) as numbers:
        number = numbers.readline().strip()
    assert number, "Xvfb did not start"
    shown = Dunst(bus, f":{number}")
    yield shown
    shown.stop()
    stop(display)
