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

from watcher.core.model import Reading, Request, Response, Snapshot, WindowKind
from watcher.credentials import OWNER_UNKNOWN_KEY, Credential, HostInfo, copilot
from watcher.credentials.sources import UnusableSourceError, collect_credentials
from watcher.errors import ForbiddenError, ProviderError, ShapeChangedError
from watcher.providers import Conversation, Overrides, Provider, ProviderState, parsing

ID, NAME, SIGN_IN_HINT = "copilot", "Copilot", "sign in to GitHub Copilot with `opencode auth login` or in the editor"
HEADERS = {
    "Accept": "application/json",
    "Editor-Version": "vscode/1.96.2",
    "Editor-Plugin-Version": "copilot-chat/0.26.7",
    "User-Agent": "GitHubCopilotChat/0.26.7",
    "X-Github-Api-Version": "2025-04-01",
}


def find_credentials(host_info: HostInfo, overrides: Overrides) -> Sequence[Credential]:
    """GitHub logins, OpenCode's first, each once."""
    if overrides.token:
        return [copilot.make_credential("config", "config", overrides.token)]
    path = overrides.credentials
    if path:
        return copilot.merge_duplicates(copilot.find_in_file(host_info, path))
    each = (copilot.find_in_opencode, copilot.find_in_keychain, copilot.find_in_editors, copilot.find_in_gh)
    try:
        return copilot.merge_duplicates(collect_credentials(*(partial(place, host_info) for place in each)))
    except UnusableSourceError as error:
        raise UnusableSourceError(copilot.merge_duplicates(list(error.credentials)), error.errors) from None


def fetch_usage(credential: Credential, _now: datetime, provider_state: ProviderState) -> Conversation:
    """The quotas, and whose they are where neither the login nor the answer says so."""
    api = f"https://api.{credential.extra.get('host', copilot.DEFAULT_HOST)}"
    headers = {**HEADERS, "Authorization": f"token {credential.token}"}
    response: Response = yield Request(url=f"{api}/copilot_internal/user", headers=headers)
    try:
        content = _parse_content(response)
    except ForbiddenError as error:  # of another app's token; the same person's may be there too
        if OWNER_UNKNOWN_KEY in credential.extra:
            error.account_name = yield from _fetch_login(f"{api}/user", headers, credential, provider_state)
        raise
    if not has_quotas(content):
        raise ShapeChangedError(f"{NAME}: no quota in the answer (quota_snapshots): nothing is claimed")
    readings = parse_readings(content)
    name = credential.account_name or parsing.parse_text(content.get("login"))
    if not name:
        name = yield from _fetch_login(f"{api}/user", headers, credential, provider_state)
    return Snapshot(
        provider=ID,
        account=name.casefold(),
        account_name=name,
        plan=parsing.parse_text(content.get("copilot_plan")) or parsing.parse_text(content.get("plan")),
        at=response.received_at,
        readings=tuple(readings),
        note=_make_note(content, readings),
    )


def _parse_content(response: Response) -> dict[str, Any]:
    if response.status == 404:  # noqa: PLR2004 - statuses are words
        raise ForbiddenError(f"{NAME}: this token may not read quota, or has no Copilot (404): {SIGN_IN_HINT}")
    return parsing.parse_response(response, name=NAME, sign_in_hint=SIGN_IN_HINT)


def _fetch_login(url: str, headers: Mapping[str, str], credential: Credential, provider_state: ProviderState) -> Any:
    """The login's name, asked once for each token; "" where GitHub does not say it, which costs no reading."""
    if provider_state.get("token") != credential.token:
        provider_state.update(token=credential.token, login="")
        try:
            response = yield Request(url=url, headers=headers)
            said = parsing.parse_response(response, name=NAME, sign_in_hint=SIGN_IN_HINT)
        except ProviderError:
            return ""
        provider_state["login"] = parsing.parse_text(said.get("login")) or ""
    return provider_state["login"]


def _make_note(content: Mapping[str, Any], readings: Sequence[Reading]) -> str | None:
    """What the counts do not say: overage and whether it is billed, or that only credits are counted."""
    snapshots = parsing.as_mapping(content.get("quota_snapshots"))
    for reading in readings:
        fields = parsing.as_mapping(snapshots.get(reading.window))
        if reading.remaining is not None and reading.remaining < 0 and "overage_permitted" in fields:
            billed = "billed" if fields.get("overage_permitted") is True else "blocked"
            return f"{reading.label}: {-reading.remaining} over the limit, further requests are {billed}"
    credits_ = [parsing.parse_decimal(parsing.as_mapping(each).get("credits_used")) for each in snapshots.values()]
    spent = sum((each for each in credits_ if each), Decimal(0))
    if content.get("token_based_billing") is True:
        return f"billed by token: there is no limit to watch; {spent} credits used"
    return None if readings else f"this seat has no quota of its own: there is no limit to watch; {spent} credits used"


