"""`watcher dashboard`: a live page in the browser, served on the loopback for as long as someone looks at it.

The main thread publishes the status document whenever `status.json` changes, and a second thread what takes longer:
history and decisions. Each open page has a stream (server-sent events) in a thread of its own, which sends what is new.
"""

import errno
import secrets
import select
import signal
import sys
from contextlib import suppress
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import TCPServer
from threading import Event, Lock, Thread
from typing import Any

import click
import msgspec
from msgspec import Struct

from watcher.cli import app
from watcher.cli.charts import TimeRange, Track, build_segments, downsample, summarize_track
from watcher.cli.charts.svg import DARK, LIGHT, format_colour_variables
from watcher.cli.check import refresh_readings
from watcher.cli.context import find_paths, load_effective_config, load_own_providers, open_store
from watcher.cli.history import build_tracks
from watcher.cli.rules import convert_decision, convert_rule
from watcher.cli.snooze import end_snoozes, format_snooze, save_snooze
from watcher.cli.status import load_status
from watcher.core.engine.replay import iter_decisions
from watcher.errors import ConfigError, NoReadingsError, UsageError, WatcherError
from watcher.status.bars import FILE_NAME
from watcher.status.builder import make_series_formatter
from watcher.status.document import encode_json
from watcher.system import clock
from watcher.system.environment import create_environment
from watcher.system.paths import Paths
from watcher.system.process import open_in_browser

HOST = "127.0.0.1"
TICK_S = 0.25  # how soon a change reaches the page
REFRESH_EVERY_S = 15.0  # time alone makes readings stale, and tells whether the daemon still runs
CLOSED_FOR_S = 4.0  # a page that is reloaded comes back sooner
UNSEEN_FOR_S = 600.0
SOCKET_TIMEOUT_S = 10.0
MAX_BODY_BYTES = 4096
HISTORY_SPANS = {"day": timedelta(days=1), "week": timedelta(days=7)}
DECISIONS_SINCE = timedelta(days=3)  # as `rules explain`
_CHART_COLUMNS = 240


@click.command()
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="The port; left out: any that is free.")
@click.option("--no-open", is_flag=True, help="Only print the address.")
def dashboard(*, port: int, no_open: bool) -> None:
    """Open a live page in the browser: usage, forecasts, alerts, rules, deliveries.

    Only this machine can reach it, and only with the address that is printed. The command ends a few seconds after the
    last page is closed, or when none was visible for ten minutes.

    \b
    watcher dashboard
    watcher dashboard --no-open --port 8765
    ssh -L 8765:127.0.0.1:8765 HOST              elsewhere; then open the address
    """
    if sys.platform != "win32":  # a command that finds this process polling signals it as it does a daemon
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    try:
        server = DashboardServer(find_paths(), port)
    except OSError as error:
        if error.errno not in (errno.EADDRINUSE, errno.EACCES):
            raise
        raise UsageError(f"--port: cannot use {port} ({error.strerror}); choose another, or leave it out") from None
    with server:
        click.echo(server.url)
        if no_open or not open_in_browser(server.url):
            click.echo("open this address in a browser; Ctrl-C ends the dashboard", err=True)
        click.echo(f"ended: {server.run()}", err=True)


# --- what the page shows --------------------------------------------------------------------------------------------


def build_status_event(paths: Paths, now: datetime) -> bytes:
    """The document of `status --json`, or why there is none."""
    try:
        document, problem = load_status(paths, now), None
    except WatcherError as error:
        document, problem = None, str(error)
    return encode_json({"document": document, "problem": problem})


def build_details_event(paths: Paths, now: datetime) -> bytes:
    """The history of every window, and every rule with its last decisions."""
    config, problem = None, None
    try:
        config = load_effective_config()
    except ConfigError:
        problem = "The config has a mistake, so the rules are left out: run `watcher config show`."
    rules = () if config is None else config.rules
    intervals = {} if config is None else {name: settings.pace.every for name, settings in config.providers.items()}
    tracks: dict[str, Any] = {}
    decisions: dict[str, list[dict[str, Any]]] = {}
    try:
        with open_store(paths, now) as store:
            format_series = make_series_formatter(store)
            since = now - HISTORY_SPANS["week"]
            for track in build_tracks(store, store.readings.load_series(), since, rules):
                tracks[track.series_name] = convert_track(track, now)
            results = store.readings.load_poll_results(now - DECISIONS_SINCE)
            decided = iter_decisions(rules, results, default_intervals=intervals, until=now)
            for (rule, series), last in {(each.rule, each.series): each for each in decided}.items():
                decision = convert_decision(last) | {"series": format_series(series)}
                decisions.setdefault(rule, []).append(decision)
    except NoReadingsError:
        pass
    except WatcherError as error:
        problem = str(error)
    listed = [convert_rule(rule) | {"decisions": decisions.get(rule.name, [])} for rule in rules]
    return encode_json({"tracks": tracks, "rules": listed, "problem": problem})


