"""What is known of a login when its next poll is chosen: its token's requests and cooldown, its account, its series.

`watcher.polling.interval` chooses. The store remembers cooldowns and last requests; the requests of the last hour are
only in memory, because one process at a time uses a token.
"""

import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from msgspec.structs import replace

from watcher.config.loader import Config
from watcher.core.engine import thresholds
from watcher.core.model import Pace, PollFailure, Snapshot
from watcher.credentials import Credential, HostInfo, antigravity
from watcher.polling import accounts, interval
from watcher.polling.interval import NextPoll, PollContext
from watcher.storage.store import Store
from watcher.system.environment import Environment
from watcher.system.paths import expand_home

RECENT_FOR = timedelta(hours=1)
MAX_GAP_FACTOR = 4  # a longer gap than this many times the one before is a pause of the machine, not a schedule


class PollPlanner:
    """Plans the polls of every login, and records what they do to its token.

    Attributes:
        config: the config in use.
        woke_at: when the machine last woke from sleep; None: never since this process began.
    """

    def __init__(self, *, environment: Environment, store: Store, config: Config) -> None:
        self.config = config
        self.woke_at: datetime | None = None
        self._environment, self._store = environment, store
        self._recent_requests: dict[str, list[datetime]] = {}  # token hash -> requests in the last hour

    def record_request(self, credential: Credential, now: datetime) -> None:
        """Record that the login is polled now."""
        token_hash = accounts.hash_token(credential)
        recent = [at for at in self._recent_requests.get(token_hash, ()) if timedelta(0) <= now - at < RECENT_FOR]
        self._recent_requests[token_hash] = [*recent, now]
        save = partial(self._store.accounts.save_request, credential.provider, credential.account, token_hash, now)
        self._store.run_transaction(save, now=now)

    def is_cooling_down(self, credential: Credential, now: datetime) -> bool:
        """Whether the token cools down after a 429."""
        until, _ = self._store.polls.load_cooldowns().get(accounts.hash_token(credential), (None, 0))
        return interval.is_cooling_down(until, now)

    def apply_cooldown(self, credential: Credential, result: Snapshot | PollFailure) -> Snapshot | PollFailure:
        """The result, with the end of the cooldown in it after a 429; a good answer forgives one strike.

        After a 429 the account's other logins cool down as long: their quota is the same, and none of them may be used
        early because it takes the first one's place.
        """
        token_hash = accounts.hash_token(credential)
        cooldowns = self._store.polls.load_cooldowns()
        _, strikes = cooldowns.get(token_hash, (result.at, 0))
        if isinstance(result, PollFailure) and result.kind == "rate_limited":
            retry_after = None if result.retry_at is None else result.retry_at - result.at
            until = interval.compute_cooldown(strikes + 1, retry_after, result.at)

            def cool_down() -> None:
                for login in {token_hash, *map(accounts.hash_token, credential.fallbacks)}:
                    self._store.polls.save_cooldown(login, until, cooldowns.get(login, (until, 0))[1] + 1)

            self._store.run_transaction(cool_down, now=result.at)
            return replace(result, retry_at=until)
        if isinstance(result, Snapshot) and strikes:
            # one less, not none: a server that refuses every other request must not be polled faster
            self._store.run_transaction(
                lambda: self._store.polls.save_cooldown(token_hash, result.at, strikes - 1), now=result.at
            )
        return result

    def plan_next_poll(self, credential: Credential, now: datetime) -> NextPoll:
        """When to poll this login next, and why."""
        provider, token_hash = credential.provider, accounts.hash_token(credential)
        account = self._store.accounts.find(provider, credential.account)
        failure = None if account is None else account.failure
        polled_at = None if account is None else account.polled_at
        requested_at, last_token = self._store.accounts.load_request(provider, credential.account) or (None, None)
        if last_token is None:  # never polled: where the account is unsupported for want of a login, this is one
            login_changed = failure is not None and failure.kind == "unsupported"
        else:
            login_changed = last_token != token_hash
        until, strikes = self._store.polls.load_cooldowns().get(token_hash, (None, 0))
        outlook = thresholds.build_outlook(
            self._store.alerts.load_state(), self.config.rules, provider, credential.account
        )
        host_info = self._environment.read_host_info()
        context = PollContext(
            pace=self.config.providers[provider].pace,
            polled_at=polled_at,
            requested_at=requested_at if requested_at and polled_at and requested_at < polled_at else None,
            series_outlooks=outlook.series_outlooks,
            suspect_count=outlook.suspect_count,
            failure_kind=None if failure is None else failure.kind,
            failure_count=0 if account is None else account.failure_count,
            retry_at=None if failure is None else failure.retry_at,
            cooldown_until=until,
            strikes=strikes,
            login_changed=login_changed,
            recent_requests=tuple(self._recent_requests.get(token_hash, ())),
            active_at=find_last_activity(provider, host_info) if self.config.hints else None,
            woke_at=self.woke_at,
            jitter=self._environment.jitter(),
        )
        return interval.choose_next_poll(context, now)


