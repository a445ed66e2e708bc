"""Codex logins: Codex's own `auth.json`, OpenCode's entry, its plugins' accounts, and the server that they are used at.

Observed in Codex CLI; last checked 2026-11. `$CODEX_HOME/auth.json`, else `~/.codex/auth.json`, on every system:
`{OPENAI_API_KEY, tokens: {access_token, refresh_token, id_token, account_id}, last_refresh}`, at times in camel case;
or `{personal_access_token}`. If Codex keeps its login in the system's keyring, the file is absent; macOS's Keychain has
it under `Codex Auth` for each home, so it is only read for the usual one. The token is never renewed: its refresh token
is single-use, and using it would sign the user out.

Access token and id token have the same claims: an object `https://api.openai.com/auth` with `chatgpt_account_id` and
`chatgpt_plan_type`, another `.../profile` with `email`, and `exp`.
"""

import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from msgspec.structs import replace

from watcher.credentials import Credential, HostInfo, files, keyrings, opencode
from watcher.credentials.files import collect_credentials, decode_claims, get_id, get_mapping, get_text
from watcher.errors import NotSignedInError

SOURCE_NAME, KEYCHAIN_SERVICE = "Codex", "Codex Auth"
SIGN_IN_HINT = "run `codex login`"
OPENCODE_PROVIDER_ID = "openai"
VENDOR_DOMAINS = ("chatgpt.com", "openai.com")
AUTH_CLAIM, PROFILE_CLAIM = "https://api.openai.com/auth", "https://api.openai.com/profile"
SERVER_KEYS = ("usage_url", "if_unknown")
"""Keys of `Credential.extra`: the address of the usage, and where to ask if it does not know the login."""
CACHED_USAGE_KEY = "cached_usage"  # likewise: the usage that a plugin got last, as JSON, in place of a token
_API_KEY_PREFIX = "sk-"


def make_credential_from_token(token: str) -> Credential:
    """The login that the user gave in the config: an API key, a token of a sign-in, else a personal access token."""
    if token.startswith(_API_KEY_PREFIX):
        return _make_api_key_credential("config", "config", token, "")
    if decode_claims(token):
        return _make_credential("config", "config", {"access": token})
    return Credential(provider="codex", source_name="config", path="config", token=token, extra={"personal": "yes"})


def _make_credential(
    source_name: str,
    path: str,
    fields: Mapping[str, Any],
    *,
    expires_at: datetime | None = None,
    server: Mapping[str, str] | None = None,
) -> Credential:
    """A login from an access token and what is stored beside it; the token's own claims come first.

    Args:
        source_name: for people.
        path: the file.
        fields: `access` or `accessToken`, `idToken`, `accountId`, `email`, and the account that the user chose,
            `accountIdOverride`; with or without `_` and capitals.
        expires_at: when the token ends, as the file says.
        server: see `SERVER_KEYS`.
    """
    fields = {re.sub(r"[^a-z]", "", name.lower()): value for name, value in fields.items()}
    token = get_text(fields, "accesstoken", "access")
    own, identity = decode_claims(token), decode_claims(get_text(fields, "idtoken"))
    account = get_id(fields, "accountidoverride") or _choose_account_id(
        own, identity, get_id(fields, "accountid", "chatgptaccountid")
    )
    email = (
        get_text(get_mapping(own, PROFILE_CLAIM), "email") or get_text(identity, "email") or get_text(fields, "email")
    )
    plans = (get_text(get_mapping(claims, AUTH_CLAIM), "chatgpt_plan_type") for claims in (own, identity))
    return Credential(
        provider="codex",
        source_name=source_name,
        path=path,
        token=token,
        expires_at=opencode.parse_expiry(own.get("exp"), None) or expires_at,
        account=account or email,
        account_name=email,
        plan=next(filter(None, plans), None),
        extra={**({"account_id": account} if account else {}), **(server or {})},
    )


def _make_api_key_credential(source_name: str, path: str, key: str, base_url: str) -> Credential:
    extra = {"api_key": "yes", **build_api_key_extra(base_url)}
    return Credential(provider="codex", source_name=source_name, path=path, token=key, extra=extra)


