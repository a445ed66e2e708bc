"""Claude Code's own login: the macOS Keychain, `.credentials.json`, or a token in the environment.

Observed in Claude Code 2.x; last checked 2026-09. Keychain and file hold `{claudeAiOauth: {accessToken, refreshToken,
expiresAt (ms), scopes, subscriptionType, rateLimitTier}}`; a file that has only `mcpOAuth` holds no login. Who is
signed in stands beside it, in `.claude.json`: `oauthAccount: {accountUuid, emailAddress}`.

Claude Code has one login at a time, so at most one is returned. `CLAUDE_CODE_OAUTH_TOKEN` comes last: it is usually
made by `claude setup-token`, and such a token may not read usage. Never write here, and never renew the token: its
refresh token is single-use, and spending it would sign the person out.
"""

import json
import re
from collections.abc import MutableMapping
from functools import partial
from pathlib import Path
from typing import Any

from watcher.core.model import Command
from watcher.credentials import Credential, HostInfo, files, opencode
from watcher.credentials.sources import find_first_credentials
from watcher.errors import NotSignedInError
from watcher.system import clock

SOURCE_NAME = "Claude Code"
SIGN_IN_HINT = "run `claude` once"
TOKEN_VARIABLES = ("CLAUDE_CODE_OAUTH_TOKEN", "CLAUDE_ACCESS_TOKEN")
KEYCHAIN_SERVICES = ("Claude Code-credentials", "Claude Code")
KEYCHAIN_TIMEOUT_S = 5.0
KEYCHAIN_TTL_S = 600.0  # a Keychain may open a dialog at each reading: so seldom, and after a refusal
KEYCHAIN_REFUSED_TTL_S = 6 * 3600.0  # much more seldom
KEYCHAIN_EXPIRED_TTL_S = 60.0  # a login past its date is not what Claude Code itself works with

_BARE_TOKEN = re.compile(r"sk-ant-oat\d\d-[\w-]+", re.ASCII)
_LOGIN_KEYS = ("claudeAiOauth", "claudeAiOAuth", "claudeOAuth", "oauth", "anthropic")
_TOKEN_KEYS = ("accessToken", "access", "token", "oauthToken")
_PLAN_NAMES = {"default_claude_max_5x": "Max 5x", "default_claude_max_20x": "Max 20x", "claude_pro": "Pro"}

_keychain_cache: dict[str, tuple[float, str | None]] = {}


def find_claude_code_credentials(host_info: HostInfo, path: str | None = None) -> list[Credential]:
    """Claude Code's login, [] where it has none.

    Args:
        host_info: the machine.
        path: a file in that shape to read in place of the usual places.

    Raises:
        NotSignedInError: the file that was named is there and cannot be used.
        UnusablePlaceError: a usual file is; it carries the login of a place after it.
    """
    if path is not None:
        return _find_in_file(Path(path), {})
    account = _read_account(host_info)
    own, older = (
        get_config_folder(host_info) / ".credentials.json",
        _get_xdg_config_folder(host_info) / "claude-code" / "auth.json",
    )
    return find_first_credentials(
        partial(_find_in_keychain, host_info, account),
        partial(_find_in_file, own, account),
        partial(_find_in_file, older, account),
        partial(_find_in_environment, host_info),
    )


def _find_in_environment(host_info: HostInfo) -> list[Credential]:
    named = ((name, host_info.env.get(name, "").strip()) for name in TOKEN_VARIABLES)
    return [_make_credential({"accessToken": token}, f"env:{name}", {}, None) for name, token in named if token][:1]


def find_in_opencode(host_info: HostInfo, path: str | None = None) -> list[Credential]:
    """OpenCode's Claude login, [] where it has none, or an API key, which cannot read usage.

    Raises:
        NotSignedInError: the file or its entry is there and cannot be used.
    """
    entry = opencode.find_entry(host_info, "anthropic", path)
    if entry is None or (entry.kind != "oauth" and not _BARE_TOKEN.fullmatch(entry.token)):
        return []
    found = Credential(
        provider="claude",
        source_name=opencode.SOURCE_NAME,
        path=entry.path,
        token=entry.token,
        expires_at=entry.expires_at,
    )
    return [found]


def get_config_folder(host_info: HostInfo) -> Path:
    """The folder of Claude Code's login."""
    env = host_info.env
    secure = env.get("CLAUDE_SECURESTORAGE_CONFIG_DIR")  # set and empty, it means the usual folder
    named = env.get("CLAUDE_CONFIG_DIR") if secure is None else secure
    return Path(named) if named else host_info.home / ".claude"


def _get_xdg_config_folder(host_info: HostInfo) -> Path:
    named = Path(host_info.env.get("XDG_CONFIG_HOME", ""))
    return named if named.is_absolute() else host_info.home / ".config"


