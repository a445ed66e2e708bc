"""Poll cycles: which accounts are polled now, what becomes of their answers, when the next cycle begins.

A cycle looks for the logins of one provider, polls every account in a thread of its own, and ends when all have
answered. Cycles that start together search in one thread. Everything else, the store included, happens in the thread of
the loop.
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from functools import partial

from msgspec import Struct, field
from msgspec.structs import replace

from watcher.config.loader import Config
from watcher.core.model import HostInfo, PollFailure, PollResult, Request, Response, Snapshot
from watcher.credentials import Credential
from watcher.polling import codex_sessions, fetch, statusline
from watcher.polling.account_registry import AccountRegistry
from watcher.polling.interval import LOGIN_FAILURES, NextPoll
from watcher.polling.next_poll import PollPlanner
from watcher.providers import ProviderState, claude, codex
from watcher.providers.registry import PROVIDERS
from watcher.storage.records import Account
from watcher.storage.store import Store
from watcher.system.environment import Environment
from watcher.system.scheduler import Scheduler, WorkQueue

LOGIN_SEARCH_EVERY = timedelta(minutes=15)  # if no login was found: the user may sign in at any time
NEWS_CHECK_EVERY = timedelta(minutes=1)  # where a tool notes its own numbers; costs no request
STATUS_PAGE_EVERY = timedelta(minutes=5)
SERVER_ERROR_STATUS = 500  # from here on, the server's own failure


class PollCycle(Struct):
    """The poll of one provider's accounts that is in progress."""

    requested: bool  # by the user: at once, except during a cooldown
    finding_logins: bool = True
    pending_accounts: set[str] = field(default_factory=set)  # have not answered yet
    waiting_accounts: set[str] = field(default_factory=set)  # are polled when the anonymous logins have an owner


