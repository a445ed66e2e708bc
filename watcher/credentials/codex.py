"""Codex's own login, `auth.json`.

Observed in Codex CLI; last checked 2026-11. `$CODEX_HOME/auth.json`, else `~/.codex/auth.json`, on every system:
`{OPENAI_API_KEY, tokens: {access_token, refresh_token, id_token, account_id}, last_refresh}`, in camel case at times;
or `{personal_access_token}`. An API key alone reads the usage of a proxy at most, and is marked as one. Where Codex
keeps its login in the system's keyring the file is absent; macOS's Keychain holds the same under `Codex Auth`, for each
home, so that it is only read for the usual one. Never write here, and never renew the token: its refresh token is
single-use, and spending it would sign the person out.
"""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from watcher.credentials import Credential, Surroundings, chatgpt, codex_servers, files
from watcher.credentials.claude_code import keychain, unpacked
from watcher.credentials.jwt import claims
from watcher.errors import NotSignedInError

PLACE, KEYCHAIN = "Codex", "Codex Auth"
CURE = "run `codex login`"
_KEY = "sk-"  # an API key begins so


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
    if content is None and path is None and not home and surroundings.platform == "darwin":
        content, source = unpacked(keychain(surroundings, KEYCHAIN) or ""), f"keychain:{KEYCHAIN}"
    return [] if content is None else _logins(content, source, server)


def given(token: str) -> Credential:
    """The login that the person gave in the config: an API key, a token of a sign-in, else a personal access token."""
    if token.startswith(_KEY):
        return chatgpt.api_key("config", "config", token, {})
    return (
        chatgpt.credential("config", "config", token) if claims(token) else chatgpt.personal("config", "config", token)
    )


def _logins(content: Mapping[str, Any], source: str, server: str) -> list[Credential]:
    tokens = content.get("tokens")
    tokens = tokens if isinstance(tokens, dict) else content
    access = chatgpt.text(tokens, "access_token", "accessToken")
    if access:
        id_token, stored = (
            chatgpt.text(tokens, *names) for names in (("id_token", "idToken"), ("account_id", "accountId"))
        )
        return [_at(server, chatgpt.credential(PLACE, source, access, id_token=id_token, stored=stored))]
    personal = chatgpt.text(content, "personal_access_token", "personalAccessToken")
    if personal:
        return [_at(server, chatgpt.personal(PLACE, source, personal))]
    if content.get("tokens") is not None:
        raise NotSignedInError(f"{source} holds no access token: {CURE}")
    key = chatgpt.text(content, "OPENAI_API_KEY")
    return [chatgpt.api_key(PLACE, source, key, codex_servers.about_key(server))] if key else []


def _at(server: str, login: Credential) -> Credential:
    return replace(login, extra={**login.extra, **codex_servers.of_codex(server)})


def _server(path: Path) -> str:
    """The server that Codex's own `config.toml` names; "" where it names none."""
    try:
        said = tomllib.loads(path.read_text(encoding="utf-8")).get("chatgpt_base_url")
    except (OSError, ValueError):
        return ""  # Codex itself will complain of a broken file; the usual server is right for nearly everyone
    return said.strip() if isinstance(said, str) else ""
