"""Where Antigravity keeps its state: the cache `state.vscdb`.

Observed only; last checked 2026-11-22. The folder is named `Antigravity`, or `Antigravity IDE` in newer builds; both
may be there and one may lack the login. A portable one keeps it beside its program, and `--user-data-dir` anywhere:
where the usual places have no login, the running editor's command line is looked at. A file that nobody has written to
since is not opened again. Never write here.
"""

import json
import re
from pathlib import Path
from typing import Any

from watcher.core.model import DatabaseQuery, QueryResult
from watcher.credentials import Credential, HostInfo, processes
from watcher.errors import ProviderError, ShapeChangedError

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
    for _, command in processes.list_processes(host_info, "antigravity", host_info.proc_path):
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
