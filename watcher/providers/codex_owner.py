"""Whose a personal access token is, because it does not say so itself.

`GET https://auth.openai.com/api/accounts/v1/user-auth-credential/whoami`, observed only: `{chatgpt_account_id,
chatgpt_plan_type, email}`. It is asked once for each token, so that the right workspace is read; without an answer the
usage is read all the same. Never put here what a token costs or has used.
"""

from collections.abc import Generator, Mapping
from typing import NamedTuple

from watcher.core.model import Request, Response
from watcher.errors import OfflineError, ProviderError
from watcher.providers import ProviderState, answers

WHOAMI_URL = "https://auth.openai.com/api/accounts/v1/user-auth-credential/whoami"


class TokenOwner(NamedTuple):
    """Whose a personal access token is; empty where it is not said."""

    account_id: str = ""
    plan: str = ""
    email: str = ""


def fetch_owner(
    token: str, headers: Mapping[str, str], provider_state: ProviderState
) -> Generator[Request, Response, TokenOwner]:
    """Whose the token is, asked once; nobody where it is not said, which costs no reading."""
    if provider_state.get("owner_of") != token:
        provider_state["owner_of"], provider_state["owner"] = token, TokenOwner()
        try:
            content = answers.parse_response(
                (yield Request(url=WHOAMI_URL, headers=headers)), name="Codex", sign_in_hint=""
            )
            names = ("chatgpt_account_id", "chatgpt_plan_type", "email")
            provider_state["owner"] = TokenOwner(*(answers.parse_text(content.get(name)) or "" for name in names))
        except ProviderError as error:
            if isinstance(error, OfflineError):
                del provider_state["owner_of"]  # it was never asked
    owner: TokenOwner = provider_state["owner"]
    return owner
