"""SIGKILL at random moments between a poll and its receipt, hundreds of times, while alerts fire: is anything lost?

The real program (`watcher check`: engine, store, outbox, sockets) polls a provider on the loopback whose usage leaps
over its threshold and back with every answer, and delivers to a receiver on the loopback. A process killed anywhere
between is started anew. In the end, two clean runs; then all that was ever decided is held against what was received:

- lost: a message kept as sent that never came in, one that still waits in the end, or a transition that neither reached
  the receiver nor was overtaken by a later one that did;
- wrong: an alert of which the receiver, having read all, believes something else than the provider last said;
- unordered: a message that came after a later one of its alert;
- needless: a message received twice although its first answer had been taken in.

`--sabotage` marks each message as sent a moment before it is sent, to show that a loss would be seen.
"""

import argparse
import json
import os
import random
import signal
import subprocess  # noqa: TID251 - what is killed must be another process
import sys
import tempfile
import threading
from collections import Counter
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path

from msgspec import Struct, structs

from watcher import clock
from watcher.core.model import DeliveryState, Event, Transition
from watcher.store import FILE_NAME, Store

LOW, HIGH = 62.0, 87.0
WINDOWS = ("five_hour", "seven_day")
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
CONFIG = """\
[providers.claude]
base_url = "{url}"
[channels.hook]
type = "webhook"
url = "{url}/hook"
[[rule]]
name = "session"
when = "claude.five_hour > 80%"
clear = "< 70%"
[[rule]]
name = "week"
when = "claude.seven_day > 80%"
clear = "< 70%"
"""


class Receipt(Struct, frozen=True):
    """One message that came in whole."""

    key: str
    title: str
    round: int


class Tally(Struct, kw_only=True):
    """What came of it all."""

    rounds: int = 0
    killed: int = 0
    polls: int = 0
    transitions: int = 0
    received: int = 0
    messages: int = 0
    cut_off: int = 0  # received again because the process died before the answer was kept
    needless: int = 0
    lost: int = 0
    wrong: int = 0
    unordered: int = 0
    moments: Counter[str] = {}  # how far the killed ones had come

    @property
    def is_clean(self) -> bool:
        """Whether nothing was lost, wrong, out of order or sent again without need."""
        return not (self.lost or self.wrong or self.unordered or self.needless)


class World:
    """The provider and the receiver, both in this process, which nobody kills."""

    def __init__(self, luck: random.Random) -> None:
        self.luck = luck
        self.round = 0
        self.polls = 0
        self.high = dict.fromkeys(WINDOWS, False)
        self.steady = False
        self.receipts: list[Receipt] = []
        self.connected = 0
        self.resets_at = datetime.now(UTC) + timedelta(hours=4)  # noqa: TID251 - a day on the machine's own calendar
        world = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self.reply(world.usage() if "usage" in self.path else {})

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers.get("content-length", 0))))
                number = world.round
                world.pause()
                world.receipts.append(Receipt(body["id"], body["title"], number))
                world.pause()
                self.reply({})

            def reply(self, content: object) -> None:
                answer = json.dumps(content).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: object) -> None:
                pass

            def handle_one_request(self) -> None:
                try:
                    super().handle_one_request()
                except OSError:  # the other end was killed
                    self.close_connection = True

            def setup(self) -> None:
                world.connected += 1
                super().setup()

            def finish(self) -> None:
                super().finish()
                world.connected -= 1

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.handle_error = lambda *_: None  # type: ignore[method-assign]
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def usage(self) -> dict[str, object]:
        """Each answer leaps over the threshold or back, one window or both; steady at the end."""
        self.polls += 1
        if not self.steady:
            for window in WINDOWS if self.luck.random() < 0.3 else (self.luck.choice(WINDOWS),):
                self.high[window] = not self.high[window]
        return {
            window: {"utilization": HIGH if high else LOW, "resets_at": self.resets_at.isoformat()}
            for window, high in self.high.items()
        }

    def settle(self) -> None:
        """Wait until all that a dead process had sent is taken in, so that it counts for its own round."""
        threading.Event().wait(0.002)
        while self.connected:
            threading.Event().wait(0.001)

    def pause(self) -> None:
        """As on a network: up to 20 ms."""
        threading.Event().wait(self.luck.random() * 0.02)


