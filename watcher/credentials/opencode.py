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
from typing import Any, NamedTuple

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
    """OpenCode's login under that key; None if there is none.

    Args:
        host_info: the machine.
        entry_id: OpenCode's id of the provider: `anthropic`.
        path: an `auth.json` to read in place of the usual ones.

    Raises:
        NotSignedInError: a file or the entry exists and cannot be used.
    """
    return find_entry_in_files(host_info, entry_id, path) or (
        find_entry_in_databases(host_info, entry_id) if path is None else None
    )


def find_entry_in_files(host_info: HostInfo, entry_id: str, path: str | None = None) -> OpenCodeEntry | None:
    """As `find_entry`, in the files only."""
    for each in [Path(path)] if path is not None else [folder / "auth.json" for folder in list_data_folders(host_info)]:
        content = files.read_json(each, hint=SIGN_IN_HINT) or {}
        if content.get(entry_id) is not None:
            return _parse_entry(content[entry_id], entry_id, each)
    return None


def find_entry_in_databases(host_info: HostInfo, entry_id: str) -> OpenCodeEntry | None:
    """As `find_entry`, in the databases only."""
    sql = "SELECT value FROM credential WHERE integration_id = ? LIMIT 1"
    paths = (folder / "opencode.db" for folder in list_data_folders(host_info))
    for path in filter(Path.is_file, paths):
        rows = host_info.read_database(DatabaseQuery(path=str(path), sql=sql, parameters=(entry_id,))).rows
        if not rows or not rows[0]:
            continue
        try:
            value = json.loads(rows[0][0])
        except (ValueError, TypeError, RecursionError):
            value = rows[0][0]  # a bare key
        return _parse_entry(value, entry_id, path)
    return None


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
    """When a token ends: milliseconds, seconds, or seconds after the file was written; None for 0, blank and junk."""
    try:
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
_ENV_PLACEHOLDER, _FILE_PLACEHOLDER = re.compile(r"\{env:([^}]+)\}"), re.compile(r"\{file:([^}]+)\}")


class ConfigOption(NamedTuple):
    """One option of a provider; both empty if no config has it."""

    value: str = ""
    path: str = ""  # the config that has it


def find_option(host_info: HostInfo, provider: str, name: str) -> ConfigOption:
    """That option (`baseURL`, `apiKey`) of the first config that has it. OpenCode itself reports a broken file."""
    for path in _list_config_paths(host_info):
        try:
            value = json.loads(_strip_comments(files.read_text(path, hint=SIGN_IN_HINT) or ""))
        except (NotSignedInError, ValueError, RecursionError):
            continue
        for key in ("provider", provider, "options", name):
            value = value.get(key) if isinstance(value, dict) else None
        text = _expand_placeholders(value, path.parent, host_info) if isinstance(value, str) else ""
        if text:
            return ConfigOption(text, str(path))
    return ConfigOption()


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


def _expand_placeholders(value: str, folder: Path, host_info: HostInfo) -> str:
    """The value with variables and files inserted; an unset variable and a missing file are empty."""

    def content(found: re.Match[str]) -> str:
        path = Path(host_info.home, found[1][2:]) if found[1].startswith("~/") else folder / found[1]
        try:
            return (files.read_text(path, hint=SIGN_IN_HINT) or "").strip()
        except NotSignedInError:
            return ""

    value = _ENV_PLACEHOLDER.sub(lambda found: host_info.env.get(found[1], ""), value)
    return _FILE_PLACEHOLDER.sub(content, value).strip()


# --- Claude accounts of the plugin opencode-anthropic-auth ------------------------------------------------------------


PLUGIN_SOURCE_NAME = "OpenCode plugin"


def find_claude_credentials(host_info: HostInfo) -> list[Credential]:
    """The enabled Claude accounts, [] if the plugin has none.

    Raises:
        UnusableSourceError: a file exists and cannot be used.
    """
    env, config, data = host_info.env, host_info.home / ".config", host_info.home / ".local" / "share"
    folders = [(get_absolute_path(env, "XDG_CONFIG_HOME") or config) / "opencode", config / "opencode"]
    folders += [get_absolute_path(env, "XDG_DATA_HOME") or data, data]
    paths = [folder / "opencode-anthropic-auth" / "accounts.json" for folder in dict.fromkeys(folders)]
    if env.get("ANTHROPIC_ACCOUNTS_PATH"):
        paths.insert(0, Path(env["ANTHROPIC_ACCOUNTS_PATH"]))
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
