"""Claude Code's own login: the macOS Keychain, `.credentials.json`, or a token in the environment.

Observed in Claude Code 2.x; last checked 2026-09. Keychain and file hold `{claudeAiOauth: {accessToken, refreshToken,
expiresAt (ms), scopes, subscriptionType, rateLimitTier}}`; a file that has only `mcpOAuth` holds no login. The owner is
in `.claude.json` beside it: `oauthAccount: {accountUuid, emailAddress}`.

Claude Code has one login at a time for each config folder. `CLAUDE_CODE_OAUTH_TOKEN` comes last: it is usually
made by `claude setup-token`, and such a token may not read usage. The token is never renewed: its refresh token is
single-use, and using it would sign the user out.
"""

import contextlib
import re
from collections.abc import Sequence
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

from watcher.credentials import Credential, HostInfo, files, keyrings, opencode
from watcher.credentials.files import collect_credentials, get_absolute_path, get_mapping, get_text
from watcher.errors import NotSignedInError
from watcher.system import clock
from watcher.system.paths import expand_home

SOURCE_NAME = "Claude Code"
SIGN_IN_HINT = "run `claude` once"
LOGIN_FILE = ".credentials.json"
TOKEN_VARIABLES = ("CLAUDE_CODE_OAUTH_TOKEN", "CLAUDE_ACCESS_TOKEN")
KEYCHAIN_SERVICES = ("Claude Code-credentials", "Claude Code")

_BARE_TOKEN = re.compile(r"sk-ant-oat\d\d-[\w-]+", re.ASCII)
_LOGIN_KEYS = ("claudeAiOauth", "claudeAiOAuth", "claudeOAuth", "oauth", "anthropic")
_TOKEN_KEYS = ("accessToken", "access", "token", "oauthToken")
_PLAN_NAMES = {"default_claude_max_5x": "Max 5x", "default_claude_max_20x": "Max 20x", "claude_pro": "Pro"}


def find_claude_code_credentials(host_info: HostInfo, path: str | None = None) -> list[Credential]:
    """Claude Code's logins, [] if it has none: one, but for several folders in `CLAUDE_CONFIG_DIR`.

    Args:
        host_info: the machine.
        path: a file of that shape, or a config folder, to read in place of the usual places.

    Raises:
        NotSignedInError: the file that was named exists and cannot be used.
        UnusableSourceError: a usual file cannot be used; it carries the login of a place after it.
    """
    if path is not None:
        named = Path(path)
        if named.is_dir():
            return _find_in_folder(host_info, named)
        return _find_in_file(named, read_account(named.parent) if named.name == LOGIN_FILE else {})
    xdg_config = get_absolute_path(host_info.env, "XDG_CONFIG_HOME") or host_info.home / ".config"
    (folder, owner_folder), *others = _list_config_folders(host_info)
    if others:
        folders = [folder, *(each for each, _ in others)]
        return collect_credentials(*(partial(_find_in_listed_folder, host_info, each) for each in folders))
    return collect_credentials(
        partial(_find_in_folder, host_info, folder, owner_folder),
        partial(_find_in_file, xdg_config / "claude-code" / "auth.json", read_account(owner_folder)),
        partial(_find_in_environment, host_info),
        stop_at_first=True,
    )


def _find_in_folder(host_info: HostInfo, folder: Path, owner_folder: Path | None = None) -> list[Credential]:
    """The login of one config folder, in the Keychain or in its file, with the owner that `owner_folder` names.

    Each folder has its own entry in the Keychain. The usual folder has the plain ones, and its own one too where
    `CLAUDE_CONFIG_DIR` names it; then the owners of the two are in different files.
    """
    account = read_account(owner_folder or folder)
    find_in_file = partial(_find_in_file, folder / LOGIN_FILE, account)
    if host_info.platform != "darwin":
        return find_in_file()
    from unicodedata import normalize  # noqa: PLC0415 - 0.4 MB, for macOS alone

    digest = sha256(normalize("NFC", str(folder)).encode()).hexdigest()[:8]
    own, plain = (f"{KEYCHAIN_SERVICES[0]}-{digest}",), KEYCHAIN_SERVICES
    entries: dict[tuple[str, ...], dict[str, Any]]
    if folder != host_info.home / ".claude":
        entries = {own: account}
    elif host_info.env.get("CLAUDE_CONFIG_DIR") == str(folder):
        entries = {own: _read_account([folder]), plain: _read_account([host_info.home])}
    else:
        entries = {plain: account}
    keychains = [partial(_find_in_keychain, host_info, *entry) for entry in entries.items()]
    return collect_credentials(*keychains, find_in_file, stop_at_first=True)


def _find_in_listed_folder(host_info: HostInfo, folder: Path) -> list[Credential]:
    found = _find_in_folder(host_info, folder)
    if not found:
        what = "holds no login of Claude Code" if folder.is_dir() else "does not exist"
        raise NotSignedInError(f"{folder} {what}: look at CLAUDE_CONFIG_DIR")
    return found


