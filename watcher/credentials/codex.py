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

from watcher.credentials import Credential, HostInfo, chatgpt, codex_servers, files
from watcher.credentials.claude_code import decode_payload, read_keychain
from watcher.credentials.jwt import decode_claims
from watcher.errors import NotSignedInError

SOURCE_NAME, KEYCHAIN_SERVICE = "Codex", "Codex Auth"
SIGN_IN_HINT = "run `codex login`"
_API_KEY_PREFIX = "sk-"  # an API key begins so


def find_codex_credentials(host_info: HostInfo, path: str | None = None) -> list[Credential]:
    """Codex's login, [] where it has none.

    Args:
        host_info: the machine.
        path: a file in that shape to read in place of the usual one.

    Raises:
        NotSignedInError: the file is there and cannot be used.
    """
    home = host_info.env.get("CODEX_HOME")
    where = Path(path) if path is not None else (Path(home) if home else host_info.home / ".codex") / "auth.json"
    server = _read_base_url(where.with_name("config.toml"))
    content = files.read_json(where, hint=SIGN_IN_HINT)
    source = str(where)
    if content is None and path is None and not home and host_info.platform == "darwin":
        content, source = (
            decode_payload(read_keychain(host_info, KEYCHAIN_SERVICE) or ""),
            f"keychain:{KEYCHAIN_SERVICE}",
        )
    return [] if content is None else _parse_auth_file(content, source, server)


def make_credential_from_token(token: str) -> Credential:
    """The login that the person gave in the config: an API key, a token of a sign-in, else a personal access token."""
    if token.startswith(_API_KEY_PREFIX):
        return chatgpt.make_api_key_credential("config", "config", token, {})
    return (
        chatgpt.make_credential("config", "config", token)
        if decode_claims(token)
        else chatgpt.make_personal_credential("config", "config", token)
    )


def _parse_auth_file(content: Mapping[str, Any], source_path: str, base_url: str) -> list[Credential]:
    tokens = content.get("tokens")
    tokens = tokens if isinstance(tokens, dict) else content
    access = chatgpt.get_text(tokens, "access_token", "accessToken")
    if access:
        id_token, stored = (
            chatgpt.get_text(tokens, *names) for names in (("id_token", "idToken"), ("account_id", "accountId"))
        )
        return [
            _with_base_url(
                base_url,
                chatgpt.make_credential(SOURCE_NAME, source_path, access, id_token=id_token, stored_account_id=stored),
            )
        ]
    personal = chatgpt.get_text(content, "personal_access_token", "personalAccessToken")
    if personal:
        return [_with_base_url(base_url, chatgpt.make_personal_credential(SOURCE_NAME, source_path, personal))]
    if content.get("tokens") is not None:
        raise NotSignedInError(f"{source_path} holds no access token: {SIGN_IN_HINT}")
    key = chatgpt.get_text(content, "OPENAI_API_KEY")
    return (
        [chatgpt.make_api_key_credential(SOURCE_NAME, source_path, key, codex_servers.build_api_key_extra(base_url))]
        if key
        else []
    )


def _with_base_url(base_url: str, login: Credential) -> Credential:
    return replace(login, extra={**login.extra, **codex_servers.build_codex_extra(base_url)})


def _read_base_url(path: Path) -> str:
    """The server that Codex's own `config.toml` names; "" where it names none."""
    try:
        said = tomllib.loads(path.read_text(encoding="utf-8")).get("chatgpt_base_url")
    except (OSError, ValueError):
        return ""  # Codex itself will complain of a broken file; the usual server is right for nearly everyone
    return said.strip() if isinstance(said, str) else ""
