"""Poll cycles: which accounts are polled now, what becomes of their answers, when the next cycle begins.

A cycle looks for the logins of one provider, polls every account in a thread of its own, and ends when all have
answered. Everything else, the store included, happens in the thread of the loop.
"""

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import msgspec
from msgspec import Struct, field

from watcher.config.loader import Config
from watcher.core.model import PollFailure, Snapshot
from watcher.credentials import Credential
from watcher.polling import accounts, fetch, statusline
from watcher.polling.account_registry import AccountRegistry
from watcher.polling.clock_skew import ClockSkew
from watcher.polling.interval import LOGIN_FAILURES, NextPoll
from watcher.polling.next_poll import PollPlanner
from watcher.providers import ProviderState, claude
from watcher.providers.registry import PROVIDERS
from watcher.storage.records import Account
from watcher.storage.store import Store
from watcher.system.environment import Environment
from watcher.system.scheduler import Scheduler
from watcher.system.work_queue import RequestRunner

PollResult = Snapshot | PollFailure
LOGIN_SEARCH_EVERY = timedelta(minutes=15)  # where no login was found: a person may sign in at any time
STATUSLINE_ACTIVE_FOR = timedelta(minutes=30)  # a status line that spoke so lately speaks again soon, ...
STATUSLINE_CHECK_EVERY = timedelta(minutes=1)  # ... and looking costs no request
POLL_TIMEOUT = timedelta(minutes=2)  # of one account; each request has a shorter timeout of its own


class PollCycle(Struct):
    """One provider being asked."""

    requested: bool  # by a person: at once, cooldowns aside
    finding_logins: bool = True  # logins are being looked for
    pending_accounts: set[str] = field(default_factory=set)  # accounts that have not answered
    waiting_accounts: set[str] = field(default_factory=set)  # polled once it is known whose the anonymous logins are


