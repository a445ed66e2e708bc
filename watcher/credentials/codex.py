"""Codex logins: Codex's own `auth.json`, OpenCode's entry, and the server that either tool is configured to use.

Observed in Codex CLI; last checked 2026-11. `$CODEX_HOME/auth.json`, else `~/.codex/auth.json`, on every system:
`{OPENAI_API_KEY, tokens: {access_token, refresh_token, id_token, account_id}, last_refresh}`, at times in camel case;
or `{personal_access_token}`. If Codex keeps its login in the system's keyring, the file is absent; macOS's Keychain has
it under `Codex Auth` for each home, so it is only read for the usual one. The token is never renewed: its refresh token
is single-use, and using it would sign the user out.
"""

import tomllib
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from msgspec.structs import replace

from watcher.credentials import Credential, HostInfo, chatgpt, files, keyrings, opencode
from watcher.credentials.files import collect_credentials, get_id, get_text
from watcher.errors import NotSignedInError

SOURCE_NAME, KEYCHAIN_SERVICE = "Codex", "Codex Auth"
SIGN_IN_HINT = "run `codex login`"
OPENCODE_PROVIDER_ID = "openai"
VENDOR_DOMAINS = ("chatgpt.com", "openai.com")
SERVER_KEYS = ("usage_url", "if_unknown")
"""Keys of `Credential.extra`: the address of the usage, and where to ask if it does not know the login."""
_API_KEY_PREFIX = "sk-"


def make_credential_from_token(token: str) -> Credential:
    """The login that the user gave in the config: an API key, a token of a sign-in, else a personal access token."""
    if token.startswith(_API_KEY_PREFIX):
        return chatgpt.make_api_key_credential("config", "config", token, {})
    make = chatgpt.make_credential if chatgpt.decode_claims(token) else chatgpt.make_personal_credential
    return make("config", "config", token)


# --- Codex's own login ------------------------------------------------------------------------------------------------


def find_codex_credentials(host_info: HostInfo, path: str | None = None) -> list[Credential]:
    """Codex's login, [] if it has none.

    Args:
        host_info: the machine.
        path: a file of that shape to read in place of the usual one.

    Raises:
        NotSignedInError: the file exists and cannot be used.
    """
    home = host_info.env.get("CODEX_HOME")
    file = Path(path) if path is not None else (Path(home) if home else host_info.home / ".codex") / "auth.json"
    content, source = files.read_json(file, hint=SIGN_IN_HINT), str(file)
    if content is None and path is None and not home and host_info.platform == "darwin":
        content = keyrings.decode_json(keyrings.read_keychain(host_info, KEYCHAIN_SERVICE))
        source = f"keychain:{KEYCHAIN_SERVICE}"
    return [] if content is None else _parse_auth_file(content, source, _read_base_url(file.with_name("config.toml")))


def _parse_auth_file(content: Mapping[str, Any], source: str, base_url: str) -> list[Credential]:
    tokens = content.get("tokens")
    tokens = tokens if isinstance(tokens, dict) else content
    access = get_text(tokens, "access_token", "accessToken")
    personal = get_text(content, "personal_access_token", "personalAccessToken")
    key = get_text(content, "OPENAI_API_KEY")
    if access:
        login = chatgpt.make_credential(
            SOURCE_NAME,
            source,
            access,
            id_token=get_text(tokens, "id_token", "idToken"),
            stored_account_id=get_id(tokens, "account_id", "accountId"),
        )
    elif personal:
        login = chatgpt.make_personal_credential(SOURCE_NAME, source, personal)
    elif content.get("tokens") is not None:
        raise NotSignedInError(f"{source} holds no access token: {SIGN_IN_HINT}")
    elif key:
        return [chatgpt.make_api_key_credential(SOURCE_NAME, source, key, build_api_key_extra(base_url))]
    else:
        return []
    return [replace(login, extra={**login.extra, **_build_codex_extra(base_url)})]


def _read_base_url(path: Path) -> str:
    """The server that Codex's own `config.toml` names; "" if it names none, or is broken: Codex itself reports that."""
    try:
        text = files.read_text(path, hint=SIGN_IN_HINT) or ""
        return get_text(tomllib.loads(text), "chatgpt_base_url")
    except (NotSignedInError, ValueError):
        return ""


