"""Conversations with Google's Cloud Code API, and whose login and which project it is that asks.

`https://cloudcode-pa.googleapis.com/v1internal:*` (observed only; last checked 2026-11-22) and, where a login does not
say whose it is, `GET https://www.googleapis.com/oauth2/v1/userinfo` (documented). How its tokens come is known to
`google_tokens`, what its refusals mean to `google_refusals`.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from watcher.core.model import Request
from watcher.credentials import OTHERS, Credential
from watcher.credentials.gemini import LIMITED
from watcher.errors import ExpiredError, NotSignedInError, ProviderError, RateLimitedError, UnsupportedError
from watcher.providers import Kept, answers, google_tokens
from watcher.providers.google_refusals import name_of, refuse
from watcher.providers.google_tokens import Talk

API = "https://cloudcode-pa.googleapis.com/v1internal:"
PROJECTS = "https://cloudresourcemanager.googleapis.com/v1/projects"
USER = "https://www.googleapis.com/oauth2/v1/userinfo?alt=json"
LEARNT_FOR = timedelta(hours=1)  # how long what Code Assist says of the project is believed
CLIENTS = {
    "gemini_cli": {"ideType": "GEMINI_CLI", "pluginType": "GEMINI"},
    "antigravity": {"ideType": "ANTIGRAVITY", "platform": "PLATFORM_UNSPECIFIED", "pluginType": "GEMINI"},
}


def post(method: str, body: Mapping[str, Any], credential: Credential, now: datetime, kept: Kept) -> Talk:
    """The JSON answer of one method, with its `Response`; a refused token is renewed once."""
    return (yield from _signed(Request(method="POST", url=f"{API}{method}", json=dict(body)), credential, now, kept))


def _signed(request: Request, credential: Credential, now: datetime, kept: Kept) -> Talk:
    token, fresh = yield from google_tokens.current(credential, now, kept)
    response = yield _with(request, token)
    if response.status == 401 and not fresh and credential.refresh_token:  # noqa: PLR2004 - statuses are words
        kept.pop("access", None)
        token = yield from google_tokens.renewed(credential, kept)
        response = yield _with(request, token)
    refuse(response, credential)
    return answers.body(response, name=name_of(credential)), response


def _with(request: Request, token: str) -> Request:
    headers = {"Authorization": f"Bearer {token}", "Accept": "application/json"}
    return Request(method=request.method, url=request.url, headers=headers, json=request.json)


def refused_elsewhere(credential: Credential, at: datetime) -> list[str]:
    """A sentence, at most one, where OpenCode's plugin was refused lately and still waits; for a snapshot's note."""
    until = credential.extra.get(LIMITED, "")
    return [f"OpenCode's plugin was refused until {until}"] if until > at.isoformat() else []


# --- whose it is ------------------------------------------------------------------------------------------------------


def whose(credential: Credential, now: datetime, kept: Kept) -> Talk:
    """The email of a login that does not say whose it is and stands beside others; "" where Google does not say it.

    Asked once for each login: an answer that cannot be had costs no reading.
    """
    if OTHERS not in credential.extra:
        return ""
    if kept.get("whose_owner") != google_tokens.owner(credential):
        kept.update(whose="", whose_owner=google_tokens.owner(credential))
        try:
            content, _ = yield from _signed(Request(url=USER), credential, now, kept)
        except ProviderError:
            return ""
        kept["whose"] = answers.text(content.get("email")) or answers.text(content.get("id")) or ""
    return kept["whose"]


# --- the project ------------------------------------------------------------------------------------------------------


def project(credential: Credential, now: datetime, kept: Kept) -> Talk:
    """The project whose quota is meant, and the plan where it became known: (id or "", plan or None).

    The login's own, else the one that Code Assist names, else the one that was made for the Gemini API. Where nothing
    can be learnt the id is empty: only a cut-off, a refused login and a rate limit end the conversation.
    """
    if credential.extra.get("project"):
        return credential.extra["project"], None
    if kept.get("project_owner") == google_tokens.owner(credential) and kept["project_until"] > now:
        return kept["project"], kept["plan"]
    try:
        body = {"metadata": CLIENTS[credential.provider]}
        content, _ = yield from post("loadCodeAssist", body, credential, now, kept)
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
    owner = google_tokens.owner(credential)
    kept.update(project=found, plan=plan, project_until=now + LEARNT_FOR, project_owner=owner)
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
