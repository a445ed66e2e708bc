"""Codex's own login, `auth.json`, and what a ChatGPT token says of its owner.

Observed in Codex CLI; last checked 2026-09. `$CODEX_HOME/auth.json`, else `~/.codex/auth.json`, on every system:
`{OPENAI_API_KEY, tokens: {access_token, refresh_token, id_token, account_id}, last_refresh}`, in camel case at times;
or `{personal_access_token}`. An API key alone reads the usage of a proxy at most, and is marked as one. Where Codex
keeps its login in the system's keyring the file is absent; macOS's Keychain holds the same under `Codex Auth`. Never
write here, and never renew the token: its refresh token is single-use, and spending it would sign the person out.
"""

import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from msgspec.structs import replace

from watcher.credentials import Credential, Surroundings, files, opencode
from watcher.credentials.claude_code import keychain, unpacked
from watcher.credentials.jwt import claims
from watcher.errors import NotSignedInError

PLACE, KEYCHAIN = "Codex", "Codex Auth"
CURE = "run `codex login`"
AUTH_CLAIM = "https://api.openai.com/auth"
VENDORS = ("chatgpt.com", "openai.com")
PROFILE_CLAIM = "https://api.openai.com/profile"


def find(surroundings: Surroundings, path: str | None = None) -> list[Credential]:
    """Codex's login, [] where it has none.

    Args:
        surroundings: the machine.
        path: a file in that shape to read in place of the usual one.

    Raises:
        NotSignedInError: the file is there and cannot be used.
    """
    home = surroundings.env.get("CODEX_HOME")
    where = Path(path) if path is not None else (Path(home) if home else surroundings.home / ".codex") / "auth.json"
    server = _server(where.with_name("config.toml"))
    content = files.read_json(where, cure=CURE)
    source = str(where)
    if content is None and path is None and surroundings.platform == "darwin":
        content, source = unpacked(keychain(surroundings, KEYCHAIN) or ""), f"keychain:{KEYCHAIN}"
    return [] if content is None else _logins(content, source, server)


def _logins(content: Mapping[str, Any], source: str, server: str) -> list[Credential]:
    address = _address(server)
    tokens = content.get("tokens")
    tokens = tokens if isinstance(tokens, dict) else content
    access = _first(tokens, "access_token", "accessToken")
    if access:
        stored = _first(tokens, "account_id", "accountId")
        found = credential(PLACE, source, access, id_token=_first(tokens, "id_token", "idToken"), stored=stored)
        return [replace(found, extra={**found.extra, **address})]
    personal = _first(content, "personal_access_token", "personalAccessToken")
    if personal:
        return [
            Credential(provider="codex", place=PLACE, path=source, token=personal, extra={"personal": "yes", **address})
        ]
    if content.get("tokens") is not None:
        raise NotSignedInError(f"{source} holds no access token: {CURE}")
    key = _first(content, "OPENAI_API_KEY")
    return [api_key(PLACE, source, key, server)] if key else []


def api_key(place: str, path: str, key: str, server: str) -> Credential:
    """An API key, with where to ask about it if that server is a proxy's."""
    return Credential(
        provider="codex", place=place, path=path, token=key, extra={"api_key": "yes", **about_key(server)}
    )


def about_key(server: str) -> dict[str, str]:
    """Where a proxy tells an API key its usage; {} for the vendor's own server, which does not."""
    try:
        parts = urlsplit(server)
    except ValueError:
        return {}
    if parts.scheme not in ("https", "http") or not parts.hostname or is_vendor(parts.hostname):
        return {}
    return {"usage_url": f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}/v1/usage"}


def _server(path: Path) -> str:
    """The server that Codex's own `config.toml` names; "" where it names none."""
    try:
        said = tomllib.loads(path.read_text(encoding="utf-8")).get("chatgpt_base_url")
    except (OSError, ValueError):
        return ""  # Codex itself will complain of a broken file; the usual server is right for nearly everyone
    return said.strip() if isinstance(said, str) else ""


def _address(said: str) -> dict[str, str]:
    """Where usage is asked for at that server; {} for the usual one."""
    if not said.startswith(("https://", "http://")):
        return {}
    base = said.rstrip("/")
    if base.partition("://")[2] in ("chatgpt.com", "chat.openai.com"):
        base += "/backend-api"
    return {"usage_url": f"{base}/wham/usage" if "/backend-api" in base else f"{base}/api/codex/usage"}


def is_vendor(host: str | None) -> bool:
    """Whether that host is OpenAI's own."""
    return any(host == vendor or (host or "").endswith(f".{vendor}") for vendor in VENDORS)


def from_opencode(surroundings: Surroundings, path: str | None = None) -> list[Credential]:
    """OpenCode's ChatGPT login or API key, [] where it has none.

    Raises:
        NotSignedInError: the file or its entry is there and cannot be used.
    """
    entry = opencode.find(surroundings, "openai", path)
    if entry is None:
        return []
    if entry.kind != "oauth" and not claims(entry.token):
        return [api_key(opencode.PLACE, entry.path, entry.token, opencode.base_url(surroundings, "openai"))]
    override = _first(entry.fields, "accountIdOverride")
    stored = _first(entry.fields, "accountId")
    id_token = _first(entry.fields, "idToken")
    found = credential(
        opencode.PLACE, entry.path, entry.token, id_token=id_token, stored=stored, override=override, entry=entry
    )
    return [found]


def credential(  # noqa: PLR0913 - each is a field that one of the files may hold
    place: str,
    path: str,
    access: str,
    *,
    id_token: str = "",
    stored: str = "",
    override: str = "",
    entry: opencode.Entry | None = None,
) -> Credential:
    """A login from an access token and whatever stands beside it; what the token itself says is believed first."""
    mine, identity = claims(access), claims(id_token)
    account = override or account_id((mine, identity), stored)
    email = _first(_inner(mine, PROFILE_CLAIM), "email") or _first(identity, "email")
    plan = _first(_inner(mine, AUTH_CLAIM), "chatgpt_plan_type") or _first(
        _inner(identity, AUTH_CLAIM), "chatgpt_plan_type"
    )
    return Credential(
        provider="codex",
        place=place,
        path=path,
        token=access,
        expires_at=opencode.expiry(mine.get("exp"), None) or (entry.expires_at if entry else None),
        account=account or email,
        account_name=email,
        plan=plan or None,
        extra={"account_id": account} if account else {},
    )


def account_id(tokens: Iterable[Mapping[str, Any]], stored: str) -> str:
    """The ChatGPT account: the claim, else what the file stores (no organization's id), else a claimed organization."""
    tokens = tuple(tokens)
    for token in tokens:
        found = _first(_inner(token, AUTH_CLAIM), "chatgpt_account_id") or _first(token, "chatgpt_account_id")
        if found:
            return found
    if stored and not stored.startswith("org-"):
        return stored
    for token in tokens:
        organizations = token.get("organizations")
        for organization in organizations if isinstance(organizations, list) else ():
            found = _first(organization, "id") if isinstance(organization, dict) else ""
            if found and not found.startswith("org-"):
                return found
    return ""


def _inner(content: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = content.get(name)
    return value if isinstance(value, dict) else {}


def _first(content: Mapping[str, Any], *names: str) -> str:
    """The first of those that is a text or a whole number (ids are at times); "" where none is."""
    for name in names:
        value = content.get(name)
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value)
        if isinstance(value, str) and value.strip():
            return value.strip()
    return ""