PROVIDER = Provider(
    id=ID,
    name=NAME,
    usage_page="https://github.com/settings/copilot",
    sign_in_hint=SIGN_IN_HINT,
    primary_windows=("premium_interactions",),
    find_credentials=find_credentials,
    fetch_usage=fetch_usage,
    min_interval=timedelta(minutes=5),
    default_interval=timedelta(minutes=15),
    max_interval=timedelta(hours=1),
)


# --- What Copilot's answer says of each quota: a snapshot, a pair of the free plan, or nothing


RESET_FIELDS = ("quota_reset_date_utc", "quota_reset_date", "limited_user_reset_date")
UNITS = {"premium_interactions": "requests", "chat": "messages", "completions": "completions"}


def parse_readings(content: Mapping[str, Any]) -> list[Reading]:
    """One reading for each quota that says anything; [] also where all are placeholders."""
    snapshots = parsing.as_mapping(content.get("quota_snapshots"))
    limits = parsing.as_mapping(content.get("monthly_quotas"))
    left = parsing.as_mapping(content.get("limited_user_quotas"))
    ids = [id_ for id_ in dict.fromkeys((*snapshots, *limits, *left)) if parsing.slugify(id_)]
    resets_at = next(
        (reset for reset in (parsing.parse_timestamp(content.get(name)) for name in RESET_FIELDS) if reset), None
    )
    found = []
    for id_ in ids:
        direct = _parse_quota(id_, parsing.as_mapping(snapshots.get(id_)), resets_at) if id_ in snapshots else None
        monthly = _make_reading(
            id_, parsing.parse_decimal(limits.get(id_)), parsing.parse_decimal(left.get(id_)), resets_at
        )
        finite = monthly.used_percent is not None  # such a pair says more than a sentinel or a placeholder
        if finite and (direct is None or direct.unlimited or direct.used_percent is None):
            found.append(monthly)
        elif direct is not None:
            found.append(direct)
        elif id_ not in snapshots:
            found.append(monthly)
    return list({reading.window: reading for reading in found}.values())


def _parse_quota(id_: str, fields: Mapping[str, Any], resets_at: datetime | None) -> Reading | None:
    """The reading of one snapshot; None where it is a placeholder or says nothing at all."""
    limit, remaining = parsing.parse_decimal(fields.get("entitlement")), parsing.parse_decimal(fields.get("remaining"))
    if remaining is None:
        remaining = parsing.parse_decimal(fields.get("quota_remaining"))
    overage = max(parsing.parse_decimal(fields.get("overage_count")) or Decimal(0), Decimal(0))
    if fields.get("unlimited") is True or (limit == remaining == -1):
        return Reading(
            window=parsing.slugify(id_),
            kind=WindowKind.MONTHLY,
            label=_make_label(id_),
            unit=_get_unit(id_),
            unlimited=True,
        )
    left = parsing.parse_number(fields.get("percent_remaining"))
    if limit == 0 and not remaining and not overage and (left is None or left >= 0):
        return None
    if not remaining and overage:
        remaining = -overage
    if left is not None and left >= 0 and remaining is not None and remaining < 0:
        left = None  # clamped: the counts say more
    return _make_reading(id_, limit, remaining, resets_at, left)


def _make_reading(
    id_: str,
    limit: Decimal | None,
    remaining: Decimal | None,
    resets_at: datetime | None,
    percent_remaining: float | None = None,
) -> Reading:
    """A finite quota: its percentage as given, else from the counts."""
    limit = limit if limit is not None and limit > 0 else None
    used = limit - remaining if limit is not None and remaining is not None else None
    percent = max(0.0, 100 - percent_remaining) if percent_remaining is not None else None
    if percent is None and used is not None:
        percent = parsing.compute_percent(max(used, Decimal(0)), limit)
    return Reading(
        window=parsing.slugify(id_),
        kind=WindowKind.MONTHLY,
        label=_make_label(id_),
        used_percent=percent,
        used=used,
        limit=limit,
        remaining=remaining,
        unit=_get_unit(id_),
        resets_at=resets_at,
    )


def _make_label(id_: str) -> str:
    return id_.replace("_", " ")


def _get_unit(id_: str) -> str:
    return UNITS.get(id_, "requests")


def has_quotas(content: Mapping[str, Any]) -> bool:
    """Whether the answer has a quota in any of its forms, placeholders too."""
    return any(
        parsing.as_mapping(content.get(name)) for name in ("quota_snapshots", "monthly_quotas", "limited_user_quotas")
    )
