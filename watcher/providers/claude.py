"""Claude subscriptions: `GET https://api.anthropic.com/api/oauth/usage`.

Undocumented by its vendor, observed only; last checked 2026-11. The answer maps window names to `{utilization,
resets_at}`, with `limits` (limits of single models and surfaces) and the money beyond the subscription beside them: in
`spend`, before in `extra_usage`. Needs the OAuth token of OpenCode or Claude Code, with the scope `user:profile`. It is
rate limited per token, and more strictly for a `User-Agent` other than Claude Code's.

The account's key comes from local files alone. Only if a login does not name its owner and there are others, `GET
/api/oauth/profile`, else `/account`, is asked after the usage, once for each token, so that one account with two tokens
is shown once.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any

from msgspec.structs import replace

from watcher.core.engine.state import SeriesState
from watcher.core.formatting import format_percent
from watcher.core.model import Pace, Reading, Request, Response, Series, Snapshot, WindowKind
from watcher.core.rules.vocabulary import PROVIDER_WINDOWS
from watcher.credentials import OWNER_UNKNOWN_KEY, Credential, HostInfo, claude_code, opencode
from watcher.credentials.files import collect_credentials, get_mapping, get_text
from watcher.errors import ShapeChangedError
from watcher.providers import Conversation, Overrides, Provider, ProviderState, parsing

ID, NAME, SIGN_IN_HINT = "claude", "Claude", "run `claude` once"
USAGE_URL = "https://api.anthropic.com/api/oauth/usage"
OWNER_URLS = ("https://api.anthropic.com/api/oauth/profile", "https://api.anthropic.com/api/oauth/account")
USER_AGENT, BETA_HEADER = "claude-code/2.1.80", "oauth-2025-04-20"

NON_WINDOW_KEYS = frozenset({"extra_usage", "limits", "spend"})
SHARED_WINDOWS = frozenset({"seven_day_design", "seven_day_omelette", "iguana_necktie"})  # part of another limit
KNOWN_PREFIXES = ("five_hour", "seven_day", "session", "weekly", "daily", "monthly", "extra_usage")
LIMIT_LENGTHS = {"weekly": ("seven_day", "weekly"), "session": ("five_hour", "5-hour")}  # by the `group` of a limit
ALL_MODELS = ("all_models", "all")
DEFAULT_DECIMAL_PLACES, MAX_DECIMAL_PLACES = 2, 6
ROUTINES_KEYS = (  # names of one window over time: the first with a value is used
    *("seven_day_cowork", "seven_day_routines", "seven_day_claude_routines"),
    *("claude_routines", "routines", "routine", "cowork"),
)


def find_credentials(host_info: HostInfo, overrides: Overrides) -> Sequence[Credential]:
    """Claude logins, OpenCode's first."""
    if overrides.token:
        return [Credential(provider=ID, source_name="config", path="config", token=overrides.token)]
    path = overrides.login_path
    sources = [
        partial(claude_code.find_in_opencode, host_info, path),
        partial(claude_code.find_claude_code_credentials, host_info, path),
    ]
    if path is None:
        sources.insert(1, partial(opencode.find_claude_credentials, host_info))
    headers = _choose_headers(host_info.env)
    return collect_credentials(
        *sources, select=lambda found: [replace(each, extra={**each.extra, **headers}) for each in found]
    )


def _choose_headers(env: Mapping[str, str]) -> dict[str, str]:
    """The version of Claude Code to present as, which the environment may set."""
    version = env.get("ANTHROPIC_CLI_VERSION", "").strip()
    agent = env.get("ANTHROPIC_CODE_USER_AGENT", "").strip() or (f"claude-code/{version}" if version else USER_AGENT)
    return {"agent": agent, "beta": env.get("ANTHROPIC_OAUTH_BETA", "").strip() or BETA_HEADER}


