"""The program that is killed: one process has everything imported and forks one life of it after the other.

It is the real one (engine, store, outbox, sockets) under a clock that runs fast and goes on while it is dead. Never
look at the outcome here.
"""

import json
import os
import random
import signal
import subprocess  # noqa: TID251 - what is killed must be another process
import sys
import threading
from datetime import datetime, timedelta
from pathlib import Path

from msgspec import structs

from benchmarks.crashes.world import SHAKY, STARTS_AT, STEADY
from watcher.core.model import Delivery, DeliveryState, Pace, Request, Response
from watcher.system.clock import Clock, monotonic_s

SPEED = 300.0
EVERY = timedelta(seconds=30)  # a tenth of a second, as this clock runs
CONFIG = """\
[poll]
hints = false
[providers.claude]
base_url = "{url}"
{others}
[channels.{steady}]
type = "webhook"
url = "{url}/hook/{steady}"
[channels.{shaky}]
type = "webhook"
url = "{url}/hook/{shaky}"
[route]
default = ["{steady}", "{shaky}"]
[[rule]]
name = "session"
when = "claude.five_hour > 80%"
clear = "< 70%"
[[rule]]
name = "week"
when = "claude.seven_day > 80%"
clear = "< 70%"
"""


class Fast(Clock):
    """Simulated time as a function of the machine's: it is the same in every life."""

    def __init__(self, origin_s: float) -> None:
        self._origin_s = origin_s

    def now(self) -> datetime:
        """This simulated instant."""
        return STARTS_AT + timedelta(seconds=(monotonic_s() - self._origin_s) * SPEED)

    def to_real_seconds(self, span: timedelta) -> float:
        """How long the machine waits for it."""
        return span.total_seconds() / SPEED

    def wall_offset(self) -> timedelta:
        """Nobody sets this clock."""
        return timedelta(0)

    def utc_offset(self) -> timedelta:
        """Nor its zone."""
        return timedelta(0)


class Victim:
    """The process that forks."""

    def __init__(self, home: Path, url: str, *, loop: bool, sabotage: bool) -> None:
        _lay_out(home, url)
        self.origin_s = monotonic_s()
        self.loop = loop
        env = {**os.environ, "HOME": str(home), "WATCHER_CONFIG_DIR": str(home / "config"), "PYTHONPATH": os.getcwd()}  # noqa: PTH109
        env |= {"WATCHER_STATE_DIR": str(home / "state"), "XDG_DATA_HOME": str(home / ".local" / "share")}
        call = f"run({self.origin_s!r}, loop={loop}, sabotage={sabotage})"
        self.process = subprocess.Popen(
            [sys.executable, "-c", f"from benchmarks.crashes.victim import fork_on_demand as run; {call}"],
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._child = 0

    def start(self) -> None:
        """One more life."""
        self._child = int(self._ask("run"))

    def kill(self) -> None:
        """At this moment; at worst it is a zombie already: its parent waits only when it is told to."""
        os.kill(self._child, signal.SIGKILL)

    def stop(self) -> None:
        """Ask the loop to end."""
        os.kill(self._child, signal.SIGTERM)

    def wait(self) -> bool:
        """True where it was killed, False where it had ended by itself."""
        status = int(self._ask("wait"))
        if status not in {0, -signal.SIGKILL}:
            raise RuntimeError(f"the program ended with {status}")
        return status != 0

    def end(self) -> None:
        """No more lives."""
        self.process.communicate()

    def _ask(self, what: str) -> str:
        given, said = self.process.stdin, self.process.stdout
        if given is None or said is None:
            raise RuntimeError("no pipes")
        given.write(f"{what}\n")
        given.flush()
        return said.readline()


def fork_on_demand(origin_s: float, *, loop: bool, sabotage: bool) -> None:
    """Fork and wait as the lines on stdin say; prints a process id or an exit status for each."""
    import watcher.daemon  # noqa: F401, PLC0415 - only this process needs them, and each life has them at once
    import watcher.system.http  # noqa: F401, PLC0415 - likewise

    if sabotage:
        _sabotage()
    child = 0
    for line in sys.stdin:
        if line == "wait\n":
            _, status = os.waitpid(child, 0)
            print(os.waitstatus_to_exitcode(status), flush=True)
            continue
        child = os.fork()
        if child:
            print(child, flush=True)
            continue
        random.seed()
        _live(Fast(origin_s), loop=loop)
        os._exit(0)


def _live(clock: Fast, *, loop: bool) -> None:
    from watcher.core.redaction import Redactor  # noqa: PLC0415 - likewise
    from watcher.daemon import Daemon  # noqa: PLC0415 - likewise
    from watcher.storage.store import DATABASE_FILE_NAME, Store  # noqa: PLC0415 - likewise
    from watcher.system import (  # noqa: PLC0415 - only this process needs them
        environment,
        http,
        paths,
    )
    from watcher.system.log import Log  # noqa: PLC0415 - likewise

    def send(request: Request) -> Response:
        return http.send_request(request, now=clock.now)

    world = structs.replace(environment.create_environment(), clock=clock, send=send)
    around = world.read_host_info()
    own = paths.resolve_paths(around.env, around.home)
    store = Store(own.state_dir / DATABASE_FILE_NAME, now=clock.now())
    daemon = Daemon(paths=own, environment=world, store=store, log=Log(), redactor=Redactor())
    settings = dict(daemon.config.providers)
    settings["claude"] = structs.replace(settings["claude"], pace=Pace(floor=EVERY / 3, every=EVERY, ceiling=EVERY))
    daemon.config = structs.replace(daemon.config, providers=settings)
    if loop:
        signal.signal(signal.SIGTERM, lambda *_: daemon.stop())
        daemon.run()
    else:
        daemon.run_once()
    store.close()


def _sabotage() -> None:
    from watcher.delivery import dispatcher  # noqa: PLC0415 - only where it is wanted
    from watcher.system import http  # noqa: PLC0415 - only where it is wanted

    begin, send = dispatcher.prepare_attempt, http.send_request

    def begun(*args: object) -> Delivery:
        return structs.replace(begin(*args), state=DeliveryState.SENT)  # type: ignore[arg-type]

    def late(request: Request, **more: object) -> Response:
        if request.method == "POST":
            threading.Event().wait(0.05)
        return send(request, **more)  # type: ignore[arg-type]

    dispatcher.prepare_attempt = begun  # type: ignore[assignment]
    http.send_request = late


def _lay_out(home: Path, url: str) -> None:
    login = home / ".local" / "share" / "opencode" / "auth.json"
    for folder in (login.parent, home / "config", home / "state"):
        folder.mkdir(parents=True)
    token = {"type": "oauth", "access": "sk-ant-oat01-not-real", "refresh": "r", "expires": 4102444800000}
    login.write_text(json.dumps({"anthropic": token}), "utf-8")
    off = ("codex", "copilot", "nano_gpt", "gemini_cli", "antigravity")
    others = "".join(f"[providers.{name}]\nenabled = false\n" for name in off)
    config = home / "config" / "config.toml"
    config.write_text(CONFIG.format(url=url, others=others, steady=STEADY, shaky=SHAKY), "utf-8")
    config.chmod(0o600)
