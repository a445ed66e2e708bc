"""ChatGPT logins of OpenCode plugins, most of which keep several accounts; and usage that one of them has cached.

Observed; last checked 2026-11. `auth/openai.json` in `~/.opencode` is one account; `openai-codex-accounts.json` there,
in its `projects/*` and in `~/.codex/multi-auth` holds `{accounts: [{accountId, email, accessToken, refreshToken,
expiresAt (ms), enabled}]}`; `opencode-anthropic-auth/codex-accounts.json` in OpenCode's config folders
`{accounts: [{id, accountID, email, enabled, status, usage: {...}}]}`, where `id` is the plugin's own and a token is
rare. The keys are written in several ways. An account without an access token cannot be asked, because its refresh
token is not ours to spend; a disabled one is left alone. Never write here.
"""

import json
import re
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from watcher.credentials import Credential, Surroundings, chatgpt, files, opencode
from watcher.credentials.places import gather

PLACE = "OpenCode plugin"
ACCOUNTS = "openai-codex-accounts.json"
CACHED = "cached_usage"
"""Key of `Credential.extra`: what the plugin was told last, as JSON, in place of a token."""


def find(surroundings: Surroundings) -> list[Credential]:
    """The enabled ChatGPT accounts, [] where no plugin has any; one with `CACHED` has no token.

    Raises:
        UnusablePlaceError: a file is there and cannot be used.
    """
    return gather(*(partial(_accounts, path) for path in _paths(surroundings)))


def _paths(surroundings: Surroundings) -> Iterator[Path]:
    own = surroundings.home / ".opencode"
    multi = surroundings.env.get("CODEX_MULTI_AUTH_DIR")
    yield own / "auth" / "openai.json"
    yield own / ACCOUNTS
    yield from sorted((own / "projects").glob(f"*/{ACCOUNTS}"))
    yield (Path(multi) if multi else surroundings.home / ".codex" / "multi-auth") / ACCOUNTS
    for folder in opencode.config_folders(surroundings):
        yield folder / "opencode-anthropic-auth" / "codex-accounts.json"


def _accounts(path: Path) -> list[Credential]:
    content = files.read_json(path, cure=opencode.CURE)
    entries = [] if content is None else _entries(content)
    found = (_account(path, {_plain(key): value for key, value in entry.items()}) for entry in entries)
    return [login for login in found if login is not None]


def _entries(content: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The accounts in a list, else the file as the one account that it is."""
    accounts = content.get("accounts")
    if accounts is None:
        inner = (content.get(key) for key in ("openai", "tokens"))
        accounts = [next((each for each in inner if isinstance(each, dict)), content)]
    return [entry for entry in accounts if isinstance(entry, dict)] if isinstance(accounts, list) else []


def _plain(key: str) -> str:
    """`accessToken`, `access_token` -> `accesstoken`."""
    return re.sub(r"[^a-z]", "", key.lower())


def _account(path: Path, entry: Mapping[str, Any]) -> Credential | None:
    status = chatgpt.text(entry, "status").lower()
    if entry.get("enabled") is False or status not in ("", "active"):
        return None
    email, stored = chatgpt.text(entry, "email"), chatgpt.text(entry, "accountid", "chatgptaccountid")
    token = chatgpt.text(entry, "accesstoken", "access")
    if not token:
        return _cached(path, entry.get("usage"), stored, email)
    override, id_token = chatgpt.text(entry, "accountidoverride"), chatgpt.text(entry, "idtoken")
    login = chatgpt.credential(PLACE, str(path), token, id_token=id_token, stored=stored, override=override)
    email = login.account_name or email
    ends = opencode.expiry(entry.get("expiresat", entry.get("expires")), files.modified_s(path))
    return replace(login, account=login.account or email, account_name=email, expires_at=login.expires_at or ends)


def _cached(path: Path, usage: object, account: str, email: str) -> Credential | None:
    if not isinstance(usage, dict) or not (account or email):
        return None
    return Credential(
        provider="codex",
        place=f"{PLACE}'s cache",
        path=str(path),
        account=account or email,
        account_name=email,
        extra={CACHED: json.dumps(usage)},
    )
