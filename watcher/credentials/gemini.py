"""Google logins that may read Gemini CLI's quota, and the OAuth clients that may renew them.

Three places, best first: OpenCode's `google` (its `refresh` is `token|projectId|managedProjectId`), the accounts of
opencode-antigravity-auth, and Gemini CLI's own `~/.gemini/oauth_creds.json`, gated by `~/.gemini/settings.json`: a
login by API key has no quota to read. Observed; last checked 2026-11-22. A refresh token of Google stays valid after
its use, so access tokens are renewed in memory.
"""

import json
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from watcher.credentials import Credential, HostInfo, files, opencode
from watcher.credentials.files import decode_claims, get_mapping, get_text
from watcher.errors import NotSignedInError, UnsupportedError
from watcher.system.files import read_file

SOURCE_NAME = "Gemini CLI"
SIGN_IN_HINT = "run `gemini` once and sign in with Google"
CLIENTS_KEY = "clients"  # key of `Credential.extra`: JSON list of [client id, client secret], the most likely first
LIMITED_UNTIL_KEY = "limited_until"  # likewise: until when OpenCode's plugin was refused
CLIENT_VARIABLES = (
    ("GEMINI_CLIENT_ID", "GEMINI_CLIENT_SECRET"),
    ("GEMINI_OAUTH_CLIENT_ID", "GEMINI_OAUTH_CLIENT_SECRET"),
)
API_KEY_AUTH_TYPES = ("gemini-api-key", "api-key", "vertex-ai")
MAX_SCRIPT_BYTES = 4 * 1024 * 1024
_SCRIPT_CLIENT = re.compile(r"OAUTH_CLIENT_(ID|SECRET)\s*=\s*['\"]([^'\"]+)['\"]")


def find_clients(env: Mapping[str, str]) -> list[tuple[str, str]]:
    """The OAuth clients named in the environment, by value or by the script of an installed Gemini CLI; [] for none."""
    found = [(env.get(id_, "").strip(), env.get(secret, "").strip()) for id_, secret in CLIENT_VARIABLES]
    script = env.get("GEMINI_OAUTH2_JS_PATH")
    if script:
        try:
            parts = dict(_SCRIPT_CLIENT.findall(read_file(Path(script), MAX_SCRIPT_BYTES).decode(errors="replace")))
        except OSError:
            parts = {}  # the poll reports what is missing
        found.append((parts.get("ID", ""), parts.get("SECRET", "")))
    return list(dict.fromkeys(pair for pair in found if all(pair)))


def find_in_opencode(host_info: HostInfo, path: str | None = None) -> list[Credential]:
    """OpenCode's Google login; [] if there is none, or only an API key."""
    entry = opencode.find_entry(host_info, "google", path)
    if entry is None or entry.kind != "oauth":
        return []
    refresh, project, managed = (*(part.strip() for part in entry.refresh_token.split("|")), "", "", "")[:3]
    return [
        Credential(
            provider="gemini_cli",
            source_name=opencode.SOURCE_NAME,
            path=entry.path,
            token=entry.token,
            refresh_token=refresh,
            expires_at=entry.expires_at,
            extra=build_extra(host_info, project or managed),
        )
    ]


def find_in_file(host_info: HostInfo, path: str) -> list[Credential]:
    """The logins in a file that the user named: OpenCode's, the plugin's or Gemini CLI's."""
    content = files.read_json(Path(path), hint=SIGN_IN_HINT) or {}
    if "google" in content:
        return find_in_opencode(host_info, path)
    return find_in_accounts(host_info, path) if "accounts" in content else find_in_cli(host_info, path)


def find_in_cli(host_info: HostInfo, path: str | None = None) -> list[Credential]:
    """Gemini CLI's own login; [] if there is none.

    Raises:
        NotSignedInError: the file exists and cannot be used.
        UnsupportedError: Gemini CLI is set to an API key or to Vertex AI.
    """
    folder = host_info.home / ".gemini"
    file = Path(path) if path is not None else folder / "oauth_creds.json"
    content = files.read_json(file, hint=SIGN_IN_HINT)
    if content is None:
        return []
    if path is None:
        _require_google_login(folder / "settings.json")
    if not get_text(content, "access_token", "refresh_token"):
        raise NotSignedInError(f"{file} holds no token: {SIGN_IN_HINT}")
    identity = decode_claims(get_text(content, "id_token"))
    email, subject = get_text(identity, "email"), get_text(identity, "sub")
    extra = {
        **build_extra(host_info, get_text(content, "project_id", "quota_project_id"), identity.get("aud")),
        "subject": subject,
        "scopes": get_text(content, "scope"),
        "id_token": get_text(content, "id_token"),
        "domain": get_text(identity, "hd"),
    }
    return [
        Credential(
            provider="gemini_cli",
            source_name=SOURCE_NAME,
            path=str(file),
            token=get_text(content, "access_token"),
            refresh_token=get_text(content, "refresh_token"),
            expires_at=opencode.parse_expiry(content.get("expiry_date"), None),
            account=(email or subject).casefold(),
            account_name=email,
            extra={name: value for name, value in extra.items() if value},
        )
    ]


# --- the accounts of the plugin opencode-antigravity-auth -------------------------------------------------------------


ACCOUNTS_FILE = "antigravity-accounts.json"
ACCOUNTS_SIGN_IN_HINT = "sign in again with `opencode auth login`"
CLI_POOLS, ANTIGRAVITY_POOLS = ("gemini-cli",), ("claude", "gemini-antigravity", "gemini")
"""Names of the quotas in `rateLimitResetTimes`; before version 3 Antigravity's was `gemini`."""


