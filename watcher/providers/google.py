"""Google's Cloud Code API, for Gemini CLI and Antigravity: tokens, errors, the account's owner and its project.

`https://cloudcode-pa.googleapis.com/v1internal:*` (observed only; last checked 2026-11-28); Antigravity's true quota is
at `https://daily-cloudcode-pa.googleapis.com`. Access tokens are renewed in memory at
`https://oauth2.googleapis.com/token`; the owner of a login that does not name one is requested from
`https://www.googleapis.com/oauth2/v1/userinfo` (both documented).
"""

import json
import re
import sys
from collections.abc import Generator, Mapping
from datetime import datetime, timedelta
from typing import Any

from msgspec.structs import replace

from watcher.core.model import Request, Response
from watcher.credentials import OWNER_UNKNOWN_KEY, Credential
from watcher.credentials.antigravity import OWN_LOGIN_NAME, OWN_SIGN_IN_HINT
from watcher.credentials.files import get_mapping, get_text
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

TOKEN_URL = "https://oauth2.googleapis.com/token"  # noqa: S105 - an address
API_URL = "https://cloudcode-pa.googleapis.com/v1internal:"
DAILY_API_URL = "https://daily-cloudcode-pa.googleapis.com/v1internal:"
PROJECTS_URL = "https://cloudresourcemanager.googleapis.com/v1/projects"
USER_INFO_URL = "https://www.googleapis.com/oauth2/v1/userinfo?alt=json"
EXPIRY_MARGIN = timedelta(seconds=60)  # a token that ends sooner counts as expired
PROJECT_VALID_FOR = timedelta(hours=1)
CLIENT_VARIABLES = "GEMINI_CLIENT_ID and GEMINI_CLIENT_SECRET"
CLIENT_METADATA = {
    "gemini_cli": {"ideType": "GEMINI_CLI", "pluginType": "GEMINI"},
    "antigravity": {"ideType": "ANTIGRAVITY", "platform": "PLATFORM_UNSPECIFIED", "pluginType": "GEMINI"},
}
GEMINI_CLI_NAME = "Gemini CLI"
ANTIGRAVITY_USER_AGENT = f"antigravity/cli/1.1.11 {sys.platform}"
UNSUPPORTED_MESSAGE = (
    f"{GEMINI_CLI_NAME}: Google ended it for personal accounts on 2026-06-18: use Antigravity, or a Workspace account"
)
FORBIDDEN_HINTS = (
    ("SERVICE_DISABLED", "enable the Cloud Code API in its Google Cloud project"),
    ("PERMISSION_DENIED", "check the project and the account's rights in it"),
)

JsonConversation = Generator[Request, Response, tuple[dict[str, Any], Response]]
TextConversation = Generator[Request, Response, str]


