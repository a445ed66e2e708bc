"""One provider and two receivers on the loopback: what the killed program talks to. Never run the program here."""

import json
import random
import threading
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from msgspec import Struct

LOW, HIGH = 62.0, 87.0
WINDOWS = ("five_hour", "seven_day")
STEADY, SHAKY = "steady", "shaky"  # the receivers: channel name and last part of the path
STARTS_AT = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
FAULTS = ("busy", "wait", "deaf", "mute")


class Receipt(Struct, frozen=True):
    """One message that came in whole."""

    channel: str
    key: str
    title: str
    round: int
    mute: bool  # it was taken in, and no answer was given


class World:
    """Usage leaps over the threshold or back with every answer; a receiver takes its time, and one has bad spells."""

    def __init__(self, luck: random.Random) -> None:
        self.luck = luck
        self.round = 0
        self.polls = 0
        self.refused = 0
        self.high = dict.fromkeys(WINDOWS, False)
        self.calm = False  # from now on usage stays as it is
        self.fault: str | None = None  # of the shaky receiver
        self.receipts: list[Receipt] = []
        self.connected = 0
        self.last = "start"  # what the program did last: start, poll, message, answer
        self.polled, self.posted = threading.Event(), threading.Event()
        self.lock = threading.Lock()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.server.handle_error = lambda *_: None  # type: ignore[method-assign]
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def begin_round(self) -> None:
        """Another life of the program."""
        self.round += 1
        self.last = "start"
        self.polled.clear()
        self.posted.clear()

    def usage(self) -> dict[str, object]:
        """Each answer leaps over the threshold or back, one window or both; the last ones no more."""
        self.polls += 1
        if not self.calm:
            for window in WINDOWS if self.luck.random() < 0.3 else (self.luck.choice(WINDOWS),):
                self.high[window] = not self.high[window]
        resets_at = (STARTS_AT + timedelta(days=60)).isoformat()
        return {
            window: {"utilization": HIGH if high else LOW, "resets_at": resets_at} for window, high in self.high.items()
        }

    def settle(self) -> None:
        """Wait until all that a dead process had sent is taken in, so that it counts for its own round."""
        threading.Event().wait(0.005)
        while self.connected:
            threading.Event().wait(0.001)

    def pause(self) -> None:
        """As on a network: up to 20 ms."""
        threading.Event().wait(self.luck.random() * 0.02)

    def end(self) -> None:
        """Nobody comes any more."""
        self.server.shutdown()
        self.server.server_close()


def _handler(world: World) -> type[BaseHTTPRequestHandler]:  # noqa: C901 - one class, whose methods see the world
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            asked = "usage" in self.path
            self.reply(world.usage() if asked else {})
            if asked:
                world.last = "poll"
                world.polled.set()

        def do_POST(self) -> None:
            channel = self.path.rpartition("/")[2]
            fault = world.fault if channel == SHAKY else None
            if fault == "deaf":
                self.close_connection = True
                return
            body = json.loads(self.rfile.read(int(self.headers.get("content-length", 0))))
            number = world.round
            world.last = "message"
            world.posted.set()
            world.pause()
            if fault in {"busy", "wait"}:
                world.refused += 1
                self.reply({}, 503 if fault == "busy" else 429, {"Retry-After": "90"} if fault == "wait" else {})
                return
            world.receipts.append(Receipt(channel, body["id"], body["title"], number, fault == "mute"))
            world.pause()
            if fault == "mute":
                self.close_connection = True
                return
            self.reply({})
            world.last = "answer"

        def reply(self, content: object, status: int = 200, headers: dict[str, str] | None = None) -> None:
            answer = json.dumps(content).encode()
            self.send_response(status)
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            pass

        def handle_one_request(self) -> None:
            try:
                super().handle_one_request()
            except (OSError, ValueError):  # the other end was killed
                self.close_connection = True

        def setup(self) -> None:
            with world.lock:
                world.connected += 1
            super().setup()

        def finish(self) -> None:
            super().finish()
            with world.lock:
                world.connected -= 1

    return Handler
