"""OpenCode's logins for every provider: `auth.json`, and since OpenCode 2 the table `credential` of `opencode.db`.

Observed in OpenCode 1.x and 2; last checked 2026-09. `auth.json` maps an id (`anthropic`, `openai`, `github-copilot`,
`nano-gpt`, ...) to `{type: oauth, access, refresh, expires, accountId?}`, `{type: api, key}`, `{type: wellknown, key,
token}` or a bare string. The first file that holds the id wins: later ones are leftovers. Each entry is read by itself,
so that an odd one costs only its own provider. Never write here.
"""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from msgspec import Struct

from watcher.core.model import ReadDatabase
from watcher.credentials import Surroundings, files
from watcher.errors import NotSignedInError

PLACE = "OpenCode"
CURE = "sign in again with `opencode auth login`"

_RELATIVE_BELOW = 1_000_000_000
_MILLISECONDS_ABOVE = 9_999_999_999
_KEYS = ("key", "access", "token", "apiKey", "value")


class Entry(Struct, frozen=True, kw_only=True):
    """One login as OpenCode keeps it. `kind` is oauth, api or wellknown; a bare string counts as api."""

    path: str
    kind: str
    token: str
    refresh_token: str = ""
    expires_at: datetime | None = None  # None: never, or not said
    fields: Mapping[str, Any]  # everything else of the entry: accountId, enterpriseUrl, ...


def folders(surroundings: Surroundings) -> list[Path]:
    """The folders where OpenCode keeps its data, the one it would use itself first."""
    env, home = surroundings.env, surroundings.home
    named = [
        Path(env.get(name, "")) / tail for name, tail in (("OPENCODE_DATA_DIR", ""), ("XDG_DATA_HOME", "opencode"))
    ]
    found = [path for path in named if path.is_absolute()]  # unset, empty and relative ones count as unset
    found.append(home / ".local" / "share" / "opencode")
    if surroundings.platform == "darwin":
        found.append(home / "Library" / "Application Support" / "opencode")
    if surroundings.platform == "win32":
        found += [Path(env[name]) / "opencode" for name in ("LOCALAPPDATA", "APPDATA") if env.get(name)]
    return list(dict.fromkeys(found))


def config_folders(surroundings: Surroundings) -> list[Path]:
    """The folders where OpenCode and its plugins keep what the person configured, the first to count first."""
    env, home = surroundings.env, surroundings.home
    named = [Path(env.get("OPENCODE_CONFIG_DIR", "")), Path(env.get("XDG_CONFIG_HOME", "")) / "opencode"]
    found = [folder for folder in named if folder.is_absolute()]
    found.append(home / ".config" / "opencode")
    if surroundings.platform == "win32" and env.get("APPDATA"):
        found.append(Path(env["APPDATA"]) / "opencode")
    return list(dict.fromkeys(found))


def find(surroundings: Surroundings, key: str, path: str | None = None) -> Entry | None:
    """OpenCode's login under that key; None where there is none.

    Args:
        surroundings: the machine.
        key: OpenCode's word for the provider: `anthropic`.
        path: an `auth.json` to read in place of the usual ones.

    Raises:
        NotSignedInError: a file or the entry is there and cannot be used.
    """
    return in_files(surroundings, key, path) or (in_databases(surroundings, key) if path is None else None)


def in_files(surroundings: Surroundings, key: str, path: str | None = None) -> Entry | None:
    """As `find`, in the files alone."""
    paths = [Path(path)] if path is not None else [folder / "auth.json" for folder in folders(surroundings)]
    entries = (_from_file(each, key) for each in paths)
    return next((entry for entry in entries if entry is not None), None)


def in_databases(surroundings: Surroundings, key: str) -> Entry | None:
    """As `find`, in the databases alone."""
    entries = (_from_database(surroundings, folder / "opencode.db", key) for folder in folders(surroundings))
    return next((entry for entry in entries if entry is not None), None)


def _from_file(path: Path, key: str) -> Entry | None:
    content = files.read_json(path, cure=CURE)
    if content is None or content.get(key) is None:
        return None
    return _entry(content[key], key, path)


def _from_database(surroundings: Surroundings, path: Path, key: str) -> Entry | None:
    if not path.is_file():
        return None
    question = ReadDatabase(
        path=str(path), sql="SELECT value FROM credential WHERE integration_id = ? LIMIT 1", parameters=(key,)
    )
    rows = surroundings.read_database(question).rows
    if not rows or not rows[0]:
        return None
    try:
        value = json.loads(rows[0][0])
    except (ValueError, TypeError, RecursionError):
        value = rows[0][0]  # a bare key
    return _entry(value, key, path)


def _entry(value: object, key: str, path: Path) -> Entry:
    fields: dict[str, Any] = value if isinstance(value, dict) else {"type": "api", "key": value}
    kind = str(fields.get("type") or ("oauth" if "access" in fields else "api"))
    names = {"oauth": ("access",), "wellknown": ("token", "key")}.get(kind, _KEYS)
    texts = (str(fields[name]).strip() for name in names if isinstance(fields.get(name), str))
    token = next((text for text in texts if text), "")
    refresh = fields.get("refresh")
    if not token and not (key == "google" and refresh):  # Google's refresh token alone is a login
        raise NotSignedInError(f"{path}: the entry `{key}` holds no token: {CURE}")
    return Entry(
        path=str(path),
        kind=kind,
        token=token,
        refresh_token=refresh if isinstance(refresh, str) else "",
        expires_at=expiry(fields.get("expires"), files.modified_s(path)),
        fields=fields,
    )


def expiry(value: object, written_s: float | None) -> datetime | None:
    """When a token ends: milliseconds, seconds, or seconds after the file was written; 0, blank and junk mean never."""
    try:
        seconds = float(value) if isinstance(value, (int, float, str)) and not isinstance(value, bool) else 0.0
        if not seconds > 0:
            return None
        if seconds < _RELATIVE_BELOW:
            return None if written_s is None else datetime.fromtimestamp(written_s, UTC) + timedelta(seconds=seconds)
        return datetime.fromtimestamp(seconds / 1000 if seconds > _MILLISECONDS_ABOVE else seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return None
