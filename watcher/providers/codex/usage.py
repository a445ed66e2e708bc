"""The windows and balances in Codex's usage answer, and the further requests: owner, workspace share, resets.

A window is named by its length, never by its slot: OpenAI has moved windows between the slots more than once. A length
of 0 is a window that is switched off.
"""

from collections.abc import Generator, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from urllib.parse import quote

from msgspec.structs import replace

from watcher.core.model import Reading, Request, Response, WindowKind
from watcher.errors import OfflineError, ProviderError, RateLimitedError
from watcher.providers import ProviderState, parsing

SESSION_S = 5 * parsing.HOUR_S
MONTH_LENGTHS_S = (720 * parsing.HOUR_S, 730 * parsing.HOUR_S)  # both have been observed
MAIN_LIMIT_ID = "codex"
LENGTH_TOLERANCE = 1.2  # times the length: clocks differ
RESET_CREDITS_WINDOW, INDIVIDUAL_LIMIT_WINDOW = "reset_credits", "individual_limit"
_NAMES = {SESSION_S: ("five_hour", "5-hour"), parsing.WEEK_S: ("weekly", "weekly")} | dict.fromkeys(
    MONTH_LENGTHS_S, ("monthly", "monthly")
)
_NO_LIMIT_MODES = frozenset({"none", "disabled", "off", "no_limit"})


def parse_readings(content: Mapping[str, Any], at: datetime) -> list[Reading]:
    """Every window and balance that can be read; of two with one name the first counts."""
    found: dict[str, Reading] = {}
    for reading in (
        *parse_windows(content.get("rate_limit"), at),
        *_parse_additional(content.get("additional_rate_limits"), at),
        *parse_windows(content.get("code_review_rate_limit"), at, "code_review", "code review ", parsing.WEEK_S),
        *_parse_credits(content.get("credits")),
        *parse_individual_limit(content, at),
        *parse_reset_credits(content.get("rate_limit_reset_credits"), at),
        *_parse_models(content.get("model_usage")),
    ):
        found.setdefault(reading.window, reading)
    return list(found.values())


def _parse_additional(entries: object, at: datetime) -> Iterator[Reading]:
    for entry in parsing.as_mappings(entries):
        name = parsing.parse_first(parsing.parse_text, entry, "limit_name", "metered_feature") or ""
        if parsing.slugify(name):
            yield from parse_windows(entry.get("rate_limit"), at, parsing.slugify(name), f"{name} ")


def parse_windows(
    limit: object, at: datetime, prefix: str = "", label: str = "", default_length_s: int = SESSION_S
) -> list[Reading]:
    """The windows that can be read; those with a length come first, because their names are certain.

    Args:
        limit: `{primary_window, secondary_window, limit_reached, allowed, ...}`; anything else has no windows.
        at: when the answer came.
        prefix: begins each window's id; empty for the main limit.
        label: begins each label.
        default_length_s: seconds of a primary window without a length.
    """
    certain: list[Reading] = []
    guessed: list[Reading] = []
    blocked = is_blocked(parsing.as_mapping(limit))
    for key, value in parsing.as_mapping(limit).items():
        fields = parsing.as_mapping(value)
        length_s = parsing.parse_count(fields.get("limit_window_seconds"))
        if "window" not in key or length_s == 0:
            continue
        resets_at = parsing.parse_timestamp(fields.get("reset_at")) or parsing.add_seconds(
            at, fields.get("reset_after_seconds")
        )
        seconds = length_s or _guess_length(key, resets_at, at, default_length_s)
        word = parsing.slugify(key.replace("primary", "").replace("secondary", "").replace("window", ""))
        id_, name = name_window(seconds)
        reading = parsing.make_percent_reading(
            "_".join(filter(None, (prefix, word, id_))),
            f"{label}{f'{word} ' if word else ''}{name} window",
            fields.get("used_percent"),
            seconds,
            resets_at,
        )
        if reading is not None:
            (certain if length_s else guessed).append(replace(reading, blocked=blocked))
    return certain + guessed


def is_blocked(limit: Mapping[str, Any]) -> bool | None:
    """Whether a limit refuses work; None if it does not say."""
    reached, allowed = limit.get("limit_reached"), limit.get("allowed")
    if reached is True or allowed is False:
        return True
    return False if reached is False or allowed is True else None


def _guess_length(key: str, resets_at: datetime | None, at: datetime, default_length_s: int) -> int:
    """The length of a window that does not give it: by its slot, unless it ends later than that."""
    longest = timedelta(seconds=default_length_s * LENGTH_TOLERANCE)
    if "secondary" in key or (resets_at is not None and resets_at - at > longest):
        return parsing.WEEK_S
    return default_length_s


