"""Conversations with Google's Cloud Code API, and whose login and which project it is that asks.

`https://cloudcode-pa.googleapis.com/v1internal:*` (observed only; last checked 2026-11-22) and, where a login does not
say whose it is, `GET https://www.googleapis.com/oauth2/v1/userinfo` (documented). How its tokens come is known to
`google_tokens`, what its refusals mean to `google_refusals`.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from watcher.core.model import Request
from watcher.credentials import OWNER_UNKNOWN_KEY, Credential
from watcher.credentials.gemini import LIMITED_UNTIL_KEY
from watcher.errors import ExpiredError, NotSignedInError, ProviderError, RateLimitedError, UnsupportedError
from watcher.providers import ProviderState, answers, google_tokens
from watcher.providers.google_refusals import get_provider_name, raise_for_google_error
from watcher.providers.google_tokens import HttpConversation

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
    token, fresh = yield from google_tokens.get_access_token(credential, now, provider_state)
    response = yield _with_token(request, token)
    if response.status == 401 and not fresh and credential.refresh_token:  # noqa: PLR2004 - statuses are words
        provider_state.pop("access", None)
        token = yield from google_tokens.refresh_access_token(credential, provider_state)
        response = yield _with_token(request, token)
    raise_for_google_error(response, credential)
    return answers.parse_body(response, name=get_provider_name(credential)), response


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
    if provider_state.get("whose_owner") != google_tokens.hash_login(credential):
        provider_state.update(whose="", whose_owner=google_tokens.hash_login(credential))
        try:
            content, _ = yield from _send_authorized(Request(url=USER_INFO_URL), credential, now, provider_state)
        except ProviderError:
            return ""
        provider_state["whose"] = (
            answers.parse_text(content.get("email")) or answers.parse_text(content.get("id")) or ""
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
    if (
        provider_state.get("project_owner") == google_tokens.hash_login(credential)
        and provider_state["project_until"] > now
    ):
        return provider_state["project"], provider_state["plan"]
    try:
        body = {"metadata": CLIENT_METADATA[credential.provider]}
        content, _ = yield from call_api("loadCodeAssist", body, credential, now, provider_state)
    except (UnsupportedError, ExpiredError, NotSignedInError, RateLimitedError):
        raise
    except ProviderError:
        return "", None
    named = content.get("cloudaicompanionProject")
    inner = answers.as_mapping(named)
    found = (
        answers.parse_text(named) or answers.parse_text(inner.get("id")) or answers.parse_text(inner.get("projectId"))
    )
    plan = _parse_plan(content, credential)
    if not found:
        found = yield from _find_gemini_project(credential, now, provider_state)
    owner = google_tokens.hash_login(credential)
    provider_state.update(project=found, plan=plan, project_until=now + PROJECT_VALID_FOR, project_owner=owner)
    return found, plan


def _find_gemini_project(credential: Credential, now: datetime, provider_state: ProviderState) -> HttpConversation:
    try:
        content, _ = yield from _send_authorized(Request(url=PROJECTS_URL), credential, now, provider_state)
    except ProviderError:
        return ""
    for each in answers.as_mappings(content.get("projects")):
        id_ = answers.parse_text(each.get("projectId")) or ""
        if id_.startswith("gen-lang-client-") or "generative-language" in answers.as_mapping(each.get("labels")):
            return id_
    return ""


def _parse_plan(content: Mapping[str, Any], credential: Credential) -> str | None:
    """The plan's name for people; None where the answer does not say."""
    paid = answers.parse_text(answers.as_mapping(content.get("paidTier")).get("name"))
    tier = answers.parse_text(answers.as_mapping(content.get("currentTier")).get("id")) or ""
    free = "Workspace" if credential.extra.get("domain") else "Free"
    return paid or {"standard-tier": "Paid", "free-tier": free, "legacy-tier": "Legacy"}.get(tier)
