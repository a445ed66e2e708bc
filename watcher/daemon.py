"""The loop: waits for the next job or the next answer, and nothing else ever waits.

One thread owns the store and decides; other threads only talk to servers, and hand what they heard back as calls to
make. The process sleeps in `Calls.take` until a job is due or a call arrives: there is no tick. Whatever raises is
reported and the loop goes on. Never put a decision about readings, alerts or channels here.
"""

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial

from watcher import config as configuration
from watcher import config_stamp, pipeline, rhythm
from watcher.calls import Call, Calls
from watcher.config import Config
from watcher.config_stamp import Stamp
from watcher.core.model import Failure, Snapshot
from watcher.core.redaction import Redactor
from watcher.doors import Doors
from watcher.errors import ConfigError
from watcher.log import Log
from watcher.notebook import HEARTBEAT_EVERY
from watcher.paths import Paths
from watcher.postman import Postman
from watcher.rounds import Rounds
from watcher.secrets import resolver
from watcher.store import Store
from watcher.timetable import Timetable

CONFIG_ERROR = "config_error"  # the fact that says what is wrong with the config; empty: nothing
CONFIG_REFUSED = "config_refused"  # likewise, of a single poll: not yet said on the desktop
TIDY_EVERY = timedelta(hours=24)
REFRESH, WANTED, DONE = "refresh", "wanted", "done"  # the fact by which another process wishes for fresh readings
SLEPT = timedelta(minutes=1)  # a wall clock ahead by more than this means that the machine was suspended


