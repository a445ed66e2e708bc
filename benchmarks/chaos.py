"""The real daemon as a process in a world where everything goes wrong, and what must still be true in the end.

Thousands of simulated polls: the process has a clock that leaps from job to job, real sockets, a real database and a
real config; providers and receiver live in this process, which nobody kills. At random, seeded: every fault that
providers have shown (refusals, limits, torn, huge and foreign answers, resets), a receiver that refuses, asks to wait,
hangs up, or takes a message and never answers; the clock set forward and back, nights of sleep, SIGKILL and a new
start, the disk full, the folder read-only (both on a small tmpfs, as root), the database overwritten with noise, the
config replaced by garbage and back. Then an undisturbed end, and all that was decided is held against what was heard:

- lost: a message kept as sent that was never heard, one that still waits in the end, or a transition that was neither
  heard nor overtaken by a later one that was;
- twice: a message heard again although its first answer had been taken in by the same life of the process;
- false: an alert on a reading that no answer held, or that is not above the threshold;
- wrong: an alert of which the receiver believes something else in the end than the provider says;
- secrets: a planted token or the webhook's password in the state folder, the log, the output or a message;
- crashes: an exception that nothing in the daemon expected;
- leaks: descriptors, threads or memory that grew over the last, undisturbed life.

A database that was destroyed takes along what it held: what is compared is what each of them held at its end.
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
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar, cast

from msgspec import Struct, field, structs

from benchmarks.footprint import cost
from watcher.calls import Call, Calls
from watcher.clock import Clock
from watcher.core.model import DeliveryState, Event, Request, Response, Transition
from watcher.core.redaction import Redactor
from watcher.daemon import Daemon
from watcher.demo import machine
from watcher.demo.answers import ENDPOINTS
from watcher.demo.day import Copilot, Day, Turn, Use
from watcher.demo.server import FAULTS, Asked, Reply, Server, json_reply
from watcher.errors import ConfigError, StoreError
from watcher.log import Log
from watcher.store import FILE_NAME, Store

if TYPE_CHECKING:
    from watcher.demo.clock import FastClock

T = TypeVar("T")
CHILD = "--child"
SPEED = 200_000.0  # simulated seconds in a second of waiting
START = datetime(2026, 3, 2, 7, tzinfo=UTC)
FAR = START + timedelta(days=300)
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
HOOK = "/hook/planted-hook-5c1f9e"
SECRETS = ("planted-claude-5c1f9e", "planted-codex-5c1f9e", "planted-copilot-5c1f9e", "planted-hook-5c1f9e")
SERIES = ("claude.five_hour", "claude.seven_day", "codex.five_hour", "codex.weekly", "copilot.premium_interactions")
LOGINS = {
    "anthropic": {"type": "oauth", "access": SECRETS[0], "refresh": "never-used", "expires": 0},
    "openai": {"type": "oauth", "access": SECRETS[1], "refresh": "r", "expires": 0, "accountId": "a"},
    "github-copilot": {"type": "oauth", "access": SECRETS[2], "refresh": SECRETS[2], "expires": 0},
}
SLOW = {"slow", "drip"}  # they last as long as a real time limit, and no simulated clock shortens that
STATUSES = {"401", "403", "404", "challenge"}
LEAST_LOW, MOST_LOW, LEAST_HIGH, MOST_HIGH = 35, 60, 85, 94
STALLED_S = 90.0
NO_STORE, BAD_CONFIG = 74, 78


class Tally(Struct, kw_only=True):
    """What happened, and what came of it."""

    polls: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    transitions: int = 0
    heard: int = 0
    cut_off: int = 0
    lost: int = 0
    twice: int = 0
    false: int = 0
    wrong: int = 0
    secrets: int = 0
    crashes: int = 0
    grown_mb: float = 0.0
    grown_descriptors: int = 0
    grown_threads: int = 0
    notes: list[str] = []  # what should not have happened at all
    details: list[str] = []

    @property
    def is_clean(self) -> bool:
        """Whether everything held."""
        leaks = self.grown_descriptors > 2 or self.grown_threads > 2 or self.grown_mb > 8
        return not (
            self.lost or self.twice or self.false or self.wrong or self.secrets or self.crashes or leaks or self.notes
        )


class Heard(Struct, frozen=True):
    """A message that came in whole."""

    key: str
    life: str  # the process that sent it, which may be dead by now
    era: int  # which database
    answered: bool


class World:
    """Providers and receiver, and the truth about both."""

    def __init__(self, luck: random.Random) -> None:
        self.luck = luck
        self.lock = threading.Lock()
        self.polls = self.era = 0
        self.calm = False
        self.down = 0  # requests that the receiver will not even take
        self.at = START
        self.used = dict.fromkeys(SERIES, LEAST_LOW)
        self.served: dict[str, set[int]] = defaultdict(set)
        self.heard: list[Heard] = []
        self.faults: Counter[str] = Counter()
        self.bodies: list[bytes] = []

    def answer(self, asked: Asked) -> Reply:
        """To whatever is asked."""
        with self.lock:
            self.at = datetime.fromisoformat(asked.headers.get("x-simulated-at", START.isoformat()))
            return self._receive(asked) if asked.path.startswith("/hook") else self._provide(asked)

    def _provide(self, asked: Asked) -> Reply:
        endpoint = ENDPOINTS.get((asked.method, asked.path))
        if endpoint is None:
            return json_reply({"error": "nothing here"}, 404)
        self.polls += 1
        if not self.calm and self.luck.random() < 0.15:
            name = self.luck.choice([name for name in FAULTS if name not in SLOW])
            self.faults["provider: " + ("a refusal" if name in STATUSES else name)] += 1
            return FAULTS[name]
        if not self.calm and self.luck.random() < 0.3:
            name = self.luck.choice(SERIES)
            low = self.luck.random() < 0.5
            bounds = (LEAST_LOW, MOST_LOW) if low else (LEAST_HIGH, MOST_HIGH)
            # Less than 60 points up, and never down to ten: nothing that should be doubted.
            self.used[name] = self.luck.randint(*bounds)
        return json_reply(endpoint(self._use(asked.path), self.at))

    def _use(self, path: str) -> Use:
        told = {name: value for name, value in self.used.items() if _PATHS[name.partition(".")[0]] == path}
        for name, value in told.items():
            self.served[name].add(value)
        turns = {name: Turn(float(value), FAR) for name, value in self.used.items()}
        return structs.replace(
            Day().use(START + timedelta(hours=3)),
            claude_session=turns["claude.five_hour"],
            claude_week=turns["claude.seven_day"],
            claude_sonnet_week=Turn(5.0, FAR),
            codex_session=turns["codex.five_hour"],
            codex_week=turns["codex.weekly"],
            copilot=Copilot(self.used["copilot.premium_interactions"], 100, FAR),
        )

    def _receive(self, asked: Asked) -> Reply:
        self.bodies.append(asked.body)
        if self.down > 0:
            self.down -= 1
            self.faults["receiver: dead"] += 1
            return Reply(reset=True)
        chance = 1.0 if self.calm else self.luck.random()
        if chance < 0.05:
            self.faults["receiver: refuses"] += 1
            return Reply(status=self.luck.choice((500, 502, 503)))
        if chance < 0.1:
            self.faults["receiver: asks to wait"] += 1
            return Reply(status=429, headers={"retry-after": str(self.luck.randint(1, 600))})
        answered = not 0.1 <= chance < 0.2
        self.heard.append(Heard(json.loads(asked.body)["id"], asked.headers.get("x-life", ""), self.era, answered))
        if not answered:
            self.faults["receiver: takes it, never answers"] += 1
            return Reply(reset=True) if self.luck.random() < 0.5 else Reply(body=b"{}" * 9, cut=True)
        return Reply(status=204)


_PATHS = {
    "claude": "/api/oauth/usage",
    "codex": "/backend-api/wham/usage",
    "copilot": "/copilot_internal/user",
}


# --- the process that suffers ----------------------------------------------------------------------------------------


class SteppedClock(Clock):
    """A clock that stands still while the daemon works and jumps while it waits; it can also be set."""

    def __init__(self, starts_at: datetime) -> None:
        self.at = starts_at
        self.set_by = timedelta(0)

    def now(self) -> datetime:
        """This simulated instant."""
        return self.at

    def machine_s(self, span: timedelta) -> float:
        """The machine waits but a moment."""
        return span.total_seconds() / SPEED

    def ahead(self) -> timedelta:
        """By how much it was set."""
        return self.set_by

    def zone(self) -> timedelta:
        """Never changes."""
        return timedelta(0)

    def is_set(self, step: timedelta) -> None:
        """Somebody sets it."""
        self.at += step
        self.set_by += step


class JumpingCalls(Calls):
    """The daemon's queue; a wait in which nothing is under way moves the clock on."""

    def __init__(self, clock: SteppedClock) -> None:
        super().__init__()
        self.clock = clock
        self.under_way = 0

    def fetch(self, work: Callable[[], T], then: Callable[[T], None]) -> None:
        """As the daemon's own, and counted."""

        def finish(result: T) -> None:
            self.under_way -= 1
            then(result)

        self.under_way += 1
        super().fetch(work, finish)

    def take(self, timeout_s: float | None) -> Call | None:
        """The next call, or none once the time is over."""
        call = super().take(None if self.under_way else timeout_s)
        if call is None and timeout_s is not None:
            self.clock.at += timedelta(seconds=timeout_s * SPEED)
        return call


