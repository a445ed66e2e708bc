"""The providers: one file for each API, and the registry.

A provider is a generator: it yields a `Request` or a `DatabaseQuery`, receives the `Response` or `QueryResult`, and
returns a `Snapshot`. It raises the errors of `watcher.errors`; it does not wait, retry, log or open files.

Read `nano_gpt` first: a plain one. `parsing` reads answers for all of them, `registry` lists them. `google` is shared
by Gemini CLI and Antigravity.
"""

from collections.abc import Callable, Generator, MutableMapping, Sequence
from datetime import datetime
from typing import Any

from msgspec import Struct

from watcher.core.model import DatabaseQuery, Pace, QueryResult, Request, Response, Snapshot
from watcher.credentials import Credential, HostInfo

SourceRequest = Request | DatabaseQuery
SourceResponse = Response | QueryResult
Conversation = Generator[SourceRequest, Any, Snapshot]  # receives the `SourceResponse` to what it yielded
ProviderState = MutableMapping[str, Any]
"""What a provider remembers in memory between two polls of one account; never written to disk."""


class Overrides(Struct, frozen=True, kw_only=True):
    """What the user set under `[providers.X]` in place of the usual places; None or empty: nothing."""

    credentials: tuple[str, ...] = ()  # files or folders with a login each; a provider is given one at a time
    token: str | None = None  # the secret itself, already resolved
    database: str | None = None  # antigravity: state.vscdb
    accounts: str | None = None  # gemini_cli, antigravity: antigravity-accounts.json
    base_url: str | None = None  # where every request goes; codex: also where an API key's usage may be read
    source: str | None = None  # antigravity: cache, server or auto; None: its own login, else the cache
    user_agent: str | None = None  # codex: the User-Agent to send
    reset_credits: bool | None = None  # codex: whether to request the reset credits

    @property
    def login_path(self) -> str | None:
        """The file or folder to read in place of the usual ones."""
        return next(iter(self.credentials), None)


class Provider(Struct, frozen=True, kw_only=True):
    """What the rest of the program knows about one provider."""

    id: str
    name: str  # for people
    usage_page: str  # the web page that shows the usage: the link in messages
    sign_in_hint: str  # what to do when signed out: "run `claude` once"
    find_credentials: Callable[[HostInfo, Overrides], Sequence[Credential]]  # every account once, best source first
    fetch_usage: Callable[[Credential, datetime, ProviderState], Conversation]  # (credential, now, state)
    pace: Pace
    status_page: str = ""  # the vendor's Statuspage: its api/v2/status.json; empty: none
    addresses: tuple[str, ...] = ()  # what is asked with the login
    login_files: tuple[str, ...] = ()  # where the login is in a folder that the user named
    token_places: tuple[str, ...] = ()  # where the login is looked for, as a file of a provider writes it
    path: str = ""  # the user's own file that defines it
    insecure: bool = False  # its addresses may be without TLS
    is_common: bool = True  # worth a line where it has no login
    load_definition: Callable[[], Any] | None = None  # of a provider by file: `watcher.providers.definition`