class Daemon:
    """One watcher: the timetable, the polling rounds and the post, around one store."""

    def __init__(  # noqa: PLR0913 - what a process is made of
        self, *, paths: Paths, doors: Doors, store: Store, log: Log, redactor: Redactor, calls: Calls | None = None
    ) -> None:
        self._paths, self._doors, self._store, self._log, self._redactor = paths, doors, store, log, redactor
        self._stopping = self._refreshing = self._loading = self._load_again = False
        self._by_hand = False  # polled by `check`, not by this loop
        self._failing: dict[tuple[str, str], str] = {}  # account -> kind: said when it begins and when it ends
        self._calls = calls = calls or Calls()
        timetable = Timetable(doors.clock, lambda name, error: log.crash(f"job {name}", error))
        self._timetable = timetable
        self._rounds = Rounds(
            doors=doors, store=store, timetable=timetable, calls=calls, hear=self._hear, learn=redactor.learn
        )
        self._postman = Postman(doors=doors, store=store, timetable=timetable, calls=calls, say=log.warning)
        self.config = self._load()
        self._stamp = self.config.stamp  # of the files that were last read, in force or refused

    # --- from outside: signal handlers, commands --------------------------------------------------------------------

    def stop(self) -> None:
        """End the loop after the call in hand; safe in a signal handler."""
        self._stopping = True
        self._calls.put(lambda: None)

    def reload(self) -> None:
        """Read the config anew and look at the outbox; safe in a signal handler."""
        self._calls.put(self._reload)

    def look(self) -> None:
        """Look at what another process may have changed: outbox, snoozes, a wish for fresh readings.

        Safe in a signal handler.
        """
        self._calls.put(self._look)

    def run(self) -> None:
        """Watch until `stop`."""
        self._begin()
        self._heartbeat()
        self._tidy()
        self._rounds.use(self.config)
        self._postman.gather(busy=lambda: self._rounds.busy)
        self._turn(lambda: self._stopping)
        self._guarded("farewell", self._farewell)

    def once(self) -> None:
        """One poll of everything, one evaluation, one attempt at each delivery that is due; then return."""
        self._by_hand = True
        self._begin()
        self._rounds.use(self.config, poll=False)
        self._rounds.begin_all()
        self._postman.gather(busy=lambda: self._rounds.busy)
        self._turn(lambda: self._stopping or not (self._rounds.busy or self._postman.busy))
        self._guarded("farewell", lambda: self._store.leave_refuge(now=self._doors.clock.now()))

    # --- the loop ---------------------------------------------------------------------------------------------------

    def _turn(self, done: Callable[[], bool]) -> None:
        while not done():
            step = self._timetable.run_due()
            if step > SLEPT:
                self._guarded("waking", partial(self._wake, step))
            if done():
                return
            call = self._calls.take(self._timetable.idle_s())
            if call is not None:
                self._guarded("answer", call)
                self._end_refresh()
                self._postman.gathered()
            if not self._by_hand:
                self._guarded("config", self._look_at_config)

    def _guarded(self, where: str, call: Call) -> None:
        try:
            call()
        except Exception as error:  # noqa: BLE001 - whatever one provider or channel does, the others go on
            self._log.crash(where, error)
        self._pass_on_notices()

    def _pass_on_notices(self) -> None:
        while self._store.notices:
            text = self._store.notices.pop(0)
            self._log.warning(text)
            self._postman.notice("The watcher's database", text)

    # --- news -------------------------------------------------------------------------------------------------------

    def _hear(self, news: Snapshot | Failure | None) -> None:
        now = self._doors.clock.now()
        every = timedelta(0)
        if news is not None:
            every = rhythm.of(self._store, news, self.config.providers[news.provider].pace, by_hand=self._by_hand)
        seen = pipeline.observe(self._store, self.config, news, now=now, every=every)
        due = seen.judgement.next_due
        if due is not None:
            self._timetable.put("tick", max(due, now + timedelta(seconds=1)), lambda: self._hear(None))
        self._tell(news, seen)
        self._postman.pump()

    def _tell(self, news: Snapshot | Failure | None, seen: pipeline.Observed) -> None:
        for transition in seen.judgement.transitions:
            self._log.info(f"{transition.event} {transition.rule} on {transition.series}: {transition.reason}")
        if isinstance(news, Snapshot):
            self._log.detail(f"{news.provider}: {len(news.readings)} windows")
            if self._failing.pop((news.provider, news.account), None):
                self._log.info(f"{news.provider}: answers again")
        elif news is not None and self._failing.get((news.provider, news.account)) != news.kind:
            self._failing[news.provider, news.account] = news.kind
            self._log.warning(f"{news.provider}: {news.kind}: {news.message}")

    def _look(self) -> None:
        self._postman.release()
        self._retry_config()
        wish = self._store.fact(REFRESH)
        if wish is not None and wish[0] == WANTED:
            self._refreshing = True
            self._rounds.begin_all()

    def _end_refresh(self) -> None:
        """Tell whoever wished for fresh readings that they are in."""
        if self._refreshing and not self._rounds.busy:
            self._refreshing = False
            now = self._doors.clock.now()
            self._store.write(lambda: self._store.set_fact(REFRESH, DONE, now), now=now)

    def _wake(self, step: timedelta) -> None:
        self._log.info(f"the clock moved on by {step}: the machine slept, or the clock was set; asking everybody anew")
        self._postman.gather(busy=lambda: self._rounds.busy)
        self._rounds.wake(self._doors.clock.now())

    # --- config -----------------------------------------------------------------------------------------------------

    def _load(self) -> Config:
        surroundings = self._doors.surroundings()
        resolve = resolver(surroundings.env, surroundings.home, self._doors.run)
        config = configuration.load(self._paths, resolve, surroundings.home)
        self._redactor.learn(config.secrets)
        return config

    def _look_at_config(self) -> None:
        """Read the config anew if a file of it changed: at every waking, because it costs one `stat` a file."""
        stamp = config_stamp.stamp(self._paths)
        if stamp != self._stamp and self._is_settled(stamp):
            self._stamp = stamp
            self._reload()

    def _retry_config(self) -> None:
        """Read anew what is not in force, also what was refused: its mode may be mended, which no stamp tells."""
        stamp = config_stamp.stamp(self._paths)
        if stamp != self.config.stamp and self._is_settled(stamp):
            self._reload()

    def _is_settled(self, stamp: Stamp) -> bool:
        """Whether nobody seems to be writing; where somebody may be, it is looked at again soon."""
        now = self._doors.clock.now()
        if config_stamp.is_settled(stamp, now):
            return True
        self._timetable.put("config", now + config_stamp.SETTLED, self._look_at_config)
        return False

    def _reload(self) -> None:
        """Read the config anew, in a thread: a secret may come from a program that takes its time."""
        if self._loading:
            self._load_again = True  # what is being read may be older than the wish
            return
        self._loading = True
        self._calls.fetch(self._attempt_load, self._loaded)

    def _attempt_load(self) -> Config | Exception:
        try:
            return self._load()
        except Exception as error:  # noqa: BLE001 - it is dealt with on the loop's thread
            return error

    def _loaded(self, config: Config | Exception) -> None:
        now, self._loading = self._doors.clock.now(), False
        if self._load_again:
            self._load_again = False
            self._reload()
        elif isinstance(config, ConfigError):
            self._refused(str(config), now)
        elif isinstance(config, Exception):
            raise config
        else:
            self._adopt(config, now)

    def _adopt(self, config: Config, now: datetime) -> None:
        self.config, self._stamp = config, config.stamp
        self._note_config(now)
        self._log.info(f"config read: {len(config.rules)} rules, {len(config.channels)} channels")
        self._postman.use(config)
        self._rounds.use(config)
        self._hear(None)

    def _note_config(self, now: datetime) -> None:
        """What of the config in force `watcher status` shows: it reads the store alone, and asks for no secret."""
        every = {name: each.pace.every.total_seconds() for name, each in self.config.providers.items()}
        waiting = [rule.name for rule in self.config.rules if rule.waits]

        def work() -> None:
            self._store.set_fact(CONFIG_ERROR, "", now)
            self._store.set_fact(CONFIG_REFUSED, "", now)
            self._store.set_fact("every", json.dumps(every), now)
            self._store.set_fact("waiting_rules", json.dumps(waiting), now)
            self._store.set_fact("broken_channels", json.dumps(dict(self.config.broken_channels)), now)

        self._store.write(work, now=now)

    def _refused(self, text: str, now: datetime) -> None:
        """The old config stays in force; said once for each different mistake."""
        known = self._store.fact(CONFIG_ERROR)
        self._store.write(lambda: self._store.set_fact(CONFIG_ERROR, text, now), now=now)
        if known is not None and known[0] == text:
            return
        self._log.warning(f"the config cannot be used, the last good one stays in force:\n{text}")
        self._postman.notice("The watcher's config has a mistake", f"The last good one stays in force.\n{text}")

    # --- the daemon's own jobs --------------------------------------------------------------------------------------

    def _begin(self) -> None:
        now = self._doors.clock.now()
        self._note_config(now)
        self._postman.use(self.config)
        self._guarded("start", lambda: self._hear(None))

    def _heartbeat(self) -> None:
        now = self._doors.clock.now()
        self._timetable.put("heartbeat", now + HEARTBEAT_EVERY, self._heartbeat)
        self._store.leave_refuge(now=now)
        self._store.write(lambda: self._store.set_fact("heartbeat", "running", now), now=now)
        self._retry_config()
        self._postman.release()  # where there is no signal for it, a snooze that another process ended shows here

    def _tidy(self) -> None:
        now = self._doors.clock.now()
        self._timetable.put("tidy", now + TIDY_EVERY, self._tidy)
        self._store.write(lambda: self._store.forget_old(now), now=now)
        self._redactor.learn(self.config.secrets)  # it forgets what it has not seen for long

    def _farewell(self) -> None:
        now = self._doors.clock.now()
        self._store.leave_refuge(now=now)
        self._store.write(lambda: self._store.set_fact("heartbeat", "stopped", now), now=now)