def parse_session_limits(limits: Mapping[str, Any], at: datetime) -> list[Reading]:
    """The windows and credits in a line of Codex's session files, written at that time.

    `{limit_id, limit_name, primary, secondary, credits}`, a window is `{used_percent, window_minutes, resets_at}`.
    Lines of older versions have no `limit_id`, `resets_in_seconds` in place of `resets_at`, and 299 minutes for 300.
    """
    windows = {}
    for slot in ("primary", "secondary"):
        fields = parsing.get_mapping(limits, slot)
        minutes = parsing.parse_count(fields.get("window_minutes"))
        length_s = None if minutes is None else minutes * 60
        windows[f"{slot}_window"] = {
            "used_percent": fields.get("used_percent"),
            "limit_window_seconds": next((each for each in _NAMES if _is_about(length_s, each)), length_s),
            "reset_at": fields.get("resets_at"),
            "reset_after_seconds": fields.get("resets_in_seconds"),
        }
    content: dict[str, Any] = {"credits": limits.get("credits"), "rate_limit": windows}
    name = parsing.parse_text(limits.get("limit_id"))
    if name not in (None, MAIN_LIMIT_ID):
        limit = {"limit_name": limits.get("limit_name"), "metered_feature": name, "rate_limit": windows}
        content = {"credits": limits.get("credits"), "additional_rate_limits": [limit]}
    return [
        replace(each, source="session", stale=each.resets_at is not None and each.resets_at <= at)
        for each in parse_readings(content, at)
    ]


def _is_about(seconds: int | None, length_s: int) -> bool:
    return seconds is not None and abs(seconds - length_s) <= length_s // 100


def name_window(seconds: int) -> tuple[str, str]:
    """A window's id and its name for people, by its length."""
    if seconds in _NAMES:
        return _NAMES[seconds]
    if seconds % parsing.HOUR_S:
        return f"{seconds // 60}m", f"{seconds // 60}-minute"
    return f"{seconds // parsing.HOUR_S}h", f"{seconds // parsing.HOUR_S}-hour"


def _parse_credits(value: object) -> Iterator[Reading]:
    fields = value if isinstance(value, dict) else {"balance": value}
    unlimited = fields.get("unlimited") is True
    balance = None if unlimited else parsing.parse_decimal(fields.get("balance"))
    blocked = _parse_flag(fields.get("overage_limit_reached"))
    if unlimited or balance is not None or blocked is not None:
        yield _make_balance("credits", "credits", "credits", remaining=balance, unlimited=unlimited, blocked=blocked)


def _parse_flag(value: object) -> bool | None:
    return value if isinstance(value, bool) else None


def parse_reset_credits(value: object, at: datetime) -> Iterator[Reading]:
    """How often the user may still start a new period early, and when the first of these resets lapses.

    `{available_count, credits: [{status, expires_at}]}`, where `credits` may be missing.
    """
    fields = parsing.as_mapping(value)
    count = parsing.parse_count(fields.get("available_count"))
    if count is None:
        return
    ends = (
        parsing.parse_timestamp(each.get("expires_at"))
        for each in parsing.as_mappings(fields.get("credits"))
        if count and (parsing.parse_text(each.get("status")) or "available").lower() == "available"
    )
    first = min((end for end in ends if end and end > at), default=None)
    remaining = parsing.parse_decimal(count)
    yield _make_balance(RESET_CREDITS_WINDOW, "resets in hand", "resets", remaining=remaining, resets_at=first)


def _parse_models(value: object) -> Iterator[Reading]:
    """Whether each model can be used: `{slug: {available, available_at}}`. How much of it is used is not given."""
    for name, usage in parsing.as_mapping(value).items():
        available = _parse_flag(parsing.as_mapping(usage).get("available"))
        if available is not None and parsing.slugify(name):
            yield Reading(
                window=f"model_{parsing.slugify(name)}",
                kind=WindowKind.OTHER,
                label=f"model {name}",
                resets_at=None if available else parsing.parse_timestamp(usage.get("available_at")),
                blocked=not available,
            )


def _make_balance(window: str, label: str, unit: str, **fields: Any) -> Reading:
    return Reading(window=window, kind=WindowKind.BALANCE, label=label, unit=unit, **fields)


def parse_individual_limit(content: Mapping[str, Any], at: datetime) -> Iterator[Reading]:
    """A limit set for this person, from the first of three places that has a value."""
    for holder in (content, content.get("rate_limit"), content.get("spend_control")):
        fields = parsing.get_mapping(parsing.as_mapping(holder), INDIVIDUAL_LIMIT_WINDOW)
        used, limit, remaining = (parsing.parse_decimal(fields.get(name)) for name in ("used", "limit", "remaining"))
        used_percent = parsing.parse_percent(fields.get("used_percent"))
        left = parsing.parse_number(fields.get("remaining_percent"))
        if used_percent is None:
            used_percent = max(0.0, 100 - left) if left is not None else parsing.compute_percent(used, limit)
        if used_percent is not None or used is not None or remaining is not None:
            resets_at = parsing.parse_first(parsing.parse_timestamp, fields, "resets_at", "reset_at", "resetsAt")
            resets_at = resets_at or parsing.add_seconds(at, fields.get("reset_after_seconds"))
            yield _make_individual_limit(
                content, used_percent=used_percent, used=used, limit=limit, remaining=remaining, resets_at=resets_at
            )
            return


