"""GitHub Copilot: `GET https://api.github.com/copilot_internal/user`.

Undocumented by its vendor, observed only; last checked 2026-11-28. The answer: `quota_snapshots.<id>` `{entitlement,
remaining, percent_remaining, unlimited, overage_count, credits_used, quota_reset_at}`, on the free plan
`monthly_quotas` (limits) with `limited_user_quotas` (what remains), and one reset date for all. Needs a GitHub token
(`gho_...`) of OpenCode, an editor or GitHub CLI, sent after the word `token`. Remaining below zero is overage;
entitlement 0 with 0 left is no quota. With `token_based_billing` the counts are AI credits of $0.01.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any

from msgspec.structs import replace

from watcher.core.model import Pace, Reading, Request, Response, Snapshot, WindowKind
from watcher.credentials import OWNER_UNKNOWN_KEY, Credential, HostInfo, copilot
from watcher.credentials.files import collect_credentials, get_mapping, get_text
from watcher.errors import ForbiddenError, ShapeChangedError
from watcher.providers import Conversation, Overrides, Provider, ProviderState, parsing

ID, NAME, SIGN_IN_HINT = "copilot", "Copilot", "sign in to GitHub Copilot with `opencode auth login` or in the editor"
HEADERS = {
    "Accept": "application/json",
    "Editor-Version": "vscode/1.96.2",
    "Editor-Plugin-Version": "copilot-chat/0.26.7",
    "User-Agent": "GitHubCopilotChat/0.26.7",
    "X-Github-Api-Version": "2025-04-01",
}
QUOTA_FIELDS = ("quota_snapshots", "monthly_quotas", "limited_user_quotas")
RESET_FIELDS = ("quota_reset_date_utc", "quota_reset_date", "limited_user_reset_date")
CREDITS_WINDOW = "credits"
LABELS = {"premium_interactions": "premium requests"}  # GitHub's own word; others are as in their id
UNITS = {"premium_interactions": "requests", "chat": "messages", "completions": "completions"}


def find_credentials(host_info: HostInfo, overrides: Overrides) -> Sequence[Credential]:
    """GitHub logins, OpenCode's first."""
    if overrides.token:
        return [copilot.make_credential("config", "config", overrides.token)]
    if overrides.login_path:
        return copilot.find_in_file(host_info, overrides.login_path)
    sources = (copilot.find_in_opencode, copilot.find_in_keychain, copilot.find_in_editors, copilot.find_in_gh)
    return collect_credentials(*(partial(source, host_info) for source in sources), select=copilot.select_usable)


def fetch_usage(credential: Credential, _now: datetime, provider_state: ProviderState) -> Conversation:
    """The quotas, and the owner's name if neither the login nor the answer has it."""
    api = f"https://api.{credential.extra.get('host', copilot.DEFAULT_HOST)}"
    headers = {**HEADERS, "Authorization": f"token {credential.token}"}
    owner = parsing.fetch_owner(
        provider_state,
        credential.token,
        [Request(url=f"{api}/user", headers=headers)],
        lambda owner: get_text(owner, "login"),
    )
    response: Response = yield Request(url=f"{api}/copilot_internal/user", headers=headers)
    try:
        content = _parse_content(response)
    except ForbiddenError as error:  # the token of another app; the same person's other tokens may be allowed
        if OWNER_UNKNOWN_KEY in credential.extra:
            error.account_name = (yield from owner) or ""
        raise
    if not any(get_mapping(content, name) for name in QUOTA_FIELDS):
        raise ShapeChangedError(f"{NAME}: no quota in the answer (quota_snapshots): nothing is claimed")
    readings = parse_readings(content)
    name = credential.account_name or get_text(content, "login") or (yield from owner) or ""
    return Snapshot(
        provider=ID,
        account_name=name,
        plan=get_text(content, "copilot_plan", "plan") or None,
        at=response.received_at,
        readings=tuple(readings),
        note=_make_note(content, readings),
    )


def _parse_content(response: Response) -> dict[str, Any]:
    if response.status == 404:  # noqa: PLR2004 - an HTTP status
        raise ForbiddenError(f"{NAME}: this token may not read quota, or has no Copilot (404): {SIGN_IN_HINT}")
    return parsing.parse_response(response, name=NAME, sign_in_hint=SIGN_IN_HINT)


def _make_note(content: Mapping[str, Any], readings: Sequence[Reading]) -> str | None:
    """What the counts do not show: whether overage is billed, or that only credits are counted."""
    snapshots = get_mapping(content, "quota_snapshots")
    for reading in readings:
        fields = get_mapping(snapshots, reading.window)
        if reading.remaining is not None and reading.remaining < 0 and "overage_permitted" in fields:
            billed = "billed" if fields["overage_permitted"] is True else "blocked"
            return f"{reading.label}: {-reading.remaining} over the limit, further requests are {billed}"
    if any(reading.limit is not None or reading.used_percent is not None for reading in readings):
        return None
    spent = _sum_credits(snapshots) or 0
    if _is_billed_by_token(content):
        return f"billed by token: there is no limit to watch; {spent} credits used"
    has_quota = any(reading.window != CREDITS_WINDOW for reading in readings)
    return None if has_quota else f"this seat has no quota of its own: there is no limit to watch; {spent} credits used"


