"""GitHub Copilot: `GET https://api.github.com/copilot_internal/user`.

Undocumented by its vendor, observed only; last checked 2026-11-22. The answer: `quota_snapshots.<id>` `{entitlement,
remaining, percent_remaining, unlimited, overage_count}`, on the free plan `monthly_quotas` (limits) with
`limited_user_quotas` (what remains), and one reset date for all. Needs a GitHub token (`gho_...`) of OpenCode, an
editor or GitHub CLI; the word before it is `token`. Remaining below zero is overage; entitlement 0 with 0 left
is no quota.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any

from watcher.core.model import Reading, Request, Response, Snapshot
from watcher.credentials import OTHERS, Credential, Surroundings, copilot
from watcher.credentials.places import UnusablePlaceError, gather
from watcher.errors import ForbiddenError, ProviderError, ShapeChangedError
from watcher.providers import Conversation, Kept, Overrides, Provider, answers, copilot_quotas

ID, NAME, SIGN_IN = "copilot", "Copilot", "sign in to GitHub Copilot with `opencode auth login` or in the editor"
HEADERS = {
    "Accept": "application/json",
    "Editor-Version": "vscode/1.96.2",
    "Editor-Plugin-Version": "copilot-chat/0.26.7",
    "User-Agent": "GitHubCopilotChat/0.26.7",
    "X-Github-Api-Version": "2025-04-01",
}


def find(surroundings: Surroundings, overrides: Overrides) -> Sequence[Credential]:
    """GitHub logins, OpenCode's first, each once."""
    if overrides.token:
        return [copilot.credential("config", "config", overrides.token)]
    path = overrides.credentials
    if path:
        return copilot.one_each(copilot.from_file(surroundings, path))
    each = (copilot.from_opencode, copilot.from_keychain, copilot.from_editors, copilot.from_gh)
    try:
        return copilot.one_each(gather(*(partial(place, surroundings) for place in each)))
    except UnusablePlaceError as error:
        raise UnusablePlaceError(copilot.one_each(list(error.found)), error.troubles) from None


def ask(credential: Credential, _now: datetime, kept: Kept) -> Conversation:
    """The quotas, and whose they are where neither the login nor the answer says so."""
    api = f"https://api.{credential.extra.get('host', copilot.HOST)}"
    headers = {**HEADERS, "Authorization": f"token {credential.token}"}
    response: Response = yield Request(url=f"{api}/copilot_internal/user", headers=headers)
    try:
        content = _content(response)
    except ForbiddenError as error:  # of another app's token; the same person's may be there too
        if OTHERS in credential.extra:
            error.account_name = yield from _login(f"{api}/user", headers, credential, kept)
        raise
    if not copilot_quotas.names_any(content):
        raise ShapeChangedError(f"{NAME}: no quota in the answer (quota_snapshots): nothing is claimed")
    readings = copilot_quotas.read(content)
    name = credential.account_name or answers.text(content.get("login"))
    if not name:
        name = yield from _login(f"{api}/user", headers, credential, kept)
    return Snapshot(
        provider=ID,
        account=name.casefold(),
        account_name=name,
        plan=answers.text(content.get("copilot_plan")) or answers.text(content.get("plan")),
        at=response.at,
        readings=tuple(readings),
        note=_note(content, readings),
    )


def _content(response: Response) -> dict[str, Any]:
    if response.status == 404:  # noqa: PLR2004 - statuses are words
        raise ForbiddenError(f"{NAME}: this token may not read quota, or has no Copilot (404): {SIGN_IN}")
    return answers.read(response, name=NAME, sign_in=SIGN_IN)


def _login(url: str, headers: Mapping[str, str], credential: Credential, kept: Kept) -> Any:
    """The login's name, asked once for each token; "" where GitHub does not say it, which costs no reading."""
    if kept.get("token") != credential.token:
        kept.update(token=credential.token, login="")
        try:
            response = yield Request(url=url, headers=headers)
            said = answers.read(response, name=NAME, sign_in=SIGN_IN)
        except ProviderError:
            return ""
        kept["login"] = answers.text(said.get("login")) or ""
    return kept["login"]


def _note(content: Mapping[str, Any], readings: Sequence[Reading]) -> str | None:
    """What the counts do not say: overage and whether it is billed, or that only credits are counted."""
    snapshots = answers.mapping(content.get("quota_snapshots"))
    for reading in readings:
        fields = answers.mapping(snapshots.get(reading.window))
        if reading.remaining is not None and reading.remaining < 0 and "overage_permitted" in fields:
            billed = "billed" if fields.get("overage_permitted") is True else "blocked"
            return f"{reading.label}: {-reading.remaining} over the limit, further requests are {billed}"
    credits_ = [answers.decimal(answers.mapping(each).get("credits_used")) for each in snapshots.values()]
    spent = sum((each for each in credits_ if each), Decimal(0))
    if content.get("token_based_billing") is True:
        return f"billed by token: there is no limit to watch; {spent} credits used"
    return None if readings else f"this seat has no quota of its own: there is no limit to watch; {spent} credits used"


PROVIDER = Provider(
    id=ID,
    name=NAME,
    page="https://github.com/settings/copilot",
    sign_in=SIGN_IN,
    primary=("premium_interactions",),
    find=find,
    ask=ask,
    floor=timedelta(minutes=5),
    default=timedelta(minutes=15),
    ceiling=timedelta(hours=1),
)