def parse_monthly_limit(content: Mapping[str, Any]) -> Iterator[Reading]:
    """The same limit as a workspace's spend controls give it.

    `{current_month_usage, effective_monthly_limit: {limit, enforcement_mode, limit_mode}}`: a limit that is disabled,
    missing or zero is unlimited, so that an alert on it can end.
    """
    fields = parsing.get_mapping(content, "effective_monthly_limit")
    used, limit = parsing.parse_decimal(content.get("current_month_usage")), parsing.parse_decimal(fields.get("limit"))
    mode = parsing.slugify(parsing.parse_text(fields.get("enforcement_mode")) or "")
    if used is None or used < 0:
        return
    if mode in _NO_LIMIT_MODES or not limit:
        yield _make_individual_limit(content, used=used, unlimited=True)
    else:
        percent = parsing.compute_percent(used, limit)
        yield _make_individual_limit(content, used_percent=percent, used=used, limit=limit, remaining=limit - used)


def _make_individual_limit(content: Mapping[str, Any], **fields: Any) -> Reading:
    return Reading(
        window=INDIVIDUAL_LIMIT_WINDOW,
        kind=WindowKind.MONTHLY,
        label="individual limit",
        unit="credits",
        blocked=_parse_flag(parsing.get_mapping(content, "spend_control").get("reached")),
        **fields,
    )


WHOAMI_URL = "https://auth.openai.com/api/accounts/v1/user-auth-credential/whoami"
PERSONAL_PLANS = frozenset({"", "unknown", "guest", "free", "go", "plus", "pro", "prolite"})  # without a workspace
TIMEOUT_S = 4.0
MONTHLY_LIMIT_EVERY, RESET_CREDITS_EVERY = timedelta(minutes=15), timedelta(hours=1)
REFUSAL_COOLDOWN = timedelta(hours=1)


class UsageResponse(NamedTuple):
    """The usage as it was requested and answered."""

    url: str
    headers: Mapping[str, str]
    content: Mapping[str, Any]
    at: datetime


class TokenOwner(NamedTuple):
    """The owner of a personal access token; empty if not known."""

    account_id: str = ""
    plan: str = ""
    email: str = ""


def read_owner(content: Mapping[str, Any]) -> TokenOwner:
    """The owner in the answer of `WHOAMI_URL`."""
    names = ("chatgpt_account_id", "chatgpt_plan_type", "email")
    return TokenOwner(*(parsing.parse_text(content.get(name)) or "" for name in names))


def fetch_monthly_limit(
    usage: UsageResponse, account_id: str, provider_state: ProviderState
) -> Generator[Request, Response, tuple[Reading, ...]]:
    """The limit that a workspace set for this person, if only its spend controls have it; else ()."""
    base, found, _ = usage.url.partition("/wham/usage")
    plan = (parsing.parse_text(usage.content.get("plan_type")) or "").lower()
    has_controls = isinstance(usage.content.get("spend_control"), dict)
    is_known = any(parse_individual_limit(usage.content, usage.at))
    if not (found and account_id and has_controls) or is_known or plan in PERSONAL_PLANS:
        return ()
    url = f"{base}/accounts/{quote(account_id, safe='', errors='replace')}/spend-controls/current-user/monthly-usage"
    request = Request(url=url, headers=usage.headers, timeout_s=TIMEOUT_S)
    content = yield from _fetch_cached(request, MONTHLY_LIMIT_EVERY, usage.at, provider_state)
    return tuple(parse_monthly_limit({**content, "spend_control": usage.content["spend_control"]}))


def fetch_reset_credits(
    usage: UsageResponse, provider_state: ProviderState
) -> Generator[Request, Response, tuple[tuple[Reading, ...], str]]:
    """The reset credits, counted by the usage or else by the answer, and a note on when the first of them expires."""
    base, found, _ = usage.url.partition("/wham/usage")
    if not found:
        return (), ""
    headers = {**usage.headers, "OpenAI-Beta": "codex-1", "originator": "Codex Desktop"}
    request = Request(url=f"{base}/wham/rate-limit-reset-credits", headers=headers, timeout_s=TIMEOUT_S)
    content = yield from _fetch_cached(request, RESET_CREDITS_EVERY, usage.at, provider_state)
    content = {**content, **parsing.get_mapping(usage.content, "rate_limit_reset_credits")}
    readings = tuple(parse_reset_credits(content, usage.at))
    first = readings[0].resets_at if readings else None
    return readings, f"a reset in hand is good until {first:%Y-%m-%d %H:%M} UTC" if first else ""


def _fetch_cached(
    request: Request, every: timedelta, now: datetime, provider_state: ProviderState
) -> Generator[Request, Response, Mapping[str, Any]]:
    """The answer, requested at most this often; {} if there is none."""
    until, content = provider_state.get(request.url, (now, {}))
    if now < until:
        return dict(content)
    try:
        content = parsing.parse_response((yield request), name="Codex", sign_in_hint="")
    except OfflineError:
        return {}  # the request was not answered: try again at the next poll
    except ProviderError as error:
        wait = error.retry_after if isinstance(error, RateLimitedError) else None
        every, content = max(REFUSAL_COOLDOWN, wait or REFUSAL_COOLDOWN), {}
    provider_state[request.url] = now + every, content
    return dict(content)