def _is_billed_by_token(content: Mapping[str, Any], snapshot: Mapping[str, Any] | None = None) -> bool:
    return content.get("token_based_billing") is True or (snapshot or {}).get("token_based_billing") is True


def _sum_credits(snapshots: Mapping[str, Any]) -> Decimal | None:
    """The credits used by all quotas; None if no quota has a number."""
    counts = [parsing.parse_decimal(parsing.as_mapping(each).get("credits_used")) for each in snapshots.values()]
    known = [each for each in counts if each is not None and each >= 0]
    return sum(known, Decimal(0)) if known else None


def parse_readings(content: Mapping[str, Any]) -> list[Reading]:
    """One reading for each quota with any value, and the credits used; [] if all are placeholders."""
    snapshots, limits, left = (get_mapping(content, name) for name in QUOTA_FIELDS)
    resets_at = parsing.parse_first(parsing.parse_timestamp, content, *RESET_FIELDS)
    found: dict[str, Reading] = {}
    for id_ in dict.fromkeys((*snapshots, *limits, *left)):
        direct = _parse_quota(id_, get_mapping(snapshots, id_), resets_at) if id_ in snapshots else None
        monthly = _make_reading(
            id_, parsing.parse_decimal(limits.get(id_)), parsing.parse_decimal(left.get(id_)), resets_at
        )
        is_finite = monthly.used_percent is not None  # better than a sentinel or a placeholder
        if is_finite and (direct is None or direct.unlimited or direct.used_percent is None):
            direct = monthly
        reading = monthly if direct is None and id_ not in snapshots else direct
        if reading is not None and reading.window:
            found[reading.window] = reading
    credits_used = _sum_credits(snapshots)
    if credits_used is not None:
        found[CREDITS_WINDOW] = Reading(
            window=CREDITS_WINDOW,
            kind=WindowKind.MONTHLY,
            label="AI credits",
            used=credits_used,
            unit="credits",
            resets_at=resets_at,
        )
    return [_count_credits(each, content) for each in found.values()]


def _count_credits(reading: Reading, content: Mapping[str, Any]) -> Reading:
    """The reading with what the answer says of its snapshot: credits in place of requests, a reset of its own."""
    snapshot = get_mapping(content, "quota_snapshots", reading.window)
    if _is_billed_by_token(content, snapshot):
        reading = replace(reading, unit="credits")
    if reading.unlimited and reading.used is None:
        used = parsing.parse_decimal(snapshot.get("credits_used"))
        reading = replace(reading, used=used, unit="credits") if used is not None else reading
    at = snapshot.get("quota_reset_at")
    resets_at = parsing.parse_timestamp(at) if at not in (0, "0", None) else None
    return replace(reading, resets_at=resets_at) if resets_at is not None else reading


def _parse_quota(id_: str, fields: Mapping[str, Any], resets_at: datetime | None) -> Reading | None:
    """The reading of one snapshot; None if it is a placeholder or has no value."""
    limit = parsing.parse_decimal(fields.get("entitlement"))
    remaining = parsing.parse_first(parsing.parse_decimal, fields, "remaining", "quota_remaining")
    overage = max(parsing.parse_decimal(fields.get("overage_count")) or Decimal(0), Decimal(0))
    if fields.get("unlimited") is True or (limit == remaining == -1):
        return Reading(**_describe_quota(id_), unlimited=True)
    left = parsing.parse_number(fields.get("percent_remaining"))
    if limit == 0 and not remaining and not overage and (left is None or left >= 0):
        return None
    if not remaining and overage:
        remaining = -overage
    if left is not None and left >= 0 and remaining is not None and remaining < 0:
        left = None  # clamped: the counts are more exact
    return _make_reading(id_, limit, remaining, resets_at, left)


def _make_reading(
    id_: str,
    limit: Decimal | None,
    remaining: Decimal | None,
    resets_at: datetime | None,
    percent_remaining: float | None = None,
) -> Reading:
    """A finite quota: its percentage as given, else computed from the counts."""
    limit = limit if limit is not None and limit > 0 else None
    used = limit - remaining if limit is not None and remaining is not None else None
    percent = max(0.0, 100 - percent_remaining) if percent_remaining is not None else None
    if percent is None and used is not None:
        percent = parsing.compute_percent(max(used, Decimal(0)), limit)
    return Reading(
        **_describe_quota(id_), used_percent=percent, used=used, limit=limit, remaining=remaining, resets_at=resets_at
    )


def _describe_quota(id_: str) -> dict[str, Any]:
    """The fields of a reading that follow from the quota's id."""
    return {
        "window": parsing.slugify(id_),
        "kind": WindowKind.MONTHLY,
        "label": LABELS.get(id_, id_.replace("_", " ")),
        "unit": UNITS.get(id_, "requests"),
    }


PROVIDER = Provider(
    id=ID,
    name=NAME,
    usage_page="https://github.com/settings/copilot",
    addresses=("https://api.github.com/copilot_internal/user",),
    status_page="https://www.githubstatus.com/api/v2/status.json",
    sign_in_hint=SIGN_IN_HINT,
    login_files=("auth.json", "hosts.json", "apps.json", "hosts.yml"),
    find_credentials=find_credentials,
    fetch_usage=fetch_usage,
    pace=Pace(floor=timedelta(minutes=5), every=timedelta(minutes=15), ceiling=timedelta(hours=1)),
)
