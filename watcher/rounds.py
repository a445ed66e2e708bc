"""Polling rounds: whom to ask now, whom to spare, what came back, when to ask again.

A round asks every account of one provider, each in a thread of its own, and ends when all have answered. Everything
else, the store included, happens on the loop's thread: threads only look and talk. Never judge a reading here.

One file although it is a long one: a round is one story told in callbacks, and its steps share whom it waits for. What
is known of a login (`sights`), whose it is (`logins`), what becomes of a gone one (`successions`) and what is said
where nobody answers (`absences`) are elsewhere.
"""

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import msgspec
from msgspec import Struct, field

from watcher import absences, handover, poll
from watcher.calls import Calls
from watcher.config import Config
from watcher.core.cadence import REFUSALS
from watcher.core.model import Failure, Snapshot
from watcher.core.sight import NextPoll
from watcher.credentials import Credential
from watcher.doors import Doors
from watcher.logins import Logins
from watcher.losses import Losses
from watcher.providers import Kept, claude
from watcher.providers.registry import PROVIDERS
from watcher.rows import Account
from watcher.sights import Sights
from watcher.skew import Skew
from watcher.store import Store
from watcher.successions import Successions
from watcher.timetable import Timetable

News = Snapshot | Failure
LOOK_AGAIN = timedelta(minutes=15)  # where no login was found: a person may sign in at any time
IN_USE = timedelta(minutes=30)  # a status line that spoke so lately speaks again soon, ...
LOOK_AT_HAND = timedelta(minutes=1)  # ... and looking costs no request
ROUND_ENDS = timedelta(minutes=2)  # every answer has its own limit; this one is for what none foresaw


class Round(Struct):
    """One provider being asked."""

    asked_for: bool  # by a person: at once, cooldowns aside
    finding: bool = True  # logins are being looked for
    waiting: set[str] = field(default_factory=set)  # accounts that have not answered
    held: list[tuple[Credential, News]] = field(default_factory=list)  # answers that may be another account's


