"""Codex's own login, `auth.json`.

Observed in Codex CLI; last checked 2026-11. `$CODEX_HOME/auth.json`, else `~/.codex/auth.json`, on every system:
`{OPENAI_API_KEY, tokens: {access_token, refresh_token, id_token, account_id}, last_refresh}`, in camel case at times;
or `{personal_access_token}`. An API key alone reads the usage of a proxy at most, and is marked as one. Where Codex
keeps its login in the system's keyring the file is absent; macOS's Keychain holds the same under `Codex Auth`, for each
home, so that it is only read for the usual one. Never write here, and never renew the token: its refresh token is
single-use, and spending it would sign the person out.
"""

import tomllib
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urlsplit

from msgspec.structs import replace

from watcher.credentials import Credential, HostInfo, chatgpt, files, opencode
from watcher.credentials import opencode as opencode_config
from watcher.credentials.chatgpt import decode_claims
from watcher.credentials.claude_code import decode_payload, read_keychain
from watcher.credentials.sources import collect_credentials
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
        [chatgpt.make_api_key_credential(SOURCE_NAME, source_path, key, build_api_key_extra(base_url))] if key else []
    )


def _with_base_url(base_url: str, login: Credential) -> Credential:
    return replace(login, extra={**login.extra, **build_codex_extra(base_url)})


def _read_base_url(path: Path) -> str:
    """The server that Codex's own `config.toml` names; "" where it names none."""
    try:
        said = tomllib.loads(path.read_text(encoding="utf-8")).get("chatgpt_base_url")
    except (OSError, ValueError):
        return ""  # Codex itself will complain of a broken file; the usual server is right for nearly everyone
    return said.strip() if isinstance(said, str) else ""


# --- Where usage is asked for at the server that the person's own tools use in place of the vendor's


VENDOR_DOMAINS = ("chatgpt.com", "openai.com")
SERVER_KEYS = ("usage_url", "if_unknown")
"""Keys of `Credential.extra` that are said here: the address, and who is asked where it is unknown there."""


def is_vendor_host(host: str | None) -> bool:
    """Whether that host is OpenAI's own."""
    return any(host == vendor or (host or "").endswith(f".{vendor}") for vendor in VENDOR_DOMAINS)


def is_vendor_url(url: str) -> bool:
    """Whether that address is at one of OpenAI's own hosts."""
    parts = _split_url(url)
    return parts is not None and is_vendor_host(parts.hostname)


def build_codex_extra(base_url: str) -> dict[str, str]:
    """For a login of Codex, at its `chatgpt_base_url`; {} for the usual server."""
    parts = _split_url(base_url)
    if parts is None:
        return {}
    base = _format_origin(parts) + parts.path.rstrip("/")
    if parts.hostname in ("chatgpt.com", "chat.openai.com") and "/backend-api" not in base:
        base += "/backend-api"
    return {"usage_url": f"{base}/wham/usage" if "/backend-api" in base else f"{base}/api/codex/usage"}


def build_opencode_extra(base_url: str) -> dict[str, str]:
    """For a ChatGPT login of OpenCode, at its `baseURL`; {} for the vendor's.

    `if_unknown` is asked where that server knows nothing of it: not every proxy shares subscriptions, and the login is
    the vendor's in any case.
    """
    parts = _split_url(base_url)
    if parts is None or is_vendor_host(parts.hostname):
        return {}
    return {"usage_url": f"{_format_origin(parts)}/api/codex/usage", "if_unknown": "vendor"}


def build_api_key_extra(base_url: str) -> dict[str, str]:
    """For an API key, at a proxy; {} for the vendor's own server, which tells a key nothing."""
    parts = _split_url(base_url)
    return {} if parts is None or is_vendor_host(parts.hostname) else {"usage_url": f"{_format_origin(parts)}/v1/usage"}


def _split_url(url: str) -> SplitResult | None:
    """The parts of an address that can be asked; None of any other text."""
    try:
        parts = urlsplit(url)
        known = parts.scheme in ("https", "http") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return None
    return parts if known else None


def _format_origin(parts: SplitResult) -> str:
    """Scheme, host and port alone: a name and a password in the address are not ours to send."""
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


# --- OpenCode's login for ChatGPT, or its API key, with the proxy that OpenCode's config may name


OPENCODE_PROVIDER_ID = "openai"


def find_opencode_credentials(host_info: HostInfo, path: str | None = None) -> list[Credential]:
    """OpenCode's ChatGPT login or API key, [] where it has none.

    After a move to OpenCode 2 the file stays behind with a token that nobody renews, so that the database is asked as
    well: of two logins of one account the one that has not run out is used.

    Raises:
        UnusablePlaceError: a file or its entry is there and cannot be used; it carries what the others gave.
    """
    places = [partial(opencode.find_entry_in_files, host_info, OPENCODE_PROVIDER_ID, path)]
    if path is None:
        places.append(partial(opencode.find_entry_in_databases, host_info, OPENCODE_PROVIDER_ID))
    found = collect_credentials(*(partial(_read_opencode_entry, host_info, place) for place in places))
    if found or path is not None:
        return found
    key = opencode_config.find_option(host_info, OPENCODE_PROVIDER_ID, "apiKey")
    return [_make_opencode_api_key(host_info, key.path, key.value)] if key.value else []


def _read_opencode_entry(
    host_info: HostInfo, find_entry: Callable[[], opencode.OpenCodeEntry | None]
) -> list[Credential]:
    entry = find_entry()
    if entry is None:
        return []
    if entry.kind != "oauth" and not decode_claims(entry.token):
        return [_make_opencode_api_key(host_info, entry.path, entry.token)]
    override, stored, id_token = (
        chatgpt.get_text(entry.fields, name) for name in ("accountIdOverride", "accountId", "idToken")
    )
    found = chatgpt.make_credential(
        opencode.SOURCE_NAME,
        entry.path,
        entry.token,
        id_token=id_token,
        stored_account_id=stored,
        account_id_override=override,
        entry=entry,
    )
    server = build_opencode_extra(_read_opencode_base_url(host_info))
    return [replace(found, extra={**found.extra, **server})]


def _make_opencode_api_key(host_info: HostInfo, path: str, key: str) -> Credential:
    return chatgpt.make_api_key_credential(
        opencode.SOURCE_NAME, path, key, build_api_key_extra(_read_opencode_base_url(host_info))
    )


def _read_opencode_base_url(host_info: HostInfo) -> str:
    return opencode_config.find_option(host_info, OPENCODE_PROVIDER_ID, "baseURL").value
