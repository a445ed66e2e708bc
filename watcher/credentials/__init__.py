"""Where logins are found, read-only: one module for each tool that keeps them.

A function takes the `HostInfo` and returns `Credential` records, best first, [] if there is no login. A file that
exists and cannot be used raises a `ProviderError` whose one line names the file and what to do. No file of another tool
is written, moved or locked, and no token is refreshed here.

`opencode` keeps logins of every provider; `claude_code`, `codex`, `copilot`, `gemini` and
`antigravity` are the tools' own. `files` reads files and asks several places, `keyrings` the system's keyring.
"""

from collections.abc import Mapping
from datetime import datetime

from msgspec import Struct, field

from watcher.core.model import HostInfo

__all__ = ["OWNER_UNKNOWN_KEY", "Credential", "HostInfo"]

OWNER_UNKNOWN_KEY = "others"
"""Key of `Credential.extra`: this login does not name its owner, and there are others that may be the same account."""


class Credential(Struct, frozen=True, kw_only=True):
    """One login of one provider, found in one place."""

    provider: str
    source_name: str  # for people, and stable across token renewals: "OpenCode", "Claude Code"
    path: str  # the file, or a name for another place ("keychain:Claude Code-credentials", "env:NANOGPT_API_KEY")
    token: str = ""  # access token or key; empty if only a refresh token or a local file is known
    refresh_token: str = ""  # used for Google only, in memory
    expires_at: datetime | None = None  # aware UTC; None: never, or unknown
    account: str = ""  # account id, else email; empty if unknown
    account_name: str = ""  # email or login for people
    plan: str | None = None
    extra: Mapping[str, str] = field(default_factory=dict)  # what one provider needs: project, database, scopes, ...
    fallbacks: "tuple[Credential, ...]" = ()  # the account's other logins, tried in order if this one is refused

    def __repr__(self) -> str:
        return f"Credential({self.provider}, {self.source_name}, account={self.account_name or self.account or '?'})"
