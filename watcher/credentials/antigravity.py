"""Where Antigravity keeps its state: the cache `state.vscdb`.

Observed only; last checked 2026-11-22. The folder is named `Antigravity`, or `Antigravity IDE` in newer builds; both
may be there and one may lack the login. A portable one keeps it beside its program, and `--user-data-dir` anywhere:
where the usual places have no login, the running editor's command line is looked at. A file that nobody has written to
since is not opened again. Never write here.
"""

import json
import re
from collections.abc import Callable, Collection, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from msgspec import Struct

from watcher.core.model import DatabaseQuery, QueryResult
from watcher.credentials import Credential, HostInfo, antigravity_server, files
from watcher.credentials.opencode import list_config_folders, parse_expiry
from watcher.errors import NotSignedInError, ProviderError, ShapeChangedError

STATUS_KEY = "antigravityAuthStatus"
OAUTH_KEY = "antigravityUnifiedStateSync.oauthToken"  # read only so that `doctor` can say that it is there
ITEM_QUERY = "SELECT value FROM ItemTable WHERE key = ?"
STATUS_AND_OAUTH_QUERY = f"SELECT ({ITEM_QUERY}), ({ITEM_QUERY})"
APP_FOLDERS = ("Antigravity", "Antigravity IDE")
_last_reads: dict[str, tuple[str, tuple[bool, float], Credential]] = {}  # path -> its stamp, rank and login then
DATABASE_SUBPATH = Path("User", "globalStorage", "state.vscdb")
_EDITOR_PROGRAM = re.compile(r".*?[/\\]antigravity(?: ide)?(?:\.exe|\.app[/\\]\S*)?\"?(?=\s|$)", re.IGNORECASE)
_USER_DATA_OPTION = re.compile(r"--user-data-dir[= ]\s*(\"[^\"]+\"|.+?)(?=\s+--|\s*$)")


def find_cache(host_info: HostInfo, database_path: str | None = None) -> list[Credential]:
    """The cache with a login that was written last; one without where no cache has a login; [] where there is none.

    Raises:
        ProviderError: none can be read, and none was ever read before in this process.
    """
    if database_path:
        home = host_info.home / database_path[1:].lstrip("/\\")
        return [_read_credential(host_info, home if database_path.startswith("~") else Path(database_path))[1]]
    found: list[tuple[tuple[bool, float], Credential]] = []
    troubles: list[ProviderError] = []
    for places in (list_cache_paths, list_running_cache_paths):
        for path in places(host_info):
            try:
                if path.exists():
                    found.append(_read_credential(host_info, path))
            except ProviderError as error:
                troubles.append(error)
        if any(rank[0] for rank, _ in found):
            break  # running programs are looked at only where the usual places have no login
    if troubles and not found:
        raise troubles[0]
    found.sort(key=lambda each: each[0], reverse=True)
    return [credential for _rank, credential in found[:1]]


def list_cache_paths(host_info: HostInfo) -> list[Path]:
    """Where `state.vscdb` may be on this system."""
    env, home = host_info.env, host_info.home
    if host_info.platform == "darwin":
        roots = [home / "Library" / "Application Support"]
    elif host_info.platform == "win32":
        roots = [Path(env["APPDATA"])] if env.get("APPDATA") else [home / "AppData" / "Roaming"]
    else:
        roots = [home / ".config"]
        if Path(env.get("XDG_CONFIG_HOME", "")).is_absolute():
            roots.insert(0, Path(env["XDG_CONFIG_HOME"]))
    return list(dict.fromkeys(root / build / DATABASE_SUBPATH for root in roots for build in APP_FOLDERS))


def list_running_cache_paths(host_info: HostInfo) -> list[Path]:
    """Where the running editor was told to keep it, or keeps it because it is a portable one."""
    if host_info.proc_path is None:
        return []
    folders = []
    for _, command in antigravity_server.list_processes(host_info, "antigravity", host_info.proc_path):
        program = _EDITOR_PROGRAM.match(command)
        if program:
            folders += [Path(named.strip('"')) for named in _USER_DATA_OPTION.findall(command)]
            folders.append(Path(program[0].strip('"')).parent / "data" / "user-data")
    return list(dict.fromkeys(folder / DATABASE_SUBPATH for folder in folders if folder.is_absolute()))


def parse_status(rows: QueryResult, path: str) -> dict[str, Any]:
    """The login's JSON object; {} where there is none, `ShapeChangedError` where it is something else."""
    value = rows.rows[0][0] if rows.rows and rows.rows[0] else None
    if isinstance(value, bytes):
        value = value.decode(errors="replace")
    if value is None or (isinstance(value, str) and not value.strip("\ufeff \r\n\t")):
        return {}
    try:
        found = json.loads(value.lstrip("\ufeff")) if isinstance(value, str) else None
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise ShapeChangedError(f"Antigravity: the login in {path} cannot be read: open Antigravity once")
    return found


def _read_credential(host_info: HostInfo, path: Path) -> tuple[tuple[bool, float], Credential]:
    """The login in that file and its rank. One read before that cannot be now keeps its owner: asking says why."""
    known, rank, last = _last_reads.get(str(path), ("", (False, 0.0), None))
    question = DatabaseQuery(
        path=str(path), sql=STATUS_AND_OAUTH_QUERY, parameters=(STATUS_KEY, OAUTH_KEY), known_version=known
    )
    try:
        rows = host_info.read_database(question)
        if rows.unchanged and last is not None:
            return rank, last
        found = parse_status(rows, str(path))
    except ProviderError:
        if last is None:
            raise
        return (False, 0.0), last
    email, key = found.get("email"), found.get("apiKey")
    name = email.strip() if isinstance(email, str) else ""
    blob = rows.rows[0][1] if rows.rows else None
    credential = Credential(
        provider="antigravity",
        source_name="Antigravity",
        path=str(path),
        token=key if isinstance(key, str) else "",
        account=name.casefold(),
        account_name=name,
        extra={"oauth_blob": blob} if isinstance(blob, str) and blob else {},
    )
    rank = (bool(found), rows.modified_at.timestamp())
    _last_reads[str(path)] = (rows.version, rank, credential)
    return rank, credential