class Rounds:
    """All polling of one process."""

    def __init__(  # noqa: PLR0913 - the parts of the process it works with
        self,
        *,
        doors: Doors,
        store: Store,
        timetable: Timetable,
        calls: Calls,
        hear: Callable[[News], None],
        learn: Callable[[Iterable[str]], None],
    ) -> None:
        self._doors, self._store, self._timetable = doors, store, timetable
        self._calls, self._hear, self._learn = calls, hear, learn
        self._config: Config | None = None
        self._open: dict[str, Round] = {}
        self._logins = Logins(store)
        self._troubles: dict[str, str] = {}  # provider -> what is wrong with places that no account hangs on
        self._kept: dict[tuple[str, str], Kept] = {}
        self._sights = Sights(doors=doors, store=store)
        self._successions = Successions(store=store, logins=self._logins, kept=self._kept, hear=hear)
        self._losses = Losses()
        self._skew = Skew()
        self._handed_at: datetime | None = None  # when Claude Code's status line last said something

    @property
    def busy(self) -> bool:
        """Whether any answer is awaited."""
        return bool(self._open)

    def use(self, config: Config, *, poll: bool = True) -> None:
        """Ask by this config from now on; a provider that was switched off is not asked again."""
        self._config = config
        self._sights.use(config)
        for provider in PROVIDERS if poll else ():
            if config.providers[provider].enabled is False:
                self._timetable.take_away(_job(provider))
            elif self._timetable.due(_job(provider)) is None and provider not in self._open:
                self.begin(provider)

    def wake(self, now: datetime) -> None:
        """The machine slept: what is known is old."""
        self._sights.woke_at = now
        for provider in PROVIDERS:
            if self._timetable.due(_job(provider)) is not None:
                self._timetable.take_away(_job(provider))
                self.begin(provider)

    def begin_all(self) -> None:
        """A round of every provider, because a person asked for it."""
        for provider in PROVIDERS:
            self.begin(provider, asked_for=True)

    def begin(self, provider: str, *, asked_for: bool = False) -> None:
        """Begin a round, unless one is open: look for logins first."""
        config = self._config
        if config is None or provider in self._open or config.providers[provider].enabled is False:
            return
        now = self._doors.clock.now()
        if self._rests(provider, now):
            return
        self._open[provider] = round_ = Round(asked_for=asked_for)
        self._timetable.put_after(f"end of round {provider}", ROUND_ENDS, lambda: self._give_up(provider))
        overrides = config.providers[provider].overrides
        surroundings, keys = self._doors.surroundings, self._logins.keys(provider)
        self._calls.fetch(
            lambda: poll.find(PROVIDERS[provider], surroundings(), overrides, keys=keys),
            lambda found: self._found(provider, round_, found),
        )

    # --- one round --------------------------------------------------------------------------------------------------

    def _found(self, provider: str, round_: Round, found: poll.Found) -> None:
        config = self._config
        if self._is_late(provider, round_) or config is None:
            return
        round_.finding = False
        now = self._doors.clock.now()
        self._logins.take(provider, found.credentials, now)
        logins = [login for each in found.credentials for login in (each, *each.spares)]
        self._learn(secret for each in logins for secret in (each.token, each.refresh_token))
        self._hear_troubles(provider, found)
        troubled = {each.account for each in found.failures}
        self._successions.settle(provider, config, now, spared=troubled, whole=not found.failures)
        self._take_statusline(provider)
        if not (found.credentials or found.failures) and self._settings(provider).enabled:
            self._hear(absences.no_login(provider, now))
        for credential in self._logins.now(provider, now):
            if self._may_ask(provider, credential, round_, now):
                self._ask(provider, credential, round_, now)
        self._end_if_done(provider)

    def _hear_troubles(self, provider: str, found: poll.Found) -> None:
        """Places that cannot be used are the nameless account's trouble, unless its login was found elsewhere."""
        here = {credential.account for credential in found.credentials}
        self._troubles[provider] = "; ".join(each.message for each in found.failures if each.account in here)
        for failure in found.failures:
            if failure.account not in here:
                self._hear(failure)

    def _may_ask(self, provider: str, credential: Credential, round_: Round, now: datetime) -> bool:
        if self._sights.is_resting(credential, now):
            return False
        settings = self._settings(provider)
        choice = self._next_poll(provider, credential, now)
        if round_.asked_for:
            account = self._account(provider, credential.account)
            if choice.at is None:
                return False
            # the floor spares the vendor's servers; another address is the person's own affair
            return account is None or settings.base_url is not None or now - account.asked_at >= settings.pace.floor
        return choice.at is not None and choice.at <= now

    def _ask(self, provider: str, credential: Credential, round_: Round, now: datetime) -> None:
        round_.waiting.add(credential.account)
        self._sights.note_use(credential, now)
        self._logins.ask(provider, credential, now)
        kept = self._kept.setdefault((provider, credential.account), {})
        settings, doors, keys = self._settings(provider), self._doors, self._logins.keys(provider)
        find = partial(poll.find, PROVIDERS[provider], overrides=settings.overrides, keys=keys)
        self._calls.fetch(
            lambda: poll.ask(
                PROVIDERS[provider],
                credential,
                now=doors.clock.now,
                send=self._skew.through(doors.send),
                read_database=doors.read_database,
                kept=kept,
                base_url=settings.base_url,
                again=lambda: find(msgspec.structs.replace(doors.surroundings(), fresh=True)).credentials,
            ),
            lambda news: self._answered(provider, round_, credential, news),
        )

    def _answered(self, provider: str, round_: Round, credential: Credential, news: News) -> None:
        news = self._sights.settle(credential, news)
        if self._is_late(provider, round_):
            return
        round_.waiting.discard(credential.account)
        try:
            if self._may_be_another_s(provider, credential, news):
                round_.held.append((credential, news))
            else:
                self._take(provider, credential, news)
        finally:
            self._end_if_done(provider)

    def _may_be_another_s(self, provider: str, credential: Credential, news: News) -> bool:
        """Whether this answer may yet prove to be one of another key: of a nameless login, or what that one becomes."""
        if self._account(provider, credential.account) is None:
            return any(self._logins.is_unsure(provider, each) for each in self._logins.now(provider, news.at))
        return self._logins.is_unsure(provider, credential) and bool(news.account_name)

    def _take(self, provider: str, credential: Credential, news: News) -> None:
        """Hear the answer, unless it proved to be one of an account that is asked under its name."""
        self._logins.learn(provider, credential, news)
        if news.account not in {each.account for each in self._logins.now(provider, news.at)}:
            return
        if isinstance(news, Snapshot):
            trouble = "" if news.account else self._troubles.get(provider, "")
            note = "; ".join(part for part in (news.note, trouble) if part)
            news = msgspec.structs.replace(news, note=note or None)
        self._hear(news)

    def _give_up(self, provider: str) -> None:
        """End a round that did not end by itself. Its threads cannot be ended: each that is lost doubles the rest."""
        round_ = self._open.get(provider)
        if round_ is None:
            return
        now, silent = self._doors.clock.now(), round_.waiting
        self._losses.lose(provider, max(len(round_.waiting), 1), now)
        if round_.finding:
            silent = {account.account for account in self._accounts(provider)} or {""}
        for failure in absences.never_came(provider, silent, ROUND_ENDS, now, finding=round_.finding):
            self._hear(failure)
        round_.finding, round_.waiting = False, set()
        self._end_if_done(provider)

    def _is_late(self, provider: str, round_: Round) -> bool:
        """Whether a round was given up before this came of it. Then the thread at least is back."""
        if round_ is self._open.get(provider):
            return False
        self._losses.regain(provider)
        return True

    def _rests(self, provider: str, now: datetime) -> bool:
        """Whether threads were lost to this provider so lately that another one is not risked yet."""
        until = self._losses.rests_until(provider, now)
        if until is not None:
            self._timetable.put(_job(provider), until, partial(self.begin, provider))
        return until is not None

    def _end_if_done(self, provider: str) -> None:
        round_ = self._open.get(provider)
        if round_ is None or round_.finding or round_.waiting:
            return
        del self._open[provider]
        self._skew.keep(self._store, self._doors.clock.now())
        self._timetable.take_away(f"end of round {provider}")
        try:
            for credential, news in round_.held:  # first whose each is, then whose is shown
                self._logins.learn(provider, credential, news)
            if round_.held and self._config is not None:
                self._successions.settle(provider, self._config, self._doors.clock.now(), whole=False)
            for credential, news in round_.held:
                self._take(provider, credential, news)
        finally:
            self._plan_next(provider)

    def _plan_next(self, provider: str) -> None:
        """Choose the next round, and a glance at the tools' own folders that may bring it forward."""
        now = self._doors.clock.now()
        choices = [self._next_poll(provider, credential, now) for credential in self._logins.now(provider, now)]
        nobody = NextPoll(at=None, reason="no login found; looking again")
        later = [choice for choice in choices if choice.at is not None]
        choice = min(later, key=lambda choice: choice.at or now) if later else next(iter(choices), nobody)
        at, reason = max(choice.at or now + LOOK_AGAIN, now + timedelta(seconds=1)), choice.reason
        rested = self._losses.rests_until(provider, at)
        if rested is not None:
            at, reason = rested, "an answer never came; waiting longer each time"
        self._timetable.put(_job(provider), at, lambda: self.begin(provider))
        self._store.write(lambda: self._store.plan_poll(provider, at, reason), now=now)
        glances = [each.look_at for each in later if each.look_at is not None and each.look_at < at]
        if provider == claude.ID and self._handed_at is not None and now - self._handed_at < IN_USE:
            glances.append(now + LOOK_AT_HAND)
        if glances:
            self._timetable.put(f"look {provider}", min(glances), partial(self._glance, provider))

    def _glance(self, provider: str) -> None:
        if any(account.failure and account.failure.kind in REFUSALS for account in self._accounts(provider)):
            self.begin(provider)  # looks for logins; a refused one is not asked before its time, another at once
        elif provider not in self._open:
            self._take_statusline(provider)
            self._plan_next(provider)

    def _take_statusline(self, provider: str) -> None:
        """What Claude Code handed over is as good as an answer, and costs no request."""
        if provider != claude.ID:
            return
        handed = handover.from_statusline(self._store, self._logins.now(provider, self._doors.clock.now()))
        if handed is None:
            return
        self._handed_at, fresh = handed
        if fresh is not None:
            self._hear(fresh)

    def _next_poll(self, provider: str, credential: Credential, now: datetime) -> NextPoll:
        changed = self._logins.has_changed(provider, credential)
        requested_at = self._logins.asked_at(provider, credential)
        return self._sights.next_poll(provider, credential, now, changed=changed, requested_at=requested_at)

    def _settings(self, provider: str) -> Any:
        if self._config is None:
            raise RuntimeError("no config in use yet")
        return self._config.providers[provider]

    def _accounts(self, provider: str) -> list[Account]:
        return [account for account in self._store.accounts() if account.provider == provider]

    def _account(self, provider: str, key: str) -> Account | None:
        return next((account for account in self._accounts(provider) if account.account == key), None)


def _job(provider: str) -> str:
    return f"poll {provider}"
