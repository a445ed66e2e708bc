"""The six providers: one file each, and the registry.

A provider is a generator: it yields a `Request` or a `ReadDatabase`, receives the `Response` or `Rows`, and returns a
`Snapshot`. It raises the errors of `watcher.errors`. No sleeping, retrying, logging or file handling.
"""

from collections.abc import Callable, Generator, MutableMapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from msgspec import Struct

from watcher.core.model import DatabaseQuery, QueryResult, Request, Response, Snapshot
from watcher.credentials import Credential, HostInfo

SourceRequest = Request | DatabaseQuery
SourceResponse = Response | QueryResult
Conversation = Generator[SourceRequest, Any, Snapshot]  # receives the `SourceResponse` that belongs to what it yielded
ProviderState = MutableMapping[
    str, Any
]  # what a provider may remember in memory between two polls of one account; never written


class Overrides(Struct, frozen=True, kw_only=True):
    """What the person set under `[providers.X]` in place of the usual places; None or empty: nothing."""

    credentials: str | None = None  # path of the file that holds the login
    token: str | None = None  # the secret itself, already resolved
    database: str | None = None  # antigravity: state.vscdb
    accounts: str | None = None  # gemini_cli, antigravity: antigravity-accounts.json
    base_url: str | None = None  # codex: where an API key may be asked about; every request goes there in any case
    source: str | None = None  # antigravity: cache (default), server or auto
    user_agent: str | None = None  # codex: the name under which to ask
    reset_credits: bool | None = None  # codex: whether to ask for the resets in hand


class Provider(Struct, frozen=True, kw_only=True):
    """What the rest of the program knows of one provider."""

    id: str
    name: str  # for people
    usage_page: str  # where a person looks at the usage: the link in messages
    sign_in_hint: str  # what to do when signed out: "run `claude` once"
    primary_windows: tuple[str, ...]  # windows in order of preference for a selector without one; empty: the fullest
    find_credentials: Callable[[HostInfo, Overrides], Sequence[Credential]]  # every account once, best place first
    fetch_usage: Callable[[Credential, datetime, ProviderState], Conversation]  # (credential, now, kept)
    min_interval: timedelta  # never asked more often
    default_interval: timedelta
    max_interval: timedelta  # never asked less often, cooldowns aside
