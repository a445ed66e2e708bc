"""Whose a personal access token is, because it does not say so itself.

`GET https://auth.openai.com/api/accounts/v1/user-auth-credential/whoami`, observed only: `{chatgpt_account_id,
chatgpt_plan_type, email}`. It is asked once for each token, so that the right workspace is read; without an answer the
usage is read all the same. Never put here what a token costs or has used.
"""

from collections.abc import Generator, Mapping
from typing import NamedTuple

from watcher.core.model import Request, Response
from watcher.errors import OfflineError, ProviderError
from watcher.providers import Kept, answers

WHOAMI_URL = "https://auth.openai.com/api/accounts/v1/user-auth-credential/whoami"


class Owner(NamedTuple):
    """Whose a personal access token is; empty where it is not said."""

    account: str = ""
    plan: str = ""
    email: str = ""


def ask(token: str, headers: Mapping[str, str], kept: Kept) -> Generator[Request, Response, Owner]:
    """Whose the token is, asked once; nobody where it is not said, which costs no reading."""
    if kept.get("owner_of") != token:
        kept["owner_of"], kept["owner"] = token, Owner()
        try:
            content = answers.read((yield Request(url=WHOAMI_URL, headers=headers)), name="Codex", sign_in="")
            names = ("chatgpt_account_id", "chatgpt_plan_type", "email")
            kept["owner"] = Owner(*(answers.text(content.get(name)) or "" for name in names))
        except ProviderError as error:
            if isinstance(error, OfflineError):
                del kept["owner_of"]  # it was never asked
    owner: Owner = kept["owner"]
    return owner
