"""What a refusal means at Google, wherever it comes: at a token, at Code Assist, at the quota.

Observed only; last checked 2026-11-22. Error bodies are `{error: {code, message, status, details: [{@type, reason,
retryDelay}]}}`. Since 2026-06-18 Google refuses consumer accounts of Gemini CLI for good, in several words. Never ask
anybody here.
"""

import re
from datetime import timedelta

from watcher.core.model import Response
from watcher.credentials import Credential
from watcher.errors import ForbiddenError, ProviderError, RateLimitedError, UnsupportedError
from watcher.providers import answers

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
            parse_retry_delay(response) or answers.parse_retry_after(response),
        )
    if response.status == 403 and not answers.is_html(response):  # noqa: PLR2004
        for word, cure in FORBIDDEN_HINTS:
            if word.encode() in response.body:
                raise ForbiddenError(f"{get_provider_name(credential)}: this login may not read usage ({word}): {cure}")
    answers.raise_for_status(response, name=get_provider_name(credential), sign_in_hint=get_sign_in_hint(credential))


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
        content = answers.parse_body(response, name=GEMINI_CLI_NAME)
    except ProviderError:
        return None
    for detail in answers.as_mappings(answers.as_mapping(content.get("error")).get("details")):
        found = re.fullmatch(r"(\d{1,7}(?:\.\d+)?)s", str(detail.get("retryDelay", "")))
        if found and float(found[1]) > 0:
            return timedelta(seconds=float(found[1]))
    return None
