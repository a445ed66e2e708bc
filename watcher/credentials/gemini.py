"""Google logins that may read Gemini CLI's quota, and the OAuth clients that may renew them.

Three places, best first: OpenCode's `google` (its `refresh` is `token|projectId|managedProjectId`), the accounts of
opencode-antigravity-auth, and Gemini CLI's own `~/.gemini/oauth_creds.json`, gated by `~/.gemini/settings.json`: a
login by API key has no quota to read. Observed; last checked 2026-11-22. Google keeps a refresh token valid after
its use, so access tokens are renewed in memory. Never write here: Gemini CLI and OpenCode keep their own files.
"""

import json
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from watcher.credentials import Credential, Surroundings, antigravity_accounts, files, opencode
from watcher.credentials.jwt import claims
from watcher.errors import NotSignedInError, UnsupportedError

PLACE = "Gemini CLI"
CURE = "run `gemini` once and sign in with Google"
CLIENTS = "clients"  # key of `Credential.extra`: JSON list of [client id, client secret], likeliest first
LIMITED = "limited_until"  # likewise: until when OpenCode's plugin was refused
CLIENT_NAMES = (("GEMINI_CLIENT_ID", "GEMINI_CLIENT_SECRET"), ("GEMINI_OAUTH_CLIENT_ID", "GEMINI_OAUTH_CLIENT_SECRET"))
KEY_LOGINS = ("gemini-api-key", "api-key", "vertex-ai")
_IN_SCRIPT = re.compile(r"OAUTH_CLIENT_(ID|SECRET)\s*=\s*['\"]([^'\"]+)['\"]")


def clients(env: Mapping[str, str]) -> list[tuple[str, str]]:
    """The OAuth clients named in the environment, by value or by the script of an installed Gemini CLI; [] for none."""
    found = [(env.get(id_, "").strip(), env.get(secret, "").strip()) for id_, secret in CLIENT_NAMES]
    script = env.get("GEMINI_OAUTH2_JS_PATH")
    if script:
        try:
            said = dict(_IN_SCRIPT.findall(Path(script).read_text(errors="replace")))
        except OSError:
            said = {}  # the login says what is missing when it is asked
        found.append((said.get("ID", ""), said.get("SECRET", "")))
    return list(dict.fromkeys(pair for pair in found if all(pair)))


def from_opencode(surroundings: Surroundings, path: str | None = None) -> list[Credential]:
    """OpenCode's Google login; [] where there is none, or only an API key."""
    entry = opencode.find(surroundings, "google", path)
    if entry is None or entry.kind != "oauth":
        return []
    refresh, project, managed = (*(part.strip() for part in entry.refresh_token.split("|")), "", "", "")[:3]
    return [
        Credential(
            provider="gemini_cli",
            place=opencode.PLACE,
            path=entry.path,
            token=entry.token,
            refresh_token=refresh,
            expires_at=entry.expires_at,
            extra=_extra(surroundings, project or managed),
        )
    ]


def from_accounts(
    surroundings: Surroundings, path: str | None = None, pools: Collection[str] = antigravity_accounts.CLI_POOLS
) -> list[Credential]:
    """Every enabled account of opencode-antigravity-auth, and until when the plugin was refused in these pools."""
    found = []
    for account in antigravity_accounts.find(surroundings, path):
        extra = _extra(surroundings, account.project)
        until = account.refused_until(pools)
        if until:
            extra[LIMITED] = until.isoformat()
        found.append(
            Credential(
                provider="gemini_cli",
                place=antigravity_accounts.PLACE,
                path=account.path,
                refresh_token=account.refresh_token,
                account=account.email.casefold(),
                account_name=account.email,
                extra=extra,
            )
        )
    return found


def from_file(surroundings: Surroundings, path: str) -> list[Credential]:
    """The logins in a file that the person named: OpenCode's, the plugin's or Gemini CLI's."""
    content = files.read_json(Path(path), cure=CURE) or {}
    if "google" in content:
        return from_opencode(surroundings, path)
    return from_accounts(surroundings, path) if "accounts" in content else from_cli(surroundings, path)