class GoogleSession:
    """The requests of one account in one poll. Token, owner and project are kept in memory between polls."""

    def __init__(self, credential: Credential, now: datetime, provider_state: ProviderState) -> None:
        self._credential, self._now = credential, now
        self._name = "Antigravity" if credential.provider == "antigravity" else GEMINI_CLI_NAME
        hints = {"Gemini CLI": "run `gemini` once", OWN_LOGIN_NAME: OWN_SIGN_IN_HINT}
        self._sign_in_hint = hints.get(credential.source_name, "sign in again with `opencode auth login`")
        login = hash((credential.refresh_token, credential.account))
        if provider_state.get("google", {}).get("login") != login:
            provider_state["google"] = {"login": login}
        self._memory: dict[str, Any] = provider_state["google"]

    def call_api(self, method: str, body: Mapping[str, Any], api_url: str = API_URL) -> JsonConversation:
        """The JSON answer of one method, with its `Response`; a refused token is renewed once."""
        headers = {"User-Agent": ANTIGRAVITY_USER_AGENT} if self._credential.provider == "antigravity" else {}
        return self._send(Request(method="POST", url=f"{api_url}{method}", json=dict(body), headers=headers))

    def _send(self, request: Request) -> JsonConversation:
        token, is_new = yield from self._get_access_token()
        response = yield _with_token(request, token)
        if response.status == 401 and not is_new and self._credential.refresh_token:  # noqa: PLR2004 - an HTTP status
            self._memory.pop("access", None)
            token = yield from self._refresh_access_token()
            response = yield _with_token(request, token)
        self._raise_for_error(response)
        return parsing.parse_body(response, name=self._name), response

    def _get_access_token(self) -> Generator[Request, Response, tuple[str, bool]]:
        """An access token, and whether it was made just now."""
        login = self._credential
        if "access" in self._memory and self._memory["access_until"] - EXPIRY_MARGIN > self._now:
            return self._memory["access"], False
        can_renew = login.refresh_token and CLIENTS_KEY in login.extra
        if login.token and (login.expires_at - EXPIRY_MARGIN > self._now if login.expires_at else not can_renew):
            return login.token, False
        if not login.refresh_token:
            raise ExpiredError(f"{self._name}: expired: {self._sign_in_hint}")
        return (yield from self._refresh_access_token()), True

    def _refresh_access_token(self) -> TextConversation:
        """A new access token for the refresh token, requested as each known client until one owns it."""
        clients = json.loads(self._credential.extra.get(CLIENTS_KEY, "[]"))
        if not clients:
            other = f", or {OWN_SIGN_IN_HINT}" if self._credential.source_name == OWN_LOGIN_NAME else ""
            raise NotSignedInError(
                f"{self._name}: its access token has ended and renewing it needs {CLIENT_VARIABLES}: set both{other}"
            )
        for id_, secret in clients:
            form = {"client_id": id_, "client_secret": secret, "grant_type": "refresh_token"}
            form["refresh_token"] = self._credential.refresh_token
            response = yield Request(method="POST", url=TOKEN_URL, form=form)
            if _parse_oauth_error(response) == "unauthorized_client":
                continue
            self._raise_for_token_error(response)
            content = parsing.parse_body(response, name=self._name)
            token = get_text(content, "access_token")
            until = parsing.add_seconds(response.received_at, content.get("expires_in"))
            if not token:
                raise ShapeChangedError(f"{self._name}: no access_token in Google's answer: it is asked again later")
            if until:
                self._memory.update(access=token, access_until=until)
            return token
        raise NotSignedInError(
            f"{self._name}: this login was issued to another client: set {CLIENT_VARIABLES} to that client"
        )

    def _raise_for_token_error(self, response: Response) -> None:
        error = "" if is_account_unsupported(response) else _parse_oauth_error(response)
        if error == "invalid_grant":
            raise ExpiredError(f"{self._name}: Google took this login back: {self._sign_in_hint}")
        if error == "invalid_client":
            raise NotSignedInError(f"{self._name}: Google does not know this client: correct {CLIENT_VARIABLES}")
        self._raise_for_error(response)

    def _raise_for_error(self, response: Response) -> None:
        if is_account_unsupported(response):
            raise UnsupportedError(UNSUPPORTED_MESSAGE)
        if response.status == 429:  # noqa: PLR2004
            wait = parse_retry_delay(response) or parsing.parse_retry_after(response)
            raise RateLimitedError(f"{self._name}: asked too often (429): it is asked again later", wait)
        if response.status == 403 and not parsing.is_html(response):  # noqa: PLR2004
            for word, hint in FORBIDDEN_HINTS:
                if word.encode() in response.body:
                    raise ForbiddenError(f"{self._name}: this login may not read usage ({word}): {hint}")
        parsing.raise_for_status(response, name=self._name, sign_in_hint=self._sign_in_hint)

    def describe_plugin_refusal(self, at: datetime) -> list[str]:
        """At most one sentence for a note, if OpenCode's plugin was refused and still waits."""
        until = self._credential.extra.get(LIMITED_UNTIL_KEY, "")
        return [f"OpenCode's plugin was refused until {until}"] if until > at.isoformat() else []

    def fetch_owner_email(self) -> TextConversation:
        """The email of a login that does not name its owner while there are others; "" if Google does not give it.

        Requested once for each login; a failure costs no reading.
        """
        if OWNER_UNKNOWN_KEY not in self._credential.extra:
            return ""
        if "email" not in self._memory:
            self._memory["email"] = ""
            try:
                content, _ = yield from self._send(Request(url=USER_INFO_URL))
            except ProviderError:
                return ""
            self._memory["email"] = get_text(content, "email", "id")
        return str(self._memory["email"])

    def fetch_project(self) -> Generator[Request, Response, tuple[str, str | None]]:
        """The id of the project that the quota belongs to, and the plan if it became known: (id or "", plan or None).

        The login's own project, else the one that Code Assist names, else the one made for the Gemini API. Only an
        unsupported account, a refused login and a rate limit raise.
        """
        if self._credential.extra.get("project"):
            return self._credential.extra["project"], None
        return (yield from self.load_project())

    def load_project(self) -> Generator[Request, Response, tuple[str, str | None]]:
        """The same from Code Assist, which also says that an account is no longer served."""
        if "project" in self._memory and self._memory["project_until"] > self._now:
            return self._memory["project"], self._memory["plan"]
        try:
            body = {"metadata": CLIENT_METADATA[self._credential.provider]}
            content, _ = yield from self.call_api("loadCodeAssist", body)
        except (UnsupportedError, ExpiredError, NotSignedInError, RateLimitedError):
            raise
        except ProviderError:
            return "", None
        if _is_ineligible(content):
            raise UnsupportedError(UNSUPPORTED_MESSAGE)
        inner = get_mapping(content, "cloudaicompanionProject")
        project = get_text(content, "cloudaicompanionProject") or get_text(inner, "id", "projectId")
        plan = self._parse_plan(content)
        if not project:
            project = yield from self._find_gemini_project()
        self._memory.update(project=project, plan=plan, project_until=self._now + PROJECT_VALID_FOR)
        return project, plan

    def _find_gemini_project(self) -> TextConversation:
        try:
            content, _ = yield from self._send(Request(url=PROJECTS_URL))
        except ProviderError:
            return ""
        for each in parsing.as_mappings(content.get("projects")):
            id_ = get_text(each, "projectId")
            if id_.startswith("gen-lang-client-") or "generative-language" in get_mapping(each, "labels"):
                return id_
        return ""

    def _parse_plan(self, content: Mapping[str, Any]) -> str | None:
        """The plan's name for people; None if it is not known."""
        paid = get_text(get_mapping(content, "paidTier"), "name")
        tier = get_text(get_mapping(content, "currentTier"), "id")
        free = "Workspace" if self._credential.extra.get("domain") else "Free"
        return paid or {"standard-tier": "Paid", "free-tier": free, "legacy-tier": "Legacy"}.get(tier)