def convert_track(track: Track, now: datetime) -> dict[str, Any]:
    """A track as the page draws it: for each span segments of points, as fractions of the time and of the scale."""
    spans = {name: TimeRange(start=now - span, end=now, tz=clock.LocalZone()) for name, span in HISTORY_SPANS.items()}
    return {
        "summary": summarize_track(track),
        "thresholds": [
            {"at": track.fraction_of(line.value), "severity": line.severity} for line in track.threshold_lines
        ],
        **{
            name: [downsample(each, _CHART_COLUMNS) for each in build_segments(track, span)]
            for name, span in spans.items()
        },
    }


# --- what the page asks for -----------------------------------------------------------------------------------------


class ActionRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of a request for an action."""

    target: str = ""  # a rule or a series
    duration: str | None = None  # of a snooze; None: until the reset


ACTIONS = ("snooze", "unsnooze", "refresh")
_REQUEST_DECODER = msgspec.json.Decoder(ActionRequest)


def perform_action(action: str, paths: Paths, request: ActionRequest) -> str:
    """Do what the page asks for. Returns what was done, in words."""
    now = clock.utc_now()
    if action == "snooze":
        return f"snoozed {format_snooze(save_snooze(paths, request.target, request.duration, now), now)}"
    if action == "unsnooze":
        return f"no longer snoozed: {', '.join(end_snoozes(paths, request.target, now))}"
    return refresh_readings(paths, create_environment()) or "every provider was asked"


# --- the server -----------------------------------------------------------------------------------------------------


class Audience:
    """When a page was last open, and last visible, in monotonic seconds."""

    def __init__(self, now_s: float) -> None:
        self._open_s: float | None = None  # None: none ever was
        self._visible_s = now_s

    def note_page(self, now_s: float, *, visible: bool) -> None:
        """A page is open."""
        self._open_s = now_s
        if visible:
            self._visible_s = now_s

    def find_end_reason(self, now_s: float) -> str | None:
        """Why the process has nothing to do any more; None while it has."""
        if self._open_s is not None and now_s - self._open_s >= CLOSED_FOR_S:
            return "the page was closed"
        if now_s - self._visible_s >= UNSEEN_FOR_S:
            return "the page was not visible for ten minutes"
        return None


class DashboardServer(ThreadingHTTPServer):
    """The page, its streams and its actions, for those who know the address."""

    daemon_threads = True
    allow_reuse_address = sys.platform != "win32"  # there it would let another program take the port over

    def __init__(self, paths: Paths, port: int) -> None:
        super().__init__((HOST, port), _Handler)
        self.paths = paths
        self.token = secrets.token_urlsafe(24)
        self.hosts = {f"{HOST}:{self.server_port}", f"localhost:{self.server_port}"}
        self.url = f"http://{HOST}:{self.server_port}/{self.token}/"
        self.events = {"status": b"", "details": b"", "end": b""}
        self.audience = Audience(clock.monotonic_s())
        self.action_lock = Lock()  # the process does not end in the middle of an action
        self._published: tuple[object, float] = (None, float("-inf"))
        self._ended = Event()

    def server_bind(self) -> None:
        """Bind without HTTPServer's look-up of this host's name, which may ask the network."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = HOST, self.server_address[1]

    def run(self) -> str:
        """Serve until no page is open or visible. Returns why it ended."""
        load_own_providers()
        self.publish_status()  # before another thread needs the same records: see `status.document`
        for work in (self.serve_forever, self._publish_details):
            Thread(target=work, daemon=True).start()
        try:
            while (reason := self.audience.find_end_reason(clock.monotonic_s())) is None:
                self.publish_status()
                self._ended.wait(TICK_S)
            self.events["end"] = encode_json({"reason": reason})
            self._ended.wait(2 * TICK_S)  # the streams send it
        finally:
            self._ended.set()
            with self.action_lock:
                self.shutdown()
        return reason

    def publish_status(self) -> None:
        """Publish the document if the file or, after a while, the time may have changed it."""
        stamp, now_s = None, clock.monotonic_s()
        with suppress(OSError):  # there is none
            stamp = (self.paths.state_dir / FILE_NAME).stat().st_mtime_ns
        if stamp != self._published[0] or now_s - self._published[1] >= REFRESH_EVERY_S:
            self._published = stamp, now_s
            self.events["status"] = build_status_event(self.paths, clock.utc_now())

    def _publish_details(self) -> None:
        while not self._ended.is_set():
            try:
                self.events["details"] = build_details_event(self.paths, clock.utc_now())
            except Exception as error:  # noqa: BLE001 - a thread's last place that can explain a defect
                problem = app.describe_defect(error)
                self.events["details"] = encode_json({"tracks": {}, "rules": [], "problem": problem})
            self._ended.wait(REFRESH_EVERY_S)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002
        """Report a defect; an OSError is a browser that went away."""
        error = sys.exception()
        if isinstance(error, Exception) and not isinstance(error, OSError):
            click.echo(app.describe_defect(error), err=True)


