"""Conversations with Google's Cloud Code API: tokens renewed in memory, the project, and what a refusal means.

`POST https://oauth2.googleapis.com/token` (documented) and `POST https://cloudcode-pa.googleapis.com/v1internal:*`
(observed only; last checked 2026-11-22). A renewed access token lives in `kept` until a minute before its end and is
never written. Since 2026-06-18 Google refuses consumer accounts; the refusal is told apart here, wherever it comes.
"""

import json
import re
from collections.abc import Generator, Mapping
from datetime import datetime, timedelta
from typing import Any

from watcher.core.model import Request, Response
from watcher.credentials import Credential
from watcher.credentials.gemini import CLIENTS
from watcher.errors import (
    ExpiredError,
    ForbiddenError,
    NotSignedInError,
    ProviderError,
    RateLimitedError,
    ShapeChangedError,
    UnsupportedError,
)
from watcher.providers import Kept, answers

NAME = "Gemini CLI"
API = "https://cloudcode-pa.googleapis.com/v1internal:"
TOKENS = "https://oauth2.googleapis.com/token"
PROJECTS = "https://cloudresourcemanager.googleapis.com/v1/projects"
MARGIN = timedelta(seconds=60)  # a token this near its end counts as ended
LEARNT_FOR = timedelta(hours=1)  # how long what Code Assist says of the project is believed
CLIENT = {"metadata": {"ideType": "GEMINI_CLI", "pluginType": "GEMINI"}}
SIGN_IN = {"Gemini CLI": "run `gemini` once"}
OTHERWISE = "sign in again with `opencode auth login`"
NEEDED = "GEMINI_CLIENT_ID and GEMINI_CLIENT_SECRET"

Talk = Generator[Request, Response, Any]


def sign_in(credential: Credential) -> str:
    """What a person does when this login is refused."""
    return SIGN_IN.get(credential.place, OTHERWISE)


def _name(credential: Credential) -> str:
    return "Antigravity" if credential.provider == "antigravity" else NAME


def post(method: str, body: Mapping[str, Any], credential: Credential, now: datetime, kept: Kept) -> Talk:
    """The JSON answer of one method, with its `Response`; a refused token is renewed once."""
    return (yield from _signed(_call(method, body), credential, now, kept))


def project(credential: Credential, now: datetime, kept: Kept) -> Talk:
    """The project whose quota is meant, and the plan where it became known: (id or "", plan or None).

    The login's own, else the one that Code Assist names, else the one that was made for the Gemini API. Where nothing
    can be learnt the id is empty: only a cut-off, a refused login and a rate limit end the conversation.
    """
    if credential.extra.get("project"):
        return credential.extra["project"], None
    if kept.get("project_owner") == _owner(credential) and kept["project_until"] > now:
        return kept["project"], kept["plan"]
    try:
        content, _ = yield from post("loadCodeAssist", CLIENT, credential, now, kept)
    except (UnsupportedError, ExpiredError, NotSignedInError, RateLimitedError):
        raise
    except ProviderError:
        return "", None
    named = content.get("cloudaicompanionProject")
    inner = answers.mapping(named)
    found = answers.text(named) or answers.text(inner.get("id")) or answers.text(inner.get("projectId"))
    plan = _plan(content, credential)
    if not found:
        found = yield from _made_for_gemini(credential, now, kept)
    kept.update(project=found, plan=plan, project_until=now + LEARNT_FOR, project_owner=_owner(credential))
    return found, plan


def _made_for_gemini(credential: Credential, now: datetime, kept: Kept) -> Talk:
    try:
        content, _ = yield from _signed(Request(url=PROJECTS), credential, now, kept)
    except ProviderError:
        return ""
    for each in answers.mappings(content.get("projects")):
        id_ = answers.text(each.get("projectId")) or ""
        if id_.startswith("gen-lang-client-") or "generative-language" in answers.mapping(each.get("labels")):
            return id_
    return ""


def _plan(content: Mapping[str, Any], credential: Credential) -> str | None:
    """The plan's name for people; None where the answer does not say."""
    paid = answers.text(answers.mapping(content.get("paidTier")).get("name"))
    tier = answers.text(answers.mapping(content.get("currentTier")).get("id")) or ""
    free = "Workspace" if credential.extra.get("domain") else "Free"
    return paid or {"standard-tier": "Paid", "free-tier": free, "legacy-tier": "Legacy"}.get(tier)


def _call(method: str, body: Mapping[str, Any]) -> Request:
    return Request(method="POST", url=f"{API}{method}", json=dict(body))


def _signed(request: Request, credential: Credential, now: datetime, kept: Kept) -> Talk:
    token, fresh = yield from _token(credential, now, kept)
    response = yield _with(request, token)
    if response.status == 401 and not fresh and credential.refresh_token:  # noqa: PLR2004 - statuses are words
        kept.pop("access", None)
        token = yield from _renewed(credential, kept)
        response = yield _with(request, token)
    refuse(response, credential)
    return answers.body(response, name=_name(credential)), response


