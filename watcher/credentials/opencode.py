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

from watcher.core.model import DatabaseQuery
from watcher.credentials import HostInfo, files
from watcher.errors import NotSignedInError

SOURCE_NAME = "OpenCode"
SIGN_IN_HINT = "sign in again with `opencode auth login`"

_MIN_EPOCH_S = 1_000_000_000
_MAX_EPOCH_S = 9_999_999_999
_TOKEN_FIELDS = ("key", "access", "token", "apiKey", "value")


class OpenCodeEntry(Struct, frozen=True, kw_only=True):
    """One login as OpenCode keeps it. `kind` is oauth, api or wellknown; a bare string counts as api."""

    path: str
    kind: str
    token: str
    refresh_token: str = ""
    expires_at: datetime | None = None  # None: never, or not said
    fields: Mapping[str, Any]  # everything else of the entry: accountId, enterpriseUrl, ...


def list_data_folders(host_info: HostInfo) -> list[Path]:
    """The folders where OpenCode keeps its data, the one it would use itself first."""
    env, home = host_info.env, host_info.home
    named = [
        Path(env.get(name, "")) / tail for name, tail in (("OPENCODE_DATA_DIR", ""), ("XDG_DATA_HOME", "opencode"))
    ]
    found = [path for path in named if path.is_absolute()]  # unset, empty and relative ones count as unset
    found.append(home / ".local" / "share" / "opencode")
    if host_info.platform == "darwin":
        found.append(home / "Library" / "Application Support" / "opencode")
    if host_info.platform == "win32":
        found += [Path(env[name]) / "opencode" for name in ("LOCALAPPDATA", "APPDATA") if env.get(name)]
    return list(dict.fromkeys(found))


def list_config_folders(host_info: HostInfo) -> list[Path]:
    """The folders where OpenCode and its plugins keep what the person configured, the first to count first."""
    env, home = host_info.env, host_info.home
    named = [Path(env.get("OPENCODE_CONFIG_DIR", "")), Path(env.get("XDG_CONFIG_HOME", "")) / "opencode"]
    found = [folder for folder in named if folder.is_absolute()]
    found.append(home / ".config" / "opencode")
    if host_info.platform == "win32" and env.get("APPDATA"):
        found.append(Path(env["APPDATA"]) / "opencode")
    return list(dict.fromkeys(found))


def find_entry(host_info: HostInfo, entry_id: str, path: str | None = None) -> OpenCodeEntry | None:
    """OpenCode's login under that key; None where there is none.

    Args:
        host_info: the machine.
        entry_id: OpenCode's word for the provider: `anthropic`.
        path: an `auth.json` to read in place of the usual ones.

    Raises:
        NotSignedInError: a file or the entry is there and cannot be used.
    """
    return find_entry_in_files(host_info, entry_id, path) or (
        find_entry_in_databases(host_info, entry_id) if path is None else None
    )


def find_entry_in_files(host_info: HostInfo, entry_id: str, path: str | None = None) -> OpenCodeEntry | None:
    """As `find_entry`, in the files alone."""
    paths = [Path(path)] if path is not None else [folder / "auth.json" for folder in list_data_folders(host_info)]
    entries = (_read_file_entry(each, entry_id) for each in paths)
    return next((entry for entry in entries if entry is not None), None)


def find_entry_in_databases(host_info: HostInfo, entry_id: str) -> OpenCodeEntry | None:
    """As `find_entry`, in the databases alone."""
    entries = (
        _read_database_entry(host_info, folder / "opencode.db", entry_id) for folder in list_data_folders(host_info)
    )
    return next((entry for entry in entries if entry is not None), None)


def _read_file_entry(path: Path, entry_id: str) -> OpenCodeEntry | None:
    content = files.read_json(path, hint=SIGN_IN_HINT)
    if content is None or content.get(entry_id) is None:
        return None
    return _parse_entry(content[entry_id], entry_id, path)


def _read_database_entry(host_info: HostInfo, path: Path, entry_id: str) -> OpenCodeEntry | None:
    if not path.is_file():
        return None
    question = DatabaseQuery(
        path=str(path), sql="SELECT value FROM credential WHERE integration_id = ? LIMIT 1", parameters=(entry_id,)
    )
    rows = host_info.read_database(question).rows
    if not rows or not rows[0]:
        return None
    try:
        value = json.loads(rows[0][0])
    except (ValueError, TypeError, RecursionError):
        value = rows[0][0]  # a bare key
    return _parse_entry(value, entry_id, path)


def _parse_entry(value: object, entry_id: str, path: Path) -> OpenCodeEntry:
    fields: dict[str, Any] = value if isinstance(value, dict) else {"type": "api", "key": value}
    kind = str(fields.get("type") or ("oauth" if "access" in fields else "api"))
    names = {"oauth": ("access",), "wellknown": ("token", "key")}.get(kind, _TOKEN_FIELDS)
    texts = (str(fields[name]).strip() for name in names if isinstance(fields.get(name), str))
    token = next((text for text in texts if text), "")
    refresh = fields.get("refresh")
    if not token and not (entry_id == "google" and refresh):  # Google's refresh token alone is a login
        raise NotSignedInError(f"{path}: the entry `{entry_id}` holds no token: {SIGN_IN_HINT}")
    return OpenCodeEntry(
        path=str(path),
        kind=kind,
        token=token,
        refresh_token=refresh if isinstance(refresh, str) else "",
        expires_at=parse_expiry(fields.get("expires"), files.read_mtime_s(path)),
        fields=fields,
    )


def parse_expiry(value: object, mtime_s: float | None) -> datetime | None:
    """When a token ends: milliseconds, seconds, or seconds after the file was written; 0, blank and junk mean never."""
    try:
        seconds = float(value) if isinstance(value, (int, float, str)) and not isinstance(value, bool) else 0.0
        if not seconds > 0:
            return None
        if seconds < _MIN_EPOCH_S:
            return None if mtime_s is None else datetime.fromtimestamp(mtime_s, UTC) + timedelta(seconds=seconds)
        return datetime.fromtimestamp(seconds / 1000 if seconds > _MAX_EPOCH_S else seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return None