def fetch_usage(credential: Credential, _now: datetime, provider_state: ProviderState) -> Conversation:
    """The usage; and the owner, if the login does not name it and there are others."""
    headers = {
        "Authorization": f"Bearer {credential.token}",
        "anthropic-beta": credential.extra.get("beta", BETA_HEADER),
        "User-Agent": credential.extra.get("agent", USER_AGENT),
        "Accept": "application/json",
        "Content-Type": "application/json",
    }
    response: Response = yield Request(url=USAGE_URL, headers=headers)
    content = parsing.parse_response(response, name=NAME, sign_in_hint=SIGN_IN_HINT)
    readings = parse_readings(content)
    if not readings:
        raise ShapeChangedError(
            f"{NAME}: no window in the answer (five_hour, seven_day, ...): look for a newer version of this program"
        )
    owner = None
    if credential.extra.get(OWNER_UNKNOWN_KEY):
        requests = [Request(url=url, headers=headers) for url in OWNER_URLS]
        owner = yield from parsing.fetch_owner(provider_state, credential.token, requests, _read_owner)
    return Snapshot(
        provider=ID,
        account_name=owner or "",
        plan=credential.plan,
        at=response.received_at,
        readings=tuple(readings),
        note=_describe_binding_limit(content, readings),
    )


def _is_code_name(window: str) -> bool:
    """Whether the name tells nothing: the vendor puts windows of unreleased features beside the real ones."""
    return not window.startswith(KNOWN_PREFIXES) and window not in ROUTINES_KEYS


def _describe_binding_limit(content: Mapping[str, Any], readings: Sequence[Reading]) -> str | None:
    """Which limit binds, where that one is fuller than the primary window."""
    primary = next((each for name in PROVIDER_WINDOWS[ID].primary for each in readings if each.window == name), None)
    for entry in parsing.as_mappings(content.get("limits")):
        reading = _parse_limit(entry) if entry.get("is_active") is True else None
        if reading is not None and primary is not None and (reading.used_percent or 0) > (primary.used_percent or 0):
            return f"the limit that counts now: {reading.label}, {format_percent(reading.used_percent or 0)}"
    return None


def _read_owner(content: Mapping[str, Any]) -> str:
    account = {**content, **get_mapping(content, "account")}
    return get_text(account, "email", "email_address", "emailAddress", "uuid")


def parse_readings(content: Mapping[str, Any]) -> list[Reading]:
    """Every window that can be read, in the answer's order, money last."""
    routines = [
        name
        for name in ROUTINES_KEYS
        if parsing.parse_percent(get_mapping(content, name).get("utilization")) is not None
    ]
    found: dict[str, Reading] = {}
    for key, value in content.items():
        if key not in NON_WINDOW_KEYS and key not in routines[1:]:
            fields = parsing.as_mapping(value)
            limit, used, remaining = (
                parsing.parse_decimal(fields.get(f"{name}_dollars")) for name in ("limit", "used", "remaining")
            )
            utilization = fields.get("utilization")
            if utilization is None:
                utilization = parsing.compute_percent(used, limit)
            reading = _parse_window(parsing.slugify(key), utilization, fields.get("resets_at"))
            if reading is not None and not limit is used is remaining is None:
                reading = replace(reading, limit=limit, used=used, remaining=remaining, unit="usd")
            if reading is not None:
                found.setdefault(reading.window, reading)
    limits: dict[str, Reading] = {}
    for entry in parsing.as_mappings(content.get("limits")):
        reading = _parse_limit(entry)
        if reading is not None and parsing.get_fullness(reading) > parsing.get_fullness(limits.get(reading.window)):
            limits[reading.window] = reading
    found |= {window: reading for window, reading in limits.items() if window not in found}
    spend = get_mapping(content, "spend")
    extra = _parse_spend(spend)
    if extra is None and spend.get("enabled") is not False:
        extra = _parse_extra_usage(get_mapping(content, "extra_usage"))
    return [*found.values(), *([extra] if extra else [])]


