"""Where Antigravity keeps its state: the cache `state.vscdb`.

Observed only; last checked 2026-11-22. The folder is named `Antigravity`, or `Antigravity IDE` in newer builds; both
may be there and one may lack the login. A file that nobody has written to since is not opened again. Never write here.
"""

import json
from pathlib import Path
from typing import Any

from watcher.core.model import ReadDatabase, Rows
from watcher.credentials import Credential, Surroundings
from watcher.errors import ProviderError, ShapeChangedError

STATUS_KEY = "antigravityAuthStatus"
OAUTH_KEY = "antigravityUnifiedStateSync.oauthToken"  # read only so that `doctor` can say that it is there
QUERY = "SELECT value FROM ItemTable WHERE key = ?"
BOTH = f"SELECT ({QUERY}), ({QUERY})"
BUILDS = ("Antigravity", "Antigravity IDE")
_read_before: dict[str, tuple[str, tuple[bool, float], Credential]] = {}  # path -> its stamp, rank and login then
TAIL = Path("User", "globalStorage", "state.vscdb")


def cache(surroundings: Surroundings, override: str | None = None) -> list[Credential]:
    """The cache with a login that was written last; one without where no cache has a login; [] where there is none.

    Raises:
        ProviderError: none can be read, and none was ever read before in this process.
    """
    if override:
        home = surroundings.home / override[1:].lstrip("/\\")
        return [_credential(surroundings, home if override.startswith("~") else Path(override))[1]]
    found, troubles = [], []
    for path in candidates(surroundings):
        try:
            if path.exists():
                found.append(_credential(surroundings, path))
        except ProviderError as error:
            troubles.append(error)
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
