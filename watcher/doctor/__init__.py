"""Checks of the installation: each finding has a verdict, one sentence and the command that fixes it.

`runner` collects what the checks look at, lists the checks and runs them. The checks are in `config` (config,
rules and channels), `providers` (logins and last answers) and `machine` (login item, daemon, database, files,
clock). A check only reads: it sends nothing and asks no provider, only Alertmanagers whether they are ready.
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any

from msgspec import Struct, field

from watcher.agent import LoginItem, Manager
from watcher.config.loader import Config
from watcher.core.model import Request, Response
from watcher.credentials import HostInfo
from watcher.polling.fetch import FoundLogins
from watcher.status.document import StatusDocument
from watcher.storage.store import Store
from watcher.system.paths import Paths


class Verdict(StrEnum):
    """The result of a check."""

    OK = "ok"
    WARN = "warn"  # it works, or works in part
    FAIL = "fail"  # an alert may be missed


class Finding(Struct, frozen=True, kw_only=True):
    """What one check found."""

    group: str = ""  # "logins"; set by `runner.run_checks`
    subject: str  # what was checked: "claude", a path, a channel's name
    verdict: Verdict
    message: str  # one sentence
    cure: str = ""  # the command that fixes it, or what to do; empty if there is nothing to do
    provider: str = ""  # the provider that it concerns
    facts: Mapping[str, str] = field(default_factory=dict)  # details for `--provider`, secrets masked


def ok(subject: str, message: str, **fields: Any) -> Finding:
    """A finding without a problem."""
    return Finding(subject=subject, verdict=Verdict.OK, message=message, **fields)


def warn(subject: str, message: str, cure: str = "", **fields: Any) -> Finding:
    """A problem that stops no alert."""
    return Finding(subject=subject, verdict=Verdict.WARN, message=message, cure=cure, **fields)


def fail(subject: str, message: str, cure: str = "", **fields: Any) -> Finding:
    """A problem that may stop an alert."""
    return Finding(subject=subject, verdict=Verdict.FAIL, message=message, cure=cure, **fields)


class DoctorContext(Struct, frozen=True, kw_only=True):
    """The machine as the checks see it."""

    paths: Paths
    host_info: HostInfo
    now: datetime
    config: Config | None  # None: it cannot be read
    config_error: str  # why
    found_logins: Mapping[str, FoundLogins]  # by provider
    store: Store | None  # None: there is none, or it cannot be opened
    store_error: str  # why, and what to do
    status: StatusDocument  # empty without a database
    holder_pid: int | None  # the running daemon's process id; None: no daemon runs; 0: not known
    manager: Manager | None  # None: no login item on this system
    agent_item: LoginItem
    send: Callable[[Request], Response]
    query_desktop: Callable[[], str]  # describes the notification service; raises `DesktopUnavailableError`


class DesktopUnavailableError(Exception):
    """The notification service cannot be reached; the text says why and, after a semicolon, what to do."""


Check = Callable[[DoctorContext], Iterable[Finding]]
