"""Codex (ChatGPT subscriptions): `GET https://chatgpt.com/backend-api/wham/usage`.

Undocumented by its vendor, observed only; last checked 2026-11. The answer: `plan_type`, `rate_limit` with up to two
windows `{used_percent, limit_window_seconds, reset_after_seconds, reset_at}`, `additional_rate_limits`,
`code_review_rate_limit`, `credits`, `individual_limit`, `rate_limit_reset_credits`. Needs the ChatGPT access token of
OpenCode or Codex. The parts: `codex_logins` finds it, `codex_windows` and `codex_balances` read the answer,
`codex_owner` asks whose a personal token is, `codex_extras` what takes a further request, `codex_keys` a proxy about an
API key, `codex_cache` nobody.
"""

from collections.abc import Generator, Mapping
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from msgspec.structs import replace

from watcher.core.model import Reading, Request, Response, Snapshot
from watcher.credentials import OTHERS, Credential, codex_plugins, codex_servers
from watcher.errors import ShapeChangedError
from watcher.providers import (
    Conversation,
    Kept,
    Provider,
    answers,
    codex_cache,
    codex_extras,
    codex_keys,
    codex_logins,
    codex_owner,
    codex_windows,
)
from watcher.providers.codex_extras import Usage
from watcher.providers.codex_owner import Owner

ID, NAME, SIGN_IN = "codex", "Codex", "run `codex` once"
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
    return (yield from _snapshot(credential, owner, usage, kept))


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


def _snapshot(credential: Credential, owner: Owner, usage: Usage, kept: Kept) -> Generator[Request, Response, Snapshot]:
    content = usage.content
    readings = codex_windows.read(content, usage.at)
    if not readings:
        raise ShapeChangedError(
            f"{NAME}: no window in the answer (rate_limit, credits): look for a newer version of this program"
        )
    account = usage.headers.get("ChatGPT-Account-Id", "") or answers.text(content.get("account_id")) or ""
    further: tuple[Reading, ...] = yield from codex_extras.monthly(usage, account, kept)
    notes = [_note(content)]
    if credential.extra.get(codex_logins.RESETS):
        resets, note = yield from codex_extras.resets(usage, kept)
        further, notes = (*further, *resets), [*notes, note]
    known = {each.window for each in readings}
    return Snapshot(
        provider=ID,
        # beside other logins the workspace is the name: one person's two are two quotas, and joined by email
        account_name=owner.account
        if owner.account and credential.extra.get(OTHERS)
        else answers.text(content.get("email")) or owner.email,
        plan=answers.text(content.get("plan_type")) or credential.plan or owner.plan or None,
        at=usage.at,
        readings=(*readings, *(each for each in further if each.window not in known)),
        note="; ".join(filter(None, notes)) or None,
    )


def _note(content: Mapping[str, Any]) -> str:
    limit, spend = answers.mapping(content.get("rate_limit")), answers.mapping(content.get("spend_control"))
    if limit.get("limit_reached") is True or limit.get("allowed") is False:
        return "limit reached: Codex refuses work until the reset"
    return "spend limit reached" if spend.get("reached") is True else ""


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
