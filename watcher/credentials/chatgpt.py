"""Logins of ChatGPT accounts, with what their tokens claim about the owner.

Observed; last checked 2026-11. Access token and id token have the same claims: an object `https://api.openai.com/auth`
with `chatgpt_account_id` and `chatgpt_plan_type`, another `.../profile` with `email`, and `exp`.
"""

import base64
import json
from collections.abc import Mapping
from typing import Any

from watcher.credentials import Credential, opencode
from watcher.credentials.files import get_id, get_mapping, get_text

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
    """A login from an access token and what is stored beside it; the token's own claims come first.

    Args:
        source_name: for people.
        path: the file.
        access_token: the token that is sent.
        id_token: another token about the same person.
        stored_account_id: the account that the file names.
        account_id_override: the account that the user chose in place of the token's own.
        entry: OpenCode's, for when the token ends.
    """
    own, identity = decode_claims(access_token), decode_claims(id_token)
    account = account_id_override or _choose_account_id(own, identity, stored_account_id)
    email = get_text(get_mapping(own, PROFILE_CLAIM), "email") or get_text(identity, "email")
    plans = (get_text(get_mapping(claims, AUTH_CLAIM), "chatgpt_plan_type") for claims in (own, identity))
    return Credential(
        provider="codex",
        source_name=source_name,
        path=path,
        token=access_token,
        expires_at=opencode.parse_expiry(own.get("exp"), None) or (entry.expires_at if entry else None),
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
