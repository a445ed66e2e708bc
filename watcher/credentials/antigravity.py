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

from watcher.core.model import ReadDatabase, Rows
from watcher.credentials import Credential, Surroundings, processes
from watcher.errors import ProviderError, ShapeChangedError

STATUS_KEY = "antigravityAuthStatus"
OAUTH_KEY = "antigravityUnifiedStateSync.oauthToken"  # read only so that `doctor` can say that it is there
QUERY = "SELECT value FROM ItemTable WHERE key = ?"
BOTH = f"SELECT ({QUERY}), ({QUERY})"
BUILDS = ("Antigravity", "Antigravity IDE")
_read_before: dict[str, tuple[str, tuple[bool, float], Credential]] = {}  # path -> its stamp, rank and login then
TAIL = Path("User", "globalStorage", "state.vscdb")
_EDITOR = re.compile(r".*?[/\\]antigravity(?: ide)?(?:\.exe|\.app[/\\]\S*)?\"?(?=\s|$)", re.IGNORECASE)
_USER_DATA = re.compile(r"--user-data-dir[= ]\s*(\"[^\"]+\"|.+?)(?=\s+--|\s*$)")


def cache(surroundings: Surroundings, override: str | None = None) -> list[Credential]:
    """The cache with a login that was written last; one without where no cache has a login; [] where there is none.

    Raises:
        ProviderError: none can be read, and none was ever read before in this process.
    """
    if override:
        home = surroundings.home / override[1:].lstrip("/\\")
        return [_credential(surroundings, home if override.startswith("~") else Path(override))[1]]
    found: list[tuple[tuple[bool, float], Credential]] = []
    troubles: list[ProviderError] = []
    for places in (candidates, of_running):
        for path in places(surroundings):
            try:
                if path.exists():
                    found.append(_credential(surroundings, path))
            except ProviderError as error:
                troubles.append(error)
        if any(rank[0] for rank, _ in found):
            break  # running programs are looked at only where the usual places have no login
    if troubles and not found:
        raise troubles[0]
    found.sort(key=lambda each: each[0], reverse=True)
    return [credential for _rank, credential in found[:1]]


def candidates(surroundings: Surroundings) -> list[Path]:
    """Where `state.vscdb` may be on this system."""
    env, home = surroundings.env, surroundings.home
    if surroundings.platform == "darwin":
        roots = [home / "Library" / "Application Support"]
    elif surroundings.platform == "win32":
        roots = [Path(env["APPDATA"])] if env.get("APPDATA") else [home / "AppData" / "Roaming"]
    else:
        roots = [home / ".config"]
        if Path(env.get("XDG_CONFIG_HOME", "")).is_absolute():
            roots.insert(0, Path(env["XDG_CONFIG_HOME"]))
    return list(dict.fromkeys(root / build / TAIL for root in roots for build in BUILDS))


def of_running(surroundings: Surroundings) -> list[Path]:
    """Where the running editor was told to keep it, or keeps it because it is a portable one."""
    if surroundings.proc is None:
        return []
    folders = []
    for _, command in processes.commands(surroundings, "antigravity", surroundings.proc):
        program = _EDITOR.match(command)
        if program:
            folders += [Path(named.strip('"')) for named in _USER_DATA.findall(command)]
            folders.append(Path(program[0].strip('"')).parent / "data" / "user-data")
    return list(dict.fromkeys(folder / TAIL for folder in folders if folder.is_absolute()))


def status(rows: Rows, path: str) -> dict[str, Any]:
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


def _credential(surroundings: Surroundings, path: Path) -> tuple[tuple[bool, float], Credential]:
    """The login in that file and its rank. One read before that cannot be now keeps its owner: asking says why."""
    known, rank, last = _read_before.get(str(path), ("", (False, 0.0), None))
    question = ReadDatabase(path=str(path), sql=BOTH, parameters=(STATUS_KEY, OAUTH_KEY), known=known)
    try:
        rows = surroundings.read_database(question)
        if rows.unchanged and last is not None:
            return rank, last
        found = status(rows, str(path))
    except ProviderError:
        if last is None:
            raise
        return (False, 0.0), last
    email, key = found.get("email"), found.get("apiKey")
    name = email.strip() if isinstance(email, str) else ""
    blob = rows.rows[0][1] if rows.rows else None
    credential = Credential(
        provider="antigravity",
        place="Antigravity",
        path=str(path),
        token=key if isinstance(key, str) else "",
        account=name.casefold(),
        account_name=name,
        extra={"oauth_blob": blob} if isinstance(blob, str) and blob else {},
    )
    rank = (bool(found), rows.modified_at.timestamp())
    _read_before[str(path)] = (rows.stamp, rank, credential)
    return rank, credential
