"""What a ChatGPT token says of its owner, and what may be believed of what stands beside it.

Observed; last checked 2026-11. The claims are those of the access token and of the id token: an object
`https://api.openai.com/auth` with `chatgpt_account_id` and `chatgpt_plan_type`, another `.../profile` with `email`, and
`exp`. Never look for a token here.
"""

import base64
import json
from collections.abc import Iterable, Mapping
from typing import Any

from watcher.credentials import Credential, opencode

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
    entry: opencode.OpenCodeEntry | None = None,
) -> Credential:
    """A login from an access token and whatever stands beside it; what the token itself says is believed first.

    Args:
        source_name: for people.
        path: the file.
        access_token: the token that is sent.
        id_token: another token about the same person.
        stored_account_id: the account that the file names.
        account_id_override: the account that the person chose in place of the token's own.
        entry: OpenCode's, for when the token ends.
    """
    mine, identity = decode_claims(access_token), decode_claims(id_token)
    account = account_id_override or pick_account_id((mine, identity), stored_account_id)
    email = get_text(_get_mapping(mine, PROFILE_CLAIM), "email") or get_text(identity, "email")
    plans = (get_text(_get_mapping(each, AUTH_CLAIM), "chatgpt_plan_type") for each in (mine, identity))
    return Credential(
        provider="codex",
        source_name=source_name,
        path=path,
        token=access_token,
        expires_at=opencode.parse_expiry(mine.get("exp"), None) or (entry.expires_at if entry else None),
        account=account or email,
        account_name=email,
        plan=next((plan for plan in plans if plan), None),
        extra={"account_id": account} if account else {},
    )


def make_personal_credential(source_name: str, path: str, token: str) -> Credential:
    """A personal access token, which says nothing of its owner: he is asked for."""
    return Credential(provider="codex", source_name=source_name, path=path, token=token, extra={"personal": "yes"})


def make_api_key_credential(source_name: str, path: str, key: str, server_extra: Mapping[str, str]) -> Credential:
    """An API key, with where a proxy tells it its usage (`codex_servers.about_key`)."""
    return Credential(
        provider="codex", source_name=source_name, path=path, token=key, extra={"api_key": "yes", **server_extra}
    )


def pick_account_id(claim_sets: Iterable[Mapping[str, Any]], stored_account_id: str) -> str:
    """The ChatGPT account: the claim, else what the file stores (no organization's id), else a claimed organization."""
    claim_sets = tuple(claim_sets)
    for token in claim_sets:
        found = get_text(_get_mapping(token, AUTH_CLAIM), "chatgpt_account_id") or get_text(token, "chatgpt_account_id")
        if found:
            return found
    if stored_account_id and not stored_account_id.startswith("org-"):
        return stored_account_id
    for token in claim_sets:
        organizations = token.get("organizations")
        for organization in organizations if isinstance(organizations, list) else ():
            found = get_text(organization, "id") if isinstance(organization, dict) else ""
            if found and not found.startswith("org-"):
                return found
    return ""


def get_text(content: Mapping[str, Any], *names: str) -> str:
    """The first of those that is a text or a whole number (ids are at times); "" where none is."""
    for name in names:
        value = content.get(name)
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value)
        if isinstance(value, str) and value.strip():
            return value.strip()
    return ""


def _get_mapping(content: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = content.get(name)
    return value if isinstance(value, dict) else {}


# --- What a JSON web token says of its owner, for identity and display only


def decode_claims(token: str) -> dict[str, Any]:
    """The payload's claims; {} where the text is no such token."""
    parts = token.split(".")
    if len(parts) != 3:  # noqa: PLR2004 - header, payload, signature
        return {}
    try:
        content = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}
