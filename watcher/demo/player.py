"""Plays the day: runs server and daemon, yields what happens as events, and explains them in lines of text.

The daemon runs in a thread, as `watcher run` runs it; it is observed through its database and through the webhook that
it posts to.
"""

import json
import textwrap
import threading
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Self

from msgspec import Struct

from watcher.core.redaction import Redactor
from watcher.daemon import Daemon
from watcher.demo import simulation
from watcher.demo.scenario import SimulatedDay
from watcher.demo.server import ReceivedRequest, Reply, Server
from watcher.demo.simulation import CLEARS_BELOW_PERCENT, FIRES_ABOVE_PERCENT, FastClock, SimulatedWorkQueue
from watcher.status.builder import ConfigFacts, build_status
from watcher.status.document import StatusDocument
from watcher.storage.store import DATABASE_FILE_NAME, Store
from watcher.system.log import Log

FRAME_INTERVAL_S = 0.1
START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 10.0


class NotificationReceived(Struct, frozen=True):
    """A message that arrived at the webhook."""

    at: datetime
    payload: dict[str, Any]


class DemoProblem(Struct, frozen=True):
    """Something that should not happen in a demonstration."""

    text: str


DemoEvent = StatusDocument | NotificationReceived | DemoProblem


class DemoPlayer:
    """One day: in `with DemoPlayer(...) as player:` iterate over `player.iter_events()` to its end."""

    def __init__(self, folder: Path, day: SimulatedDay, speed: float, *, desktop: bool) -> None:
        self._folder, self._day, self._desktop = folder, day, desktop
        self.clock = FastClock(day.starts_at, speed)
        self._queue: SimpleQueue[DemoEvent] = SimpleQueue()
        self.server = Server(self._answer_request)
        self._started = threading.Event()
        self._daemon: Daemon | None = None
        self._thread = threading.Thread(target=self._run, name="demo-daemon", daemon=True)

    def __enter__(self) -> Self:
        self.server.__enter__()
        simulation.write_home(self._folder, self.server.url, self._day, desktop=self._desktop)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()
        self.server.__exit__()

    def iter_events(self) -> Iterator[DemoEvent]:
        """All events until the day ends, with the status at least every `FRAME_INTERVAL_S` of real time."""
        self._started.wait(START_TIMEOUT_S)
        if self._daemon is None:
            yield from self._drain_events(0)  # why the daemon did not start
            return
        path = simulation.make_paths(self._folder).state_dir / DATABASE_FILE_NAME
        with Store(path, now=self.clock.now(), read_only=True) as store:
            while self._thread.is_alive() and self.clock.now() < self._day.ends_at:
                yield from self._drain_events(FRAME_INTERVAL_S)
                yield build_status(store, ConfigFacts(), now=self.clock.now())
            self._stop()
            yield from self._drain_events(0)

    def _drain_events(self, wait_s: float) -> Iterator[DemoEvent]:
        """All events in the queue, and the first that comes within `wait_s`."""
        try:
            yield self._queue.get(timeout=wait_s)
            while True:
                yield self._queue.get_nowait()
        except Empty:
            return

    def _answer_request(self, request: ReceivedRequest) -> Reply:
        if request.path == simulation.WEBHOOK_PATH:
            self._queue.put(NotificationReceived(self.clock.now(), json.loads(request.body)))
            return Reply(status=204)
        return simulation.answer_request(request, self.clock, self._day)

    def _run(self) -> None:
        try:
            paths = simulation.make_paths(self._folder)
            store = Store(paths.state_dir / DATABASE_FILE_NAME, now=self.clock.now())
            environment = simulation.make_environment(self._folder, self.clock, self._day)
            self._daemon = Daemon(
                paths=paths,
                environment=environment,
                store=store,
                log=_EventLog(self),
                redactor=Redactor(),
                work_queue=SimulatedWorkQueue(self.clock),
            )
            self._started.set()
            self._daemon.run()
            store.close()
        except Exception as error:  # noqa: BLE001 - reported, not lost in a thread
            self.report_problem(f"the daemon ended: {type(error).__name__}: {error}")
        finally:
            self._started.set()

    def _stop(self) -> None:
        if self._daemon is not None:
            self._daemon.stop()
        self._thread.join(STOP_TIMEOUT_S)

    def report_problem(self, text: str) -> None:
        """Queue a problem."""
        self._queue.put(DemoProblem(text))


class _EventLog(Log):
    """Reports the daemon's warnings as problems: in a demonstration there should be none."""

    def __init__(self, player: DemoPlayer) -> None:
        self._player = player

    def warning(self, message: str) -> None:
        """Report it."""
        self._player.report_problem(message)

    def report_error(self, context: str, error: BaseException) -> None:
        """Report it."""
        self._player.report_problem(f"{context}: {type(error).__name__}: {error}")


# --- lines of at most 80 columns --------------------------------------------------------------------------------------


TEXT_WIDTH = 72  # beside the time


def explain_no_message(percent_before: float | None, percent_now: float | None) -> str | None:
    """Why no message is sent although a firing session crosses its threshold again; None: it does not cross."""
    if percent_before is None or percent_now is None:
        return None
    if percent_before > FIRES_ABOVE_PERCENT >= percent_now >= CLEARS_BELOW_PERCENT:
        return (
            f"Claude back at {percent_now:.1f} %: not below {CLEARS_BELOW_PERCENT} %, so still firing; nothing is sent"
        )
    if percent_before <= FIRES_ABOVE_PERCENT < percent_now:
        return f"Claude again at {percent_now:.1f} %: the same alert; nothing is sent"
    return None


def get_firing_session_percent(status: StatusDocument) -> float | None:
    """Percent used of Claude's session while its alert is firing; None: it is not firing, or unknown."""
    if not any(alert.state == "firing" and alert.rule == "claude-session" for alert in status.alerts):
        return None
    windows = (window for account in status.providers if account.provider == "claude" for window in account.windows)
    return next((window.used_percent for window in windows if window.window == "five_hour"), None)


def format_notification(payload: Mapping[str, object], mark: str) -> list[str]:
    """A message as it arrived at the webhook: its title, then the body."""
    heading = payload["severity"] if payload["event"] == "firing" else payload["event"]
    title = f"{mark} {str(heading).upper()}: {payload['title']}"
    body = [line for text in str(payload["message"]).splitlines() for line in textwrap.wrap(text, TEXT_WIDTH - 2)]
    return [*textwrap.wrap(title, TEXT_WIDTH, subsequent_indent="  "), *(f"  {line}" for line in body)]
