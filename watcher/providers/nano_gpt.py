"""Nano-GPT: `GET https://nano-gpt.com/api/subscription/v1/usage` and `POST https://nano-gpt.com/api/check-balance`.

Documented at https://docs.nano-gpt.com (subscription usage); last checked 2026-11-22. Two generations of the answer:
`{limits: {daily, monthly}, daily: {used, remaining, percentUsed, resetAt (ms)}, monthly: ...}` by requests, and since
2026-02 `weeklyInputTokens`, `dailyInputTokens`, `dailyImages` by tokens, nested or flat; null is absent. Balances are
decimal strings. Needs the key of OpenCode's `nano-gpt` or NANOGPT_API_KEY.
"""

import re
from collections.abc import Generator, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from msgspec import Struct

from watcher.core.model import Reading, Request, Response, Snapshot, WindowKind
from watcher.credentials import Credential, HostInfo, nano_gpt
from watcher.credentials.sources import collect_credentials
from watcher.errors import ProviderError, ShapeChangedError
from watcher.providers import Conversation, Overrides, Provider, ProviderState, parsing

# --- Under which names Nano-GPT's windows, their fields and their limits were seen: the one place that knows spellings


USED_NAMES = ("used", "usage", "inputTokensUsed", "usedTokens")
REMAINING_NAMES = ("remaining", "left")
PERCENT_NAMES = ("percentUsed", "usagePercent")
RESET_NAMES = ("resetAt", "nextResetAt")
_FLAT_NAMES = (
    "used",
    "remaining",
    "percentUsed",
    "resetAt",
)  # with more, `dailyInputTokensUsed` would be `daily`'s too
_CONTAINER_NAMES = ("inputTokens", "input_tokens")


class FieldNames(Struct, frozen=True):
    """One window as the answer has it."""

    id: str
    limit_aliases: tuple[str, ...] = ()  # further names of its limit
    nested_name: str = ""  # its name inside `inputTokens`; empty: it is never there


def get_fields(content: Mapping[str, Any], field_names: FieldNames) -> dict[str, Any]:
    """The window's fields, {} where the answer has none."""
    nested = [parsing.as_mapping(content.get(name)) for name in _CONTAINER_NAMES] if field_names.nested_name else []
    named = [
        (content, field_names.id),
        *((holder, name) for holder in nested for name in (field_names.id, field_names.nested_name)),
    ]
    for holder, name in named:
        for spelling in _iter_spellings(name):
            if isinstance(holder.get(spelling), dict):
                return dict(holder[spelling])
    flat = ((name, field_names.id + name[0].upper() + name[1:]) for name in _FLAT_NAMES)
    return {name: content[spelling] for name, key in flat for spelling in _iter_spellings(key) if spelling in content}


def get_limit(content: Mapping[str, Any], field_names: FieldNames) -> Decimal | None:
    """The window's limit, among `limits` or beside its other fields; a negative one is none."""
    limits = parsing.as_mapping(content.get("limits"))
    names = [each for name in (field_names.id, *field_names.limit_aliases) for each in (name, f"{name}Limit")]
    found = [limits.get(spelling) for name in names for spelling in _iter_spellings(name)]
    found += [content.get(spelling) for spelling in _iter_spellings(f"{field_names.id}Limit")]
    found.append(get_fields(content, field_names).get("limit"))
    known = (parsing.parse_decimal(each) for each in found)
    return next((each for each in known if each is not None and each >= 0), None)


def get_first(values: Mapping[str, Any], names: Sequence[str]) -> Any:
    """The first of those names, in either spelling, that is not null."""
    spellings = (spelling for name in names for spelling in _iter_spellings(name))
    return next((values[each] for each in spellings if values.get(each) is not None), None)


def _iter_spellings(name: str) -> Iterator[str]:
    yield name
    yield re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()


# --- The windows in Nano-GPT's answer, of both generations: by requests, and by tokens since 2026-02


