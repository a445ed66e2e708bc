"""Logins of OpenCode plugins that keep several accounts: opencode-anthropic-auth, and the multi-account ones for Codex.

Observed; last checked 2026-09. Claude: `opencode/opencode-anthropic-auth/accounts.json` in the config folder, or
without `opencode/` in the data folder, `{accounts: [{id, access, refresh, expires (ms), label | email, enabled}]}`.
Codex: `openai-codex-accounts.json` in `~/.opencode`, its `projects/*` and `~/.codex/multi-auth`, `{accounts:
[{accountId, email, accessToken, refreshToken, expiresAt (ms), enabled}]}`. An account without an access token cannot be
asked, because its refresh token is not ours to spend; a disabled one is left alone. Never write here.
"""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from watcher.credentials import Credential, Surroundings, codex, files, opencode
from watcher.credentials.places import gather

PLACE = "OpenCode plugin"
CODEX_FILE = "openai-codex-accounts.json"


def claude(surroundings: Surroundings) -> list[Credential]:
    """The enabled Claude accounts, [] where the plugin has none.

    Raises:
        UnusablePlaceError: a file is there and cannot be used.
    """
    env, home = surroundings.env, surroundings.home
    tail = Path("opencode-anthropic-auth", "accounts.json")
    folders = [_named(env, "XDG_CONFIG_HOME", home / ".config") / "opencode", home / ".config" / "opencode"]
    folders += [_named(env, "XDG_DATA_HOME", home / ".local" / "share"), home / ".local" / "share"]
    paths = [folder / tail for folder in dict.fromkeys(folders)]
    if env.get("ANTHROPIC_ACCOUNTS_PATH"):
        paths.insert(0, Path(env["ANTHROPIC_ACCOUNTS_PATH"]))
    return gather(*(partial(_accounts, path, _claude) for path in paths))


def chatgpt(surroundings: Surroundings) -> list[Credential]:
    """The enabled ChatGPT accounts, [] where no plugin has any.

    Raises:
        UnusablePlaceError: a file is there and cannot be used.
    """
    own = surroundings.home / ".opencode"
    multi = surroundings.env.get("CODEX_MULTI_AUTH_DIR")
    paths = [own / CODEX_FILE, *sorted((own / "projects").glob(f"*/{CODEX_FILE}"))]
    paths.append((Path(multi) if multi else surroundings.home / ".codex" / "multi-auth") / CODEX_FILE)
    return gather(*(partial(_accounts, path, _codex) for path in paths))


def _named(env: Mapping[str, str], name: str, usual: Path) -> Path:
    named = Path(env.get(name, ""))
    return named if named.is_absolute() else usual


def _accounts(path: Path, read: Callable[[Path, Mapping[str, Any]], Credential | None]) -> list[Credential]:
    content = files.read_json(path, cure=opencode.CURE)
    entries = None if content is None else content.get("accounts")
    if not isinstance(entries, list):
        return []
    enabled = [entry for entry in entries if isinstance(entry, dict) and entry.get("enabled") is not False]
    return [login for entry in enabled if (login := read(path, entry)) is not None]


def _claude(path: Path, entry: Mapping[str, Any]) -> Credential | None:
    token = _text(entry, "access")
    if not token:
        return None
    email = next((name for name in (_text(entry, "email"), _text(entry, "label")) if "@" in name), "")
    return Credential(
        provider="claude",
        place=PLACE,
        path=str(path),
        token=token,
        expires_at=opencode.expiry(entry.get("expires"), files.modified_s(path)),
        account=email or _text(entry, "id"),  # the id is the plugin's own: an email can be found elsewhere too
        account_name=email or _text(entry, "label"),
    )


def _codex(path: Path, entry: Mapping[str, Any]) -> Credential | None:
    token = _text(entry, "accessToken") or _text(entry, "access")
    if not token:
        return None
    stored = _text(entry, "accountIdOverride") or _text(entry, "accountId")
    login = codex.credential(PLACE, str(path), token, id_token=_text(entry, "idToken"), stored=stored)
    email = login.account_name or _text(entry, "email")
    ends = opencode.expiry(entry.get("expiresAt", entry.get("expires")), files.modified_s(path))
    return replace(login, account=login.account or email, account_name=email, expires_at=login.expires_at or ends)


def _text(entry: Mapping[str, Any], name: str) -> str:
    value = entry.get(name)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value.strip() if isinstance(value, str) else ""