def _with_token(request: Request, token: str) -> Request:
    headers = {**request.headers, "Authorization": f"Bearer {token}", "Accept": "application/json"}
    return replace(request, headers=headers)


def _is_ineligible(content: Mapping[str, Any]) -> bool:
    """Whether `loadCodeAssist` answers, under status 200, that this account is no longer served."""
    reasons = [each.get("reasonCode") for each in parsing.as_mappings(content.get("ineligibleTiers"))]
    return "UNSUPPORTED_CLIENT" in reasons and not (content.get("currentTier") or content.get("paidTier"))


def _parse_oauth_error(response: Response) -> str:
    """OAuth's word for a refusal; "" for a success or another shape."""
    if response.status < 400:  # noqa: PLR2004
        return ""
    try:
        value = parsing.parse_body(response, name=GEMINI_CLI_NAME).get("error")
    except ProviderError:
        return ""
    return value if isinstance(value, str) else ""


def is_account_unsupported(response: Response) -> bool:
    """Whether Google answers that this kind of account is no longer served."""
    if not 400 <= response.status < 500:  # noqa: PLR2004
        return False
    text = response.body.decode(errors="replace")
    lower = text.lower()
    return (
        "UNSUPPORTED_CLIENT" in text
        or "IneligibleTierError" in text
        or ("no longer supported" in lower and "gemini code assist" in lower)
        or all(word in lower for word in ("migrate", "antigravity", "gemini"))
    )


def parse_retry_delay(response: Response) -> timedelta | None:
    """The wait that google.rpc.RetryInfo asks for; None if there is none."""
    try:
        content = parsing.parse_body(response, name=GEMINI_CLI_NAME)
    except ProviderError:
        return None
    for detail in parsing.as_mappings(get_mapping(content, "error").get("details")):
        found = re.fullmatch(r"(\d{1,7}(?:\.\d+)?)s", str(detail.get("retryDelay", "")))
        if found and float(found[1]) > 0:
            return timedelta(seconds=float(found[1]))
    return None