_POLICY = (
    "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; connect-src 'self';"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}


class _Handler(BaseHTTPRequestHandler):
    """One request."""

    server: DashboardServer
    timeout = SOCKET_TIMEOUT_S

    def do_GET(self) -> None:
        """The page, or its stream."""
        if (route := self._authorize()) is None:
            return
        if route == "":
            nonce = secrets.token_urlsafe(16)
            self._answer(200, render_page(nonce), "text/html; charset=utf-8", _POLICY.format(nonce=nonce))
        elif route in ("events", "events?hidden"):
            self._stream(visible=route == "events")
        else:
            self._refuse(404, "there is no such page")

    def do_POST(self) -> None:
        """An action."""
        if (route := self._authorize()) is None:
            return
        length = self.headers.get("Content-Length", "")
        if "Origin" not in self.headers:
            self._refuse(403, "only the page itself may act")
        elif route not in ACTIONS:
            self._refuse(404, "there is no such action")
        elif not length.isdecimal() or int(length) > MAX_BODY_BYTES:
            self._refuse(400, "the request is malformed or too large")
        else:
            self._act(route, self.rfile.read(int(length)))

    def _act(self, action: str, body: bytes) -> None:
        try:
            request = _REQUEST_DECODER.decode(body)
            with self.server.action_lock:
                text = perform_action(action, self.server.paths, request)
        except (WatcherError, msgspec.DecodeError) as error:
            self._refuse(400, str(error))
        except click.ClickException as error:
            self._refuse(400, error.message)
        except Exception as error:  # noqa: BLE001 - the last place that can explain a defect
            self._refuse(500, app.describe_defect(error))
        else:
            self._answer(200, encode_json({"text": text}), "application/json")

    def _authorize(self) -> str | None:
        """The path below the token; None if the request was refused: by another name, site or token."""
        _, token, route = [*self.path.split("/", 2), "", ""][:3]
        origin = self.headers.get("Origin")
        if self.headers.get("Host") not in self.server.hosts:
            self._refuse(403, "this is not the address of the dashboard")
        elif origin is not None and origin.removeprefix("http://") not in self.server.hosts:
            self._refuse(403, "another site may not ask")
        elif not secrets.compare_digest(token.encode(), self.server.token.encode()):
            self._refuse(403, "the address is not complete: open the one that `watcher dashboard` printed")
        else:
            return route
        return None

    def _stream(self, *, visible: bool) -> None:
        """Send every event that is new until the page, or the process, ends."""
        self._answer(200, b":\n\n", "text/event-stream")
        sent: dict[str, bytes] = {}
        alive_at_s = clock.monotonic_s()
        with suppress(OSError):  # closed in mid-stream
            while "end" not in sent:
                self.server.audience.note_page(clock.monotonic_s(), visible=visible)
                for name, data in self.server.events.items():
                    if data and sent.get(name) is not data:
                        self.wfile.write(b"event: %s\ndata: %s\n\n" % (name.encode(), data))
                        sent[name], alive_at_s = data, clock.monotonic_s()
                if clock.monotonic_s() - alive_at_s >= REFRESH_EVERY_S:
                    self.wfile.write(b":\n\n")
                    alive_at_s = clock.monotonic_s()
                if select.select([self.connection], [], [], TICK_S)[0]:
                    return  # a page sends nothing here: it was closed

    def _refuse(self, status: int, text: str) -> None:
        self._answer(status, encode_json({"error": text}), "application/json")

    def _answer(self, status: int, content: bytes, content_type: str, policy: str = "default-src 'none'") -> None:
        """Send an answer, or the beginning of a stream; the end of the connection is its end."""
        self.send_response(status)
        for name, value in {"Content-Type": content_type, "Content-Security-Policy": policy, **_HEADERS}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def version_string(self) -> str:
        return "watcher"

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name there
        """Nothing: the address holds the token."""


def render_page(nonce: str) -> bytes:
    """The page, with the colours of every other picture."""
    text = Path(__file__).with_name("dashboard.html").read_text("utf-8").replace("{nonce}", nonce)
    for name, colours in (("light", LIGHT), ("dark", DARK)):
        text = text.replace(f"{{{name}}}", format_colour_variables(colours))
    return text.encode()
