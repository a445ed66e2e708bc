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

from watcher import clock
from watcher.core.model import Command
from watcher.credentials import Credential, Surroundings, files, opencode
from watcher.credentials.places import first
from watcher.errors import NotSignedInError

PLACE = "Claude Code"
CURE = "run `claude` once"
VARIABLES = ("CLAUDE_CODE_OAUTH_TOKEN", "CLAUDE_ACCESS_TOKEN")
SERVICES = ("Claude Code-credentials", "Claude Code")
KEYCHAIN_TIMEOUT_S = 5.0
KEYCHAIN_EVERY_S = 600.0  # a Keychain may open a dialog at each reading: so seldom, and after a refusal
KEYCHAIN_REFUSED_S = 6 * 3600.0  # much more seldom
KEYCHAIN_ENDED_S = 60.0  # a login past its date is not what Claude Code itself works with

_BARE = re.compile(r"sk-ant-oat\d\d-[\w-]+", re.ASCII)
_NESTS = ("claudeAiOauth", "claudeAiOAuth", "claudeOAuth", "oauth", "anthropic")
_TOKENS = ("accessToken", "access", "token", "oauthToken")
_TIERS = {"default_claude_max_5x": "Max 5x", "default_claude_max_20x": "Max 20x", "claude_pro": "Pro"}

_keychain: dict[str, tuple[float, str | None]] = {}


def find(surroundings: Surroundings, path: str | None = None) -> list[Credential]:
    """Claude Code's login, [] where it has none.

    Args:
        surroundings: the machine.
        path: a file in that shape to read in place of the usual places.

    Raises:
        NotSignedInError: the file that was named is there and cannot be used.
        UnusablePlaceError: a usual file is; it carries the login of a place after it.
    """
    if path is not None:
        return _from_file(Path(path), {})
    account = _account(surroundings)
    own, older = root(surroundings) / ".credentials.json", _config(surroundings) / "claude-code" / "auth.json"
    return first(
        partial(_from_keychain, surroundings, account),
        partial(_from_file, own, account),
        partial(_from_file, older, account),
        partial(_from_environment, surroundings),
    )


def _from_environment(surroundings: Surroundings) -> list[Credential]:
    named = ((name, surroundings.env.get(name, "").strip()) for name in VARIABLES)
    return [_credential({"accessToken": token}, f"env:{name}", {}, None) for name, token in named if token][:1]


def from_opencode(surroundings: Surroundings, path: str | None = None) -> list[Credential]:
    """OpenCode's Claude login, [] where it has none, or an API key, which cannot read usage.

    Raises:
        NotSignedInError: the file or its entry is there and cannot be used.
    """
    entry = opencode.find(surroundings, "anthropic", path)
    if entry is None or (entry.kind != "oauth" and not _BARE.fullmatch(entry.token)):
        return []
    found = Credential(
        provider="claude", place=opencode.PLACE, path=entry.path, token=entry.token, expires_at=entry.expires_at
    )
    return [found]


def root(surroundings: Surroundings) -> Path:
    """The folder of Claude Code's login."""
    env = surroundings.env
    secure = env.get("CLAUDE_SECURESTORAGE_CONFIG_DIR")  # set and empty, it means the usual folder
    named = env.get("CLAUDE_CONFIG_DIR") if secure is None else secure
    return Path(named) if named else surroundings.home / ".claude"


def _config(surroundings: Surroundings) -> Path:
    named = Path(surroundings.env.get("XDG_CONFIG_HOME", ""))
    return named if named.is_absolute() else surroundings.home / ".config"


def _account(surroundings: Surroundings) -> dict[str, Any]:
    """Who is signed in to Claude Code; {} where it does not say. It is a courtesy: a broken file costs nothing."""
    named = surroundings.env.get("CLAUDE_CONFIG_DIR")
    folder = Path(named) if named else surroundings.home
    try:
        content = files.read_json(folder / ".claude.json", cure=CURE) or {}
    except NotSignedInError:
        return {}
    account = content.get("oauthAccount")
    return account if isinstance(account, dict) else {}