def _parse_window(window: str, utilization: object, resets_at: object, label: str = "") -> Reading | None:
    weekly = window.startswith(("seven_day", "weekly")) or window in ROUTINES_KEYS
    session = window.startswith(("five_hour", "session"))
    seconds = parsing.WEEK_S if weekly else 5 * parsing.HOUR_S if session else None
    reading = parsing.make_percent_reading(
        window, label or _make_label(window), utilization, seconds, parsing.parse_timestamp(resets_at)
    )
    if reading is None:
        return None
    return replace(reading, low_confidence=window in SHARED_WINDOWS, provisional=_is_code_name(window))


def _make_label(window: str) -> str:
    if window == "five_hour":
        return "5-hour window"
    if window in ROUTINES_KEYS:
        return "weekly routines window"
    if window.startswith("seven_day"):
        model = window.removeprefix("seven_day").replace("_", " ").strip().title()
        return f"weekly {model} window" if model else "weekly window"
    return f"{window.replace('_', ' ')} window"


def _parse_limit(entry: Mapping[str, Any]) -> Reading | None:
    """One of `limits`. The plain ones repeat `five_hour` and `seven_day`, and count only if those are missing."""
    kind, values = parsing.slugify(str(entry.get("kind") or "")), (entry.get("percent"), entry.get("resets_at"))
    plain = {"session": "five_hour", "weekly_all": "seven_day"}.get(kind)
    if plain is not None:
        return _parse_window(plain, *values)
    scope = get_mapping(entry, "scope")
    model = get_text(get_mapping(scope, "model"), "display_name", "id")
    name = " ".join(part for part in (model, get_text(scope, "surface")) if part)
    slug, group = parsing.slugify(name), parsing.slugify(str(entry.get("group") or "")) or kind
    length, word = next((each for start, each in LIMIT_LENGTHS.items() if group.startswith(start)), ("", ""))
    if slug in ALL_MODELS and length:
        return _parse_window(length, *values)
    if kind.endswith("_scoped") and length and slug:
        return _parse_window(f"{length}_{slug}", *values, label=f"{word} {name} window")
    window = "_".join(part for part in (kind or group or "limit", slug) if part)
    return _parse_window(window, *values, label=f"{window.replace('_', ' ')} window")


def _parse_spend(fields: Mapping[str, Any]) -> Reading | None:
    """Money beyond the subscription as `{amount_minor, currency, exponent}`; None if it is disabled or unknown.

    The answer's own percentage is rounded, and 0 where there is no limit.
    """
    used, currency = _parse_money(fields.get("used"))
    limit, limit_currency = _parse_money(fields.get("limit"))
    if fields.get("enabled") is False or used is None:
        return None
    if limit_currency not in (None, currency):
        limit = None
    return _make_extra_usage(used, limit, parsing.compute_percent(used, limit), currency or "usd")


def _parse_money(value: object) -> tuple[Decimal | None, str | None]:
    """(amount, currency); (None, None) where there is none."""
    fields = parsing.as_mapping(value)
    amount = _divide(fields.get("amount_minor"), fields.get("exponent"))
    return amount, None if amount is None else (get_text(fields, "currency") or "usd").lower()


def _parse_extra_usage(fields: Mapping[str, Any]) -> Reading | None:
    """The same in the older form; None if it is disabled or unknown."""
    currency = "usd" if fields.get("currency") is None else get_text(fields, "currency")
    if fields.get("is_enabled") is not True or not currency:
        return None
    places = fields.get("decimal_places")
    used, limit = (_divide(fields.get(name), places) for name in ("used_credits", "monthly_limit"))
    used_percent = parsing.parse_percent(fields.get("utilization"))
    if used_percent is None:
        used_percent = parsing.compute_percent(used, limit)
    if used is None and used_percent is None:
        return None
    return _make_extra_usage(used, limit, used_percent, currency.lower())


