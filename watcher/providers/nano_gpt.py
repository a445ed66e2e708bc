"""Nano-GPT: `GET https://nano-gpt.com/api/subscription/v1/usage` and `POST https://nano-gpt.com/api/check-balance`.

Documented at https://docs.nano-gpt.com (subscription usage); last checked 2026-11-22. Two generations of the answer:
`{limits: {daily, monthly}, daily: {used, remaining, percentUsed, resetAt (ms)}, monthly: ...}` by requests, and since
2026-02 `weeklyInputTokens`, `dailyInputTokens`, `dailyImages` by tokens, nested or flat; null is absent. Balances are
decimal strings. Needs the key of OpenCode's `nano-gpt` or NANOGPT_API_KEY.
"""

from collections.abc import Generator, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any

from msgspec import Struct

from watcher.core.engine.windows import classify_length
from watcher.core.model import Pace, Reading, Request, Response, Snapshot, WindowKind
from watcher.credentials import Credential, HostInfo, opencode
from watcher.credentials.files import collect_credentials, get_mapping
from watcher.errors import ProviderError, ShapeChangedError
from watcher.providers import Conversation, Overrides, Provider, ProviderState, parsing

ID, NAME, SIGN_IN_HINT = "nano_gpt", "Nano-GPT", "make a new key at nano-gpt.com/api and give it to OpenCode"
BASE_URL = "https://nano-gpt.com"
API_KEY_VARIABLE = "NANOGPT_API_KEY"
BALANCES = (  # field, window, unit, label
    ("usd_balance", "balance_usd", "usd", "balance"),
    ("nano_balance", "balance_nano", "nano", "nano balance"),
)


class WindowSpec(Struct, frozen=True):
    """One window. Its name in the answer is its name here without `_`, as `_join_words` spells keys."""

    window: str
    unit: str
    length_s: int | None  # None: a calendar month
    short_name: str = ""  # its name inside `inputTokens`; empty: it is never there

    @property
    def key(self) -> str:
        """Its name in the answer, as a key or as the beginning of flat keys."""
        return self.window.replace("_", "")


DAILY = WindowSpec("daily", "requests", parsing.DAY_S)
DAILY_TOKENS = WindowSpec("daily_input_tokens", "tokens", parsing.DAY_S, "daily")
WEEKLY_TOKENS = WindowSpec("weekly_input_tokens", "tokens", parsing.WEEK_S, "weekly")
MONTHLY = WindowSpec("monthly", "requests", None)
DAILY_IMAGES = WindowSpec("daily_images", "images", parsing.DAY_S)
WINDOWS = (DAILY, MONTHLY, WEEKLY_TOKENS, DAILY_TOKENS, DAILY_IMAGES)

USED_KEYS = ("used", "usage", "inputtokensused", "usedtokens")
REMAINING_KEYS = ("remaining", "left")
PERCENT_KEYS = ("percentused", "usagepercent")
RESET_KEYS = ("resetat", "nextresetat")
FLAT_KEYS = ("used", "remaining", "percentused", "resetat")  # with more, `dailyInputTokensUsed` would be `daily`'s too


def find_credentials(host_info: HostInfo, overrides: Overrides) -> Sequence[Credential]:
    """Keys, OpenCode's first."""
    if overrides.token:
        return [_make_credential("config", "config", overrides.token)]
    sources = [partial(_find_in_opencode, host_info, overrides.login_path)]
    if not overrides.login_path:
        sources.append(partial(_find_in_environment, host_info))
    return collect_credentials(*sources)


def _find_in_opencode(host_info: HostInfo, path: str | None) -> list[Credential]:
    entry = opencode.find_entry(host_info, "nano-gpt", path)
    return [_make_credential(opencode.SOURCE_NAME, entry.path, entry.token)] if entry else []


def _find_in_environment(host_info: HostInfo) -> list[Credential]:
    key = host_info.env.get(API_KEY_VARIABLE, "").strip()
    return [_make_credential("environment", f"env:{API_KEY_VARIABLE}", key)] if key else []


def _make_credential(source_name: str, path: str, token: str) -> Credential:
    return Credential(provider=ID, source_name=source_name, path=path, token=token)


def fetch_usage(credential: Credential, _now: datetime, _provider_state: ProviderState) -> Conversation:
    """The usage, then the balance, which costs no reading if it fails."""
    headers = {"x-api-key": credential.token, "Accept": "application/json"}
    response: Response = yield Request(
        url=f"{BASE_URL}/api/subscription/v1/usage",
        headers={**headers, "Authorization": f"Bearer {credential.token}"},
    )
    content = parsing.parse_response(response, name=NAME, sign_in_hint=SIGN_IN_HINT)
    names = {"limits", "active", "state", *(each.key for each in WINDOWS)}
    if "error" in content and not names & _join_words(content).keys():
        raise ShapeChangedError(f"{NAME}: an error came instead of usage: {SIGN_IN_HINT}")
    readings = parse_readings(content)
    if not readings and not is_inactive(content):
        raise ShapeChangedError(f"{NAME}: no window in the answer (limits, daily, monthly): nothing is claimed")
    balances, balance_note = yield from _fetch_balances(headers)
    return Snapshot(
        provider=ID,
        at=response.received_at,
        readings=(*readings, *balances),
        note="; ".join(filter(None, (_describe_state(content), balance_note))) or None,
    )


def _fetch_balances(headers: Mapping[str, str]) -> Generator[Request, Response, tuple[list[Reading], str]]:
    """Both balances, and a note if there are none."""
    request = Request(
        method="POST", url=f"{BASE_URL}/api/check-balance", headers={**headers, "Content-Length": "0"}, body=b""
    )
    try:
        content = parsing.parse_response((yield request), name=NAME, sign_in_hint=SIGN_IN_HINT)
    except ProviderError as error:
        return [], f"no balance ({error.kind})"
    return [
        Reading(window=window, kind=WindowKind.BALANCE, label=label, remaining=amount, unit=unit)
        for key, window, unit, label in BALANCES
        if (amount := parsing.parse_decimal(content.get(key))) is not None
    ], ""


