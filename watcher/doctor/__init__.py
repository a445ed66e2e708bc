"""Is everything in order? One small function a check, each with a sentence and the command that mends it.

A check looks and never touches: it writes nothing, sends nothing, asks no provider. What it needs is in the `DoctorContext`, so
that a test can lay one out. Add a check to its group's file and to `registry.CHECKS`. Never print here.
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from enum import StrEnum

from msgspec import Struct, field

from watcher.agent import LoginItem, Manager
from watcher.config.loader import Config
from watcher.core.model import Command, CommandResult
from watcher.credentials import HostInfo
from watcher.polling.fetch import FoundLogins
from watcher.status.document import StatusDocument
from watcher.storage.store import Store
from watcher.system.paths import Paths

SCHEMA_NAME = "watcher.doctor.v1"


class Verdict(StrEnum):
    """How a check came out."""

    OK = "ok"
    WARN = "warn"  # it works, or works partly; somebody should know
    FAIL = "fail"  # an alert may be missed


class Finding(Struct, frozen=True, kw_only=True):
    """What one check found."""

    group: str  # of checks: "logins"
    subject: str  # what was looked at: "claude", a path, a channel's name
    verdict: Verdict
    message: str  # one sentence
    cure: str = ""  # the command that mends it, or what to do; empty where nothing need be done
    provider: str = ""  # whom it is about
    facts: Mapping[str, str] = field(default_factory=dict)  # more for people, secrets masked


class DoctorContext(Struct, frozen=True, kw_only=True):
    """The machine as the checks see it."""

    paths: Paths
    host_info: HostInfo
    now: datetime
    run_command: Callable[[Command], CommandResult]
    config: Config | None  # None: it cannot be read
    config_error: str  # why
    found_logins: Mapping[str, FoundLogins]  # logins, by provider
    store: Store | None  # None: there is none, or it cannot be opened
    store_error: str  # why
    never_polled: bool  # there is no store yet
    status: StatusDocument  # empty where there is no store
    holder_pid: int | None  # the process that watches; None: none does; 0: some process
    manager: Manager | None  # None: no login item for this system
    agent_item: LoginItem | None
    query_desktop: Callable[[], str]  # the notification service in words; raises `DesktopUnavailableError`


class DesktopUnavailableError(Exception):
    """The notification service cannot be reached; the text says why and what to do."""


Check = Callable[[DoctorContext], Iterable[Finding]]


class Report(Struct, frozen=True, kw_only=True):
    """The document of `watcher doctor --json`."""

    schema: str
    generated_at: datetime
    ok: bool
    checks: list[Finding]
