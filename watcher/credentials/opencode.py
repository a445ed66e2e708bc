"""OpenCode's logins for every provider: `auth.json`, and since OpenCode 2 the table `credential` of `opencode.db`.

Observed in OpenCode 1.x and 2; last checked 2026-09. `auth.json` maps an id (`anthropic`, `openai`, `github-copilot`,
`nano-gpt`, ...) to `{type: oauth, access, refresh, expires, accountId?}`, `{type: api, key}`, `{type: wellknown, key,
token}` or a bare string. The first file that holds the id wins: later ones are leftovers. Each entry is read by itself,
so that an odd one costs only its own provider. The options of `opencode.json` and the accounts of the plugin
opencode-anthropic-auth are read here too.
"""

import json
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from msgspec import Struct

from watcher.core.model import DatabaseQuery
from watcher.credentials import Credential, HostInfo, files
from watcher.credentials.files import collect_credentials, get_absolute_path, get_id, get_text
from watcher.errors import NotSignedInError

SOURCE_NAME = "OpenCode"
SIGN_IN_HINT = "sign in again with `opencode auth login`"

_MIN_EPOCH_S = 1_000_000_000
_MAX_EPOCH_S = 9_999_999_999
_TOKEN_FIELDS = ("key", "access", "token", "apiKey", "value")


class OpenCodeEntry(Struct, frozen=True, kw_only=True):
    """One login as OpenCode keeps it."""

    path: str
    kind: str  # oauth, api or wellknown; a bare string is api
    token: str
    refresh_token: str = ""
    expires_at: datetime | None = None  # None: never, or unknown
    fields: Mapping[str, Any]  # everything else of the entry: accountId, enterpriseUrl, ...


def list_data_folders(host_info: HostInfo) -> list[Path]:
    """The folders where OpenCode keeps its data, the one that it would use itself first."""
    further = [host_info.home / "Library" / "Application Support"] if host_info.platform == "darwin" else []
    return _list_folders(host_info, "DATA", ".local/share", further, "LOCALAPPDATA", "APPDATA")


def list_config_folders(host_info: HostInfo) -> list[Path]:
    """The folders with the configuration of OpenCode and its plugins, the most important first."""
    return _list_folders(host_info, "CONFIG", ".config", [], "APPDATA")


def _list_folders(host_info: HostInfo, use: str, usual: str, further: list[Path], *windows_names: str) -> list[Path]:
    env = host_info.env
    own, xdg = get_absolute_path(env, f"OPENCODE_{use}_DIR"), get_absolute_path(env, f"XDG_{use}_HOME")
    parents = [*([xdg] if xdg else []), host_info.home / usual, *further]
    if host_info.platform == "win32":
        parents += [Path(env[name]) for name in windows_names if env.get(name)]
    return list(dict.fromkeys([*([own] if own else []), *(parent / "opencode" for parent in parents)]))


def find_entry(host_info: HostInfo, entry_id: str, path: str | None = None) -> OpenCodeEntry | None:
    """OpenCode's login under that key: the first of `find_entries`; None if there is none."""
    return next(find_entries(host_info, entry_id, path), None)


