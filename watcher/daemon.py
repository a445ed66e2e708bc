"""The main loop: waits for the next job or the next result, and runs it.

One thread owns the store; other threads only talk to servers and put their results into the work queue as callbacks.
The process sleeps in `WorkQueue.get` until a job is due or a callback arrives. An exception is logged and the loop goes
on.
"""

import json
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

from watcher import pipeline
from watcher.config import loader as configuration
from watcher.config.loader import Config
from watcher.config.secrets import make_secret_resolver
from watcher.core.formatting import format_amount, format_failure
from watcher.core.model import Message, PollFailure, Snapshot, Transition
from watcher.core.redaction import Redactor
from watcher.core.rules.diagnostics import sanitize_for_terminal
from watcher.delivery.dispatcher import Dispatcher
from watcher.errors import ConfigError, UsageError
from watcher.notifiers.base import OPEN_PAGE, SNOOZE, get_safe_link
from watcher.polling import next_poll
from watcher.polling.poller import Poller
from watcher.status.builder import make_series_formatter, write_status
from watcher.status.document import HEARTBEAT_EVERY
from watcher.storage.store import ALERTMANAGER_FACT, METRICS_PROBLEMS_FACT, Store
from watcher.system import process
from watcher.system.environment import Environment
from watcher.system.file_watch import FileWatch
from watcher.system.lock import Lock
from watcher.system.log import Log
from watcher.system.paths import Paths
from watcher.system.scheduler import Callback, Scheduler, WorkQueue

if TYPE_CHECKING:
    from watcher.prometheus.alertmanager import AlertmanagerMirrors
    from watcher.prometheus.exporter import Exporter

CONFIG_ERROR_FACT = "config_error"  # the mistake in the config; empty: none
CLEANUP_EVERY = timedelta(hours=24)
REFRESH_FACT, REFRESH_REQUESTED, REFRESH_DONE = "refresh", "wanted", "done"  # another process asks for a poll
SETTLE_FOR = timedelta(seconds=0.5)  # after a change of the config: an editor may write in several steps
FIRST_POLLS_WITHIN = timedelta(minutes=1)  # a search for logins may hang, on a disk that is gone
ONE_SHOT_WITHIN = timedelta(minutes=10)  # likewise: a `check` that never ends would keep the lock
SUSPEND_THRESHOLD = timedelta(minutes=1)  # a wall clock that jumps ahead by more means that the machine slept


