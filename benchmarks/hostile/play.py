"""One run: disturb, kill and start anew until enough was polled, then let it end well.

Never look here at what the receivers heard: `judge` does.
"""

import json
import random
import shutil
import signal
import threading
from datetime import timedelta
from pathlib import Path

from benchmarks.hostile import judge, rules
from benchmarks.hostile.disk import Disk
from benchmarks.hostile.judge import Tally
from benchmarks.hostile.receivers import CHANNELS, address
from benchmarks.hostile.victim import Life
from benchmarks.hostile.world import GOOGLE, LOGINS, PATHS, SERIES, World
from watcher.demo import simulation
from watcher.demo.scenario import SimulatedDay
from watcher.demo.server import Server
from watcher.storage.store import DATABASE_FILE_NAME

STALLED_S = 60.0
NO_STORE, BAD_CONFIG = 74, 78  # between child and parent
GARBAGE = ("[[rule", "\x00\x01", "[rule]\nx=1\n", '[[rule]]\nname="r"\n')
A_DAY_S = 86_400
STEPS_S = (-3600, -600, -90, 90, 600, 3600, 30_000, A_DAY_S, A_DAY_S)
A_WHILE = 15  # polls that a fault lasts
A_HEARTBEAT = 60  # polls in which one surely comes: what was kept elsewhere is on the disk again