def find_entries(host_info: HostInfo, entry_id: str, path: str | None = None) -> Iterator[OpenCodeEntry]:
    """OpenCode's logins under that key: of the first file that holds it, and of the first database.

    Args:
        host_info: the machine.
        entry_id: OpenCode's id of the provider: `anthropic`.
        path: an `auth.json` to read in place of the usual ones and of the databases.

    Raises:
        NotSignedInError: a file or the entry exists and cannot be used.
    """
    folders = list_data_folders(host_info)
    for file in [Path(path)] if path is not None else [folder / "auth.json" for folder in folders]:
        content = files.read_json(file, hint=SIGN_IN_HINT) or {}
        if content.get(entry_id) is not None:
            yield _parse_entry(content[entry_id], entry_id, file)
            break
    sql = "SELECT value FROM credential WHERE integration_id = ? LIMIT 1"
    for database in (folder / "opencode.db" for folder in folders if path is None):
        query = DatabaseQuery(path=str(database), sql=sql, parameters=(entry_id,))
        rows = host_info.read_database(query).rows if database.is_file() else ()
        if rows and rows[0]:
            try:
                value = json.loads(rows[0][0])
            except (ValueError, TypeError, RecursionError):
                value = rows[0][0]  # a bare key
            yield _parse_entry(value, entry_id, database)
            break


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
    """When a token ends: ISO 8601, milliseconds, seconds, or seconds after the file was written; None for 0 or junk."""
    try:
        if isinstance(value, str) and "-" in value:
            at = datetime.fromisoformat(value.strip())
            return (at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(UTC)
        seconds = float(value) if isinstance(value, (int, float, str)) and not isinstance(value, bool) else 0.0
        if not seconds > 0:
            return None
        if seconds < _MIN_EPOCH_S:
            return None if mtime_s is None else datetime.fromtimestamp(mtime_s, UTC) + timedelta(seconds=seconds)
        return datetime.fromtimestamp(seconds / 1000 if seconds > _MAX_EPOCH_S else seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return None


# --- options of a provider in OpenCode's config -----------------------------------------------------------------------


CONFIG_FILES = ("opencode.json", "opencode.jsonc")


def find_option(host_info: HostInfo, provider: str, name: str) -> str:
    """That option of the first config that has it, else ""; OpenCode itself reports a broken file."""
    for path in _list_config_paths(host_info):
        try:
            value = json.loads(_strip_comments(files.read_text(path, hint=SIGN_IN_HINT) or ""))
        except (NotSignedInError, ValueError, RecursionError):
            continue
        for key in ("provider", provider, "options", name):
            value = value.get(key) if isinstance(value, dict) else None
        if isinstance(value, str) and value.strip():
            return value.strip()
    return ""


def _list_config_paths(host_info: HostInfo) -> Iterator[Path]:
    named = get_absolute_path(host_info.env, "OPENCODE_CONFIG")
    if named is not None:
        yield named
    yield from (folder / name for folder in list_config_folders(host_info) for name in CONFIG_FILES)


def _strip_comments(text: str) -> str:
    """JSON from JSON with comments and commas before a bracket."""
    for extra in (r"//[^\n]*|/\*.*?\*/", r",(?=\s*[}\]])"):
        text = re.sub(rf'("(?:\\.|[^"\\])*")|{extra}', lambda found: found[1] or "", text, flags=re.DOTALL)
    return text


# --- Claude accounts of the plugin opencode-anthropic-auth ------------------------------------------------------------


PLUGIN_SOURCE_NAME = "OpenCode plugin"


def find_claude_credentials(host_info: HostInfo) -> list[Credential]:
    """The enabled Claude accounts, [] if the plugin has none.

    Raises:
        UnusableSourceError: a file exists and cannot be used.
    """
    paths = [folder / "opencode-anthropic-auth" / "accounts.json" for folder in list_config_folders(host_info)]
    return collect_credentials(*(partial(_read_accounts, path) for path in paths))


def _read_accounts(path: Path) -> list[Credential]:
    content = files.read_json(path, hint=SIGN_IN_HINT)
    entries = None if content is None else content.get("accounts")
    if not isinstance(entries, list):
        return []
    enabled = [entry for entry in entries if isinstance(entry, dict) and entry.get("enabled") is not False]
    return [login for entry in enabled if (login := _parse_account(path, entry)) is not None]


def _parse_account(path: Path, entry: Mapping[str, Any]) -> Credential | None:
    token = get_text(entry, "access")
    if not token:
        return None
    email = next((name for name in (get_text(entry, "email"), get_text(entry, "label")) if "@" in name), "")
    return Credential(
        provider="claude",
        source_name=PLUGIN_SOURCE_NAME,
        path=str(path),
        token=token,
        expires_at=parse_expiry(entry.get("expires"), files.read_mtime_s(path)),
        account=email or get_id(entry, "id"),  # the id is the plugin's own: an email can be found elsewhere too
        account_name=email or get_text(entry, "label"),
    )
