"""Codex (ChatGPT subscriptions): `GET https://chatgpt.com/backend-api/wham/usage`.

Undocumented by its vendor, observed only; last checked 2026-11. The answer: `plan_type`, `rate_limit` with up to two
windows `{used_percent, limit_window_seconds, reset_after_seconds, reset_at}`, `additional_rate_limits`,
`code_review_rate_limit`, `credits`, `individual_limit`, `rate_limit_reset_credits`. Needs the ChatGPT access token of
OpenCode or Codex.

The parts: `codex_logins` finds it, `codex_owner` asks whose a personal token is, `codex_answer` reads the answer with
`codex_windows` and `codex_balances`, `codex_extras` asks what takes a further request, `codex_keys` asks a proxy about
an API key, `codex_cache` asks nobody.
"""

from collections.abc import Generator
from datetime import datetime, timedelta
from urllib.parse import urlsplit

from msgspec.structs import replace

from watcher.core.model import Request, Response
from watcher.credentials import Credential, codex_plugins, codex_servers
from watcher.providers import (
    Conversation,
    Kept,
    Provider,
    answers,
    codex_answer,
    codex_cache,
    codex_keys,
    codex_logins,
    codex_owner,
)
from watcher.providers.codex_answer import ID, NAME
from watcher.providers.codex_extras import Usage
from watcher.providers.codex_owner import Owner

SIGN_IN = "run `codex` once"
URL = "https://chatgpt.com/backend-api/wham/usage"
AGENT, PERSONAL_AGENT = "codex-cli", "codex_cli_rs/0.50.0"
_REFUSALS = range(400, 429)  # those above it are troubles of a server that does know


def ask(credential: Credential, now: datetime, kept: Kept) -> Conversation:
    """The usage, or what stands in for it, with what the person should know of other places."""
    snapshot = yield from _ask(credential, now, kept)
    notes = (snapshot.note, credential.extra.get(codex_logins.NOTE))
    return replace(snapshot, note="; ".join(filter(None, notes)) or None)


def _ask(credential: Credential, now: datetime, kept: Kept) -> Conversation:
    """The usage; before it, whose a personal access token is; after it, what takes a request of its own."""
    if codex_plugins.CACHED in credential.extra:
        return codex_cache.read(credential, now)
    if "api_key" in credential.extra:
        return (yield from codex_keys.ask(credential))
    owner = yield from _owner(credential, kept)
    usage = yield from _usage(credential, owner)
    return (yield from codex_answer.read(credential, owner, usage, kept))


def _headers(credential: Credential, account: str = "") -> dict[str, str]:
    headers = {
        "Authorization": f"Bearer {credential.token}",
        "Accept": "application/json",
        "User-Agent": AGENT,
        "Cache-Control": "no-cache",  # an answer may call itself public: no cache on the way may give it to another
    }
    if credential.extra.get("personal"):
        headers |= {"User-Agent": PERSONAL_AGENT, "originator": "codex_cli_rs"}
    if credential.extra.get(codex_logins.AGENT):
        headers["User-Agent"] = credential.extra[codex_logins.AGENT]
    return {**headers, "ChatGPT-Account-Id": account} if account else headers


def _owner(credential: Credential, kept: Kept) -> Generator[Request, Response, Owner]:
    """Whose a personal access token is; one for another server is shown to that one alone."""
    host = urlsplit(credential.extra.get("usage_url", URL)).hostname
    if not credential.extra.get("personal") or not codex_servers.is_vendor(host):
        return Owner()
    return (yield from codex_owner.ask(credential.token, _headers(credential), kept))


def _usage(credential: Credential, owner: Owner) -> Generator[Request, Response, Usage]:
    url = credential.extra.get("usage_url", URL)
    headers = _headers(credential, credential.extra.get("account_id") or owner.account)
    response: Response = yield Request(url=url, headers=headers)
    if "if_unknown" in credential.extra and _is_unknown(response):
        url = URL
        response = yield Request(url=url, headers=headers)
    content = answers.read(response, name=NAME, sign_in=SIGN_IN)
    return Usage(url=url, headers=headers, content=content, at=response.at)


def _is_unknown(response: Response) -> bool:
    """Whether OpenCode's proxy knows nothing of this login or of subscriptions: it is the vendor's all the same."""
    return response.status in _REFUSALS or (response.status < _REFUSALS.start and answers.is_html(response))


PROVIDER = Provider(
    id=ID,
    name=NAME,
    page="https://chatgpt.com/codex/settings/usage",
    sign_in=SIGN_IN,
    primary=("five_hour", "weekly", "monthly"),
    find=codex_logins.find,
    ask=ask,
    floor=timedelta(minutes=2),
    default=timedelta(minutes=5),
    ceiling=timedelta(minutes=30),
)