class Play:
    """The run: disturbs, kills and starts anew until enough was polled, then lets it end well."""

    def __init__(self, polls: int, seed: int, folder: Path, *, disks: bool = True, real_clock: bool = False) -> None:
        self.luck = random.Random(seed)
        self.world = World(random.Random(seed + 1))
        self.folder, self.polls, self.disks, self.real_clock = folder, polls, disks, real_clock
        self.state = simulation.make_paths(folder).state_dir
        self.config = simulation.make_paths(folder).config_file
        self.disk = Disk(self.state, folder)
        self.tally = Tally()
        if real_clock:  # a second of a busy machine is minutes, and so is that of a process which ends when idle
            self.tally = Tally(within=timedelta(minutes=40), most_threads=8)
        self.eras: list[judge.Era] = []
        self.log: list[str] = []
        self.lives: list[judge.Past] = []
        self.url = ""

    def run(self) -> Tally:
        """All of it."""
        with Server(self.world.answer, max_requests=0) as server:
            self.url = server.url
            self._lay_out()
            try:
                self._suffer()
                self._end_well()
            finally:
                self.disk.unmount()
        judge.compare(self.world, self.eras, self.lives, self.folder, self.log, self.tally)
        return self.tally

    def keep(self, folder: Path) -> None:
        """Lay what happened, in the order in which it did, and the log into a folder."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "journal.txt").write_text("\n".join(self.world.journal), "utf-8")
        (folder / "log.txt").write_text("\n".join(self.log), "utf-8")
        records = [{"life": past.life, **record} for past in self.lives for record in past.records]
        (folder / "records.jsonl").write_text("\n".join(map(json.dumps, records)), "utf-8")
        shutil.copy(self.folder / "stderr.txt", folder)

    def _lay_out(self) -> None:
        simulation.write_home(self.folder, self.url, SimulatedDay(), desktop=False)
        home = self.folder / "home"
        (home / ".local" / "share" / "opencode" / "auth.json").write_text(json.dumps(LOGINS), "utf-8")
        accounts = json.dumps({"version": 3, "accounts": [GOOGLE], "activeIndex": 0})
        (home / ".config" / "opencode" / "antigravity-accounts.json").write_text(accounts, "utf-8")
        self._configure(self._good())
        (self.folder / "session").mkdir(mode=0o700)
        self.state.mkdir(mode=0o700)
        if self.disks:
            self.disk.mount()

    def _good(self) -> str:
        channels = ""
        for name, receiver in self.world.receivers.items():
            kind = "webhook" if name == "hook" else name
            url = self.url + address(name, receiver.number)
            channels += f'[channels.{name}]\ntype = "{kind}"\nurl = "{url}"\n'
        bases = "".join(f'[providers.{name}]\nbase_url = "{self.url}"\n' for name in PATHS)
        off = "[providers.antigravity]\nenabled = false\n"
        route = f"[route]\ndefault = {json.dumps(CHANNELS)}\n"
        return '[poll]\nevery = "5m"\n' + bases + off + channels + route + rules.write_rules()

    # --- suffering ----------------------------------------------------------------------------------------------------

    def _suffer(self) -> None:
        while self.world.polls < self.polls and not self.tally.notes:
            life = self._begin(timedelta(hours=self.luck.choice((0, 0, 0, 1, 9))))
            until = self.world.polls + self.luck.randint(10, 250)
            self._polled(life, 5)  # a folder that cannot be written is refused at the start
            while self.world.polls < until and not life.is_over():
                self._disturb(life)
                if not self._polled(life, self.luck.randint(5, 40)):
                    break
            if not life.is_over():
                threading.Event().wait(self.luck.random() * 0.05)
                self._kill(life)
            elif life.process.returncode != -signal.SIGKILL:
                said = (self.folder / "stderr.txt").read_text("utf-8", "replace").strip().splitlines()
                self._end(life, None)
                self._note(f"the daemon ended by itself with {life.process.returncode}: {' / '.join(said[-4:])}")
            if self.luck.random() < 0.12 and self.world.polls < 0.7 * self.polls:
                self._corrupt()
            if self.luck.random() < 0.15:
                self._start_read_only()

    def _begin(self, after: timedelta = timedelta(0)) -> Life:
        life = Life(self.folder, self.world.at + after, real_clock=self.real_clock)
        self.world.note(f"{life.name} begins")
        return life

    def _kill(self, life: Life) -> None:
        self.world.note(f"{life.name} is killed{', its refuge is left' if self._refuge_is_left() else ''}")
        self.tally.faults["killed"] += 1
        self._end(life, signal.SIGKILL)

    def _end(self, life: Life, how: signal.Signals | None) -> int:
        code = life.end(how)
        self.log += life.log
        self.lives.append(judge.Past(life.name, life.records))
        return code

    def _polled(self, life: Life, count: int) -> bool:
        """Wait for so many polls; False where the process ended or stalled."""
        until, waited = self.world.polls + count, 0.0
        last = self.world.polls
        while self.world.polls < until and not life.is_over():
            threading.Event().wait(0.01)
            waited = 0.0 if self.world.polls > last else waited + 0.01
            last = self.world.polls
            if waited > STALLED_S:
                self._note("no poll for a minute")
                life.show_stacks()
                return False
        return not life.is_over()

    def _note(self, text: str) -> None:
        self.tally.notes.append(text)
        self.world.note(text)

    def _happens(self, fault: str) -> None:
        self.tally.faults[fault] += 1
        self.world.note(fault)

    def _disturb(self, life: Life) -> None:
        """One misfortune, perhaps; the process may not outlive it."""
        kinds = [self._set_clock, self._lose_receiver, self._close_receiver, self._spoil_config, self._lose_network]
        kinds += [self._fail_writes, self._snooze, self._calmly, self._calmly]
        kinds += [self._fill_disk, self._fill_disk, self._turn_read_only] if self.disk.is_mounted else []
        self.luck.choice(kinds)(life)

    def _calmly(self, _life: Life) -> None:
        pass

    def _set_clock(self, life: Life) -> None:
        self._happens("clock set")
        step_s = self.luck.choice(STEPS_S)
        life.say(f"set {step_s}")
        if step_s == A_DAY_S:  # it ran ahead, and is put right
            self._polled(life, A_WHILE)
            life.say(f"set {-step_s}")

    def _snooze(self, life: Life) -> None:
        self._happens("snooze")
        rule = self.luck.choice(rules.RULES).name
        life.say(f"snooze {self.luck.choice((rule, *SERIES))} {self.luck.choice((1, 2, 5))}")

    def _lose_receiver(self, _life: Life) -> None:
        self.world.receivers[self.luck.choice(CHANNELS)].down = self.luck.randint(1, 8)

    def _lose_network(self, _life: Life) -> None:
        self._happens("offline")
        self.world.offline = self.luck.randint(5, 40)

    def _close_receiver(self, life: Life) -> None:
        """It refuses for good; a while later a person gives the channel another address."""
        self._happens("receiver: refuses for good, mended")
        receiver = self.world.receivers[self.luck.choice(CHANNELS)]
        receiver.close()
        self._polled(life, A_WHILE)
        receiver.move()
        self._configure(self._good())

    def _spoil_config(self, life: Life) -> None:
        self._happens("config garbage")
        self._configure(self.luck.choice(GARBAGE))
        self._polled(life, A_WHILE)
        self._configure(self._good())

    def _configure(self, text: str) -> None:
        """At one stroke, as editors do: half a file would be another config, and a valid one."""
        draft = self.config.with_name("draft")
        draft.write_text(text, "utf-8")
        draft.chmod(0o600)
        draft.replace(self.config)

    # --- the disk -----------------------------------------------------------------------------------------------------

    def _fail_writes(self, life: Life) -> None:
        """Nothing can be written anywhere: even the refuge is in memory, and a kill now would be one too many."""
        self._happens("disk error")
        life.write_nothing(at_all=True)
        self._polled(life, A_WHILE)
        life.write_nothing(at_all=False)
        self._polled(life, A_HEARTBEAT)

    def _fill_disk(self, life: Life) -> None:
        """Full for a while; the process may be killed meanwhile, and the next one start while it still is."""
        what = self.luck.choice(("disk full", "disk full, killed", "disk full, killed and started"))
        self._happens(what)
        if self.luck.random() < 0.5:
            self.world.note("and what was reserved is used up")
            self.disk.use_up(self.state / DATABASE_FILE_NAME)
        else:
            self.disk.fill()
        self._polled(life, A_WHILE)
        if what != "disk full":
            self._kill(life)
        if what.endswith("started"):
            heir = self._begin()
            self._polled(heir, A_WHILE)
            self._kill(heir)
        self.disk.empty()
        self.world.note("the disk has room")
        self._polled(life, A_HEARTBEAT)

    def _turn_read_only(self, life: Life) -> None:
        """As after an error of the disk; it is mended only while nobody has it open."""
        self._happens("folder turns read-only")
        if not self.disk.abort():
            self._note("the folder did not turn read-only")
        self._polled(life, A_WHILE)
        self._kill(life)
        if not self.disk.mend():
            self._note("the disk was not mended")
        self.world.note("the folder is writable")

    def _start_read_only(self) -> None:
        """A folder that cannot be written is refused at the start, in words and not by a crash."""
        if not self.disk.is_mounted or self._refuge_is_left() or not self.disk.lock():
            return
        self._happens("folder read-only at the start")
        life = self._begin()
        code = life.process.wait(30)
        self._end(life, None)
        self.disk.unlock()
        if code != NO_STORE:
            self._note(f"with a read-only folder the daemon ended with {code}")

    def _corrupt(self) -> None:
        """Destroy the database while nobody has it open; not where another place still holds what it held."""
        path = self.state / DATABASE_FILE_NAME
        if self._refuge_is_left() or not path.exists():
            return
        self.eras.append(judge.read_era(path, self.world.at))
        self.world.era += 1
        self._happens("database destroyed")
        for suffix in ("-wal", "-shm"):
            path.with_name(DATABASE_FILE_NAME + suffix).unlink(missing_ok=True)
        content = bytearray(path.read_bytes())
        noise = self.luck.randbytes(min(len(content), 3000))
        at = 0 if self.luck.random() < 0.5 else self.luck.randrange(max(len(content) - len(noise), 1))
        content[at : at + len(noise)] = noise
        content[:16] = b"not a database!!"  # noise that hits nothing in use would be no test
        path.write_bytes(content)
        self.lives[-1].is_destroyed = True

    def _refuge_is_left(self) -> bool:
        return any((self.folder / "session").rglob("*.db"))

    # --- the end ------------------------------------------------------------------------------------------------------

    def _end_well(self) -> None:
        """No more faults; the last life goes on for a while, and everything that waits gets through."""
        self._configure(self._good())
        self.world.calm, self.world.offline = True, 0
        for receiver in self.world.receivers.values():
            receiver.down = 0
        morning = self._until_morning()
        if self.disk.is_mounted:
            self._forget_what_was_told(morning)
            morning = timedelta(0)
        life = self._begin(morning)
        self._polled(life, max(self.polls // 4, 60 if self.real_clock else 200))
        if self._end(life, None) != 0:
            self._note("the last life did not end well")
        if self._refuge_is_left():
            self._note("the refuge was not left")
        self.eras.append(judge.read_era(self.state / DATABASE_FILE_NAME, self.world.at))
        third = len(life.samples) // 3
        if third:  # the least of each: a connection that is open at the moment is no leak
            first = [min(column) for column in zip(*life.samples[:third], strict=True)]
            last = [min(column) for column in zip(*life.samples[-third:], strict=True)]
            self.tally.grown_mb = last[0] - first[0]
            self.tally.grown_descriptors, self.tally.grown_threads = int(last[1] - first[1]), int(last[2] - first[2])

    def _until_morning(self) -> timedelta:
        """Time enough follows before quiet hours hold messages again."""
        hours = (24 + rules.QUIET_UNTIL + 1 - self.world.at.hour) % 24
        return timedelta(hours=hours)

    def _forget_what_was_told(self, after: timedelta) -> None:
        """The last blow: everything turns over and is told while the disk is full, and then a kill; and turns back."""
        life = self._begin(after)
        self._polled(life, A_HEARTBEAT)
        self._happens("disk full, killed")
        self.disk.fill()
        self.world.turn_over()
        self._polled(life, A_HEARTBEAT)
        self._kill(life)
        self.disk.empty()
        self.world.turn_over()
