"""Access tokens for Google, renewed in memory: `POST https://oauth2.googleapis.com/token` (documented).

A refresh token stays valid after its use, unlike Claude's and Codex's; but only the OAuth client that issued it may use
it, so each known client is asked until one owns it. What comes lives in `kept` until a minute before its end and is
never written.
"""

import json
from collections.abc import Generator
from datetime import datetime, timedelta
from typing import Any

from watcher.core.model import Request, Response
from watcher.credentials import Credential
from watcher.credentials.gemini import CLIENTS_KEY
from watcher.errors import ExpiredError, NotSignedInError, ProviderError, ShapeChangedError
from watcher.providers import ProviderState, answers
from watcher.providers.google_refusals import (
    GEMINI_CLI_NAME,
    get_provider_name,
    get_sign_in_hint,
    is_account_unsupported,
    make_unsupported_error,
    raise_for_google_error,
)

TOKEN_URL = "https://oauth2.googleapis.com/token"
EXPIRY_MARGIN = timedelta(seconds=60)  # a token this near its end counts as ended
CLIENT_VARIABLES = "GEMINI_CLIENT_ID and GEMINI_CLIENT_SECRET"

HttpConversation = Generator[Request, Response, Any]


def get_access_token(credential: Credential, now: datetime, provider_state: ProviderState) -> HttpConversation:
    """An access token, and whether it was made this very moment."""
    if (
        "access" in provider_state
        and provider_state.get("owner") == hash_login(credential)
        and provider_state["access_until"] - EXPIRY_MARGIN > now
    ):
        return provider_state["access"], False
    ends = credential.expires_at
    can_renew = credential.refresh_token and CLIENTS_KEY in credential.extra
    if credential.token and (ends - EXPIRY_MARGIN > now if ends else not can_renew):
        return credential.token, False
    if not credential.refresh_token:
        raise ExpiredError(f"{get_provider_name(credential)}: expired: {get_sign_in_hint(credential)}")
    return (yield from refresh_access_token(credential, provider_state)), True


def refresh_access_token(credential: Credential, provider_state: ProviderState) -> HttpConversation:
    """A new access token from the refresh token, asked of each known client until one owns it."""
    clients = json.loads(credential.extra.get(CLIENTS_KEY, "[]"))
    if not clients:
        raise NotSignedInError(
            f"{get_provider_name(credential)}: its access token has ended and renewing it needs {CLIENT_VARIABLES}: set both"
        )
    for id_, secret in clients:
        form = {"client_id": id_, "client_secret": secret, "grant_type": "refresh_token"}
        response = yield Request(method="POST", url=TOKEN_URL, form={**form, "refresh_token": credential.refresh_token})
        if _parse_oauth_error(response) == "unauthorized_client":
            continue
        _raise_for_token_error(response, credential)
        content = answers.parse_body(response, name=get_provider_name(credential))
        token, until = (
            answers.parse_text(content.get("access_token")),
            answers.add_seconds(response.received_at, content.get("expires_in")),
        )
        if not token:
            raise ShapeChangedError(
                f"{get_provider_name(credential)}: no access_token in Google's answer: it is asked again later"
            )
        if until:
            provider_state.update(access=token, access_until=until, owner=hash_login(credential))
        return token
    raise NotSignedInError(
        f"{get_provider_name(credential)}: this login was issued to another client: set {CLIENT_VARIABLES} to that client"
    )


def hash_login(credential: Credential) -> int:
    """Stands for the login: what is in `kept` of another one is not used for it."""
    return hash((credential.refresh_token, credential.account))


def _parse_oauth_error(response: Response) -> str:
    """OAuth's word for a refusal, "" for a success or another shape."""
    if response.status < 400:  # noqa: PLR2004
        return ""
    try:
        value = answers.parse_body(response, name=GEMINI_CLI_NAME).get("error")
    except ProviderError:
        return ""
    return value if isinstance(value, str) else ""


def _raise_for_token_error(response: Response, credential: Credential) -> None:
    error = _parse_oauth_error(response)
    if is_account_unsupported(response):
        raise make_unsupported_error()
    if error == "invalid_grant":
        raise ExpiredError(
            f"{get_provider_name(credential)}: Google took this login back: {get_sign_in_hint(credential)}"
        )
    if error == "invalid_client":
        raise NotSignedInError(
            f"{get_provider_name(credential)}: Google does not know this client: correct {CLIENT_VARIABLES}"
        )
    raise_for_google_error(response, credential)