class Victim:
    """A process that has everything imported and forks one run of the program after the other."""

    def __init__(self, home: Path, *, sabotage: bool) -> None:
        env = {**os.environ, "HOME": str(home), "WATCHER_CONFIG_DIR": str(home / "config"), "PYTHONPATH": os.getcwd()}  # noqa: PTH109
        env |= {"WATCHER_STATE_DIR": str(home / "state"), "XDG_DATA_HOME": str(home / ".local" / "share")}
        self.process = subprocess.Popen(
            [sys.executable, "-c", f"from benchmarks.crash import fork_on_demand as run; run(sabotage={sabotage})"],
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, kill_after_s: float | None) -> bool:
        """One run; True where it was killed, False where it had ended by itself."""
        given, said = self.process.stdin, self.process.stdout
        if given is None or said is None:
            raise RuntimeError("no pipes")
        given.write("run\n")
        given.flush()
        child = int(said.readline())
        if kill_after_s is not None:
            threading.Event().wait(kill_after_s)
            os.kill(child, signal.SIGKILL)  # at worst it is a zombie: its parent waits only when it is told to
        given.write("wait\n")
        given.flush()
        status = int(said.readline())
        if status not in {0, -signal.SIGKILL}:
            raise RuntimeError(f"the program ended with {status}")
        return status != 0

    def end(self) -> None:
        """No more runs."""
        self.process.communicate()


def fork_on_demand(*, sabotage: bool) -> None:
    """Fork and wait as the lines on stdin say; prints a process id or an exit status for each."""
    from watcher import doors, http, outbox, paths  # noqa: PLC0415 - only this process needs them
    from watcher.core.redaction import Redactor  # noqa: PLC0415 - likewise
    from watcher.daemon import Daemon  # noqa: PLC0415 - likewise
    from watcher.log import Log  # noqa: PLC0415 - likewise

    outbox._SPACING_ELSE = timedelta(0)  # noqa: SLF001 - pauses between messages would only make the run longer
    if sabotage:
        begin, send = outbox.begin, http.send
        outbox.begin = lambda *args: structs.replace(begin(*args), state=DeliveryState.SENT)
        http.send = lambda request: (threading.Event().wait(0.05), send(request))[1]
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
        world = doors.real()
        around = world.surroundings()
        own = paths.find(around.env, around.home)
        store = Store(own.state_dir / FILE_NAME, now=world.clock.now())
        daemon = Daemon(paths=own, doors=world, store=store, log=Log(), redactor=Redactor())
        daemon.once()
        store.close()
        os._exit(0)


def play(kills: int, seed: int, *, sabotage: bool = False) -> Tally:
    """Run and kill until that many were killed."""
    luck = random.Random(seed)
    world = World(luck)
    tally = Tally(moments=Counter())
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        _lay_out(home, world.url)
        victim = Victim(home, sabotage=sabotage)
        victim.run(None)
        longest = _longest(victim)
        killed_rounds: set[int] = set()
        while tally.killed < kills and world.round < 4 * kills:
            world.round += 1
            polls, receipts = world.polls, len(world.receipts)
            killed = victim.run(luck.random() * longest)
            world.settle()
            if killed:
                tally.killed += 1
                killed_rounds.add(world.round)
                moment = "receipt" if len(world.receipts) > receipts else "poll" if world.polls > polls else "start"
                tally.moments[moment] += 1
        world.steady = True
        for _ in range(2):
            world.round += 1
            victim.run(None)
            world.settle()
        victim.end()
        tally.rounds, tally.polls = world.round, world.polls
        _compare(home, world, killed_rounds, tally)
    world.server.shutdown()
    world.server.server_close()
    return tally