def _choose_account_id(own: Mapping[str, Any], identity: Mapping[str, Any], stored_account_id: str) -> str:
    """The ChatGPT account: the claim, else what the file stores (no organization's id), else a claimed organization."""
    organizations = []
    for claims in (own, identity):
        found = get_id(get_mapping(claims, AUTH_CLAIM), "chatgpt_account_id") or get_id(claims, "chatgpt_account_id")
        if found:
            return found
        listed = claims.get("organizations")
        organizations += [each for each in listed if isinstance(each, dict)] if isinstance(listed, list) else []
    ids = (stored_account_id, *(get_id(each, "id") for each in organizations))
    return next((each for each in ids if each and not each.startswith("org-")), "")


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
    tokens = get_mapping(content, "tokens") or content
    personal = get_text(content, "personal_access_token", "personalAccessToken")
    key, server = get_text(content, "OPENAI_API_KEY"), _build_codex_extra(base_url)
    if get_text(tokens, "access_token", "accessToken"):
        return [_make_credential(SOURCE_NAME, source, tokens, server=server)]
    if personal:
        extra = {"personal": "yes", **server}
        return [Credential(provider="codex", source_name=SOURCE_NAME, path=source, token=personal, extra=extra)]
    if content.get("tokens") is not None:
        raise NotSignedInError(f"{source} holds no access token: {SIGN_IN_HINT}")
    return [_make_api_key_credential(SOURCE_NAME, source, key, base_url)] if key else []


def _read_base_url(path: Path) -> str:
    """The server that Codex's own `config.toml` names; "" if it names none, or is broken: Codex itself reports that."""
    try:
        text = files.read_text(path, hint=SIGN_IN_HINT) or ""
        return get_text(tomllib.loads(text), "chatgpt_base_url")
    except (NotSignedInError, ValueError):
        return ""


# --- OpenCode's login -------------------------------------------------------------------------------------------------


def find_opencode_credentials(host_info: HostInfo, path: str | None = None) -> Iterator[Credential]:
    """OpenCode's ChatGPT logins or API keys.

    OpenCode 2 leaves the file behind with a token that is not renewed, so the database is read as well: of two logins
    of one account the one that has not expired is used.

    Raises:
        NotSignedInError: a file or its entry exists and cannot be used.
    """
    base_url = opencode.find_option(host_info, OPENCODE_PROVIDER_ID, "baseURL")
    for entry in opencode.find_entries(host_info, OPENCODE_PROVIDER_ID, path):
        yield _make_opencode_credential(entry, base_url)


def _make_opencode_credential(entry: opencode.OpenCodeEntry, base_url: str) -> Credential:
    if entry.kind != "oauth" and not decode_claims(entry.token):
        return _make_api_key_credential(opencode.SOURCE_NAME, entry.path, entry.token, base_url)
    return _make_credential(
        opencode.SOURCE_NAME,
        entry.path,
        {**entry.fields, "access": entry.token},
        expires_at=entry.expires_at,
        server=_build_opencode_extra(base_url),
    )


# --- accounts of OpenCode's plugins -----------------------------------------------------------------------------------


PLUGIN_SOURCE_NAME = "OpenCode plugin"
ACCOUNTS_FILE = "openai-codex-accounts.json"


def find_plugin_credentials(host_info: HostInfo) -> list[Credential]:
    """The enabled ChatGPT accounts, [] if no plugin has any; one with `CACHED_USAGE_KEY` has no token.

    Raises:
        UnusableSourceError: a file exists and cannot be used.
    """
    return collect_credentials(*(partial(_read_accounts, path) for path in _list_plugin_files(host_info)))


def _list_plugin_files(host_info: HostInfo) -> Iterator[Path]:
    own = host_info.home / ".opencode"
    yield own / "auth" / "openai.json"
    yield own / ACCOUNTS_FILE
    yield from sorted((own / "projects").glob(f"*/{ACCOUNTS_FILE}"))
    yield host_info.home / ".codex" / "multi-auth" / ACCOUNTS_FILE
    for folder in opencode.list_config_folders(host_info):
        yield folder / "opencode-anthropic-auth" / "codex-accounts.json"


def _read_accounts(path: Path) -> list[Credential]:
    content = files.read_json(path, hint=opencode.SIGN_IN_HINT) or {}
    accounts = content.get("accounts")
    if accounts is None:  # the file is one account
        accounts = [get_mapping(content, "openai") or get_mapping(content, "tokens") or content]
    entries = [entry for entry in accounts if isinstance(entry, dict)] if isinstance(accounts, list) else []
    return [login for entry in entries if (login := _parse_account(path, entry)) is not None]


def _parse_account(path: Path, entry: Mapping[str, Any]) -> Credential | None:
    if entry.get("enabled") is False or get_text(entry, "status").lower() not in ("", "active"):
        return None
    ends = (entry[name] for name in ("expiresAt", "expires_at", "expires") if name in entry)
    expires_at = opencode.parse_expiry(next(ends, None), files.read_mtime_s(path))
    login, usage = _make_credential(PLUGIN_SOURCE_NAME, str(path), entry, expires_at=expires_at), entry.get("usage")
    if login.token:
        return login
    if not isinstance(usage, dict) or not login.account:
        return None
    return replace(login, source_name=f"{PLUGIN_SOURCE_NAME}'s cache", extra={CACHED_USAGE_KEY: json.dumps(usage)})


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
