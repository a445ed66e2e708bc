"""Logins of ChatGPT accounts in OpenCode plugins, with what their tokens claim about the owner.

Observed; last checked 2026-11. Access token and id token have the same claims: an object `https://api.openai.com/auth`
with `chatgpt_account_id` and `chatgpt_plan_type`, another `.../profile` with `email`, and `exp`.
"""

import base64
import json
import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from watcher.credentials import Credential, HostInfo, files, opencode
from watcher.credentials.files import collect_credentials, get_id, get_mapping, get_text

AUTH_CLAIM = "https://api.openai.com/auth"
PROFILE_CLAIM = "https://api.openai.com/profile"


def make_credential(  # noqa: PLR0913 - each is a field that one of the files may hold
    source_name: str,
    path: str,
    access_token: str,
    *,
    id_token: str = "",
    stored_account_id: str = "",
    account_id_override: str = "",
    stored_email: str = "",
    expires_at: datetime | None = None,
) -> Credential:
    """A login from an access token and what is stored beside it; the token's own claims come first.

    Args:
        source_name: for people.
        path: the file.
        access_token: the token that is sent.
        id_token: another token about the same person.
        stored_account_id: the account that the file names.
        account_id_override: the account that the user chose in place of the token's own.
        stored_email: likewise.
        expires_at: when the token ends, as the file says.
    """
    own, identity = decode_claims(access_token), decode_claims(id_token)
    account = account_id_override or _choose_account_id(own, identity, stored_account_id)
    email = get_text(get_mapping(own, PROFILE_CLAIM), "email") or get_text(identity, "email") or stored_email
    plans = (get_text(get_mapping(claims, AUTH_CLAIM), "chatgpt_plan_type") for claims in (own, identity))
    return Credential(
        provider="codex",
        source_name=source_name,
        path=path,
        token=access_token,
        expires_at=opencode.parse_expiry(own.get("exp"), None) or expires_at,
        account=account or email,
        account_name=email,
        plan=next(filter(None, plans), None),
        extra={"account_id": account} if account else {},
    )


def make_personal_credential(source_name: str, path: str, token: str) -> Credential:
    """A personal access token, which does not name its owner."""
    return Credential(provider="codex", source_name=source_name, path=path, token=token, extra={"personal": "yes"})


def make_api_key_credential(source_name: str, path: str, key: str, server_extra: Mapping[str, str]) -> Credential:
    """An API key, with where a proxy gives its usage (`codex.build_api_key_extra`)."""
    extra = {"api_key": "yes", **server_extra}
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


def decode_claims(token: str) -> dict[str, Any]:
    """The claims of a JSON web token, for identity and display only; {} if the text is no such token."""
    parts = token.split(".")
    if len(parts) != 3:  # noqa: PLR2004 - header, payload, signature
        return {}
    try:
        content = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


SOURCE_NAME = "OpenCode plugin"
ACCOUNTS_FILE = "openai-codex-accounts.json"
CACHED_USAGE_KEY = "cached_usage"
"""Key of `Credential.extra`: the usage that the plugin got last, as JSON, in place of a token."""


def find_plugin_credentials(host_info: HostInfo) -> list[Credential]:
    """The enabled ChatGPT accounts, [] if no plugin has any; one with `CACHED_USAGE_KEY` has no token.

    Raises:
        UnusableSourceError: a file exists and cannot be used.
    """
    return collect_credentials(*(partial(_read_accounts, path) for path in _list_files(host_info)))


def _list_files(host_info: HostInfo) -> Iterator[Path]:
    own = host_info.home / ".opencode"
    multi_auth = host_info.env.get("CODEX_MULTI_AUTH_DIR")
    yield own / "auth" / "openai.json"
    yield own / ACCOUNTS_FILE
    yield from sorted((own / "projects").glob(f"*/{ACCOUNTS_FILE}"))
    yield (Path(multi_auth) if multi_auth else host_info.home / ".codex" / "multi-auth") / ACCOUNTS_FILE
    for folder in opencode.list_config_folders(host_info):
        yield folder / "opencode-anthropic-auth" / "codex-accounts.json"


def _read_accounts(path: Path) -> list[Credential]:
    content = files.read_json(path, hint=opencode.SIGN_IN_HINT) or {}
    accounts = content.get("accounts")
    if accounts is None:  # the file is one account
        inner = (content.get(key) for key in ("openai", "tokens"))
        accounts = [next((each for each in inner if isinstance(each, dict)), content)]
    entries = [entry for entry in accounts if isinstance(entry, dict)] if isinstance(accounts, list) else []
    # `accessToken`, `access_token` -> `accesstoken`
    plain = ({re.sub(r"[^a-z]", "", key.lower()): value for key, value in entry.items()} for entry in entries)
    return [login for entry in plain if (login := _parse_account(path, entry)) is not None]


def _parse_account(path: Path, entry: Mapping[str, Any]) -> Credential | None:
    if entry.get("enabled") is False or get_text(entry, "status").lower() not in ("", "active"):
        return None
    email, stored = get_text(entry, "email"), get_id(entry, "accountid", "chatgptaccountid")
    token, usage = get_text(entry, "accesstoken", "access"), entry.get("usage")
    if token:
        return make_credential(
            SOURCE_NAME,
            str(path),
            token,
            id_token=get_text(entry, "idtoken"),
            stored_account_id=stored,
            account_id_override=get_id(entry, "accountidoverride"),
            stored_email=email,
            expires_at=opencode.parse_expiry(entry.get("expiresat", entry.get("expires")), files.read_mtime_s(path)),
        )
    if not isinstance(usage, dict) or not (stored or email):
        return None
    return Credential(
        provider="codex",
        source_name=f"{SOURCE_NAME}'s cache",
        path=str(path),
        account=stored or email,
        account_name=email,
        extra={CACHED_USAGE_KEY: json.dumps(usage)},
    )
