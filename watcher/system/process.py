"""Runs other programs, by a `Command`; returns a `CommandResult` within the time limit and never raises.

Programs get an argument list, never a shell, and a small part of the environment. Output is bounded. At the time limit
the process group gets TERM, then KILL.
"""

import contextlib
import os
import shlex
import signal
import subprocess  # noqa: TID251 - this is the place
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, cast

from watcher.core.model import Command, CommandResult

GRACE_S = 2.0
"""Time between TERM and KILL; also the wait for output that a child process keeps open."""

INHERITED_VARIABLES = frozenset(
    {
        # the user
        *("PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "TZ", "TMPDIR"),
        # the desktop, its bus and its agents: notify-send, osascript, password managers
        *("DISPLAY", "WAYLAND_DISPLAY", "XAUTHORITY", "DBUS_SESSION_BUS_ADDRESS", "SSH_AUTH_SOCK", "GNUPGHOME"),
        *("XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", "XDG_CURRENT_DESKTOP"),
        "PASSWORD_STORE_DIR",
        # a company's network
        *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "NODE_EXTRA_CA_CERTS"),
        *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"),
        # required on Windows
        *("SYSTEMROOT", "SYSTEMDRIVE", "WINDIR", "COMSPEC", "PATHEXT", "TEMP", "TMP", "USERPROFILE", "USERNAME"),
        *("APPDATA", "LOCALAPPDATA", "PROGRAMDATA", "PROGRAMFILES", "PROGRAMFILES(X86)"),
    }
)
"""Variables that a program inherits, beside `LC_*`; others may hold tokens."""


def run_command(command: Command) -> CommandResult:
    """Run the command. Returns within its time limit and twice the grace period."""
    try:
        env = build_environment(command.env, os.environ)
        process = start_process(command.argv, env=env, stderr=subprocess.PIPE)
    except (OSError, ValueError) as error:  # ValueError: a NUL or a lone surrogate in an argument
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "an argument cannot be passed on"
        # without the arguments, which may hold a secret
        return CommandResult(exit_code=None, stderr=f"cannot start {command.argv[0]!r}: {reason}")
    pipes = [cast("IO[bytes]", pipe) for pipe in (process.stdin, process.stdout, process.stderr)]
    stdout, stderr = (_PipeReader(pipe, command.max_output_bytes) for pipe in pipes[1:])
    threading.Thread(target=_write_stdin, args=(pipes[0], command.stdin), daemon=True).start()
    timed_out = _wait_timed_out(process, command.timeout_s)
    if timed_out:
        _terminate(process)
    return CommandResult(
        exit_code=None if timed_out else process.returncode,
        stdout=stdout.read_all(),
        stderr=f"stopped after {command.timeout_s:g} s" if timed_out else stderr.read_all(),
        timed_out=timed_out,
    )


def open_in_browser(url: str) -> bool:
    """Open a page in a browser if there is a screen; one in the terminal would hide the address.

    Under systemd it starts in a unit of its own, without the limits and the end of the watcher's unit.
    """
    import webbrowser  # noqa: PLC0415 - only here

    has_screen = {"DISPLAY", "WAYLAND_DISPLAY", "BROWSER"} & os.environ.keys()
    if sys.platform not in ("win32", "darwin") and not has_screen:
        return False
    if os.environ.get("SYSTEMD_EXEC_PID") == str(os.getpid()):
        argv = ("systemd-run", "--user", "--quiet", "--collect", "xdg-open", url)
        if run_command(Command(argv=argv)).exit_code == 0:
            return True
    return webbrowser.open(url)


def build_environment(command_env: Mapping[str, str], parent_env: Mapping[str, str]) -> dict[str, str]:
    """The allowed part of `parent_env`, then the command's own variables."""
    allowed = {
        name: value
        for name, value in parent_env.items()
        if name.upper() in INHERITED_VARIABLES or name.startswith("LC_")
    }
    return allowed | dict(command_env)


def format_command(*words: str | Path, platform: str = sys.platform) -> str:
    """A command line for this system's shell."""
    texts = [str(word) for word in words]
    return subprocess.list2cmdline(texts) if platform == "win32" else shlex.join(texts)


def start_process(argv: Sequence[str], *, env: Mapping[str, str] | None = None, stderr: int) -> subprocess.Popen[bytes]:
    """Start a program in its own process group, without a console window, with pipes to stdin and stdout.

    Raises:
        OSError, ValueError: it cannot be started.
    """
    flags = 0
    if sys.platform == "win32":
        flags = subprocess.CREATE_NO_WINDOW | subprocess.CREATE_NEW_PROCESS_GROUP
    return subprocess.Popen(  # noqa: S603 - an argument list from the user's config or from constants
        list(argv),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=stderr,
        env=env,
        start_new_session=sys.platform != "win32",
        creationflags=flags,
    )


def _write_stdin(pipe: IO[bytes], text: str) -> None:
    """Write stdin and close it, even if the program does not read it or has ended."""
    with contextlib.suppress(OSError, ValueError), pipe:
        pipe.write(text.encode("utf-8", "replace"))


class _PipeReader:
    """Reads a pipe to its end in a thread and keeps the first `max_bytes`."""

    def __init__(self, pipe: IO[bytes], max_bytes: int) -> None:
        self._buffer, self._max_bytes = bytearray(), max_bytes
        self._pipe = pipe
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        with contextlib.suppress(OSError, ValueError), self._pipe as pipe:
            while chunk := os.read(pipe.fileno(), 65536):
                self._buffer += chunk[: self._max_bytes - len(self._buffer)]

    def read_all(self) -> str:
        """The output so far; waits only briefly for a child process that keeps the pipe open."""
        self._thread.join(GRACE_S)
        return bytes(self._buffer).decode("utf-8", "replace")


def _wait_timed_out(process: subprocess.Popen[bytes], timeout_s: float) -> bool:
    """Whether the program still runs at its limit."""
    try:
        process.wait(timeout_s)
    except subprocess.TimeoutExpired:
        return True
    return False


def _terminate(process: subprocess.Popen[bytes]) -> None:
    """Send TERM and, after the grace period, KILL to the process group, with a script's children."""
    _send_signal(process, force=False)
    _wait_timed_out(process, GRACE_S)
    _send_signal(process, force=True)  # even if the program has ended: its children may not have
    _wait_timed_out(process, GRACE_S)


def _send_signal(process: subprocess.Popen[bytes], *, force: bool) -> None:
    with contextlib.suppress(OSError):  # it has ended
        if sys.platform != "win32":
            os.killpg(process.pid, signal.SIGKILL if force else signal.SIGTERM)
        elif force:
            tree = ["taskkill", "/F", "/T", "/PID", str(process.pid)]
            with contextlib.suppress(subprocess.TimeoutExpired):
                subprocess.run(tree, capture_output=True, timeout=GRACE_S, check=False)  # noqa: S603
            process.kill()
        else:
            process.send_signal(signal.CTRL_BREAK_EVENT)