def child(folder: Path, starts_at: datetime) -> None:
    """One life of the daemon; lines on stdin set its clock, lines on stdout say how it fares."""
    clock = SteppedClock(starts_at)
    own = machine.paths(folder)
    doors = machine.doors(folder, cast("FastClock", clock), Day())  # it only asks for `now`
    send_on, life = doors.send, str(os.getpid())
    polls = 0

    def send(request: Request) -> Response:
        at = clock.now().isoformat()
        return send_on(structs.replace(request, headers={**request.headers, "x-simulated-at": at, "x-life": life}))

    class Told(Log):
        def __init__(self) -> None:
            self.file = (folder / "log.txt").open("a", encoding="utf-8")

        def detail(self, message: str) -> None:
            nonlocal polls
            polls += 1
            print(message, file=self.file, flush=True)
            if polls % 20 == 0:
                now = cost(os.getpid())
                print(json.dumps([now.rss, now.fds, now.threads]), flush=True)

        info = warning = detail_of_no_poll = lambda self, message: print(message, file=self.file, flush=True)

        def crash(self, where: str, error: BaseException) -> None:
            print(f"CRASH {where}: {error!r}", file=self.file, flush=True)

    store = Store(own.state_dir / FILE_NAME, now=clock.now())
    calls = JumpingCalls(clock)
    told, doors = Told(), structs.replace(doors, send=send)
    daemon = Daemon(paths=own, doors=doors, store=store, log=told, redactor=Redactor(), calls=calls)

    def obey() -> None:
        for line in sys.stdin:
            if line == "stop\n":
                daemon.stop()
            else:
                step = timedelta(seconds=float(line))
                calls.put(partial(clock.is_set, step))

    threading.Thread(target=obey, daemon=True).start()
    daemon.run()
    store.close()