# --- The Google accounts of the OpenCode plugin opencode-antigravity-auth: `antigravity-accounts.json`


ACCOUNTS_SOURCE_NAME = "OpenCode Antigravity accounts"
SIGN_IN_HINT = "sign in again with `opencode auth login`"
ACCOUNTS_FILE = "antigravity-accounts.json"
CLI_POOLS, ANTIGRAVITY_POOLS = ("gemini-cli",), ("claude", "gemini-antigravity")


class GoogleAccount(Struct, frozen=True, kw_only=True):
    """One enabled Google account; the one in use comes first."""

    path: str
    refresh_token: str
    email: str = ""
    project: str = ""
    refused_until_by_pool: Mapping[
        str, datetime
    ] = {}  # pool, or `pool:model` -> until when the plugin itself was refused there

    def get_refused_until(self, pools: Collection[str]) -> datetime | None:
        """Until when the plugin was refused in these pools, or for a model of them; None: it was not."""
        return max(
            (at for key, at in self.refused_until_by_pool.items() if key.partition(":")[0] in pools), default=None
        )


def find_accounts(
    host_info: HostInfo, path: str | None = None, wait: Callable[[], None] = files.wait_for_writer
) -> list[GoogleAccount]:
    """The enabled accounts, the active one first; [] where there is no file or none in it.

    Raises:
        NotSignedInError: the file is there and cannot be used.
    """
    for where in (
        [Path(path)] if path is not None else [each / ACCOUNTS_FILE for each in list_config_folders(host_info)]
    ):
        content = files.read_json(where, hint=SIGN_IN_HINT)
        if content is None and where.with_name(f"{where.name}.lock").exists():
            wait()  # it is being replaced
            content = files.read_json(where, hint=SIGN_IN_HINT)
        if content is not None:
            return _parse_accounts(content, where)
    return []


def _parse_accounts(content: Mapping[str, Any], path: Path) -> list[GoogleAccount]:
    entries = content.get("accounts")
    if not isinstance(entries, list):
        raise NotSignedInError(f"{path} holds no list of accounts: {SIGN_IN_HINT}")
    kept = {
        index: entry
        for index, entry in enumerate(entries)
        if isinstance(entry, dict) and _get_text(entry, "refreshToken")
    }
    if entries and not kept:
        raise NotSignedInError(f"{path} holds no account that can be used: {SIGN_IN_HINT}")
    newest = _drop_duplicates(kept)
    enabled = [index for index in newest if kept[index].get("enabled", True) is not False]
    active = _get_active_index(content, len(entries))
    enabled.sort(key=lambda index: index != active)
    return [_parse_account(kept[index], path) for index in enabled]


def _drop_duplicates(entries: Mapping[int, Mapping[str, Any]]) -> list[int]:
    """The entries' indexes; of several with one email only the one last used, without an email each by itself."""
    best: dict[object, int] = {}
    for index, entry in entries.items():
        email = _get_text(entry, "email").casefold() or index
        if email not in best or _get_last_use(entry) > _get_last_use(entries[best[email]]):
            best[email] = index
    return sorted(best.values())


def _get_last_use(entry: Mapping[str, Any]) -> tuple[float, float]:
    values = (entry.get("lastUsed"), entry.get("addedAt"))
    used, added = (float(value) if isinstance(value, (int, float)) else 0.0 for value in values)
    return used, added


def _get_active_index(content: Mapping[str, Any], count: int) -> int:
    """The index in use for Gemini, clamped to the list."""
    families = content.get("activeIndexByFamily")
    named = families.get("gemini") if isinstance(families, dict) else None
    for index in (named, content.get("activeIndex")):
        if isinstance(index, int) and not isinstance(index, bool):
            return min(max(index, 0), count - 1)
    return 0


def _parse_account(entry: Mapping[str, Any], path: Path) -> GoogleAccount:
    return GoogleAccount(
        path=str(path),
        refresh_token=_get_text(entry, "refreshToken"),
        email=_get_text(entry, "email"),
        project=_get_text(entry, "projectId") or _get_text(entry, "managedProjectId"),
        refused_until_by_pool=_parse_refusals(entry),
    )


def _parse_refusals(entry: Mapping[str, Any]) -> dict[str, datetime]:
    """The plugin's refusals by the names of version 3; before that, `gemini` was Antigravity's pool."""
    limits = entry.get("rateLimitResetTimes")
    said = (
        {"gemini-antigravity" if key == "gemini" else key: at for key, at in limits.items()}
        if isinstance(limits, dict)
        else {}
    )
    if not said:  # version 1: one time for all
        said = dict.fromkeys(ANTIGRAVITY_POOLS, entry.get("rateLimitResetTime"))
    times = {key: parse_expiry(value, None) for key, value in said.items()}
    return {key: at for key, at in times.items() if at is not None}


def _get_text(entry: Mapping[str, Any], name: str) -> str:
    value = entry.get(name)
    return value.strip() if isinstance(value, str) else ""
