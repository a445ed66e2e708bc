"""What a ChatGPT token says of its owner, and what may be believed of what stands beside it.

Observed; last checked 2026-11. The claims are those of the access token and of the id token: an object
`https://api.openai.com/auth` with `chatgpt_account_id` and `chatgpt_plan_type`, another `.../profile` with `email`, and
`exp`. Never look for a token here.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from watcher.credentials import Credential, opencode
from watcher.credentials.jwt import claims

AUTH_CLAIM = "https://api.openai.com/auth"
PROFILE_CLAIM = "https://api.openai.com/profile"


def credential(  # noqa: PLR0913 - each is a field that one of the files may hold
    place: str,
    path: str,
    access: str,
    *,
    id_token: str = "",
    stored: str = "",
    override: str = "",
    entry: opencode.Entry | None = None,
) -> Credential:
    """A login from an access token and whatever stands beside it; what the token itself says is believed first.

    Args:
        place: for people.
        path: the file.
        access: the token that is sent.
        id_token: another token about the same person.
        stored: the account that the file names.
        override: the account that the person chose in place of the token's own.
        entry: OpenCode's, for when the token ends.
    """
    mine, identity = claims(access), claims(id_token)
    account = override or account_id((mine, identity), stored)
    email = text(_inner(mine, PROFILE_CLAIM), "email") or text(identity, "email")
    plans = (text(_inner(each, AUTH_CLAIM), "chatgpt_plan_type") for each in (mine, identity))
    return Credential(
        provider="codex",
        place=place,
        path=path,
        token=access,
        expires_at=opencode.expiry(mine.get("exp"), None) or (entry.expires_at if entry else None),
        account=account or email,
        account_name=email,
        plan=next((plan for plan in plans if plan), None),
        extra={"account_id": account} if account else {},
    )


def personal(place: str, path: str, token: str) -> Credential:
    """A personal access token, which says nothing of its owner: he is asked for."""
    return Credential(provider="codex", place=place, path=path, token=token, extra={"personal": "yes"})


def api_key(place: str, path: str, key: str, address: Mapping[str, str]) -> Credential:
    """An API key, with where a proxy tells it its usage (`codex_servers.about_key`)."""
    return Credential(provider="codex", place=place, path=path, token=key, extra={"api_key": "yes", **address})


def account_id(tokens: Iterable[Mapping[str, Any]], stored: str) -> str:
    """The ChatGPT account: the claim, else what the file stores (no organization's id), else a claimed organization."""
    tokens = tuple(tokens)
    for token in tokens:
        found = text(_inner(token, AUTH_CLAIM), "chatgpt_account_id") or text(token, "chatgpt_account_id")
        if found:
            return found
    if stored and not stored.startswith("org-"):
        return stored
    for token in tokens:
        organizations = token.get("organizations")
        for organization in organizations if isinstance(organizations, list) else ():
            found = text(organization, "id") if isinstance(organization, dict) else ""
            if found and not found.startswith("org-"):
                return found
    return ""


def text(content: Mapping[str, Any], *names: str) -> str:
    """The first of those that is a text or a whole number (ids are at times); "" where none is."""
    for name in names:
        value = content.get(name)
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value)
        if isinstance(value, str) and value.strip():
            return value.strip()
    return ""


def _inner(content: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = content.get(name)
    return value if isinstance(value, dict) else {}