def _with(request: Request, token: str) -> Request:
    headers = {"Authorization": f"Bearer {token}", "Accept": "application/json"}
    return Request(method=request.method, url=request.url, headers=headers, json=request.json)


# --- tokens -----------------------------------------------------------------------------------------------------------


def _token(credential: Credential, now: datetime, kept: Kept) -> Talk:
    """An access token, and whether it was made this very moment."""
    if "access" in kept and kept.get("owner") == _owner(credential) and kept["access_until"] - MARGIN > now:
        return kept["access"], False
    ends = credential.expires_at
    can_renew = credential.refresh_token and CLIENTS in credential.extra
    if credential.token and (ends - MARGIN > now if ends else not can_renew):
        return credential.token, False
    if not credential.refresh_token:
        raise ExpiredError(f"{_name(credential)}: expired: {sign_in(credential)}")
    return (yield from _renewed(credential, kept)), True


def _renewed(credential: Credential, kept: Kept) -> Talk:
    """A new access token from the refresh token, asked of each known client until one owns it."""
    clients = json.loads(credential.extra.get(CLIENTS, "[]"))
    if not clients:
        raise NotSignedInError(
            f"{_name(credential)}: its access token has ended and renewing it needs {NEEDED}: set both"
        )
    for id_, secret in clients:
        form = {"client_id": id_, "client_secret": secret, "grant_type": "refresh_token"}
        response = yield Request(method="POST", url=TOKENS, form={**form, "refresh_token": credential.refresh_token})
        if _error(response) == "unauthorized_client":
            continue
        _refuse_token(response, credential)
        content = answers.body(response, name=_name(credential))
        token, lives_s = answers.text(content.get("access_token")), answers.number(content.get("expires_in"))
        if not token:
            raise ShapeChangedError(f"{_name(credential)}: no access_token in Google's answer: it is asked again later")
        if lives_s:
            kept.update(access=token, access_until=response.at + timedelta(seconds=lives_s), owner=_owner(credential))
        return token
    raise NotSignedInError(f"{_name(credential)}: this login was issued to another client: set {NEEDED} to that client")


def _owner(credential: Credential) -> int:
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


def _refuse_token(response: Response, credential: Credential) -> None:
    error = _error(response)
    if is_cut_off(response):
        raise cut_off()
    if error == "invalid_grant":
        raise ExpiredError(f"{_name(credential)}: Google took this login back: {sign_in(credential)}")
    if error == "invalid_client":
        raise NotSignedInError(f"{_name(credential)}: Google does not know this client: correct {NEEDED}")
    refuse(response, credential)


# --- refusals ---------------------------------------------------------------------------------------------------------


def refuse(response: Response, credential: Credential) -> None:
    """Raise what the status means at Google; return where it is a success."""
    if is_cut_off(response):
        raise cut_off()
    if response.status == 429:  # noqa: PLR2004
        raise RateLimitedError(
            f"{_name(credential)}: asked too often (429): it is asked again later",
            _retry_delay(response) or answers.retry_after(response),
        )
    if response.status == 403 and not answers.is_html(response):  # noqa: PLR2004
        for word, cure in (
            ("SERVICE_DISABLED", "enable the Cloud Code API in its Google Cloud project"),
            ("PERMISSION_DENIED", "check the project and the account's rights in it"),
        ):
            if word.encode() in response.body:
                raise ForbiddenError(f"{_name(credential)}: this login may not read usage ({word}): {cure}")
    answers.refuse(response, name=_name(credential), sign_in=sign_in(credential))


def is_cut_off(response: Response) -> bool:
    """Whether Google says that this kind of account is no longer served."""
    if not 400 <= response.status < 500:  # noqa: PLR2004
        return False
    said = response.body.decode(errors="replace")
    low = said.lower()
    return (
        "UNSUPPORTED_CLIENT" in said
        or "IneligibleTierError" in said
        or ("no longer supported" in low and "gemini code assist" in low)
        or all(word in low for word in ("migrate", "antigravity", "gemini"))
    )


def cut_off() -> UnsupportedError:
    """The error of the cut-off."""
    return UnsupportedError(
        f"{NAME}: Google ended it for personal accounts on 2026-06-18: use Antigravity, or a Workspace account"
    )


def _retry_delay(response: Response) -> timedelta | None:
    """What google.rpc.RetryInfo says to wait; None where it does not."""
    try:
        content = answers.body(response, name=NAME)
    except ProviderError:
        return None
    for detail in answers.mappings(answers.mapping(content.get("error")).get("details")):
        found = re.fullmatch(r"(\d{1,7}(?:\.\d+)?)s", str(detail.get("retryDelay", "")))
        if found and float(found[1]) > 0:
            return timedelta(seconds=float(found[1]))
    return None
