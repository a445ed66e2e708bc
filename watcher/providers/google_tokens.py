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
from watcher.credentials.gemini import CLIENTS
from watcher.errors import ExpiredError, NotSignedInError, ProviderError, ShapeChangedError
from watcher.providers import Kept, answers
from watcher.providers.google_refusals import NAME, cut_off, is_cut_off, name_of, refuse, sign_in

URL = "https://oauth2.googleapis.com/token"
MARGIN = timedelta(seconds=60)  # a token this near its end counts as ended
NEEDED = "GEMINI_CLIENT_ID and GEMINI_CLIENT_SECRET"

Talk = Generator[Request, Response, Any]


def current(credential: Credential, now: datetime, kept: Kept) -> Talk:
    """An access token, and whether it was made this very moment."""
    if "access" in kept and kept.get("owner") == owner(credential) and kept["access_until"] - MARGIN > now:
        return kept["access"], False
    ends = credential.expires_at
    can_renew = credential.refresh_token and CLIENTS in credential.extra
    if credential.token and (ends - MARGIN > now if ends else not can_renew):
        return credential.token, False
    if not credential.refresh_token:
        raise ExpiredError(f"{name_of(credential)}: expired: {sign_in(credential)}")
    return (yield from renewed(credential, kept)), True


def renewed(credential: Credential, kept: Kept) -> Talk:
    """A new access token from the refresh token, asked of each known client until one owns it."""
    clients = json.loads(credential.extra.get(CLIENTS, "[]"))
    if not clients:
        raise NotSignedInError(
            f"{name_of(credential)}: its access token has ended and renewing it needs {NEEDED}: set both"
        )
    for id_, secret in clients:
        form = {"client_id": id_, "client_secret": secret, "grant_type": "refresh_token"}
        response = yield Request(method="POST", url=URL, form={**form, "refresh_token": credential.refresh_token})
        if _error(response) == "unauthorized_client":
            continue
        _refuse(response, credential)
        content = answers.body(response, name=name_of(credential))
        token, until = answers.text(content.get("access_token")), answers.later(response.at, content.get("expires_in"))
        if not token:
            raise ShapeChangedError(
                f"{name_of(credential)}: no access_token in Google's answer: it is asked again later"
            )
        if until:
            kept.update(access=token, access_until=until, owner=owner(credential))
        return token
    raise NotSignedInError(
        f"{name_of(credential)}: this login was issued to another client: set {NEEDED} to that client"
    )


def owner(credential: Credential) -> int:
    """Stands for the login: what is in `kept` of another one is not used for it."""
    return hash((credential.refresh_token, credential.account))


def _error(response: Response) -> str:
    """OAuth's word for a refusal, "" for a success or another shape."""
    if response.status < 400:  # noqa: PLR2004
        return ""
    try:
        value = answers.body(response, name=NAME).get("error")
    except ProviderError:
        return ""
    return value if isinstance(value, str) else ""


def _refuse(response: Response, credential: Credential) -> None:
    error = _error(response)
    if is_cut_off(response):
        raise cut_off()
    if error == "invalid_grant":
        raise ExpiredError(f"{name_of(credential)}: Google took this login back: {sign_in(credential)}")
    if error == "invalid_client":
        raise NotSignedInError(f"{name_of(credential)}: Google does not know this client: correct {NEEDED}")
    refuse(response, credential)
