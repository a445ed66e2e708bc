"""Where logins are found: one module a place, read-only.

Each module gives functions that take the `HostInfo` and return `Credential` records, best first, [] where the place
is empty. A file that is there and cannot be used raises a `ProviderError` whose one line names the file and the cure.
Never write, move or lock a file of another tool here; never refresh a token.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path

from msgspec import Struct, field

from watcher.core.model import Command, CommandResult, DatabaseQuery, QueryResult

OWNER_UNKNOWN_KEY = "others"
"""Key of `Credential.extra`: this login does not say whose it is, and there are others that may be the same account."""


class HostInfo(Struct, frozen=True, kw_only=True):
    """The machine as the credential places see it, passed in so that tests can lay one out."""

    home: Path
    env: Mapping[str, str]
    platform: str  # as sys.platform: linux, darwin, win32
    run_command: Callable[[Command], CommandResult]  # for the macOS Keychain
    read_database: Callable[[DatabaseQuery], QueryResult]  # for OpenCode 2 and Antigravity
    force_refresh: bool = False  # a token was refused just now: what a Keychain said a minute ago may be old
    proc_path: Path | None = (
        None  # where Linux tells of running programs; None: on no system are they looked at for files
    )


class Credential(Struct, frozen=True, kw_only=True):
    """One login of one provider, found in one place."""

    provider: str
    source_name: str  # for people, and stable across token renewals: "OpenCode auth.json", "Claude Code"
    path: str  # the file, or what stands for it ("keychain:Claude Code-credentials", "env:NANOGPT_API_KEY")
    token: str = ""  # access token or key; empty where only a refresh token or a local file is known
    refresh_token: str = ""  # used for Google only, in memory
    expires_at: datetime | None = None  # aware UTC; None: never, or not said
    account: str = ""  # account id, else email; empty where the place does not say
    account_name: str = ""  # email or login for people
    plan: str | None = None
    extra: Mapping[str, str] = field(default_factory=dict)  # what one provider needs: project, database, scopes, ...
    fallbacks: "tuple[Credential, ...]" = ()  # the same account's other logins, tried in order where this one is refused

    def __repr__(self) -> str:
        return f"Credential({self.provider}, {self.source_name}, account={self.account_name or self.account or '?'})"