# --- OpenCode's login -------------------------------------------------------------------------------------------------


def find_opencode_credentials(host_info: HostInfo, path: str | None = None) -> list[Credential]:
    """OpenCode's ChatGPT login or API key, [] if it has none.

    OpenCode 2 leaves the file behind with a token that is not renewed, so the database is read as well: of two logins
    of one account the one that has not expired is used.

    Raises:
        UnusableSourceError: a file or its entry exists and cannot be used; it carries what the others gave.
    """
    finders = [partial(opencode.find_entry_in_files, host_info, OPENCODE_PROVIDER_ID, path)]
    if path is None:
        finders.append(partial(opencode.find_entry_in_databases, host_info, OPENCODE_PROVIDER_ID))
    base_url = opencode.find_option(host_info, OPENCODE_PROVIDER_ID, "baseURL").value
    found = collect_credentials(*(partial(_read_opencode_entry, find, base_url) for find in finders))
    if found or path is not None:
        return found
    key = opencode.find_option(host_info, OPENCODE_PROVIDER_ID, "apiKey")
    return [_make_opencode_api_key(key.path, key.value, base_url)] if key.value else []


def _read_opencode_entry(find_entry: Callable[[], opencode.OpenCodeEntry | None], base_url: str) -> list[Credential]:
    entry = find_entry()
    if entry is None:
        return []
    if entry.kind != "oauth" and not chatgpt.decode_claims(entry.token):
        return [_make_opencode_api_key(entry.path, entry.token, base_url)]
    login = chatgpt.make_credential(
        opencode.SOURCE_NAME,
        entry.path,
        entry.token,
        id_token=get_text(entry.fields, "idToken"),
        stored_account_id=get_id(entry.fields, "accountId"),
        account_id_override=get_id(entry.fields, "accountIdOverride"),
        expires_at=entry.expires_at,
    )
    return [replace(login, extra={**login.extra, **_build_opencode_extra(base_url)})]


def _make_opencode_api_key(path: str, key: str, base_url: str) -> Credential:
    return chatgpt.make_api_key_credential(opencode.SOURCE_NAME, path, key, build_api_key_extra(base_url))


# --- the server that gives the usage, if the tools are configured to use another than OpenAI's ------------------------


def is_vendor_url(url: str) -> bool:
    """Whether that address is at one of OpenAI's own hosts."""
    host = urlsplit(_get_origin(url)).hostname or ""
    return any(host == domain or host.endswith(f".{domain}") for domain in VENDOR_DOMAINS)


def _build_codex_extra(base_url: str) -> dict[str, str]:
    """For a login of Codex, at its `chatgpt_base_url`; {} for the usual server."""
    origin = _get_origin(base_url)
    if not origin:
        return {}
    base = origin + urlsplit(base_url).path.rstrip("/")
    if urlsplit(origin).hostname in ("chatgpt.com", "chat.openai.com") and "/backend-api" not in base:
        base += "/backend-api"
    return {"usage_url": f"{base}/wham/usage" if "/backend-api" in base else f"{base}/api/codex/usage"}


def _build_opencode_extra(base_url: str) -> dict[str, str]:
    """For a ChatGPT login of OpenCode, at its `baseURL`; {} for the vendor's.

    If that server does not know the login, the vendor is asked: not every proxy shares subscriptions.
    """
    origin = _get_origin(base_url)
    is_proxy = origin and not is_vendor_url(origin)
    return {"usage_url": f"{origin}/api/codex/usage", "if_unknown": "vendor"} if is_proxy else {}


def build_api_key_extra(base_url: str) -> dict[str, str]:
    """For an API key, at a proxy; {} for the vendor's own server, which gives a key no usage."""
    origin = _get_origin(base_url)
    return {"usage_url": f"{origin}/v1/usage"} if origin and not is_vendor_url(origin) else {}


def _get_origin(url: str) -> str:
    """Scheme, host and port of an address, without its name and password; "" for text that cannot be requested."""
    try:
        parts = urlsplit(url)
        is_usable = parts.scheme in ("https", "http") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return ""
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}" if is_usable else ""
