"""Shared by the tests of this folder: a home, the program in it as a process, a server, and comparisons.

Nothing here imports the program: it runs as a command, and its output, files and requests are compared.
"""

import json
import os
import re
import socket
import sqlite3
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
DATA = HERE / "data"
CLOCK = HERE / "blackbox_clock.py"
TIMEOUT_S = 120
SLACK = timedelta(seconds=60)
"""How far an instant that depends on the clock may be from the frozen one."""


# --- the program ----------------------------------------------------------------------------------------------------


@dataclass
class CommandResult:
    """The result of one command."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """The one JSON document on stdout."""
        return json.loads(self.out)


class Home:
    """A home of its own: config, state, logins, and the commands run in it."""

    def __init__(self, path: Path, env: Mapping[str, str] | None = None) -> None:
        self.path = path
        self.config_dir = path / "config of the watcher"
        self.state_dir = path / "state of the watcher"
        self.env = dict(env or {})
        for folder in (self.config_dir, self.state_dir):
            folder.mkdir(parents=True, exist_ok=True)
            folder.chmod(0o700)

    def write(self, name: str, content: object) -> Path:
        """A file below the home: text as it is, all else as JSON."""
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
        return path

    def config(self, text: str) -> Path:
        """The program's own `config.toml`, readable by its owner alone."""
        path = self.config_dir / "config.toml"
        path.write_text(text, encoding="utf-8")
        path.chmod(0o600)
        return path

    def rules(self, name: str, content: bytes) -> Path:
        """A file in the config folder's `rules/`."""
        path = self.config_dir / "rules" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
        return path

    def editor_cache(self, value: object, modified_at: datetime) -> None:
        """Antigravity's cache with that login, written then; None: with no login."""
        path = self.path / ".config/Antigravity/User/globalStorage/state.vscdb"
        path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(path)
        connection.execute("CREATE TABLE ItemTable (key TEXT UNIQUE ON CONFLICT REPLACE, value BLOB)")
        if value is not None:
            connection.execute("INSERT INTO ItemTable VALUES ('antigravityAuthStatus', ?)", (value,))
        connection.commit()
        connection.close()
        os.utime(path, (modified_at.timestamp(), modified_at.timestamp()))

    def run(
        self, *words: str, at: datetime | None = None, stdin: str = "", env: Mapping[str, str] | None = None
    ) -> CommandResult:
        """One command to its end; `at`: what the clock shall say when it begins."""
        done = subprocess.run(
            _make_argv(words, at),
            env=self.build_environment() | dict(env or {}),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
        return CommandResult(done.returncode, self.mask_home_path(done.stdout), self.mask_home_path(done.stderr))

    def start(self, *words: str, at: datetime | None = None) -> "subprocess.Popen[str]":
        """Start a command that does not end by itself."""
        quiet = subprocess.DEVNULL
        return subprocess.Popen(
            _make_argv(words, at), env=self.build_environment(), stdin=quiet, stdout=quiet, stderr=quiet
        )

    def build_environment(self) -> dict[str, str]:
        """The environment of every command."""
        return {
            "HOME": str(self.path),
            "PATH": os.environ.get("PATH", os.defpath),
            "TZ": "UTC",
            "COLUMNS": "200",
            "HTTPS_PROXY": "http://127.0.0.1:9",  # nothing listens there: nothing may leave this machine
            "WATCHER_CONFIG_DIR": str(self.config_dir),
            "WATCHER_STATE_DIR": str(self.state_dir),
            **self.env,
        }

    def mask_home_path(self, text: str) -> str:
        """The text without the path of this home, which differs in every run."""
        return text.replace(str(self.path), "{home}")

    def contents(self) -> dict[str, bytes]:
        """Every file that is not the program's own."""
        own = (self.config_dir, self.state_dir)
        files = (
            path for path in self.path.rglob("*") if path.is_file() and not any(path.is_relative_to(o) for o in own)
        )
        return {str(path.relative_to(self.path)): path.read_bytes() for path in sorted(files)}


def _make_argv(words: Sequence[str], at: datetime | None) -> list[str]:
    start = ["-m", "watcher"] if at is None else [str(CLOCK), at.isoformat(), "watcher"]
    return [sys.executable, *start, *words]


# --- the other side of the wire -------------------------------------------------------------------------------------


@dataclass
class ReceivedRequest:
    """A request as it arrived."""

    method: str
    path: str  # with the query
    headers: dict[str, str]  # names in lower case
    body: bytes

    @property
    def secret(self) -> str:
        """The token that it carries, however it is written."""
        words = self.headers.get("authorization", "").split()
        return words[-1] if words else self.headers.get("x-api-key", "")


@dataclass
class Reply:
    """An answer as it leaves; `how`: "whole", "cut" in the middle, or "reset" in place of an answer."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    how: str = "whole"


def reply(content: object, status: int = 200, **headers: str) -> Reply:
    """A JSON answer."""
    named = {"content-type": "application/json", **headers}
    return Reply(status=status, headers=named, body=json.dumps(content).encode())


class Server:
    """A server on the loopback, and all requests that it received."""

    def __init__(self, answer: Callable[[ReceivedRequest], Reply]) -> None:
        self.answer = answer
        self.asked: list[ReceivedRequest] = []
        self.lock = threading.Lock()
        self.url = ""

    def handle(self, asked: ReceivedRequest) -> Reply:
        """One request; answers may keep state, so they are given one at a time."""
        with self.lock:
            self.asked.append(asked)
            return self.answer(asked)


@contextmanager
def start_server(answer: Callable[[ReceivedRequest], Reply]) -> Iterator[Server]:
    """A server on a free port of the loopback."""
    state = Server(answer)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            headers = {name.lower(): text for name, text in self.headers.items()}
            answer = state.handle(ReceivedRequest(self.command, self.path, headers, body))
            if answer.how == "reset":
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.close_connection = True
                return
            self.send_response(answer.status)
            for name, text in answer.headers.items():
                self.send_header(name, text)
            self.send_header("content-length", str(len(answer.body)))
            self.end_headers()
            is_cut = answer.how == "cut"
            self.wfile.write(answer.body[: len(answer.body) // 2] if is_cut else answer.body)
            self.close_connection = self.close_connection or is_cut

        do_GET = do_POST = do_PUT = do_DELETE = serve  # noqa: N815 - the names that the library calls

        def log_message(self, *_: object) -> None:
            pass

    class LoopbackServer(ThreadingHTTPServer):
        daemon_threads = True
        block_on_close = False

        def handle_error(self, *_: object) -> None:
            pass

        def shutdown_request(self, request: socket.socket) -> None:
            linger = request.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 8)
            (self.close_request if linger == struct.pack("ii", 1, 0) else super().shutdown_request)(request)

    server = LoopbackServer(("127.0.0.1", 0), Handler)
    state.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


# --- comparisons ----------------------------------------------------------------------------------------------------

_INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")


def instant(text: str) -> datetime:
    """The instant that is written there."""
    return datetime.fromisoformat(text)


def differences(expected: Any, found: Any, where: str = "$") -> list[str]:
    """The differences from the frozen value. An object may have more keys; everything else must be equal.

    A text that begins with `~` is an instant that depends on when a process looked at its clock; `~` alone is
    any instant, or none.
    """
    if isinstance(expected, dict) and isinstance(found, dict):
        lost = [f"{where}: `{key}` is gone" for key in expected if key not in found]
        both = [key for key in expected if key in found]
        return lost + [line for key in both for line in differences(expected[key], found[key], f"{where}.{key}")]
    if isinstance(expected, list) and isinstance(found, list):
        if len(expected) != len(found):
            return [f"{where}: {len(expected)} entries became {len(found)}: {_shorten(expected)} -> {_shorten(found)}"]
        pairs = zip(expected, found, strict=True)
        return [line for index, (a, b) in enumerate(pairs) for line in differences(a, b, f"{where}[{index}]")]
    return [] if _is_equal(expected, found) else [f"{where}: {_shorten(expected)} became {_shorten(found)}"]


def _is_equal(expected: Any, found: Any) -> bool:
    if isinstance(expected, str) and expected.startswith("~"):
        if expected == "~" and found is None:
            return True
        if not (isinstance(found, str) and _INSTANT.fullmatch(found)):
            return False
        return expected == "~" or abs(instant(found) - instant(expected[1:])) <= SLACK
    if isinstance(expected, float) or isinstance(found, float):
        numbers = all(isinstance(each, int | float) and not isinstance(each, bool) for each in (expected, found))
        return numbers and abs(expected - found) <= 1e-9 * max(1.0, abs(expected))
    return type(expected) is type(found) and expected == found


def _shorten(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 400 else f"{text[:400]}..."


_FACT = re.compile(r"`[^`]+`|\{home\}[^\s:;,]*|\b[1-5]\d\d\b(?! %)")


def facts(message: str) -> list[str]:
    """The facts of a sentence, whatever its wording: commands and keys in backticks, files, statuses."""
    return sorted(set(_FACT.findall(message)))


def load(path: Path) -> Any:
    """A file of frozen data."""
    return json.loads(path.read_text(encoding="utf-8"))