def find_in_opencode(host_info: HostInfo, path: str | None = None) -> list[Credential]:
    """OpenCode's Claude login, [] if it has none, or an API key, which cannot read usage.

    Raises:
        NotSignedInError: the file or its entry exists and cannot be used.
    """
    if path is not None and Path(path).is_dir():
        path = str(Path(path) / "auth.json")
    entry = opencode.find_entry(host_info, "anthropic", path)
    if entry is None or (entry.kind != "oauth" and not _BARE_TOKEN.fullmatch(entry.token)):
        return []
    return [
        Credential(
            provider="claude",
            source_name=opencode.SOURCE_NAME,
            path=entry.path,
            token=entry.token,
            expires_at=entry.expires_at,
        )
    ]


def _list_config_folders(host_info: HostInfo) -> list[tuple[Path, Path]]:
    """The folders of Claude Code's logins, each with the folder that names its owner.

    `CLAUDE_CONFIG_DIR` may list several, with commas, as for other tools.
    """
    usual, named = host_info.home / ".claude", host_info.env.get("CLAUDE_CONFIG_DIR", "")
    parts = [named] if Path(named).is_dir() else [part.strip() for part in named.split(",")]
    folders = [expand_home(part, host_info.home) for part in parts if part] or [usual]
    secure = host_info.env.get("CLAUDE_SECURESTORAGE_CONFIG_DIR")  # set but empty, it means the usual folder
    if secure is not None:
        return [(Path(secure) if secure else usual, folders[0])]
    return [(folder, folder) for folder in folders]


def read_account(folder: Path) -> dict[str, Any]:
    """Who is signed in with a config folder: in it, or beside it if it is `~/.claude` and no variable names it."""
    return _read_account([folder, folder.parent] if folder.name == ".claude" else [folder])


def _read_account(places: Sequence[Path]) -> dict[str, Any]:
    """The account of the first `.claude.json` that names one; {} if none does: a broken file costs nothing else."""
    for place in places:
        with contextlib.suppress(NotSignedInError):
            content = files.read_json(place / ".claude.json", hint=SIGN_IN_HINT) or {}
            if account := get_mapping(content, "oauthAccount"):
                return account
    return {}


def _find_in_environment(host_info: HostInfo) -> list[Credential]:
    named = ((name, host_info.env.get(name, "").strip()) for name in TOKEN_VARIABLES)
    return [_make_credential({"accessToken": token}, f"env:{name}", {}, None) for name, token in named if token][:1]


def _find_in_file(path: Path, account: dict[str, Any]) -> list[Credential]:
    content = files.read_json(path, hint=SIGN_IN_HINT)
    login = None if content is None else _find_login(content)
    if login is None:
        return []
    if not get_text(login, *_TOKEN_KEYS):
        raise NotSignedInError(f"{path} holds no access token: {SIGN_IN_HINT}")
    return [_make_credential(login, str(path), account, files.read_mtime_s(path))]


def _find_in_keychain(host_info: HostInfo, services: tuple[str, ...], account: dict[str, Any]) -> list[Credential]:
    """The Keychain's login; an expired one is read again sooner."""
    for service in services:
        path = f"keychain:{service}"
        for ttl_s in (keyrings.TTL_S, keyrings.RENEWED_TTL_S):
            login = _parse_payload(keyrings.read_keychain(host_info, service, ttl_s=ttl_s))
            found = [] if login is None else [_make_credential(login, path, account, None)]
            if not found or found[0].expires_at is None or found[0].expires_at > clock.utc_now():
                break
        if found:
            return found
    return []


def _parse_payload(text: str) -> dict[str, Any] | None:
    """A login from JSON, JSON as hex digits, or a bare token."""
    if _BARE_TOKEN.fullmatch(text):
        return {"accessToken": text}
    login = _find_login(keyrings.decode_json(text))
    return login if login is not None and get_text(login, *_TOKEN_KEYS) else None


def _find_login(content: dict[str, Any], depth: int = 0) -> dict[str, Any] | None:
    """The object that holds the token, at the top or under one of the known keys; None if there is no login."""
    for name in _LOGIN_KEYS:
        if isinstance(content.get(name), dict):
            return get_mapping(content, name)
    if get_text(content, *_TOKEN_KEYS):
        return content
    if depth == 0:  # the known keys may be inside another object
        for name, value in content.items():
            found = _find_login(value, 1) if isinstance(value, dict) and name != "mcpOAuth" else None
            if found is not None:
                return found
    return None


def _make_credential(login: dict[str, Any], path: str, account: dict[str, Any], mtime_s: float | None) -> Credential:
    scopes = login.get("scopes")
    email, tier = get_text(account, "emailAddress"), get_text(login, "rateLimitTier")
    return Credential(
        provider="claude",
        source_name=SOURCE_NAME,
        path=path,
        token=get_text(login, *_TOKEN_KEYS),
        expires_at=opencode.parse_expiry(login.get("expiresAt", login.get("expires")), mtime_s),
        account=get_text(account, "accountUuid") or email,
        account_name=email,
        plan=get_text(login, "subscriptionType") or _PLAN_NAMES.get(tier, tier) or None,
        extra={"scopes": " ".join(str(scope) for scope in scopes)} if isinstance(scopes, list) else {},
    )
