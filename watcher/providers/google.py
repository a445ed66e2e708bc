"""Conversations with Google's Cloud Code API, and whose login and which project it is that asks.

`https://cloudcode-pa.googleapis.com/v1internal:*` (observed only; last checked 2026-11-22) and, where a login does not
say whose it is, `GET https://www.googleapis.com/oauth2/v1/userinfo` (documented). How its tokens come is known to
`google_tokens`, what its refusals mean to `google_refusals`.
"""

import json
import re
from collections.abc import Generator, Mapping
from datetime import datetime, timedelta
from typing import Any

from watcher.core.model import Request, Response
from watcher.credentials import OWNER_UNKNOWN_KEY, Credential
from watcher.credentials.gemini import CLIENTS_KEY, LIMITED_UNTIL_KEY
from watcher.errors import (
    ExpiredError,
    ForbiddenError,
    NotSignedInError,
    ProviderError,
    RateLimitedError,
    ShapeChangedError,
    UnsupportedError,
)
from watcher.providers import ProviderState, parsing

# --- Access tokens for Google, renewed in memory: `POST https://oauth2.googleapis.com/token` (documented)


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
        content = parsing.parse_body(response, name=get_provider_name(credential))
        token, until = (
            parsing.parse_text(content.get("access_token")),
            parsing.add_seconds(response.received_at, content.get("expires_in")),
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
        value = parsing.parse_body(response, name=GEMINI_CLI_NAME).get("error")
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


API_URL = "https://cloudcode-pa.googleapis.com/v1internal:"
PROJECTS_URL = "https://cloudresourcemanager.googleapis.com/v1/projects"
USER_INFO_URL = "https://www.googleapis.com/oauth2/v1/userinfo?alt=json"
PROJECT_VALID_FOR = timedelta(hours=1)  # how long what Code Assist says of the project is believed
CLIENT_METADATA = {
    "gemini_cli": {"ideType": "GEMINI_CLI", "pluginType": "GEMINI"},
    "antigravity": {"ideType": "ANTIGRAVITY", "platform": "PLATFORM_UNSPECIFIED", "pluginType": "GEMINI"},
}


def call_api(
    method: str, body: Mapping[str, Any], credential: Credential, now: datetime, provider_state: ProviderState
) -> HttpConversation:
    """The JSON answer of one method, with its `Response`; a refused token is renewed once."""
    return (
        yield from _send_authorized(
            Request(method="POST", url=f"{API_URL}{method}", json=dict(body)), credential, now, provider_state
        )
    )


def _send_authorized(
    request: Request, credential: Credential, now: datetime, provider_state: ProviderState
) -> HttpConversation:
    token, fresh = yield from get_access_token(credential, now, provider_state)
    response = yield _with_token(request, token)
    if response.status == 401 and not fresh and credential.refresh_token:  # noqa: PLR2004 - statuses are words
        provider_state.pop("access", None)
        token = yield from refresh_access_token(credential, provider_state)
        response = yield _with_token(request, token)
    raise_for_google_error(response, credential)
    return parsing.parse_body(response, name=get_provider_name(credential)), response


def _with_token(request: Request, token: str) -> Request:
    headers = {"Authorization": f"Bearer {token}", "Accept": "application/json"}
    return Request(method=request.method, url=request.url, headers=headers, json=request.json)


def describe_plugin_refusal(credential: Credential, at: datetime) -> list[str]:
    """A sentence, at most one, where OpenCode's plugin was refused lately and still waits; for a snapshot's note."""
    until = credential.extra.get(LIMITED_UNTIL_KEY, "")
    return [f"OpenCode's plugin was refused until {until}"] if until > at.isoformat() else []


# --- whose it is ------------------------------------------------------------------------------------------------------


def fetch_owner_email(credential: Credential, now: datetime, provider_state: ProviderState) -> HttpConversation:
    """The email of a login that does not say whose it is and stands beside others; "" where Google does not say it.

    Asked once for each login: an answer that cannot be had costs no reading.
    """
    if OWNER_UNKNOWN_KEY not in credential.extra:
        return ""
    if provider_state.get("whose_owner") != hash_login(credential):
        provider_state.update(whose="", whose_owner=hash_login(credential))
        try:
            content, _ = yield from _send_authorized(Request(url=USER_INFO_URL), credential, now, provider_state)
        except ProviderError:
            return ""
        provider_state["whose"] = (
            parsing.parse_text(content.get("email")) or parsing.parse_text(content.get("id")) or ""
        )
    return provider_state["whose"]


# --- the project ------------------------------------------------------------------------------------------------------


def fetch_project(credential: Credential, now: datetime, provider_state: ProviderState) -> HttpConversation:
    """The project whose quota is meant, and the plan where it became known: (id or "", plan or None).

    The login's own, else the one that Code Assist names, else the one that was made for the Gemini API. Where nothing
    can be learnt the id is empty: only a cut-off, a refused login and a rate limit end the conversation.
    """
    if credential.extra.get("project"):
        return credential.extra["project"], None
    if provider_state.get("project_owner") == hash_login(credential) and provider_state["project_until"] > now:
        return provider_state["project"], provider_state["plan"]
    try:
        body = {"metadata": CLIENT_METADATA[credential.provider]}
        content, _ = yield from call_api("loadCodeAssist", body, credential, now, provider_state)
    except (UnsupportedError, ExpiredError, NotSignedInError, RateLimitedError):
        raise
    except ProviderError:
        return "", None
    named = content.get("cloudaicompanionProject")
    inner = parsing.as_mapping(named)
    found = (
        parsing.parse_text(named) or parsing.parse_text(inner.get("id")) or parsing.parse_text(inner.get("projectId"))
    )
    plan = _parse_plan(content, credential)
    if not found:
        found = yield from _find_gemini_project(credential, now, provider_state)
    owner = hash_login(credential)
    provider_state.update(project=found, plan=plan, project_until=now + PROJECT_VALID_FOR, project_owner=owner)
    return found, plan


def _find_gemini_project(credential: Credential, now: datetime, provider_state: ProviderState) -> HttpConversation:
    try:
        content, _ = yield from _send_authorized(Request(url=PROJECTS_URL), credential, now, provider_state)
    except ProviderError:
        return ""
    for each in parsing.as_mappings(content.get("projects")):
        id_ = parsing.parse_text(each.get("projectId")) or ""
        if id_.startswith("gen-lang-client-") or "generative-language" in parsing.as_mapping(each.get("labels")):
            return id_
    return ""


def _parse_plan(content: Mapping[str, Any], credential: Credential) -> str | None:
    """The plan's name for people; None where the answer does not say."""
    paid = parsing.parse_text(parsing.as_mapping(content.get("paidTier")).get("name"))
    tier = parsing.parse_text(parsing.as_mapping(content.get("currentTier")).get("id")) or ""
    free = "Workspace" if credential.extra.get("domain") else "Free"
    return paid or {"standard-tier": "Paid", "free-tier": free, "legacy-tier": "Legacy"}.get(tier)


# --- What a refusal means at Google, wherever it comes: at a token, at Code Assist, at the quota


GEMINI_CLI_NAME = "Gemini CLI"
SIGN_IN_HINTS = {"Gemini CLI": "run `gemini` once"}
DEFAULT_SIGN_IN_HINT = "sign in again with `opencode auth login`"
FORBIDDEN_HINTS = (
    ("SERVICE_DISABLED", "enable the Cloud Code API in its Google Cloud project"),
    ("PERMISSION_DENIED", "check the project and the account's rights in it"),
)


def get_sign_in_hint(credential: Credential) -> str:
    """What a person does when this login is refused."""
    return SIGN_IN_HINTS.get(credential.source_name, DEFAULT_SIGN_IN_HINT)


def get_provider_name(credential: Credential) -> str:
    """The provider that is asked for, as people know it: two of them speak with Google."""
    return "Antigravity" if credential.provider == "antigravity" else GEMINI_CLI_NAME


def raise_for_google_error(response: Response, credential: Credential) -> None:
    """Raise what the status means at Google; return where it is a success."""
    if is_account_unsupported(response):
        raise make_unsupported_error()
    if response.status == 429:  # noqa: PLR2004
        raise RateLimitedError(
            f"{get_provider_name(credential)}: asked too often (429): it is asked again later",
            parse_retry_delay(response) or parsing.parse_retry_after(response),
        )
    if response.status == 403 and not parsing.is_html(response):  # noqa: PLR2004
        for word, cure in FORBIDDEN_HINTS:
            if word.encode() in response.body:
                raise ForbiddenError(f"{get_provider_name(credential)}: this login may not read usage ({word}): {cure}")
    parsing.raise_for_status(response, name=get_provider_name(credential), sign_in_hint=get_sign_in_hint(credential))


def is_account_unsupported(response: Response) -> bool:
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


def make_unsupported_error() -> UnsupportedError:
    """The error of the cut-off."""
    return UnsupportedError(
        f"{GEMINI_CLI_NAME}: Google ended it for personal accounts on 2026-06-18: use Antigravity, or a Workspace account"
    )


def parse_retry_delay(response: Response) -> timedelta | None:
    """What google.rpc.RetryInfo says to wait; None where it does not."""
    try:
        content = parsing.parse_body(response, name=GEMINI_CLI_NAME)
    except ProviderError:
        return None
    for detail in parsing.as_mappings(parsing.as_mapping(content.get("error")).get("details")):
        found = re.fullmatch(r"(\d{1,7}(?:\.\d+)?)s", str(detail.get("retryDelay", "")))
        if found and float(found[1]) > 0:
            return timedelta(seconds=float(found[1]))
    return None