class WindowSpec(Struct, frozen=True):
    """One window: how the answer has it, and what it is called here."""

    field_names: FieldNames
    window: str
    unit: str
    length_s: int | None  # None: a calendar month

    @property
    def label(self) -> str:
        """For people."""
        return self.window.replace("_", " ") if self.unit != "requests" else f"{self.window} requests"


DAILY = WindowSpec(FieldNames("daily"), "daily", "requests", parsing.DAY_S)
DAILY_TOKENS = WindowSpec(
    FieldNames("dailyInputTokens", ("dailyInputToken",), "daily"), "daily_input_tokens", "tokens", parsing.DAY_S
)
WEEKLY_TOKENS = WindowSpec(
    FieldNames("weeklyInputTokens", ("weekly", "weeklyInputToken"), "weekly"),
    "weekly_input_tokens",
    "tokens",
    parsing.WEEK_S,
)
WINDOWS = (
    DAILY,
    WindowSpec(FieldNames("monthly"), "monthly", "requests", None),
    WEEKLY_TOKENS,
    DAILY_TOKENS,
    WindowSpec(FieldNames("dailyImages", ("dailyImage",)), "daily_images", "images", parsing.DAY_S),
)


def parse_readings(content: Mapping[str, Any]) -> list[Reading]:
    """One reading for each window that the answer has, of either generation; none of an inactive subscription."""
    if is_inactive(content):
        return []
    return [
        _make_reading(each, content, fields, limit)
        for each, fields, limit in _iter_windows(content)
        if content.get(each.field_names.id, ...)
        is not None  # null says that there is no such quota, whatever its limit was
        and (fields or limit is not None)
    ]


def is_inactive(content: Mapping[str, Any]) -> bool:
    """Whether the answer says that there is no subscription."""
    return content.get("active") is False or content.get("state") == "inactive"


def has_usage(content: Mapping[str, Any]) -> bool:
    """Whether the answer is one about usage at all."""
    return any(name in content for name in ("limits", "active", "state", *(each.field_names.id for each in WINDOWS)))


def _iter_windows(content: Mapping[str, Any]) -> Iterator[tuple[WindowSpec, dict[str, Any], Decimal | None]]:
    """Every window with its fields and its limit. Where days are counted in tokens `limits.daily` is of tokens too."""
    by_tokens = bool(get_fields(content, DAILY_TOKENS.field_names)) and not get_fields(content, DAILY.field_names)
    for each in WINDOWS:
        fields, limit = get_fields(content, each.field_names), get_limit(content, each.field_names)
        if by_tokens and each is DAILY:
            continue
        if by_tokens and each is DAILY_TOKENS and limit is None:
            limit = get_limit(content, DAILY.field_names)
        yield each, fields, limit


def _make_reading(
    spec: WindowSpec, content: Mapping[str, Any], fields: Mapping[str, Any], limit: Decimal | None
) -> Reading:
    used, left = (
        parsing.parse_decimal(get_first(fields, USED_NAMES)),
        parsing.parse_decimal(get_first(fields, REMAINING_NAMES)),
    )
    if used is None and left is not None and limit is not None:
        used = limit - left
    if left is None and used is not None and limit is not None:
        left = limit - used
    if limit is None and used is not None and left is not None:
        limit = used + left
    ends = parsing.as_mapping(content.get("period")).get("currentPeriodEnd") if spec.window == "monthly" else None
    return Reading(
        window=spec.window,
        kind=parsing.classify_window(spec.length_s) if spec.length_s else WindowKind.MONTHLY,
        label=spec.label,
        used_percent=_compute_percent(used, limit, get_first(fields, PERCENT_NAMES)),
        used=used,
        limit=limit,
        remaining=left,
        unit=spec.unit,
        resets_at=parsing.parse_timestamp(get_first(fields, RESET_NAMES)) or parsing.parse_timestamp(ends),
        window_seconds=spec.length_s,
    )


def _compute_percent(used: Decimal | None, limit: Decimal | None, reported: object) -> float | None:
    """Used of limit; else what was said: a text with % as it is, a plain number as a fraction. Of nothing: unknown."""
    computed = parsing.compute_percent(used, limit)
    if computed is not None or limit == 0:
        return computed
    if isinstance(reported, str) and reported.strip().endswith("%"):
        return parsing.parse_percent(reported.strip()[:-1])
    fraction = parsing.parse_percent(reported)
    return None if fraction is None else parsing.discard_huge(fraction * 100)