def find_in_accounts(
    host_info: HostInfo, path: str | None = None, pools: Collection[str] = CLI_POOLS
) -> list[Credential]:
    """The enabled accounts, the active one first, with until when the plugin was refused in these pools.

    Raises:
        NotSignedInError: the file exists and cannot be used.
    """
    usual = [folder / ACCOUNTS_FILE for folder in opencode.list_config_folders(host_info)]
    for file in [Path(path)] if path is not None else usual:
        content = files.read_json(file, hint=ACCOUNTS_SIGN_IN_HINT)
        if content is None and file.with_name(f"{file.name}.lock").exists():
            files.wait_for_writer()  # it is being replaced
            content = files.read_json(file, hint=ACCOUNTS_SIGN_IN_HINT)
        if content is not None:
            entries = _list_enabled_entries(content, file)
            return [_make_account_credential(host_info, file, each, pools) for each in entries]
    return []


def _make_account_credential(
    host_info: HostInfo, path: Path, entry: Mapping[str, Any], pools: Collection[str]
) -> Credential:
    email, extra = get_text(entry, "email"), build_extra(host_info, get_text(entry, "projectId", "managedProjectId"))
    # version 1 has one time for all of Antigravity's pools
    limits = get_mapping(entry, "rateLimitResetTimes") or {"claude": entry.get("rateLimitResetTime")}
    times = (opencode.parse_expiry(at, None) for key, at in limits.items() if key.partition(":")[0] in pools)
    until = max(filter(None, times), default=None)
    return Credential(
        provider="gemini_cli",
        source_name="OpenCode Antigravity accounts",
        path=str(path),
        refresh_token=get_text(entry, "refreshToken"),
        account=email.casefold(),
        account_name=email,
        extra={**extra, LIMITED_UNTIL_KEY: until.isoformat()} if until else extra,
    )


def _list_enabled_entries(content: Mapping[str, Any], path: Path) -> list[dict[str, Any]]:
    """The entries that can be used, the active one first, of one email the one used last."""
    entries = content.get("accounts")
    if not isinstance(entries, list):
        raise NotSignedInError(f"{path} holds no list of accounts: {ACCOUNTS_SIGN_IN_HINT}")
    active = _get_active_index(content, len(entries))
    newest: dict[object, tuple[int, dict[str, Any]]] = {}  # by email; an account without one by its index
    for index, entry in enumerate(entries):
        if isinstance(entry, dict) and get_text(entry, "refreshToken"):
            key = get_text(entry, "email").casefold() or index
            if key not in newest or _get_last_use(entry) > _get_last_use(newest[key][1]):
                newest[key] = index, entry
    if entries and not newest:
        raise NotSignedInError(f"{path} holds no account that can be used: {ACCOUNTS_SIGN_IN_HINT}")
    enabled = [each for each in newest.values() if each[1].get("enabled", True) is not False]
    return [entry for _, entry in sorted(enabled, key=lambda each: (each[0] != active, each[0]))]


def _get_last_use(entry: Mapping[str, Any]) -> tuple[float, float]:
    values = (entry.get("lastUsed"), entry.get("addedAt"))
    used, added = (float(value) if isinstance(value, (int, float)) else 0.0 for value in values)
    return used, added


def _get_active_index(content: Mapping[str, Any], count: int) -> int:
    """The index in use for Gemini, clamped to the list."""
    for index in (get_mapping(content, "activeIndexByFamily").get("gemini"), content.get("activeIndex")):
        if isinstance(index, int) and not isinstance(index, bool):
            return min(max(index, 0), count - 1)
    return 0


# --- all places -------------------------------------------------------------------------------------------------------


def select_usable(credentials: Sequence[Credential], env: Mapping[str, str]) -> list[Credential]:
    """The logins; one of Gemini CLI that does not name its owner only if there is no other.

    The poller uses one login of an account, so each has what the account's others know, such as the project. That of
    the environment belongs to the only account, if that names no project itself.
    """
    usable = [each for each in credentials if each.account or each.source_name != SOURCE_NAME] or list(credentials)
    owners = {each.refresh_token: each.account for each in usable if each.account and each.refresh_token}
    keys = [each.account or owners.get(each.refresh_token, each.refresh_token) for each in usable]
    known: dict[str, dict[str, str]] = {}  # key of an account -> what its logins know, the best place's first
    for key, each in zip(keys, usable, strict=True):
        known[key] = {**each.extra, **known.get(key, {})}
    project = env.get("GEMINI_PROJECT_ID", "").strip()
    default = {"project": project} if project and len(known) == 1 else {}
    return [
        replace(each, extra={**default, **known[key], **each.extra}) for key, each in zip(keys, usable, strict=True)
    ]


def _require_google_login(path: Path) -> None:
    """Raise if Gemini CLI's settings choose a login that has no quota to read."""
    settings = files.read_json(path, hint="correct it, or run `gemini` once") or {}
    chosen = get_mapping(get_mapping(settings, "security"), "auth").get("selectedType")
    if chosen in API_KEY_AUTH_TYPES:
        raise UnsupportedError(
            f"{path}: Gemini CLI signs in by {chosen}, which has no quota to read: choose Login with Google in `gemini`"
        )


def build_extra(host_info: HostInfo, project: str, audience: object = None) -> dict[str, str]:
    """What a poll needs beside the tokens: the project and the clients, the one that issued the login first."""
    named = find_clients(host_info.env)
    issuers = audience if isinstance(audience, list) else [audience]
    named.sort(key=lambda pair: pair[0] not in issuers)
    extra = {CLIENTS_KEY: json.dumps(named)} if named else {}
    return {**extra, "project": project} if project else extra