def is_inactive(content: Mapping[str, Any]) -> bool:
    """Whether the answer says that there is no subscription."""
    return content.get("active") is False or content.get("state") == "inactive"


def _describe_state(content: Mapping[str, Any]) -> str:
    """The subscription's state if it is not simply active, and whether the daily limit is enforced."""
    if content.get("state") == "grace":
        until = parsing.parse_timestamp(content.get("graceUntil"))
        return f"grace period until {until:%Y-%m-%d}" if until else "grace period"
    if is_inactive(content):
        return "subscription inactive: no quota to watch"
    return "the daily limit is not enforced" if content.get("enforceDailyLimit") is False else ""


def parse_readings(content: Mapping[str, Any]) -> list[Reading]:
    """One reading for each window in the answer, of either generation; none for an inactive subscription."""
    if is_inactive(content):
        return []
    content = _join_words(content)
    # Where days are counted in tokens, `limits.daily` is a number of tokens too.
    by_tokens = bool(_get_fields(content, DAILY_TOKENS)) and not _get_fields(content, DAILY)
    found = []
    for spec in WINDOWS:
        if content.get(spec.key, ...) is None or (by_tokens and spec is DAILY):
            continue  # null: there is no such quota, even if it has a limit
        fields, limit = _get_fields(content, spec), _get_limit(content, spec)
        if by_tokens and spec is DAILY_TOKENS and limit is None:
            limit = _get_limit(content, DAILY)
        if fields or limit is not None:
            found.append(_make_reading(spec, content, fields, limit))
    return found


def _make_reading(
    spec: WindowSpec, content: Mapping[str, Any], fields: Mapping[str, Any], limit: Decimal | None
) -> Reading:
    used = parsing.parse_first(parsing.parse_decimal, fields, *USED_KEYS)
    left = parsing.parse_first(parsing.parse_decimal, fields, *REMAINING_KEYS)
    percent = next((fields[name] for name in PERCENT_KEYS if fields.get(name) is not None), None)
    if used is None and left is not None and limit is not None:
        used = limit - left
    if left is None and used is not None and limit is not None:
        left = limit - used
    if limit is None and used is not None and left is not None:
        limit = used + left
    resets_at = parsing.parse_first(parsing.parse_timestamp, fields, *RESET_KEYS)
    if resets_at is None and spec is MONTHLY:
        resets_at = parsing.parse_timestamp(get_mapping(content, "period").get("currentperiodend"))
    return Reading(
        window=spec.window,
        kind=classify_length(spec.length_s) if spec.length_s else WindowKind.MONTHLY,
        label=f"{spec.window} requests" if spec.unit == "requests" else spec.window.replace("_", " "),
        used_percent=_compute_percent(used, limit, percent),
        used=used,
        limit=limit,
        remaining=left,
        unit=spec.unit,
        resets_at=resets_at,
        window_seconds=spec.length_s,
    )


def _compute_percent(used: Decimal | None, limit: Decimal | None, reported: object) -> float | None:
    """Used of limit, else what was reported: a text with % as it is, a number as a fraction. Unknown of nothing."""
    computed = parsing.compute_percent(used, limit)
    if computed is not None or limit == 0:
        return computed
    if isinstance(reported, str) and reported.strip().endswith("%"):
        return parsing.parse_percent(reported.strip()[:-1])
    fraction = parsing.parse_percent(reported)
    return None if fraction is None else parsing.discard_huge(fraction * 100)


def _get_fields(content: Mapping[str, Any], spec: WindowSpec) -> Mapping[str, Any]:
    """The window's fields; {} if the answer has none."""
    inner = get_mapping(content, "inputtokens")
    for place in (content.get(spec.key), *(inner.get(name) for name in (spec.key, spec.short_name) if spec.short_name)):
        if isinstance(place, dict):
            return place
    return {name: content[spec.key + name] for name in FLAT_KEYS if spec.key + name in content}


def _get_limit(content: Mapping[str, Any], spec: WindowSpec) -> Decimal | None:
    """The window's limit, among `limits` or beside its other fields; a negative one is none."""
    limits = get_mapping(content, "limits")
    names = (spec.key, spec.key.removesuffix("s"), "weekly" if spec is WEEKLY_TOKENS else spec.key)
    values = [limits.get(each) for name in names for each in (name, f"{name}limit")]
    values += [content.get(f"{spec.key}limit"), _get_fields(content, spec).get("limit")]
    known = (parsing.parse_decimal(value) for value in values)
    return next((each for each in known if each is not None and each >= 0), None)


def _join_words(value: Any) -> Any:
    """The answer with its keys in lower case and without `_`: each may be in camel case or in snake case."""
    if not isinstance(value, dict):
        return value
    joined: dict[str, Any] = {}
    for key, inner in value.items():
        name = key.replace("_", "").lower()
        if joined.get(name) is None:
            joined[name] = _join_words(inner)
    return joined


PROVIDER = Provider(
    id=ID,
    name=NAME,
    usage_page="https://nano-gpt.com/subscription",
    addresses=(f"{BASE_URL}/api/subscription/v1/usage", f"{BASE_URL}/api/check-balance"),
    sign_in_hint=SIGN_IN_HINT,
    login_files=("auth.json",),
    find_credentials=find_credentials,
    fetch_usage=fetch_usage,
    pace=Pace(floor=timedelta(minutes=1), every=timedelta(minutes=5), ceiling=timedelta(minutes=30)),
)
