"""ChatGPT logins of OpenCode plugins, most of which keep several accounts; and usage that one of them has cached.

Observed; last checked 2026-11. `auth/openai.json` in `~/.opencode` is one account; `openai-codex-accounts.json` there,
in its `projects/*` and in `~/.codex/multi-auth` holds `{accounts: [{accountId, email, accessToken, refreshToken,
expiresAt (ms), enabled}]}`; `opencode-anthropic-auth/codex-accounts.json` in OpenCode's config folders
`{accounts: [{id, accountID, email, enabled, status, usage: {...}}]}`, where `id` is the plugin's own and a token is
rare. The keys have several spellings. An account without an access token cannot be polled, because its refresh token is
single-use; a disabled one is ignored.
"""

import json
import re
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from watcher.credentials import Credential, HostInfo, chatgpt, files, opencode
from watcher.credentials.files import get_id, get_text
from watcher.credentials.sources import collect_credentials

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
        login = chatgpt.make_credential(
            SOURCE_NAME,
            str(path),
            token,
            id_token=get_text(entry, "idtoken"),
            stored_account_id=stored,
            account_id_override=get_id(entry, "accountidoverride"),
        )
        email = login.account_name or email
        ends = opencode.parse_expiry(entry.get("expiresat", entry.get("expires")), files.read_mtime_s(path))
        return replace(login, account=login.account or email, account_name=email, expires_at=login.expires_at or ends)
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