class Daemon:
    """One watcher: scheduler, poller and dispatcher around one store."""

    def __init__(  # noqa: PLR0913 - what a process is made of
        self,
        *,
        paths: Paths,
        environment: Environment,
        store: Store,
        log: Log,
        redactor: Redactor,
        work_queue: WorkQueue | None = None,
        lock: Lock | None = None,
        watches_files: bool = False,
    ) -> None:
        self._paths, self._environment, self._store = paths, environment, store
        self._log, self._redactor, self._lock = log, redactor, lock
        self._stopping = self._refreshing = self._loading = False
        self._written_count = -1  # `change_count` of the store when `status.json` was last written
        self._one_shot = False  # run by `check`
        self._awaits_polls = False  # the first polls since the start, or since the machine woke, are in flight
        self._failure_kinds: dict[tuple[str, str], str] = {}  # account -> kind: logged when it begins and ends
        self.config = self._load_config()
        self._fingerprint = self.config.fingerprint  # of the files as last loaded, in force or refused
        self._work_queue = work_queue or WorkQueue()
        self._file_watch = FileWatch(lambda: self._work_queue.put(lambda: None)) if watches_files else None
        self._scheduler = Scheduler(environment.clock, lambda name, error: log.report_error(f"job {name}", error))
        self._poller = Poller(
            environment=environment,
            store=store,
            config=self.config,
            scheduler=self._scheduler,
            work_queue=self._work_queue,
            on_result=self._on_result,
            add_secrets=redactor.add_secrets,
        )
        self._exporter: Exporter | None = None
        self._mirrors: AlertmanagerMirrors | None = None
        self._dispatcher = Dispatcher(
            environment=environment,
            store=store,
            config=self.config,
            scheduler=self._scheduler,
            work_queue=self._work_queue,
            is_waiting=lambda: self._awaits_polls,
            log_warning=log.warning,
        )

    # --- from outside: signal handlers, commands --------------------------------------------------------------------

    def stop(self) -> None:
        """End the loop after the current callback; safe in a signal handler."""
        self._stopping = True
        self.wake()

    def wake(self) -> None:
        """End the loop's wait; safe in any thread."""
        self._work_queue.put(lambda: None)

    def reload(self) -> None:
        """Load the config again; safe in a signal handler."""
        self._work_queue.put(self._reload_soon)

    def check_requests(self) -> None:
        """Apply what another process changed: outbox, snoozes, a request for a poll. Safe in a signal handler."""
        self._work_queue.put(self._check_requests)

    def run(self) -> None:
        """Run until `stop`."""
        self._dispatcher.on_action = self._on_action
        self._begin()
        self._poller.apply_config(self.config)
        self._start_exporter()
        self._write_heartbeat()
        self._delete_old_records()
        self._call_safely("config", self._check_config_files)
        self._run_loop(lambda: self._stopping)
        self._call_safely("metrics", self._stop_exporter)
        self._call_safely("shutdown", self._record_shutdown)
        self._call_safely("status", self._write_status)

    def run_once(self) -> None:
        """Poll every provider once, attempt each delivery that is due once, and return."""
        self._one_shot = True
        self._scheduler.schedule_after("end", ONE_SHOT_WITHIN, self.stop)
        self._begin()
        self._poller.start_all_cycles()
        self._run_loop(lambda: self._stopping or not self._is_busy())
        self._call_safely("shutdown", lambda: self._store.return_to_disk(now=self._environment.clock.now()))
        self._call_safely("status", self._write_status)

    def _begin(self) -> None:
        """Do what comes before the first polls."""
        now = self._environment.clock.now()
        pipeline.correct_clock(self._store, now=now)
        self._await_polls()
        self._store.save_fact(CONFIG_ERROR_FACT, "", now)
        self._dispatcher.apply_config(self.config)
        self._start_mirrors()

    def _is_busy(self) -> bool:
        is_posting = self._mirrors is not None and self._mirrors.is_busy
        return self._poller.is_busy or self._dispatcher.is_busy or is_posting

    # --- the loop ---------------------------------------------------------------------------------------------------

    def _run_loop(self, is_done: Callable[[], bool]) -> None:
        self._call_safely("polls", self._finish_polls)
        while not is_done():
            step = self._scheduler.adjust_to_clock()
            if step > SUSPEND_THRESHOLD:
                self._call_safely("wake", partial(self._on_wake, step))
            elif step < timedelta(0):
                self._call_safely("clock", partial(self._on_clock_set_back, step))
            self._scheduler.run_due_jobs()
            if is_done():
                return
            callback = self._work_queue.get(self._scheduler.idle_s())
            if callback is not None:
                self._call_safely("callback", callback)
                self._call_safely("polls", self._finish_polls)
            if not self._one_shot and self._work_queue.is_empty():  # once for all results that came together
                self._call_safely("config", self._check_config_files)
                self._call_safely("status", self._write_status)

    def _call_safely(self, context: str, callback: Callback) -> None:
        try:
            callback()
        except Exception as error:  # noqa: BLE001 - one provider or channel never stops the others
            self._log.report_error(context, error)
        self._publish_notices()

    def _publish_notices(self) -> None:
        if self._store.notices and self._lock is not None:
            self._lock.renew()  # the folder may have been removed
        while self._store.notices:
            text = self._store.notices.pop(0)
            self._log.warning(text)
            self._dispatcher.queue_notice("The watcher's database", text)

    # --- results ----------------------------------------------------------------------------------------------------

    def _on_result(self, result: Snapshot | PollFailure | None) -> None:
        now = self._environment.clock.now()
        every = timedelta(0)
        if result is not None:
            every = next_poll.estimate_interval(
                self._store, result, self.config.providers[result.provider].pace, one_shot=self._one_shot
            )
        evaluation = pipeline.process_result(self._store, self.config, result, now=now, every=every)
        due = evaluation.next_due_at
        if due is not None:
            self._scheduler.schedule_at("tick", max(due, now + timedelta(seconds=1)), self._evaluate_time)
        self._log_result(result, evaluation.transitions)
        self._dispatcher.start_due_attempts()
        if self._mirrors is not None:
            self._mirrors.update()

    def _evaluate_time(self) -> None:
        """Evaluate what changes by time alone, such as the age of a reading."""
        if not self._awaits_polls:
            self._on_result(None)

    def _log_result(self, result: Snapshot | PollFailure | None, transitions: Sequence[Transition]) -> None:
        format_series = make_series_formatter(self._store) if transitions else str
        for transition in transitions:
            series = sanitize_for_terminal(format_series(transition.series), 200)
            self._log.info(f"{transition.event} {transition.rule} on {series}: {transition.reason}")
        if isinstance(result, Snapshot):
            self._log.debug(f"{result.provider}: {len(result.readings)} windows")
            if self._failure_kinds.pop((result.provider, result.account), None):
                self._log.info(f"{result.provider}: answers again")
        elif result is not None and self._failure_kinds.get((result.provider, result.account)) != result.kind:
            self._failure_kinds[result.provider, result.account] = result.kind
            text = format_failure(result.provider, result.kind, result.message)
            self._log.warning(f"{result.provider}: {text}")

    def _check_requests(self) -> None:
        self._store.restore_file(now=self._environment.clock.now())
        self._dispatcher.release_deliveries()
        if self._mirrors is not None:
            self._mirrors.update()  # a test may have ended the stop of a channel
        refresh = self._store.facts.load(REFRESH_FACT)
        if refresh is not None and refresh[0] == REFRESH_REQUESTED:
            self._refreshing = True
            self._poller.start_all_cycles()

    def _on_action(self, message: Message, action: str) -> None:
        """Do what the user chose on a notification, whose thread calls this."""
        if action == OPEN_PAGE:
            process.open_in_browser(get_safe_link(message))
        elif action == SNOOZE:
            self._work_queue.put(partial(self._snooze, message))

    def _snooze(self, message: Message) -> None:
        """Snooze the series of a message until its reset."""
        states, now = self._store.alerts.load_state().series_states, self._environment.clock.now()
        for series in (each for each in states if message.thread == f"{message.rule}|{each}"):
            target = make_series_formatter(self._store)(series)
            try:
                pipeline.save_snooze(self._store, self.config.rules, target, None, now=now)
            except UsageError as error:
                self._log.warning(str(error))
            else:
                self._log.info(f"snoozed {target} until its reset, by a notification")
                self._dispatcher.release_deliveries()

    def _await_polls(self) -> None:
        """Evaluate, release and send nothing before every provider was polled: until then all readings are old."""
        self._awaits_polls = True
        self._scheduler.schedule_after("first polls", FIRST_POLLS_WITHIN, self._stop_awaiting_polls)

    def _stop_awaiting_polls(self) -> None:
        if self._awaits_polls:
            self._awaits_polls = False
            self._scheduler.cancel("first polls")
            self._dispatcher.release_deliveries()
            self._evaluate_time()

    def _finish_polls(self) -> None:
        """Do what waits for the polls in flight, if none is left."""
        if self._poller.is_busy:
            return
        self._stop_awaiting_polls()
        if self._refreshing:
            self._refreshing = False
            self._write_status()
            now = self._environment.clock.now()
            self._store.save_fact(REFRESH_FACT, REFRESH_DONE, now)

    def _on_wake(self, step: timedelta) -> None:
        self._log.info(f"the clock jumped ahead by {step} (sleep, or the clock was set): polling every provider")
        self._await_polls()
        self._poller.on_wake(self._environment.clock.now())
        self._finish_polls()

    def _on_clock_set_back(self, step: timedelta) -> None:
        pipeline.correct_clock(self._store, now=self._environment.clock.now())
        self._dispatcher.on_clock_set_back(step)

    # --- config -----------------------------------------------------------------------------------------------------

    def _load_config(self) -> Config:
        host_info = self._environment.read_host_info()
        config = configuration.load_config(self._paths, make_secret_resolver(host_info), host_info.home)
        self._redactor.add_secrets(config.secrets)
        self._environment.apply_network(config.network)
        for path in self._paths.list_conflicted_copies():
            self._log.warning(f"{path}: a copy that a sync tool has set aside; left out")
        return config

    def _check_config_files(self) -> None:
        """Load the config again after a change of its files: at every wake-up, because it costs one `stat` a file."""
        if self._file_watch is not None:
            self._file_watch.set_paths(configuration.list_watched_paths(self._paths))  # before the look at the files
        fingerprint = configuration.fingerprint_config_files(self._paths)
        if fingerprint != self._fingerprint:
            self._fingerprint = fingerprint
            self._reload_soon()

    def _reload_soon(self) -> None:
        self._scheduler.schedule_after("config", SETTLE_FOR, self._reload)

    def _reload(self) -> None:
        """Load the config in a thread, because a secret may come from a slow program."""
        if self._loading:  # two at once could end in the wrong order
            self._reload_soon()
        else:
            self._loading = True
            self._work_queue.run_in_thread(self._try_load_config, self._on_config_loaded)

    def _try_load_config(self) -> Config | Exception:
        try:
            return self._load_config()
        except Exception as error:  # noqa: BLE001 - handled on the loop's thread
            return error

    def _on_config_loaded(self, config: Config | Exception) -> None:
        now, self._loading = self._environment.clock.now(), False
        if isinstance(config, ConfigError):
            self._reject_config(str(config), now)
        elif isinstance(config, Exception):
            raise config
        else:
            self._apply_config(config, now)

    def _apply_config(self, config: Config, now: datetime) -> None:
        self.config, self._fingerprint = config, config.fingerprint
        self._store.save_fact(CONFIG_ERROR_FACT, "", now)
        rules, channels = format_amount(len(config.rules), "rules"), format_amount(len(config.channels), "channels")
        self._log.info(f"config loaded: {rules}, {channels}")
        self._dispatcher.apply_config(config)
        self._poller.apply_config(config)
        self._start_exporter()
        self._start_mirrors()
        self._evaluate_time()

    def _reject_config(self, text: str, now: datetime) -> None:
        """Keep the old config in force, and report each different mistake once."""
        known = self._store.facts.load(CONFIG_ERROR_FACT)
        self._store.save_fact(CONFIG_ERROR_FACT, text, now)
        if known is not None and known[0] == text:
            return
        self._log.warning(f"the config cannot be used, the last good one stays in force:\n{text}")
        self._dispatcher.queue_notice(
            "The watcher's config has a mistake", f"The last good one stays in force.\n{text}"
        )

    def _start_exporter(self) -> None:
        """Export metrics as the config in force says; what an earlier config asked for ends."""
        self._stop_exporter()
        problem = self.config.broken_channels.get("metrics")
        problems = json.dumps({"config": problem} if problem else {})
        known, now = self._store.facts.load(METRICS_PROBLEMS_FACT), self._environment.clock.now()
        if problem or known is not None:
            self._store.save_fact(METRICS_PROBLEMS_FACT, problems, now)
        if self.config.metrics is None or not self.config.metrics.is_exported:
            return
        from watcher.prometheus.exporter import Exporter  # noqa: PLC0415 - only where metrics are configured

        self._exporter = Exporter(
            self.config.metrics,
            store=self._store,
            environment=self._environment,
            scheduler=self._scheduler,
            work_queue=self._work_queue,
            log_warning=self._log.warning,
        )
        self._exporter.update()

    def _start_mirrors(self) -> None:
        """Show Alertmanagers what fires, where the config in force has such a channel."""
        if self._mirrors is not None:
            self._mirrors.close()
            self._mirrors = None
        if not self.config.routing.mirrors:
            known, now = self._store.facts.load(ALERTMANAGER_FACT), self._environment.clock.now()
            if known is not None and known[0] != "{}":
                self._store.save_fact(ALERTMANAGER_FACT, "{}", now)
            return
        from watcher.prometheus.alertmanager import AlertmanagerMirrors  # noqa: PLC0415 - only where configured

        self._mirrors = AlertmanagerMirrors(
            self.config,
            store=self._store,
            environment=self._environment,
            scheduler=self._scheduler,
            work_queue=self._work_queue,
            is_waiting=lambda: self._awaits_polls,
            on_stopped=self._dispatcher.queue_notice,
            log_warning=self._log.warning,
        )

    def _stop_exporter(self) -> None:
        if self._exporter is not None:
            self._exporter.close()
            self._exporter = None

    # --- the daemon's own jobs --------------------------------------------------------------------------------------

    def _write_status(self) -> None:
        """Write `status.json` if anything changed since the last time."""
        if self._store.change_count != self._written_count:
            write_status(self._store, self.config, now=self._environment.clock.now())
            if self._exporter is not None:
                self._call_safely("metrics", self._exporter.update)
            self._written_count = self._store.change_count

    def _write_heartbeat(self) -> None:
        now = self._environment.clock.now()
        self._scheduler.schedule_at("heartbeat", now + HEARTBEAT_EVERY, self._write_heartbeat)
        self._store.return_to_disk(now=now)
        self._store.save_fact("heartbeat", "running", now)
        if self._lock is not None:
            self._lock.renew()
        self._dispatcher.release_deliveries()  # another process may have ended a snooze, and its signal was lost

    def _delete_old_records(self) -> None:
        now = self._environment.clock.now()
        self._scheduler.schedule_at("tidy", now + CLEANUP_EVERY, self._delete_old_records)
        self._store.run_transaction(lambda: self._store.delete_old_records(now), now=now)
        self._store.reserve_room()
        self._redactor.add_secrets(self.config.secrets)  # it forgets secrets that it has not seen for long

    def _record_shutdown(self) -> None:
        now = self._environment.clock.now()
        self._store.return_to_disk(now=now)
        self._store.save_fact("heartbeat", "stopped", now)