class Life:
    """One process, as its parent sees it."""

    def __init__(self, folder: Path, starts_at: datetime) -> None:
        command = [sys.executable, "-m", "benchmarks", "chaos", CHILD, str(folder), starts_at.isoformat()]
        self.errors = (folder / "stderr.txt").open("ab")
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors, text=True
        )
        self.samples: list[list[float]] = []
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self) -> None:
        for line in self.process.stdout or ():
            self.samples.append(json.loads(line))

    def say(self, line: str) -> None:
        """Hand over a line; a process that has just died cannot take it."""
        if self.process.stdin is not None and self.process.poll() is None:
            try:
                self.process.stdin.write(f"{line}\n")
                self.process.stdin.flush()
            except BrokenPipeError:
                pass

    def end(self, how: signal.Signals | None) -> int:
        """Kill it, or let it stop by itself; its exit code."""
        if how is None:
            self.say("stop")
        else:
            self.process.send_signal(how)
        try:
            code = self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = self.process.wait()
        self.reader.join(5)
        for pipe in (self.process.stdin, self.process.stdout, self.errors):
            with suppress(OSError):  # what was not yet taken by a dead process
                if pipe is not None:
                    pipe.close()
        return code


# --- the play --------------------------------------------------------------------------------------------------------


class Era(Struct, frozen=True):
    """What one database held at its end."""

    transitions: list[Transition]
    told: dict[str, tuple[Transition, ...]]  # key of a sent message -> what it says
    waiting: int