class Poller:
    """All polling of one process."""

    def __init__(  # noqa: PLR0913 - the parts of the process it works with
        self,
        *,
        environment: Environment,
        store: Store,
        scheduler: Scheduler,
        requests: RequestRunner,
        on_result: Callable[[PollResult], None],
        add_secrets: Callable[[Iterable[str]], None],
    ) -> None:
        self._environment, self._store, self._scheduler = environment, store, scheduler
        self._requests, self._on_result, self._add_secrets = requests, on_result, add_secrets
        self._config: Config | None = None
        self._cycles: dict[str, PollCycle] = {}
        self._source_errors: dict[str, str] = {}  # provider -> what is wrong with places that no account hangs on
        self._provider_states: dict[tuple[str, str], ProviderState] = {}
        self._account_registry = AccountRegistry(store, self._provider_states)
        self._poll_planner = PollPlanner(environment=environment, store=store)
        self._clock_skew = ClockSkew()
        self._statusline_at: datetime | None = None  # when Claude Code's status line last said something

    @property
    def is_busy(self) -> bool:
        """Whether any answer is awaited."""
        return bool(self._cycles)

    def apply_config(self, config: Config, *, start_polling: bool = True) -> None:
        """Ask by this config from now on; a provider that was switched off is not asked again."""
        self._config = config
        self._poll_planner.apply_config(config)
        for provider in PROVIDERS if start_polling else ():
            if config.providers[provider].enabled is False:
                self._scheduler.cancel(_job_name(provider))
            elif self._scheduler.get_due_at(_job_name(provider)) is None and provider not in self._cycles:
                self.start_cycle(provider)

    def on_wake(self, now: datetime) -> None:
        """The machine slept: what is known is old."""
        self._poll_planner.woke_at = now
        for provider in PROVIDERS:
            if self._scheduler.get_due_at(_job_name(provider)) is not None:
                self._scheduler.cancel(_job_name(provider))
                self.start_cycle(provider)

    def start_all_cycles(self) -> None:
        """A round of every provider, because a person asked for it."""
        for provider in PROVIDERS:
            self.start_cycle(provider, requested=True)

    def start_cycle(self, provider: str, *, requested: bool = False) -> None:
        """Begin a round, unless one is open: look for logins first."""
        config = self._config
        if config is None or provider in self._cycles or config.providers[provider].enabled is False:
            return
        self._cycles[provider] = cycle = PollCycle(requested=requested)
        overrides = config.providers[provider].overrides
        surroundings, keys = self._environment.read_host_info, self._account_registry.get_known_keys(provider)
        self._requests.start(
            f"logins {provider}",
            lambda: fetch.find_logins(PROVIDERS[provider], surroundings(), overrides, known_keys=keys),
            lambda found: self._on_logins_found(provider, cycle, found),
            timeout=POLL_TIMEOUT,
        )

    # --- one round --------------------------------------------------------------------------------------------------

    def _on_logins_found(self, provider: str, cycle: PollCycle, found: fetch.FoundLogins | None) -> None:
        cycle.finding_logins = False
        try:
            if found is None:
                self._report_login_search_timeout(provider)
            else:
                self._poll_logins(provider, cycle, found)
        finally:
            self._finish_if_done(provider)

    def _report_login_search_timeout(self, provider: str) -> None:
        now = self._environment.clock.now()
        for account in sorted(account.account for account in self._list_accounts(provider)) or [""]:
            self._on_result(fetch.make_login_search_timeout(provider, account, POLL_TIMEOUT, now))

    def _poll_logins(self, provider: str, cycle: PollCycle, found: fetch.FoundLogins) -> None:
        config, now = self._config, self._environment.clock.now()
        if config is None:
            return
        self._account_registry.record_credentials(provider, found.credentials, now)
        logins = [login for each in found.credentials for login in (each, *each.fallbacks)]
        self._add_secrets(secret for each in logins for secret in (each.token, each.refresh_token))
        self._report_source_failures(provider, found)
        troubled = {each.account for each in found.failures}
        for gone in self._account_registry.settle(provider, config, now, troubled=troubled):
            if not found.failures:
                self._sign_out(gone, now)
        self._import_statusline(provider)
        if not (found.credentials or found.failures) and self._get_settings(provider).enabled:
            self._on_result(fetch.make_no_login_failure(provider, now))
        allowed = [
            login
            for login in self._account_registry.list_logins(provider, now)
            if self._is_poll_allowed(provider, login, cycle, now)
        ]
        is_open = {login.account: self._account_registry.is_owner_open(provider, login) for login in allowed}
        for credential in allowed:
            is_new = self._find_account(provider, credential.account) is None
            if is_new and not is_open[credential.account] and any(is_open.values()):
                cycle.waiting_accounts.add(credential.account)
            else:
                self._start_poll(provider, credential, cycle, now)

    def _sign_out(self, account: Account, now: datetime) -> None:
        """Report that an account has no login any more; forget it where it never had one that worked."""
        if account.snapshot is not None:
            self._on_result(fetch.make_signed_out_failure(account, now))
        else:
            forget = partial(self._store.accounts.forget_unanswered, account.provider, account.account)
            self._store.run_transaction(forget, now=now)

    def _report_source_failures(self, provider: str, found: fetch.FoundLogins) -> None:
        """Places that cannot be used are the nameless account's trouble, unless its login was found elsewhere."""
        here = {credential.account for credential in found.credentials}
        self._source_errors[provider] = "; ".join(each.message for each in found.failures if each.account in here)
        for failure in found.failures:
            if failure.account not in here:
                self._on_result(failure)

    def _is_poll_allowed(self, provider: str, credential: Credential, cycle: PollCycle, now: datetime) -> bool:
        if self._poll_planner.is_cooling_down(credential, now):
            return False
        settings = self._get_settings(provider)
        choice = self._plan_next_poll(provider, credential, now)
        if cycle.requested:
            account = self._find_account(provider, credential.account)
            if choice.at is None:
                return False
            # the floor spares the vendor's servers; another address is the person's own affair
            return account is None or settings.base_url is not None or now - account.polled_at >= settings.pace.floor
        return choice.at is not None and choice.at <= now

    def _start_poll(self, provider: str, credential: Credential, cycle: PollCycle, now: datetime) -> None:
        cycle.pending_accounts.add(credential.account)
        self._poll_planner.record_request(credential, now)
        self._account_registry.record_request(provider, credential, now)
        kept = self._provider_states.setdefault((provider, credential.account), {})
        settings, doors, keys = (
            self._get_settings(provider),
            self._environment,
            self._account_registry.get_known_keys(provider),
        )
        find = partial(fetch.find_logins, PROVIDERS[provider], overrides=settings.overrides, known_keys=keys)
        self._requests.start(
            f"poll {provider} {credential.account} {accounts.hash_token(credential)}",
            lambda: fetch.poll_account(
                PROVIDERS[provider],
                credential,
                now=doors.clock.now,
                send=self._clock_skew.wrap_send(doors.send),
                read_database=doors.read_database,
                provider_state=kept,
                base_url=settings.base_url,
                find_again=lambda: (
                    find(msgspec.structs.replace(doors.read_host_info(), force_refresh=True)).credentials
                ),
            ),
            lambda result: self._on_poll_done(provider, cycle, credential, result),
            timeout=POLL_TIMEOUT,
        )

    def _on_poll_done(self, provider: str, cycle: PollCycle, credential: Credential, result: PollResult | None) -> None:
        cycle.pending_accounts.discard(credential.account)
        try:
            if result is None:
                result = fetch.make_timeout_failure(credential, POLL_TIMEOUT, self._environment.clock.now())
            result = self._poll_planner.apply_cooldown(credential, result)
            self._accept_result(provider, credential, result)
        finally:
            self._finish_if_done(provider)

    def _accept_result(self, provider: str, credential: Credential, result: PollResult) -> None:
        """Pass the answer on, unless it proved to be of an account that is polled under its name."""
        if self._account_registry.record_owner(provider, credential, result) and self._config is not None:
            self._account_registry.settle(provider, self._config, result.at)
        if result.account not in {each.account for each in self._account_registry.list_logins(provider, result.at)}:
            return
        if isinstance(result, Snapshot):
            trouble = "" if result.account else self._source_errors.get(provider, "")
            note = "; ".join(part for part in (result.note, trouble) if part)
            result = msgspec.structs.replace(result, note=note or None)
        self._on_result(result)

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
            self._clock_skew.save(self._store, now)
        finally:
            self._schedule_next_cycle(provider)

    def _schedule_next_cycle(self, provider: str) -> None:
        """Choose the next round, and a glance at the tools' own folders that may bring it forward."""
        now = self._environment.clock.now()
        choices = [
            self._plan_next_poll(provider, credential, now)
            for credential in self._account_registry.list_logins(provider, now)
        ]
        nobody = NextPoll(at=None, reason="no login found; looking again")
        later = [choice for choice in choices if choice.at is not None]
        choice = min(later, key=lambda choice: choice.at or now) if later else next(iter(choices), nobody)
        at, reason = max(choice.at or now + LOGIN_SEARCH_EVERY, now + timedelta(seconds=1)), choice.reason
        self._scheduler.schedule_at(_job_name(provider), at, lambda: self.start_cycle(provider))
        self._store.run_transaction(lambda: self._store.polls.save_next_poll(provider, at, reason), now=now)
        glances = [each.recheck_at for each in later if each.recheck_at is not None and each.recheck_at < at]
        if (
            provider == claude.ID
            and self._statusline_at is not None
            and now - self._statusline_at < STATUSLINE_ACTIVE_FOR
        ):
            glances.append(now + STATUSLINE_CHECK_EVERY)
        if glances:
            self._scheduler.schedule_at(f"look {provider}", min(glances), partial(self._check_activity, provider))

    def _check_activity(self, provider: str) -> None:
        if any(account.failure and account.failure.kind in LOGIN_FAILURES for account in self._list_accounts(provider)):
            self.start_cycle(provider)  # looks for logins; a refused one is not asked before its time, another at once
        elif provider not in self._cycles:
            self._import_statusline(provider)
            self._schedule_next_cycle(provider)

    def _import_statusline(self, provider: str) -> None:
        """What Claude Code handed over is as good as an answer, and costs no request."""
        if provider != claude.ID:
            return
        handed = statusline.read_statusline(
            self._store, self._account_registry.list_logins(provider, self._environment.clock.now())
        )
        if handed is None:
            return
        self._statusline_at, fresh = handed
        if fresh is not None:
            self._on_result(fresh)

    def _plan_next_poll(self, provider: str, credential: Credential, now: datetime) -> NextPoll:
        changed = self._account_registry.has_changed(provider, credential)
        requested_at = self._account_registry.get_last_requested_at(provider, credential)
        return self._poll_planner.plan_next_poll(
            provider, credential, now, login_changed=changed, requested_at=requested_at
        )

    def _get_settings(self, provider: str) -> Any:
        if self._config is None:
            raise RuntimeError("no config in use yet")
        return self._config.providers[provider]

    def _list_accounts(self, provider: str) -> list[Account]:
        return [account for account in self._store.accounts.load() if account.provider == provider]

    def _find_account(self, provider: str, key: str) -> Account | None:
        return next((account for account in self._list_accounts(provider) if account.account == key), None)


def _job_name(provider: str) -> str:
    return f"poll {provider}"