def estimate_interval(store: Store, result: Snapshot | PollFailure, pace: Pace, *, one_shot: bool) -> timedelta:
    """How far apart the polls of the result's account usually are: what a silence or a jump means depends on it.

    Args:
        store: before the result is saved.
        result: of the poll.
        pace: of the provider; an account at rest is polled less often, by plan.
        one_shot: polled by `check`: then the schedule of cron counts, however slow it is.
    """
    account = store.accounts.find(result.provider, result.account)
    if account is None:
        return pace.every
    if one_shot:
        states = store.alerts.load_state().series_states.values()
        of_account = (state.every for state in states if state.account_key == (result.provider, result.account))
        limit = MAX_GAP_FACTOR * max(of_account, default=pace.every)
        return max(pace.every, min(result.at - account.polled_at, limit))
    planned = store.polls.load_next_polls().get(result.provider)
    if planned is None:
        return pace.every
    return max(pace.every, min(planned[0] - account.polled_at, pace.ceiling))  # beyond the ceiling it is a cooldown


# --- When a provider's tools on this machine were last used, from the modification times of their session files -------


MAX_ENTRIES = 400  # looked at, newest folders first: a long history costs no more than a short one
MAX_DEPTH = 4  # Codex keeps its sessions below year/month/day
MAX_WORKSPACES = 10  # of VS Code, last used ones first

SESSION_FOLDERS: dict[str, tuple[str, ...]] = {
    "claude": (".claude/projects", ".local/share/opencode/storage/session"),
    "codex": (".codex/sessions", ".local/share/opencode/storage/session"),
    "copilot": (".copilot/session-state", ".local/share/opencode/storage/session"),
    "gemini_cli": (".gemini/tmp", ".local/share/opencode/storage/session"),
    "nano_gpt": (".local/share/opencode/storage/session",),
}
"""Provider -> where its tools keep their sessions, below the home folder."""


def find_last_activity(provider: str, host_info: HostInfo) -> datetime | None:
    """When a session of the provider last changed; None if there is none."""
    folders = _list_session_folders(provider, host_info)
    newest = max((changed for folder in folders for changed, _ in iter_changes(folder)), default=None)
    return None if newest is None else datetime.fromtimestamp(newest, UTC)


def _list_session_folders(provider: str, host_info: HostInfo) -> Iterator[Path]:
    for folder in SESSION_FOLDERS.get(provider, ()):
        yield host_info.home / folder
    if provider == "claude":
        named = host_info.env.get("CLAUDE_CONFIG_DIR", "")
        yield from (expand_home(each.strip(), host_info.home) / "projects" for each in named.split(",") if each.strip())
    if provider == "codex" and (own := host_info.env.get("CODEX_HOME")):
        yield Path(own) / "sessions"
    if provider == "copilot":
        if own := host_info.env.get("COPILOT_HOME"):
            yield Path(own) / "session-state"
        for database in antigravity.list_editor_databases(host_info, ("Code", "Code - Insiders")):
            yield from _list_chat_folders(database.parents[1])


def _list_chat_folders(user_folder: Path) -> Iterator[Path]:
    """Where VS Code keeps its chats: in a folder of each workspace, and in one for windows without a workspace."""
    yield user_folder / "globalStorage" / "emptyWindowChatSessions"
    try:
        with os.scandir(user_folder / "workspaceStorage") as entries:
            workspaces = sorted(
                ((each.stat(follow_symlinks=False).st_mtime, each.path) for each in entries), reverse=True
            )
    except OSError:
        return
    for _, workspace in workspaces[:MAX_WORKSPACES]:
        yield Path(workspace) / "chatSessions"


def iter_changes(folder: Path) -> Iterator[tuple[float, os.DirEntry[str]]]:
    """Files and folders with their modification times in seconds since 1970, those of the newest folders first."""
    seen = 0
    queue = [(0.0, 0, str(folder))]
    while queue and seen < MAX_ENTRIES:
        queue.sort()
        _, depth, path = queue.pop()
        try:
            entries = os.scandir(path)
        except OSError:
            continue
        with entries:
            for entry in entries:
                seen += 1
                if seen > MAX_ENTRIES:
                    break
                try:
                    changed = entry.stat(follow_symlinks=False).st_mtime
                    is_folder = entry.is_dir(follow_symlinks=False)
                except OSError:
                    continue
                yield changed, entry
                if is_folder and depth + 1 < MAX_DEPTH:
                    queue.append((changed, depth + 1, entry.path))
