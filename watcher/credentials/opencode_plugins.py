"""Claude logins of an OpenCode plugin that keeps several accounts, opencode-anthropic-auth.

Observed; last checked 2026-09. `opencode/opencode-anthropic-auth/accounts.json` in the config folder, or without
`opencode/` in the data folder, `{accounts: [{id, access, refresh, expires (ms), label | email, enabled}]}`. An account
without an access token cannot be asked, because its refresh token is not ours to spend; a disabled one is left alone.
Never write here; the plugins for Codex are in `codex_plugins`.
"""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from watcher.credentials import Credential, HostInfo, files, opencode
from watcher.credentials.places import collect_credentials

PLUGIN_SOURCE_NAME = "OpenCode plugin"


def find_claude_credentials(host_info: HostInfo) -> list[Credential]:
    """The enabled Claude accounts, [] where the plugin has none.

    Raises:
        UnusablePlaceError: a file is there and cannot be used.
    """
    env, home = host_info.env, host_info.home
    tail = Path("opencode-anthropic-auth", "accounts.json")
    folders = [_get_env_folder(env, "XDG_CONFIG_HOME", home / ".config") / "opencode", home / ".config" / "opencode"]
    folders += [_get_env_folder(env, "XDG_DATA_HOME", home / ".local" / "share"), home / ".local" / "share"]
    paths = [folder / tail for folder in dict.fromkeys(folders)]
    if env.get("ANTHROPIC_ACCOUNTS_PATH"):
        paths.insert(0, Path(env["ANTHROPIC_ACCOUNTS_PATH"]))
    return collect_credentials(*(partial(_read_accounts, path) for path in paths))


def _get_env_folder(env: Mapping[str, str], name: str, default: Path) -> Path:
    named = Path(env.get(name, ""))
    return named if named.is_absolute() else default


def _read_accounts(path: Path) -> list[Credential]:
    content = files.read_json(path, hint=opencode.SIGN_IN_HINT)
    entries = None if content is None else content.get("accounts")
    if not isinstance(entries, list):
        return []
    enabled = [entry for entry in entries if isinstance(entry, dict) and entry.get("enabled") is not False]
    return [login for entry in enabled if (login := _parse_account(path, entry)) is not None]


def _parse_account(path: Path, entry: Mapping[str, Any]) -> Credential | None:
    token = _get_text(entry, "access")
    if not token:
        return None
    email = next((name for name in (_get_text(entry, "email"), _get_text(entry, "label")) if "@" in name), "")
    return Credential(
        provider="claude",
        source_name=PLUGIN_SOURCE_NAME,
        path=str(path),
        token=token,
        expires_at=opencode.parse_expiry(entry.get("expires"), files.read_mtime_s(path)),
        account=email or _get_text(entry, "id"),  # the id is the plugin's own: an email can be found elsewhere too
        account_name=email or _get_text(entry, "label"),
    )


def _get_text(entry: Mapping[str, Any], name: str) -> str:
    value = entry.get(name)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value.strip() if isinstance(value, str) else ""
