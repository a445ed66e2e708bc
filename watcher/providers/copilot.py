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

from watcher.core.model import Kind, Reading, Request, Response, Snapshot
from watcher.credentials import Credential, Surroundings, copilot
from watcher.credentials.places import UnusablePlaceError, gather
from watcher.errors import ForbiddenError, ProviderError, ShapeChangedError
from watcher.providers import Conversation, Kept, Overrides, Provider, answers

ID, NAME, SIGN_IN = "copilot", "Copilot", "sign in to GitHub Copilot again, with `opencode auth login` or in the editor"
HEADERS = {
    "Accept": "application/json",
    "Editor-Version": "vscode/1.96.2",
    "Editor-Plugin-Version": "copilot-chat/0.26.7",
    "User-Agent": "GitHubCopilotChat/0.26.7",
    "X-Github-Api-Version": "2025-04-01",
}
RESETS = ("quota_reset_date_utc", "quota_reset_date", "limited_user_reset_date")
UNITS = {"premium_interactions": "requests", "chat": "messages", "completions": "completions"}


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
    if response.status == 404:  # noqa: PLR2004 - statuses are words
        raise ForbiddenError(f"{NAME}: this token may not read quota, or has no Copilot (404): {SIGN_IN}")
    content = answers.read(response, name=NAME, sign_in=SIGN_IN)
    readings = read(content)
    name = credential.account_name or answers.text(content.get("login"))
    if not name and kept.get("token") == credential.token:
        name = kept["login"]
    elif not name:
        name = yield from _login(f"{api}/user", headers)
        kept.update(token=credential.token, login=name)
    return Snapshot(
        provider=ID,
        account=name.casefold(),
        account_name=name,
        plan=answers.text(content.get("copilot_plan")) or answers.text(content.get("plan")),
        at=response.at,
        readings=tuple(readings),
        note=_note(content, readings),
    )


def _login(url: str, headers: Mapping[str, str]) -> Any:
    """The login's name; "" where GitHub does not say it, which costs no reading."""
    try:
        response = yield Request(url=url, headers=headers)
        return answers.text(answers.read(response, name=NAME, sign_in=SIGN_IN).get("login")) or ""
    except ProviderError:
        return ""


def read(content: Mapping[str, Any]) -> list[Reading]:
    """One reading for each quota that says anything.

    Errors: `ShapeChangedError` where the answer has neither of the two forms.
    """
    snapshots = answers.mapping(content.get("quota_snapshots"))
    limits = answers.mapping(content.get("monthly_quotas"))
    left = answers.mapping(content.get("limited_user_quotas"))
    ids = [id_ for id_ in dict.fromkeys((*snapshots, *limits, *left)) if answers.slug(id_)]
    if not ids:
        raise ShapeChangedError(f"{NAME}: no quota in the answer (quota_snapshots): nothing is claimed")
    resets_at = next((reset for reset in (answers.instant(content.get(name)) for name in RESETS) if reset), None)
    found = []
    for id_ in ids:
        direct = _direct(id_, answers.mapping(snapshots.get(id_)), resets_at) if id_ in snapshots else None
        monthly = _reading(id_, answers.decimal(limits.get(id_)), answers.decimal(left.get(id_)), resets_at)
        finite = monthly.used_percent is not None  # such a pair says more than a sentinel or a placeholder
        if finite and (direct is None or direct.unlimited or direct.used_percent is None):
            found.append(monthly)
        elif direct is not None:
            found.append(direct)
        elif id_ not in snapshots:
            found.append(monthly)
    return list({reading.window: reading for reading in found}.values())


def _direct(id_: str, fields: Mapping[str, Any], resets_at: datetime | None) -> Reading | None:
    """The reading of one snapshot; None where it is a placeholder or says nothing at all."""
    limit, remaining = answers.decimal(fields.get("entitlement")), answers.decimal(fields.get("remaining"))
    if remaining is None:
        remaining = answers.decimal(fields.get("quota_remaining"))
    if fields.get("unlimited") is True or (limit == remaining == -1):
        return Reading(window=answers.slug(id_), kind=Kind.MONTHLY, label=_label(id_), unit=_unit(id_), unlimited=True)
    if limit == remaining == 0:
        return None
    left = answers.number(fields.get("percent_remaining"))
    overage = answers.decimal(fields.get("overage_count"))
    if remaining == 0 and overage is not None and overage > 0:
        remaining = -overage
    if left is not None and left >= 0 and remaining is not None and remaining < 0:
        left = None  # clamped: the counts say more
    return _reading(id_, limit, remaining, resets_at, left)


def _reading(
    id_: str, limit: Decimal | None, remaining: Decimal | None, resets_at: datetime | None, left: float | None = None
) -> Reading:
    """A finite quota: its percentage as given, else from the counts."""
    limit = limit if limit is not None and limit > 0 else None
    used = limit - remaining if limit is not None and remaining is not None else None
    percent = max(0.0, 100 - left) if left is not None else None
    if percent is None and used is not None:
        percent = answers.ratio(max(used, Decimal(0)), limit)
    return Reading(
        window=answers.slug(id_),
        kind=Kind.MONTHLY,
        label=_label(id_),
        used_percent=percent,
        used=used,
        limit=limit,
        remaining=remaining,
        unit=_unit(id_),
        resets_at=resets_at,
    )


def _label(id_: str) -> str:
    return id_.replace("_", " ")


def _unit(id_: str) -> str:
    return UNITS.get(id_, "requests")


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
    return None


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