def from_cli(surroundings: Surroundings, path: str | None = None) -> list[Credential]:
    """Gemini CLI's own login; [] where there is none.

    Raises:
        NotSignedInError: the file is there and cannot be used.
        UnsupportedError: Gemini CLI is set to an API key or to Vertex AI.
    """
    folder = surroundings.home / ".gemini"
    where = Path(path) if path is not None else folder / "oauth_creds.json"
    content = files.read_json(where, cure=CURE)
    if content is None:
        return []
    if path is None:
        _demand_google(folder / "settings.json")
    if not _text(content, "access_token") and not _text(content, "refresh_token"):
        raise NotSignedInError(f"{where} holds no token: {CURE}")
    identity = claims(_text(content, "id_token"))
    email, subject = _text(identity, "email"), _text(identity, "sub")
    project = _text(content, "project_id") or _text(content, "quota_project_id")
    audience = identity.get("aud")
    extra = _extra(surroundings, project, audience)
    extra |= {"subject": subject, "scopes": _text(content, "scope"), "id_token": _text(content, "id_token")}
    extra["domain"] = _text(identity, "hd")
    return [
        Credential(
            provider="gemini_cli",
            place=PLACE,
            path=str(where),
            token=_text(content, "access_token"),
            refresh_token=_text(content, "refresh_token"),
            expires_at=opencode.expiry(content.get("expiry_date"), None),
            account=(email or subject).casefold(),
            account_name=email,
            extra={name: value for name, value in extra.items() if value},
        )
    ]


def one_each(found: Sequence[Credential]) -> list[Credential]:
    """The logins without repeats: one for each refresh token and email, the better place with what the other knows.

    A login of Gemini CLI that does not say whose it is counts only where it is the only one.
    """
    kept: list[Credential] = []
    for each in found:
        twin = next((index for index, other in enumerate(kept) if _same(each, other)), None)
        if twin is not None:
            kept[twin] = _joined(kept[twin], each)
        elif each.account or each.place != PLACE or not kept:
            kept.append(each)
    return kept


def with_project(found: Sequence[Credential], env: Mapping[str, str]) -> list[Credential]:
    """The logins; the only one, where it names no project, with the one of the environment: it is nobody else's."""
    named = env.get("GEMINI_PROJECT_ID", "").strip()
    if len(found) != 1 or not named or found[0].extra.get("project"):
        return list(found)
    return [replace(found[0], extra={**found[0].extra, "project": named})]


def _same(one: Credential, other: Credential) -> bool:
    if one.refresh_token and one.refresh_token == other.refresh_token:
        return True
    return bool(one.account) and one.account == other.account


def _joined(best: Credential, other: Credential) -> Credential:
    return Credential(
        provider=best.provider,
        place=best.place,
        path=best.path,
        token=best.token,
        refresh_token=best.refresh_token or other.refresh_token,
        expires_at=best.expires_at,
        account=best.account or other.account,
        account_name=best.account_name or other.account_name,
        extra={**other.extra, **best.extra},
    )


def _demand_google(path: Path) -> None:
    """Raise where Gemini CLI's settings choose a login that has no quota to read."""
    settings = files.read_json(path, cure="correct it, or run `gemini` once") or {}
    for key in ("security", "auth"):
        inner = settings.get(key)
        settings = inner if isinstance(inner, dict) else {}
    chosen = settings.get("selectedType")
    if chosen in KEY_LOGINS:
        raise UnsupportedError(
            f"{path}: Gemini CLI signs in by {chosen}, which has no quota to read: choose Login with Google in `gemini`"
        )


def _extra(surroundings: Surroundings, project: str, audience: object = None) -> dict[str, str]:
    """What asking needs beside the tokens: the project and the clients, the one that issued the login first."""
    named = clients(surroundings.env)
    issuers = audience if isinstance(audience, list) else [audience]
    named.sort(key=lambda pair: pair[0] not in issuers)
    extra = {CLIENTS: json.dumps(named)} if named else {}
    return {**extra, "project": project} if project else extra


def _text(content: Mapping[str, Any], name: str) -> str:
    value = content.get(name)
    return value.strip() if isinstance(value, str) else ""