def _lay_out(home: Path, url: str) -> None:
    login = home / ".local" / "share" / "opencode" / "auth.json"
    for folder in (login.parent, home / "config", home / "state"):
        folder.mkdir(parents=True)
    token = {"type": "oauth", "access": "sk-ant-oat01-not-real", "refresh": "r", "expires": 4102444800000}
    login.write_text(json.dumps({"anthropic": token}))
    config = home / "config" / "config.toml"
    config.write_text(CONFIG.format(url=url))
    config.chmod(0o600)


def _longest(victim: Victim) -> float:
    """The longest of a few undisturbed runs, and a bit: so late is the latest kill."""
    spans = []
    for _ in range(4):
        began = clock.monotonic_s()
        victim.run(None)
        spans.append(clock.monotonic_s() - began)
    return max(spans) * 1.1


def _compare(home: Path, world: World, killed_rounds: set[int], tally: Tally) -> None:
    store = Store(home / "state" / FILE_NAME, now=clock.now(), read_only=True)
    transitions = store.transitions(since=LONG_AGO)
    sent = store.deliveries(DeliveryState.SENT, since=LONG_AGO)
    waiting = store.outbox()
    store.close()
    first: dict[str, Receipt] = {}
    latest: dict[str, Receipt] = {}
    for receipt in world.receipts:
        if receipt.key in first:
            cut_off = latest[receipt.key].round in killed_rounds
            tally.cut_off += cut_off
            tally.needless += not cut_off
        first.setdefault(receipt.key, receipt)
        latest[receipt.key] = receipt
    told = [t for delivery in sent if delivery.key in first for t in delivery.about]
    place = {key: number for number, key in enumerate(first)}
    tally.transitions, tally.received, tally.messages = len(transitions), len(world.receipts), len(first)
    unread = [delivery for delivery in sent if delivery.key not in first]
    tally.lost = len(waiting) + len(unread) + _lost(transitions, told)
    tally.unordered = _unordered(transitions, place)
    for window, high in world.high.items():
        of_window = [t for t in transitions if t.series.window == window]
        believed = [t for t in of_window if t in told][-1:]
        tally.wrong += bool(believed and believed[0].event is Event.FIRING) is not high


def _lost(transitions: list[Transition], told: list[Transition]) -> int:
    """Those that nobody read, and after which nobody read anything of the same alert."""
    lost = 0
    for number, transition in enumerate(transitions):
        later = [t for t in transitions[number:] if t.alert == transition.alert]
        lost += not any(t in told for t in later)
    return lost


def _unordered(transitions: list[Transition], place: dict[str, int]) -> int:
    """Messages of one alert whose first arrivals are not in the order of what they tell."""
    wrong = 0
    for alert in {transition.alert for transition in transitions}:
        places = [place[t.key] for t in transitions if t.alert == alert and t.key in place]
        wrong += sum(later < earlier for earlier, later in pairwise(places))
    return wrong


def main() -> None:
    """Print the counts; exit 1 where something was lost or needlessly repeated."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=300, help="how many processes to kill (default: 300)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--sabotage", action="store_true")
    options = parser.parse_args()
    tally = play(options.kills, options.seed, sabotage=options.sabotage)
    moments = ", ".join(f"{count} {_SAID[moment]}" for moment, count in tally.moments.most_common())
    print(f"runs            {tally.rounds}, of which killed {tally.killed}: {moments}")
    print(f"polls answered  {tally.polls}")
    print(f"transitions     {tally.transitions}")
    print(f"messages        {tally.messages}, received {tally.received} times")
    print(f"repeated        {tally.cut_off} whose answer was cut off, {tally.needless} without need")
    print(f"lost            {tally.lost}")
    print(f"out of order    {tally.unordered}")
    print(f"wrong at last   {tally.wrong}")
    sys.exit(0 if tally.is_clean else 1)


_SAID = {
    "start": "before the poll was answered",
    "poll": "between the poll and a receipt",
    "receipt": "after a receipt",
}