class Play:
    """The run: disturbs, kills and starts anew until enough was polled, then lets it end well."""

    def __init__(self, polls: int, seed: int, folder: Path, *, disks: bool = True) -> None:
        self.luck = random.Random(seed)
        self.world = World(random.Random(seed + 1))
        self.folder, self.polls, self.disks = folder, polls, disks
        self.state = machine.paths(folder).state_dir
        self.config = machine.paths(folder).config_file
        self.tally = Tally()
        self.eras: list[Era] = []
        self.mounted = False

    def run(self) -> Tally:
        """All of it."""
        with Server(self.world.answer, remember=0) as server:
            self._lay_out(server.url)
            try:
                self._suffer()
                self._end_well()
            finally:
                self._unmount()
        self._compare()
        return self.tally

    def _lay_out(self, url: str) -> None:
        machine.lay_out(self.folder, url, Day(), desktop=False)
        (self.folder / "home" / ".local" / "share" / "opencode" / "auth.json").write_text(json.dumps(LOGINS), "utf-8")
        (self.folder / "home" / ".config" / "opencode" / "antigravity-accounts.json").unlink()
        bases = "".join(f'[providers.{name}]\nbase_url = "{url}"\n' for name in _PATHS)
        off = "".join(f"[providers.{name}]\nenabled = false\n" for name in ("nano_gpt", "gemini_cli", "antigravity"))
        channel = f'[channels.hook]\ntype = "webhook"\nurl = "{url}{HOOK}"\n[route]\ndefault = ["hook"]\n'
        rule = '[[rule]]\nname = "r"\nwhen = "*.* > 80%"\nclear = "< 70%"\n'
        self.good = '[poll]\nevery = "5m"\n' + bases + off + channel + rule
        self.config.write_text(self.good, "utf-8")
        self.state.mkdir(mode=0o700)
        mount = ["mount", "-t", "tmpfs", "-o", "size=6m,mode=0700", "tmpfs", str(self.state)]
        self.mounted = self.disks and sys.platform == "linux" and os.geteuid() == 0 and _succeeds(mount)

    def _unmount(self) -> None:
        if self.mounted:
            _succeeds(["mount", "-o", "remount,rw", str(self.state)])
            kept = self.folder / "kept"
            kept.mkdir()
            for path in self.state.iterdir():
                if path.is_file():
                    (kept / path.name).write_bytes(path.read_bytes())
            _succeeds(["umount", str(self.state)])

    def _suffer(self) -> None:
        while self.world.polls < self.polls:
            gap = timedelta(hours=self.luck.choice((0, 0, 0, 1, 9)))
            life = Life(self.folder, self.world.at + gap)
            until = self.world.polls + self.luck.randint(10, 250)
            self._polled(life, 5)  # a folder that cannot be written is refused at the start
            while self.world.polls < until and life.process.poll() is None:
                self._disturb(life)
                if not self._polled(life, self.luck.randint(5, 40)):
                    break
            code = life.process.poll()
            if code is None:
                threading.Event().wait(self.luck.random() * 0.05)
                code = life.end(signal.SIGKILL)
                self.tally.faults["killed"] += 1
            else:
                life.end(None)
                said = (self.folder / "stderr.txt").read_text("utf-8", "replace").strip().splitlines()
                self._note(f"the daemon ended by itself with {code}: {' / '.join(said[-4:])}")
                return
            if self.luck.random() < 0.12 and self.world.polls < 0.7 * self.polls:
                self._corrupt()
            if self.luck.random() < 0.15:
                self._start_read_only()

    def _polled(self, life: Life, count: int) -> bool:
        """Wait for so many polls; False where the process ended or stalled."""
        until, waited = self.world.polls + count, 0.0
        last = self.world.polls
        while self.world.polls < until and life.process.poll() is None:
            threading.Event().wait(0.01)
            waited = 0.0 if self.world.polls > last else waited + 0.01
            last = self.world.polls
            if waited > STALLED_S:
                self._note("no poll for a minute and a half")
                return False
        return life.process.poll() is None

    def _note(self, text: str) -> None:
        self.tally.notes.append(text)

    def _disturb(self, life: Life) -> None:
        """One misfortune, perhaps."""
        kind = self.luck.choice(("none", "none", "step", "receiver", "config", "disk"))
        if kind == "step":
            self.tally.faults["clock set"] += 1
            life.say(str(self.luck.choice((-3600, -600, -90, 90, 600, 3600, 30_000))))
        elif kind == "receiver":
            self.world.down = self.luck.randint(1, 8)
        elif kind == "config":
            self.tally.faults["config garbage"] += 1
            self._configure(self.luck.choice(("[[rule", "\x00\x01", "[rule]\nx=1\n", '[[rule]]\nname="r"\n')))
            self._polled(life, 15)
            self._configure(self.good)
        elif kind == "disk" and self.mounted:
            self.tally.faults["disk full"] += 1
            filler = self.state / "filler"
            try:
                with filler.open("wb") as file:
                    while file.write(b"x" * 4096):
                        file.flush()
            except OSError:
                pass
            self._polled(life, 15)
            filler.unlink()
            self._written_again(life)

    def _configure(self, text: str) -> None:
        """At one stroke, as editors do: half a file would be another config, and a valid one."""
        draft = self.config.with_name("draft")
        draft.write_text(text, "utf-8")
        draft.chmod(0o600)
        draft.replace(self.config)

    def _written_again(self, life: Life) -> None:
        """Long enough for a heartbeat: what was kept in memory meanwhile is on the disk again."""
        self._polled(life, 40)

    def _start_read_only(self) -> None:
        """A folder that cannot be written is refused at the start, in words and not by a crash."""
        if not self.mounted or not _succeeds(["mount", "-o", "remount,ro", str(self.state)]):
            return
        self.tally.faults["folder read-only"] += 1
        life = Life(self.folder, self.world.at)
        code = life.process.wait(30)
        life.end(None)
        _succeeds(["mount", "-o", "remount,rw", str(self.state)])
        if code != NO_STORE:
            self._note(f"with a read-only folder the daemon ended with {code}")

    def _corrupt(self) -> None:
        """Destroy the database while nobody has it open."""
        self.eras.append(self._era())
        self.world.era += 1
        self.tally.faults["database destroyed"] += 1
        for suffix in ("-wal", "-shm"):
            (self.state / f"{FILE_NAME}{suffix}").unlink(missing_ok=True)
        path = self.state / FILE_NAME
        content = bytearray(path.read_bytes())
        noise = self.luck.randbytes(min(len(content), 3000))
        at = 0 if self.luck.random() < 0.5 else self.luck.randrange(max(len(content) - len(noise), 1))
        content[at : at + len(noise)] = noise
        content[:16] = b"not a database!!"  # noise that hits nothing in use would be no test
        path.write_bytes(content)

    def _end_well(self) -> None:
        """No more faults; the last life goes on for a while, and everything that waits gets through."""
        self._configure(self.good)
        self.world.calm, self.world.down = True, 0
        life = Life(self.folder, self.world.at)
        self._polled(life, max(self.polls // 4, 120))
        if life.end(None) != 0:
            self._note("the last life did not end well")
        self.eras.append(self._era())
        third = len(life.samples) // 3
        if third:  # the least of each: a connection that is open at the moment is no leak
            first = [min(column) for column in zip(*life.samples[:third], strict=True)]
            last = [min(column) for column in zip(*life.samples[-third:], strict=True)]
            self.tally.grown_mb = last[0] - first[0]
            self.tally.grown_descriptors, self.tally.grown_threads = int(last[1] - first[1]), int(last[2] - first[2])

    def _era(self) -> Era:
        store = Store(self.state / FILE_NAME, now=self.world.at)
        transitions = store.transitions(since=LONG_AGO)
        told = {each.key: each.about for each in store.deliveries(DeliveryState.SENT, since=LONG_AGO)}
        waiting = len(store.outbox())
        store.close()
        return Era(transitions, told, waiting)

    # --- what must be true ------------------------------------------------------------------------------------------

    def _compare(self) -> None:
        world, tally = self.world, self.tally
        tally.polls, tally.heard = world.polls, len(world.heard)
        tally.faults.update(world.faults)
        believed: dict[str, Event] = {}
        for number, era in enumerate(self.eras):
            heard = [each.key for each in world.heard if each.era == number]
            told = [one for key in dict.fromkeys(heard) for one in era.told.get(key, ())]
            tally.transitions += len(era.transitions)
            unheard = [key for key, about in era.told.items() if about and key not in heard]
            tally.lost += len(unheard)
            tally.details += [f"lost: {key} is kept as sent (database {number})" for key in unheard]
            is_last = number == len(self.eras) - 1
            tally.lost += era.waiting if is_last else 0
            tally.lost += _untold(era.transitions, told) if is_last else 0
            tally.false += sum(not self._is_true(transition) for transition in era.transitions)
            believed |= {str(one.series): one.event for one in sorted(told, key=era.transitions.index)}
        for name, used in world.used.items():
            said = next((event for series, event in believed.items() if _plain(series) == name), None)
            if (said is Event.FIRING) is not (used > 80):
                tally.wrong += 1
                tally.details.append(f"wrong: {name} stands at {used} %, and the last that was heard is {said}")
        tally.cut_off, repeated = _repeats(world.heard)
        tally.twice = len(repeated)
        tally.details += [f"twice: {each}" for each in repeated]
        log = (self.folder / "log.txt").read_text("utf-8")
        crashes = [line for line in log.splitlines() if line.startswith("CRASH ")]
        tally.crashes = len(crashes)
        tally.details += crashes
        tally.secrets = sum(secret in text for text in self._outputs() for secret in map(str.encode, SECRETS))

    def _is_true(self, transition: Transition) -> bool:
        if transition.event is not Event.FIRING:
            return True
        used = None if transition.reading is None else transition.reading.used_percent
        if used is None and transition.reading is not None and transition.reading.remaining is not None:
            used = 100.0 - float(transition.reading.remaining)
        return used is not None and used > 80 and round(used) in self.world.served[_plain(str(transition.series))]

    def _outputs(self) -> Iterator[bytes]:
        kept = self.folder / "kept"
        for folder in (kept if kept.is_dir() else self.state, self.folder):
            yield from (path.read_bytes() for path in folder.iterdir() if path.is_file())
        yield from self.world.bodies


def _plain(series: str) -> str:
    provider, _, window = series.rpartition(".")
    return f"{provider.partition('[')[0]}.{window}"


def _untold(transitions: list[Transition], told: list[Transition]) -> int:
    """Those that nobody heard of, and after which nobody heard of the same alert."""
    lost, later = 0, set()
    for transition in reversed(transitions):
        if transition in told:
            later.add(transition.alert)
        lost += transition.alert not in later
    return lost


def _repeats(heard: list[Heard]) -> tuple[int, list[Heard]]:
    """Messages heard again: because the first answer was cut off, and without need."""
    cut_off = 0
    twice: list[Heard] = []
    last: dict[tuple[int, str], Heard] = {}
    for each in heard:
        before = last.get((each.era, each.key))
        if before is not None:
            needed = not before.answered or before.life != each.life
            cut_off += needed
            twice += [] if needed else [each]
        last[each.era, each.key] = each
    return cut_off, twice


def _succeeds(command: list[str]) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def play(polls: int, seed: int, *, disks: bool = True) -> Tally:
    """One run in a folder of its own; `disks`: fill and lock one that is mounted for it, where that is allowed."""
    with tempfile.TemporaryDirectory(prefix="watcher-chaos-") as name:
        return Play(polls, seed, Path(name), disks=disks).run()


def main() -> None:
    """Print what happened and what came of it; exit 1 where something did not hold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--polls", type=int, default=3000, help="requests to providers (default: 3000)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(CHILD, nargs=2, dest="child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        try:
            child(Path(options.child[0]), datetime.fromisoformat(options.child[1]))
        except (ConfigError, StoreError) as error:
            print(error, file=sys.stderr)
            sys.exit(NO_STORE if isinstance(error, StoreError) else BAD_CONFIG)
        return
    tally = play(options.polls, options.seed)
    print(f"requests        {tally.polls}, transitions {tally.transitions}, messages heard {tally.heard}")
    for name, count in sorted(tally.faults.items()):
        print(f"  {name:<36}{count:>6}")
    print(f"cut off         {tally.cut_off}  (heard again because the first answer was lost)")
    for name in ("lost", "twice", "false", "wrong", "secrets", "crashes"):
        print(f"{name:<16}{getattr(tally, name)}")
    print(f"grown           {tally.grown_mb:+.1f} MB, {tally.grown_descriptors:+} descriptors, "
          f"{tally.grown_threads:+} threads")  # fmt: skip
    for note in (*tally.notes, *tally.details):
        print(f"  {note}")
    sys.exit(not tally.is_clean)