def _from_file(path: Path, account: dict[str, Any]) -> list[Credential]:
    content = files.read_json(path, cure=CURE)
    login = None if content is None else _login(content)
    if login is None:
        return []
    if not any(_text(login.get(name)) for name in _TOKENS):
        raise NotSignedInError(f"{path} holds no access token: {CURE}")
    return [_credential(login, str(path), account, files.modified_s(path))]


def _from_keychain(surroundings: Surroundings, account: dict[str, Any]) -> list[Credential]:
    """The Keychain's login; one that has ended is looked for again sooner: Claude Code may have renewed it."""
    for service in SERVICES if surroundings.platform == "darwin" else ():
        path = f"keychain:{service}"
        for every_s in (KEYCHAIN_EVERY_S, KEYCHAIN_ENDED_S):
            login = _payload(keychain(surroundings, service, every_s=every_s) or "")
            found = [] if login is None else [_credential(login, path, account, None)]
            if not found or found[0].expires_at is None or found[0].expires_at > clock.now():
                break
        if found:
            return found
    return []


def keychain(
    surroundings: Surroundings,
    service: str,
    *,
    cache: MutableMapping[str, tuple[float, str | None]] = _keychain,
    now_s: float | None = None,
    every_s: float = KEYCHAIN_EVERY_S,
) -> str | None:
    """What the macOS Keychain holds for that service; None where nothing, or where it was refused. Asked seldom."""
    now_s = clock.monotonic_s() if now_s is None else now_s
    if service in cache:
        asked_s, payload = cache[service]
        every_s = min(every_s, KEYCHAIN_ENDED_S) if surroundings.fresh else every_s
        if now_s - asked_s < (every_s if payload else KEYCHAIN_REFUSED_S):
            return payload
    argv = ("/usr/bin/security", "find-generic-password", "-s", service, "-w")
    finished = surroundings.run(Command(argv=argv, timeout_s=KEYCHAIN_TIMEOUT_S))
    payload = finished.stdout.strip() if finished.exit_code == 0 else None
    cache[service] = (now_s, payload)
    return payload


def _payload(text: str) -> dict[str, Any] | None:
    """A login from JSON, JSON as hex digits, or a bare token."""
    if _BARE.fullmatch(text):
        return {"accessToken": text}
    content = unpacked(text)
    login = None if content is None else _login(content)
    return login if login is not None and any(_text(login.get(name)) for name in _TOKENS) else None


def unpacked(text: str) -> dict[str, Any] | None:
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


def _login(content: dict[str, Any], depth: int = 0) -> dict[str, Any] | None:
    """The object that holds the token, at the top or inside one of the known names; None where nobody is signed in."""
    for name in _NESTS:
        nest = content.get(name)
        if isinstance(nest, dict):
            return nest
    if any(_text(content.get(name)) for name in _TOKENS):
        return content
    if depth == 0:  # JSON inside another object
        for name, value in content.items():
            found = _login(value, 1) if isinstance(value, dict) and name != "mcpOAuth" else None
            if found is not None:
                return found
    return None


def _credential(login: dict[str, Any], path: str, account: dict[str, Any], written_s: float | None) -> Credential:
    scopes = login.get("scopes")
    extra = {"scopes": " ".join(str(scope) for scope in scopes)} if isinstance(scopes, list) else {}
    email = _text(account.get("emailAddress"))
    tier = _text(login.get("rateLimitTier"))
    return Credential(
        provider="claude",
        place=PLACE,
        path=path,
        token=next(_text(login.get(name)) for name in _TOKENS if _text(login.get(name))),
        expires_at=opencode.expiry(login.get("expiresAt", login.get("expires")), written_s),
        account=_text(account.get("accountUuid")) or email,
        account_name=email,
        plan=_text(login.get("subscriptionType")) or _TIERS.get(tier, tier) or None,
        extra=extra,
    )


def _text(value: object) -> str:
    return value.strip() if isinstance(value, str) else ""
