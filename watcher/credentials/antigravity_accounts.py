"""The Google accounts of the OpenCode plugin opencode-antigravity-auth: `antigravity-accounts.json`.

Observed in the plugin's versions 1 to 4 of the file; last checked 2026-11-22: `{version, accounts: [{email?,
refreshToken, projectId?, managedProjectId?, enabled?, addedAt, lastUsed, rateLimitResetTimes?}], activeIndex,
activeIndexByFamily?}`. The plugin replaces the file under a lock folder `<file>.lock`, so that it may be missing for a
moment. Never write or lock it here.
"""

from collections.abc import Callable, Collection, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from msgspec import Struct

from watcher.credentials import HostInfo, files
from watcher.credentials.opencode import list_config_folders, parse_expiry
from watcher.errors import NotSignedInError

ACCOUNTS_SOURCE_NAME = "OpenCode Antigravity accounts"
SIGN_IN_HINT = "sign in again with `opencode auth login`"
ACCOUNTS_FILE = "antigravity-accounts.json"
CLI_POOLS, ANTIGRAVITY_POOLS = ("gemini-cli",), ("claude", "gemini-antigravity")


class GoogleAccount(Struct, frozen=True, kw_only=True):
    """One enabled Google account; the one in use comes first."""

    path: str
    refresh_token: str
    email: str = ""
    project: str = ""
    refused_until_by_pool: Mapping[
        str, datetime
    ] = {}  # pool, or `pool:model` -> until when the plugin itself was refused there

    def get_refused_until(self, pools: Collection[str]) -> datetime | None:
        """Until when the plugin was refused in these pools, or for a model of them; None: it was not."""
        return max(
            (at for key, at in self.refused_until_by_pool.items() if key.partition(":")[0] in pools), default=None
        )


def find_accounts(
    host_info: HostInfo, path: str | None = None, wait: Callable[[], None] = files.wait_for_writer
) -> list[GoogleAccount]:
    """The enabled accounts, the active one first; [] where there is no file or none in it.

    Raises:
        NotSignedInError: the file is there and cannot be used.
    """
    for where in (
        [Path(path)] if path is not None else [each / ACCOUNTS_FILE for each in list_config_folders(host_info)]
    ):
        content = files.read_json(where, hint=SIGN_IN_HINT)
        if content is None and where.with_name(f"{where.name}.lock").exists():
            wait()  # it is being replaced
            content = files.read_json(where, hint=SIGN_IN_HINT)
        if content is not None:
            return _parse_accounts(content, where)
    return []


def _parse_accounts(content: Mapping[str, Any], path: Path) -> list[GoogleAccount]:
    entries = content.get("accounts")
    if not isinstance(entries, list):
        raise NotSignedInError(f"{path} holds no list of accounts: {SIGN_IN_HINT}")
    kept = {
        index: entry
        for index, entry in enumerate(entries)
        if isinstance(entry, dict) and _get_text(entry, "refreshToken")
    }
    if entries and not kept:
        raise NotSignedInError(f"{path} holds no account that can be used: {SIGN_IN_HINT}")
    newest = _drop_duplicates(kept)
    enabled = [index for index in newest if kept[index].get("enabled", True) is not False]
    active = _get_active_index(content, len(entries))
    enabled.sort(key=lambda index: index != active)
    return [_parse_account(kept[index], path) for index in enabled]


def _drop_duplicates(entries: Mapping[int, Mapping[str, Any]]) -> list[int]:
    """The entries' indexes; of several with one email only the one last used, without an email each by itself."""
    best: dict[object, int] = {}
    for index, entry in entries.items():
        email = _get_text(entry, "email").casefold() or index
        if email not in best or _get_last_use(entry) > _get_last_use(entries[best[email]]):
            best[email] = index
    return sorted(best.values())


def _get_last_use(entry: Mapping[str, Any]) -> tuple[float, float]:
    values = (entry.get("lastUsed"), entry.get("addedAt"))
    used, added = (float(value) if isinstance(value, (int, float)) else 0.0 for value in values)
    return used, added


def _get_active_index(content: Mapping[str, Any], count: int) -> int:
    """The index in use for Gemini, clamped to the list."""
    families = content.get("activeIndexByFamily")
    named = families.get("gemini") if isinstance(families, dict) else None
    for index in (named, content.get("activeIndex")):
        if isinstance(index, int) and not isinstance(index, bool):
            return min(max(index, 0), count - 1)
    return 0


def _parse_account(entry: Mapping[str, Any], path: Path) -> GoogleAccount:
    return GoogleAccount(
        path=str(path),
        refresh_token=_get_text(entry, "refreshToken"),
        email=_get_text(entry, "email"),
        project=_get_text(entry, "projectId") or _get_text(entry, "managedProjectId"),
        refused_until_by_pool=_parse_refusals(entry),
    )


def _parse_refusals(entry: Mapping[str, Any]) -> dict[str, datetime]:
    """The plugin's refusals by the names of version 3; before that, `gemini` was Antigravity's pool."""
    limits = entry.get("rateLimitResetTimes")
    said = (
        {"gemini-antigravity" if key == "gemini" else key: at for key, at in limits.items()}
        if isinstance(limits, dict)
        else {}
    )
    if not said:  # version 1: one time for all
        said = dict.fromkeys(ANTIGRAVITY_POOLS, entry.get("rateLimitResetTime"))
    times = {key: parse_expiry(value, None) for key, value in said.items()}
    return {key: at for key, at in times.items() if at is not None}


def _get_text(entry: Mapping[str, Any], name: str) -> str:
    value = entry.get(name)
    return value.strip() if isinstance(value, str) else ""