class Poller:
    """All polling of one process."""

    def __init__(  # noqa: PLR0913 - the parts of the process it works with
        self,
        *,
        environment: Environment,
        store: Store,
        config: Config,
        scheduler: Scheduler,
        work_queue: WorkQueue,
        on_result: Callable[[PollResult], None],
        add_secrets: Callable[[Iterable[str]], None],
    ) -> None:
        self._environment, self._store, self._scheduler = environment, store, scheduler
        self._work_queue, self._on_result, self._add_secrets = work_queue, on_result, add_secrets
        self._config = config
        self._cycles: dict[str, PollCycle] = {}
        self._source_errors: dict[str, str] = {}  # provider -> errors of its sources of logins
        self._provider_states: dict[tuple[str, str], ProviderState] = {}
        self._account_registry = AccountRegistry(store, self._provider_states)
        self._planner = PollPlanner(environment=environment, store=store, config=config)
        self._clock_ahead: timedelta | None = None  # by the last answer, until it is saved
        self._noting_providers: set[str] = set()  # those whose tool has noted its own numbers

    @property
    def is_busy(self) -> bool:
        """Whether a poll cycle is in progress."""
        return bool(self._cycles)

    def apply_config(self, config: Config) -> None:
        """Poll by this config from now on; a provider that is switched off is not polled again."""
        self._config = self._planner.config = config
        with self._work_queue.share_thread():
            for provider in PROVIDERS:
                if config.providers[provider].enabled is False:
                    self._scheduler.cancel(_job_name(provider))
                elif self._scheduler.get_due_at(_job_name(provider)) is None and provider not in self._cycles:
                    self.start_cycle(provider)

    def on_wake(self, now: datetime) -> None:
        """Poll every provider now, because the machine slept."""
        self._planner.woke_at = now
        with self._work_queue.share_thread():
            for provider in PROVIDERS:
                if self._scheduler.get_due_at(_job_name(provider)) is not None:
                    self._scheduler.cancel(_job_name(provider))
                    self.start_cycle(provider)

    def start_all_cycles(self) -> None:
        """Poll every provider now, because the user asked for it."""
        with self._work_queue.share_thread():
            for provider in PROVIDERS:
                self.start_cycle(provider, requested=True)

    def start_cycle(self, provider: str, *, requested: bool = False) -> None:
        """Start a poll cycle with a search for logins, unless one is in progress."""
        if provider in self._cycles or self._config.providers[provider].enabled is False:
            return
        self._cycles[provider] = cycle = PollCycle(requested=requested)
        find_logins, read_host_info = self._make_login_search(provider), self._environment.read_host_info
        self._work_queue.run_in_thread(
            lambda: find_logins(read_host_info()), lambda found: self._on_logins_found(provider, cycle, found)
        )

    # --- one cycle --------------------------------------------------------------------------------------------------

    def _make_login_search(self, provider: str) -> Callable[[HostInfo], fetch.FoundLogins]:
        overrides, keys = self._config.providers[provider], self._account_registry.get_known_keys(provider)
        return partial(fetch.find_logins, PROVIDERS[provider], overrides=overrides, known_keys=keys)

    def _on_logins_found(self, provider: str, cycle: PollCycle, found: fetch.FoundLogins) -> None:
        cycle.finding_logins = False
        try:
            self._poll_logins(provider, cycle, found)
        finally:
            self._finish_if_done(provider)

    def _poll_logins(self, provider: str, cycle: PollCycle, found: fetch.FoundLogins) -> None:
        now = self._environment.clock.now()
        self._account_registry.record_credentials(provider, found.credentials, now)
        logins = [login for each in found.credentials for login in (each, *each.fallbacks)]
        self._add_secrets(secret for each in logins for secret in (each.token, each.refresh_token))
        self._report_source_failures(provider, found)
        troubled = {each.account for each in found.failures}
        for gone in self._account_registry.settle(provider, self._config, now, troubled=troubled):
            if not found.failures:
                self._sign_out(gone, now, is_switched=bool(found.credentials))
        self._import_news(provider)
        if not (found.credentials or found.failures) and self._config.providers[provider].enabled:
            self._on_result(fetch.make_no_login_failure(provider, now))
        allowed = [
            login
            for login in self._account_registry.list_logins(provider, now)
            if self._is_poll_allowed(provider, login, cycle, now)
        ]
        is_open = {login.account: self._account_registry.is_owner_open(provider, login) for login in allowed}
        for credential in allowed:
            is_new = self._store.accounts.find(provider, credential.account) is None
            if is_new and not is_open[credential.account] and any(is_open.values()):
                cycle.waiting_accounts.add(credential.account)
            else:
                self._start_poll(provider, credential, cycle, now)

    def _sign_out(self, account: Account, now: datetime, *, is_switched: bool) -> None:
        """Report that an account has no login any more; forget it if it never answered."""
        if account.snapshot is not None:
            self._on_result(fetch.make_no_login_failure(account.provider, now, account, is_switched=is_switched))
        else:
            forget = partial(self._store.accounts.forget_unanswered, account.provider, account.account)
            self._store.run_transaction(forget, now=now)

    def _report_source_failures(self, provider: str, found: fetch.FoundLogins) -> None:
        """Report each source that cannot be read, unless the account has a login from another source."""
        present = {credential.account for credential in found.credentials}
        self._source_errors[provider] = "; ".join(each.message for each in found.failures if each.account in present)
        for failure in found.failures:
            if failure.account not in present:
                self._on_result(failure)

    def _is_poll_allowed(self, provider: str, credential: Credential, cycle: PollCycle, now: datetime) -> bool:
        if self._planner.is_cooling_down(credential, now):
            return False
        due_at = self._planner.plan_next_poll(credential, now).at
        if due_at is None or not cycle.requested:
            return due_at is not None and due_at <= now
        settings, account = self._config.providers[provider], self._store.accounts.find(provider, credential.account)
        # the minimum interval spares the vendor's servers; another address is the user's own business
        return account is None or settings.base_url is not None or now - account.polled_at >= settings.pace.floor

    def _start_poll(self, provider: str, credential: Credential, cycle: PollCycle, now: datetime) -> None:
        cycle.pending_accounts.add(credential.account)
        self._planner.record_request(credential, now)
        environment, find_logins = self._environment, self._make_login_search(provider)
        poll = partial(
            fetch.poll_account,
            PROVIDERS[provider],
            credential,
            now=environment.clock.now,
            send=self._send,
            read_database=environment.read_database,
            provider_state=self._provider_states.setdefault((provider, credential.account), {}),
            base_url=self._config.providers[provider].base_url,
            insecure=self._config.providers[provider].insecure,
            find_again=lambda: find_logins(replace(environment.read_host_info(), force_refresh=True)).credentials,
        )
        self._work_queue.run_in_thread(poll, lambda result: self._on_poll_done(provider, cycle, credential, result))

    def _send(self, request: Request) -> Response:
        """Send a request and keep the skew of the clock; called in the threads of the polls."""
        response = self._environment.send(request)
        if response.clock_ahead is not None:
            self._clock_ahead = response.clock_ahead
        return response

    def _save_clock_skew(self, now: datetime) -> None:
        ahead, self._clock_ahead = self._clock_ahead, None
        if ahead is not None:
            self._store.save_fact(fetch.CLOCK_AHEAD_FACT, str(ahead.total_seconds()), now)

    def _on_poll_done(self, provider: str, cycle: PollCycle, credential: Credential, result: PollResult) -> None:
        if isinstance(result, PollFailure) and self._may_ask_status_page(provider, credential, result):
            self._explain_failure(provider, result, partial(self._finish_poll, provider, cycle, credential))
        else:
            self._finish_poll(provider, cycle, credential, result)

    def _may_ask_status_page(self, provider: str, credential: Credential, failure: PollFailure) -> bool:
        """Whether it is the vendor's own server that fails, and not another one that the user names."""
        is_vendor = self._config.providers[provider].base_url is None and "usage_url" not in credential.extra
        return (
            self._config.status_pages
            and is_vendor
            and bool(PROVIDERS[provider].status_page)
            and (failure.kind == "timeout" or failure.status >= SERVER_ERROR_STATUS)
        )

    def _explain_failure(self, provider: str, failure: PollFailure, finish: Callable[[PollFailure], None]) -> None:
        """Add the incident that the vendor's status page reports, asked at most every 5 minutes, to the failure."""
        fact, page, now = f"status_page {provider}", PROVIDERS[provider].status_page, self._environment.clock.now()
        incident, asked_at = self._store.facts.load(fact) or ("", None)
        if asked_at is not None and timedelta(0) <= now - asked_at < STATUS_PAGE_EVERY:
            finish(fetch.add_incident(failure, page, incident))
            return
        self._store.save_fact(fact, "", now)  # another account that fails meanwhile does not ask too

        def on_answer(incident: str) -> None:
            self._store.save_fact(fact, incident, now)
            finish(fetch.add_incident(failure, page, incident))

        self._work_queue.run_in_thread(partial(fetch.fetch_incident, page, self._environment.send), on_answer)

    def _finish_poll(self, provider: str, cycle: PollCycle, credential: Credential, result: PollResult) -> None:
        cycle.pending_accounts.discard(credential.account)
        try:
            result = self._planner.apply_cooldown(credential, result)
            if self._account_registry.record_owner(provider, credential, result):
                self._account_registry.settle(provider, self._config, result.at)
            logins = self._account_registry.list_logins(provider, result.at)
            if any(result.account == each.account for each in logins):  # else the account has another login
                self._on_result(self._add_source_errors(result))
        finally:
            self._finish_if_done(provider)

    def _add_source_errors(self, result: PollResult) -> PollResult:
        """The result with a note about logins that cannot be read, which may be of the nameless account."""
        error = "" if result.account else self._source_errors.get(result.provider, "")
        if not isinstance(result, Snapshot) or not error:
            return result
        return replace(result, note="; ".join(part for part in (result.note, error) if part))

    def _finish_if_done(self, provider: str) -> None:
        cycle = self._cycles.get(provider)
        if cycle is None or cycle.finding_logins or cycle.pending_accounts:
            return
        now = self._environment.clock.now()
        waiting, cycle.waiting_accounts = cycle.waiting_accounts, set()
        for credential in self._account_registry.list_logins(provider, now) if waiting else ():
            if credential.account in waiting:
                self._start_poll(provider, credential, cycle, now)
        if cycle.pending_accounts:
            return
        del self._cycles[provider]
        try:
            self._save_clock_skew(now)
        finally:
            self._schedule_next_cycle(provider)

    # --- the next cycle ---------------------------------------------------------------------------------------------

    def _schedule_next_cycle(self, provider: str) -> None:
        """Schedule the next cycle, and a check of local files that may bring it forward."""
        now = self._environment.clock.now()
        logins = self._account_registry.list_logins(provider, now)
        plans = [self._planner.plan_next_poll(credential, now) for credential in logins]
        due = [plan for plan in plans if plan.at is not None]
        no_login = NextPoll(at=None, reason="no login found; looking again")
        first = min(due, key=lambda plan: plan.at or now) if due else next(iter(plans), no_login)
        at = max(first.at or now + LOGIN_SEARCH_EVERY, now + timedelta(seconds=1))
        self._scheduler.schedule_at(_job_name(provider), at, lambda: self.start_cycle(provider))
        if logins or self._list_accounts(provider):  # a provider without either shows nowhere
            self._store.run_transaction(lambda: self._store.polls.save_next_poll(provider, at, first.reason), now=now)
        checks = [plan.recheck_at for plan in due if plan.recheck_at is not None and plan.recheck_at < at]
        if provider in self._noting_providers:
            checks.append(now + NEWS_CHECK_EVERY)
        if checks:
            self._scheduler.schedule_at(f"look {provider}", min(checks), partial(self._check_local_files, provider))

    def _check_local_files(self, provider: str) -> None:
        if any(account.failure and account.failure.kind in LOGIN_FAILURES for account in self._list_accounts(provider)):
            self.start_cycle(provider)  # searches logins: a refused one is polled when it is due, another one at once
        elif provider not in self._cycles:
            self._import_news(provider)
            self._schedule_next_cycle(provider)

    def _import_news(self, provider: str) -> None:
        """Pass on the numbers that Claude Code or Codex noted itself: as good as an answer, they cost no request."""
        if provider not in (claude.ID, codex.ID):
            return
        now, home = self._environment.clock.now(), self._environment.read_host_info().home
        logins = self._account_registry.list_logins(provider, now)
        snapshots: Sequence[Snapshot] | None = None
        if provider == claude.ID:
            snapshots = statusline.read_news(self._store, logins, home)
        elif self._config.hints:
            snapshots = codex_sessions.read_news(self._store, logins, home, now) or None
        if snapshots is not None:
            self._noting_providers.add(provider)
        for each in snapshots or ():
            self._on_result(each)

    def _list_accounts(self, provider: str) -> list[Account]:
        return [account for account in self._store.accounts.load() if account.provider == provider]


def _job_name(provider: str) -> str:
    return f"poll {provider}"