ID, NAME, SIGN_IN_HINT = "nano_gpt", "Nano-GPT", "make a new key at nano-gpt.com/api and give it to OpenCode"
BASE_URL = "https://nano-gpt.com"
BALANCE_FIELDS = (
    ("usd_balance", "balance_usd", "usd", "balance"),
    ("nano_balance", "balance_nano", "nano", "nano balance"),
)


def find_credentials(host_info: HostInfo, overrides: Overrides) -> Sequence[Credential]:
    """Keys, OpenCode's first."""
    if overrides.token:
        return [Credential(provider=ID, source_name="config", path="config", token=overrides.token)]
    if overrides.credentials:
        return nano_gpt.find_in_opencode(host_info, overrides.credentials)
    return collect_credentials(
        lambda: nano_gpt.find_in_opencode(host_info), lambda: nano_gpt.find_in_environment(host_info)
    )


def fetch_usage(credential: Credential, _now: datetime, _provider_state: ProviderState) -> Conversation:
    """The usage, then the balance, whose failure costs only itself."""
    key = {"x-api-key": credential.token, "Accept": "application/json"}
    headers = {**key, "Authorization": f"Bearer {credential.token}"}
    response: Response = yield Request(url=f"{BASE_URL}/api/subscription/v1/usage", headers=headers)
    content = parsing.parse_response(response, name=NAME, sign_in_hint=SIGN_IN_HINT)
    if "error" in content and not has_usage(content):
        raise ShapeChangedError(f"{NAME}: an error came instead of usage: {SIGN_IN_HINT}")
    readings = parse_readings(content)
    if not readings and not is_inactive(content):
        raise ShapeChangedError(f"{NAME}: no window in the answer (limits, daily, monthly): nothing is claimed")
    balances, trouble = yield from _fetch_balances(key)
    return Snapshot(
        provider=ID,
        account=credential.account,
        account_name=credential.account_name,
        at=response.received_at,
        readings=(*readings, *balances),
        note="; ".join(note for note in (_describe_state(content), trouble) if note) or None,
    )


def _fetch_balances(headers: Mapping[str, str]) -> Generator[Request, Response, tuple[list[Reading], str]]:
    """Both balances, and why there are none."""
    request = Request(
        method="POST", url=f"{BASE_URL}/api/check-balance", headers={**headers, "Content-Length": "0"}, body=b""
    )
    try:
        response = yield request
        content = parsing.parse_response(response, name=NAME, sign_in_hint=SIGN_IN_HINT)
    except ProviderError as error:
        return [], f"no balance ({error.kind})"
    amounts = [(each, parsing.parse_decimal(content.get(each[0]))) for each in BALANCE_FIELDS]
    return [
        Reading(window=window, kind=WindowKind.BALANCE, label=label, remaining=amount, unit=unit)
        for (_key, window, unit, label), amount in amounts
        if amount is not None
    ], ""


def _describe_state(content: Mapping[str, Any]) -> str:
    """The subscription's state in words, where it is not simply active, and whether a day's limit binds."""
    if content.get("state") == "grace":
        until = parsing.parse_timestamp(content.get("graceUntil"))
        return f"grace period until {until:%Y-%m-%d}" if until else "grace period"
    if is_inactive(content):
        return "subscription inactive: no quota to watch"
    return "the daily limit is not enforced" if content.get("enforceDailyLimit") is False else ""


PROVIDER = Provider(
    id=ID,
    name=NAME,
    usage_page="https://nano-gpt.com/subscription",
    sign_in_hint=SIGN_IN_HINT,
    primary_windows=("daily", "weekly_input_tokens", "monthly"),
    find_credentials=find_credentials,
    fetch_usage=fetch_usage,
    min_interval=timedelta(minutes=1),
    default_interval=timedelta(minutes=5),
    max_interval=timedelta(minutes=30),
)