def _make_extra_usage(used: Decimal | None, limit: Decimal | None, used_percent: float | None, unit: str) -> Reading:
    return Reading(
        window="extra_usage",
        kind=WindowKind.MONTHLY,
        label="extra usage",
        used_percent=used_percent,
        used=used,
        limit=limit,
        remaining=limit - used if limit is not None and used is not None else None,
        unit=unit,
    )


def _divide(value: object, places: object) -> Decimal | None:
    """An amount in minor units as one in whole units: yen have none, and most currencies two decimal places."""
    amount, digits = parsing.parse_decimal(value), parsing.parse_count(places)
    digits = DEFAULT_DECIMAL_PLACES if digits is None or not 0 <= digits <= MAX_DECIMAL_PLACES else digits
    if amount is None or amount < 0:
        return None
    return amount.scaleb(-digits).quantize(Decimal(1).scaleb(-digits))


PROVIDER = Provider(
    id=ID,
    name=NAME,
    usage_page="https://claude.ai/settings/usage",
    addresses=(USAGE_URL,),
    status_page="https://status.anthropic.com/api/v2/status.json",
    sign_in_hint=SIGN_IN_HINT,
    find_credentials=find_credentials,
    fetch_usage=fetch_usage,
    pace=Pace(floor=timedelta(minutes=5), every=timedelta(minutes=10), ceiling=timedelta(minutes=30)),
)


# --- Claude Code's status line input: the windows of the usage API, without a request ---------------------------------


RESET_TOLERANCE = timedelta(minutes=15)  # the reset time of one period of a window varies by less
MAX_PERCENT = 100.0  # none of these windows can be in overage


def parse_statusline(content: Mapping[str, Any], at: datetime) -> Snapshot | None:
    """The snapshot in the input, without an account; None if it has no limits, as at the start of a session.

    The snapshot is partial: windows that it lacks are not gone. While Claude Code has no data, it may put an epoch in
    the place of a percentage: a window with an impossible percentage or reset is left out.
    """
    windows = {
        key: {"utilization": fields.get("used_percentage"), "resets_at": fields.get("resets_at")}
        for key, fields in get_mapping(content, "rate_limits").items()
        if isinstance(fields, dict) and key not in NON_WINDOW_KEYS
    }
    readings = tuple(
        replace(each, source="statusline", stale=each.resets_at is not None and each.resets_at <= at)
        for each in parse_readings(windows)
        if _is_possible(each, at)
    )
    return parsing.clean_snapshot(Snapshot(provider=ID, at=at, readings=readings, complete=False)) if readings else None


def _is_possible(reading: Reading, at: datetime) -> bool:
    if reading.used_percent is None or reading.used_percent > MAX_PERCENT:
        return False
    if reading.resets_at is None or reading.window_seconds is None:
        return True
    return reading.resets_at - at <= timedelta(seconds=reading.window_seconds) + RESET_TOLERANCE


def filter_newer_readings(snapshot: Snapshot, states: Mapping[Series, SeriesState]) -> Snapshot | None:
    """The snapshot with only those readings that are newer than the last believed ones; None if there are none.

    Every open session repeats its last values, for hours if it is idle. Within one period of a window use only grows,
    so a lower value or one of an earlier period is old. An equal one proves nothing, not even a suspect one.
    """
    fresh = tuple(
        each
        for each in snapshot.readings
        if not each.stale
        and _is_newer(each, states.get(Series(provider=ID, account=snapshot.account, window=each.window)))
    )
    return replace(snapshot, readings=fresh) if fresh else None


def _is_newer(reading: Reading, state: SeriesState | None) -> bool:
    known = None if state is None else state.reading
    if state is None or known is None or known.used_percent is None or reading.used_percent is None:
        return True
    suspect = state.suspect
    if suspect is not None and suspect.reading.used_percent == reading.used_percent:
        return False
    if reading.resets_at and known.resets_at and abs(reading.resets_at - known.resets_at) > RESET_TOLERANCE:
        return reading.resets_at > known.resets_at
    return reading.used_percent > known.used_percent
