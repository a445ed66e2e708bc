"""Codex (ChatGPT subscriptions): `GET https://chatgpt.com/backend-api/wham/usage`.

Undocumented by its vendor, observed only; last checked 2026-09. The answer: `plan_type`, `rate_limit` with up to two
windows `{used_percent, limit_window_seconds, reset_after_seconds, reset_at}`, `additional_rate_limits`,
`code_review_rate_limit`, `credits`, `individual_limit`. Needs the ChatGPT access token of OpenCode or Codex.

A personal access token does not say whose it is: `GET https://auth.openai.com/api/accounts/v1/user-auth-credential/
whoami` is asked once for each token, `{chatgpt_account_id, chatgpt_plan_type, email}`, so that the right workspace is
read; without an answer the usage is read all the same.
"""

from collections.abc import Generator, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from msgspec.structs import replace

from watcher.core.model import Request, Response, Snapshot
from watcher.credentials import OTHERS, Credential, Surroundings, codex, opencode_plugins
from watcher.credentials.places import UnusablePlaceError, gather
from watcher.errors import OfflineError, ProviderError, ShapeChangedError
from watcher.providers import Conversation, Kept, Overrides, Provider, answers, codex_keys, codex_windows

ID, NAME, SIGN_IN = "codex", "Codex", "run `codex` once"
URL = "https://chatgpt.com/backend-api/wham/usage"
WHOAMI_URL = "https://auth.openai.com/api/accounts/v1/user-auth-credential/whoami"


class Owner(NamedTuple):
    """Whose a personal access token is; empty where it is not said."""

    account: str = ""
    plan: str = ""
    email: str = ""


def find(surroundings: Surroundings, overrides: Overrides) -> Sequence[Credential]:
    """ChatGPT logins, OpenCode's first, and API keys where they can be asked about, or where the person named one.

    A key for the vendor's own server is found in many homes and can tell nothing: unasked, it is no login of Codex.
    """
    try:
        return _useful(_all(surroundings, overrides), overrides)
    except UnusablePlaceError as error:
        raise UnusablePlaceError(_useful(error.found, overrides), error.troubles) from None


def _useful(found: Sequence[Credential], overrides: Overrides) -> list[Credential]:
    own = codex.about_key(overrides.base_url or "")
    logins = [replace(each, extra={**each.extra, **own}) if "api_key" in each.extra else each for each in found]
    useful = [each for each in logins if "api_key" not in each.extra or "usage_url" in each.extra]
    is_named = bool(overrides.token or overrides.credentials)
    return useful or (logins[:1] if is_named else [])


def _all(surroundings: Surroundings, overrides: Overrides) -> Sequence[Credential]:
    if overrides.token and overrides.token.startswith("sk-"):
        return [codex.api_key("config", "config", overrides.token, "")]
    if overrides.token:
        return [codex.credential("config", "config", overrides.token)]
    path = overrides.credentials
    places = [partial(codex.from_opencode, surroundings, path), partial(codex.find, surroundings, path)]
    if path is None:
        places.append(partial(opencode_plugins.chatgpt, surroundings))
    return gather(*places)


def ask(credential: Credential, _now: datetime, kept: Kept) -> Conversation:
    """The usage; before it, whose a personal access token is."""
    if "api_key" in credential.extra:
        return (yield from codex_keys.ask(credential))
    url = credential.extra.get("usage_url", URL)
    headers = {
        "Authorization": f"Bearer {credential.token}",
        "Accept": "application/json",
        "User-Agent": "codex-cli",
    }
    account, owner = credential.extra.get("account_id", ""), Owner()
    if credential.extra.get("personal"):
        headers |= {"User-Agent": "codex_cli_rs/0.50.0", "originator": "codex_cli_rs"}
        if codex.is_vendor(urlsplit(url).hostname):  # a token for another server is not shown to this one
            owner = yield from _owner(credential.token, headers, kept)
            account = account or owner.account
    if account:
        headers = {**headers, "ChatGPT-Account-Id": account}
    response: Response = yield Request(url=url, headers=headers)
    content = answers.read(response, name=NAME, sign_in=SIGN_IN)
    readings = codex_windows.read(content, response.at)
    if not readings:
        raise ShapeChangedError(
            f"{NAME}: no window in the answer (rate_limit, credits): look for a newer version of this program"
        )
    email = answers.text(content.get("email")) or owner.email
    return Snapshot(
        provider=ID,
        # beside other logins the workspace is the name: one person's two are two quotas, and joined by email
        account_name=owner.account if owner.account and credential.extra.get(OTHERS) else email,
        plan=answers.text(content.get("plan_type")) or credential.plan or owner.plan or None,
        at=response.at,
        readings=tuple(readings),
        note=_note(content),
    )


def _owner(token: str, headers: Mapping[str, str], kept: Kept) -> Generator[Request, Response, Owner]:
    """Whose the token is, asked once; nobody where it is not said, which costs no reading."""
    if kept.get("owner_of") != token:
        kept["owner_of"], kept["owner"] = token, Owner()
        try:
            content = answers.read((yield Request(url=WHOAMI_URL, headers=headers)), name=NAME, sign_in=SIGN_IN)
            names = ("chatgpt_account_id", "chatgpt_plan_type", "email")
            kept["owner"] = Owner(*(answers.text(content.get(name)) or "" for name in names))
        except ProviderError as error:
            if isinstance(error, OfflineError):
                del kept["owner_of"]  # it was never asked
    owner: Owner = kept["owner"]
    return owner


def _note(content: Mapping[str, Any]) -> str | None:
    limit, spend = answers.mapping(content.get("rate_limit")), answers.mapping(content.get("spend_control"))
    if limit.get("limit_reached") is True or limit.get("allowed") is False:
        return "limit reached: Codex refuses work until the reset"
    return "spend limit reached" if spend.get("reached") is True else None


PROVIDER = Provider(
    id=ID,
    name=NAME,
    page="https://chatgpt.com/codex/settings/usage",
    sign_in=SIGN_IN,
    primary=("five_hour", "weekly", "monthly"),
    find=find,
    ask=ask,
    floor=timedelta(minutes=2),
    default=timedelta(minutes=5),
    ceiling=timedelta(minutes=30),
)