def _read_account(host_info: HostInfo) -> dict[str, Any]:
    """Who is signed in to Claude Code; {} where it does not say. It is a courtesy: a broken file costs nothing."""
    named = host_info.env.get("CLAUDE_CONFIG_DIR")
    folder = Path(named) if named else host_info.home
    try:
        content = files.read_json(folder / ".claude.json", hint=SIGN_IN_HINT) or {}
    except NotSignedInError:
        return {}
    account = content.get("oauthAccount")
    return account if isinstance(account, dict) else {}


def _find_in_file(path: Path, account: dict[str, Any]) -> list[Credential]:
    content = files.read_json(path, hint=SIGN_IN_HINT)
    login = None if content is None else _find_login(content)
    if login is None:
        return []
    if not any(_clean_text(login.get(name)) for name in _TOKEN_KEYS):
        raise NotSignedInError(f"{path} holds no access token: {SIGN_IN_HINT}")
    return [_make_credential(login, str(path), account, files.read_mtime_s(path))]


def _find_in_keychain(host_info: HostInfo, account: dict[str, Any]) -> list[Credential]:
    """The Keychain's login; one that has ended is looked for again sooner: Claude Code may have renewed it."""
    for service in KEYCHAIN_SERVICES if host_info.platform == "darwin" else ():
        path = f"keychain:{service}"
        for every_s in (KEYCHAIN_TTL_S, KEYCHAIN_EXPIRED_TTL_S):
            login = _parse_payload(read_keychain(host_info, service, ttl_s=every_s) or "")
            found = [] if login is None else [_make_credential(login, path, account, None)]
            if not found or found[0].expires_at is None or found[0].expires_at > clock.utc_now():
                break
        if found:
            return found
    return []


def read_keychain(
    host_info: HostInfo,
    service: str,
    *,
    cache: MutableMapping[str, tuple[float, str | None]] = _keychain_cache,
    now_s: float | None = None,
    ttl_s: float = KEYCHAIN_TTL_S,
) -> str | None:
    """What the macOS Keychain holds for that service; None where nothing, or where it was refused. Asked seldom."""
    now_s = clock.monotonic_s() if now_s is None else now_s
    if service in cache:
        asked_s, payload = cache[service]
        ttl_s = min(ttl_s, KEYCHAIN_EXPIRED_TTL_S) if host_info.force_refresh else ttl_s
        if now_s - asked_s < (ttl_s if payload else KEYCHAIN_REFUSED_TTL_S):
            return payload
    argv = ("/usr/bin/security", "find-generic-password", "-s", service, "-w")
    finished = host_info.run_command(Command(argv=argv, timeout_s=KEYCHAIN_TIMEOUT_S))
    payload = finished.stdout.strip() if finished.exit_code == 0 else None
    cache[service] = (now_s, payload)
    return payload


def _parse_payload(text: str) -> dict[str, Any] | None:
    """A login from JSON, JSON as hex digits, or a bare token."""
    if _BARE_TOKEN.fullmatch(text):
        return {"accessToken": text}
    content = decode_payload(text)
    login = None if content is None else _find_login(content)
    return login if login is not None and any(_clean_text(login.get(name)) for name in _TOKEN_KEYS) else None


def decode_payload(text: str) -> dict[str, Any] | None:
    """The JSON object that a Keychain holds, as it is or as hex digits; None where it is neither."""
    candidates = [text]
    if re.fullmatch(r"([0-9a-fA-F]{2})+", text):
        candidates.append(bytes.fromhex(text).decode(errors="replace"))
    for candidate in candidates:
        try:
            content = json.loads(candidate)
        except (ValueError, RecursionError):
            continue
        if isinstance(content, dict):
            return content
    return None


def _find_login(content: dict[str, Any], depth: int = 0) -> dict[str, Any] | None:
    """The object that holds the token, at the top or inside one of the known names; None where nobody is signed in."""
    for name in _LOGIN_KEYS:
        nest = content.get(name)
        if isinstance(nest, dict):
            return nest
    if any(_clean_text(content.get(name)) for name in _TOKEN_KEYS):
        return content
    if depth == 0:  # JSON inside another object
        for name, value in content.items():
            found = _find_login(value, 1) if isinstance(value, dict) and name != "mcpOAuth" else None
            if found is not None:
                return found
    return None


def _make_credential(login: dict[str, Any], path: str, account: dict[str, Any], mtime_s: float | None) -> Credential:
    scopes = login.get("scopes")
    extra = {"scopes": " ".join(str(scope) for scope in scopes)} if isinstance(scopes, list) else {}
    email = _clean_text(account.get("emailAddress"))
    tier = _clean_text(login.get("rateLimitTier"))
    return Credential(
        provider="claude",
        source_name=SOURCE_NAME,
        path=path,
        token=next(_clean_text(login.get(name)) for name in _TOKEN_KEYS if _clean_text(login.get(name))),
        expires_at=opencode.parse_expiry(login.get("expiresAt", login.get("expires")), mtime_s),
        account=_clean_text(account.get("accountUuid")) or email,
        account_name=email,
        plan=_clean_text(login.get("subscriptionType")) or _PLAN_NAMES.get(tier, tier) or None,
        extra=extra,
    )


def _clean_text(value: object) -> str:
    return value.strip() if isinstance(value, str) else ""
