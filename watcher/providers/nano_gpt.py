"""Nano-GPT: `GET https://nano-gpt.com/api/subscription/v1/usage` and `POST https://nano-gpt.com/api/check-balance`.

Documented at https://docs.nano-gpt.com (subscription usage); last checked 2026-11-22. Two generations of the answer:
`{limits: {daily, monthly}, daily: {used, remaining, percentUsed, resetAt (ms)}, monthly: ...}` by requests, and since
2026-02 `weeklyInputTokens`, `dailyInputTokens`, `dailyImages` by tokens, nested or flat; null is absent. Balances are
decimal strings. Needs the key of OpenCode's `nano-gpt` or NANOGPT_API_KEY. `percentUsed` is documented as a fraction
and was seen as a percentage too, so used/limit decides wherever both are known.
"""

import re
from collections.abc import Generator, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from watcher.core.model import Kind, Reading, Request, Response, Snapshot
from watcher.credentials import Credential, Surroundings, nano_gpt
from watcher.credentials.places import gather
from watcher.errors import ProviderError, ShapeChangedError
from watcher.providers import Conversation, Kept, Overrides, Provider, answers

ID, NAME, SIGN_IN = "nano_gpt", "Nano-GPT", "make a new key at nano-gpt.com/api and give it to OpenCode"
HOST = "https://nano-gpt.com"
WINDOWS = (  # id in the answer, its aliases for the limit, window, unit, length, label
    ("daily", ("daily",), "daily", "requests", answers.DAY, "daily requests"),
    ("monthly", ("monthly",), "monthly", "requests", None, "monthly requests"),
    (
        "weeklyInputTokens",
        ("weekly", "weeklyInputToken"),
        "weekly_input_tokens",
        "tokens",
        answers.WEEK,
        "weekly input tokens",
    ),
    ("dailyInputTokens", ("dailyInputToken",), "daily_input_tokens", "tokens", answers.DAY, "daily input tokens"),
    ("dailyImages", ("dailyImage",), "daily_images", "images", answers.DAY, "daily images"),
)
USED = ("used", "usage", "inputTokensUsed", "usedTokens")
LEFT = ("remaining", "left")
PERCENT = ("percentUsed", "usagePercent")
RESET = ("resetAt", "nextResetAt")
FLAT = ("used", "remaining", "percentUsed", "resetAt")  # with more, `dailyInputTokensUsed` would be `daily`'s too
BALANCES = (("usd_balance", "balance_usd", "usd", "balance"), ("nano_balance", "balance_nano", "nano", "nano balance"))


def find(surroundings: Surroundings, overrides: Overrides) -> Sequence[Credential]:
    """Keys, OpenCode's first."""
    if overrides.token:
        return [Credential(provider=ID, place="config", path="config", token=overrides.token)]
    if overrides.credentials:
        return nano_gpt.from_opencode(surroundings, overrides.credentials)
    return gather(lambda: nano_gpt.from_opencode(surroundings), lambda: nano_gpt.from_environment(surroundings))


def ask(credential: Credential, _now: datetime, _kept: Kept) -> Conversation:
    """The usage, then the balance, whose failure costs only itself."""
    key = {"x-api-key": credential.token, "Accept": "application/json"}
    headers = {**key, "Authorization": f"Bearer {credential.token}"}
    response: Response = yield Request(url=f"{HOST}/api/subscription/v1/usage", headers=headers)
    content = answers.read(response, name=NAME, sign_in=SIGN_IN)
    if "error" in content and not any(name in content for name in ("limits", "active", "state", *_keys())):
        raise ShapeChangedError(f"{NAME}: an error came instead of usage: {SIGN_IN}")
    readings = read(content)
    if not readings and not _state(content):
        raise ShapeChangedError(f"{NAME}: no window in the answer (limits, daily, monthly): nothing is claimed")
    balances, trouble = yield from _balances(key)
    return Snapshot(
        provider=ID,
        account=credential.account,
        account_name=credential.account_name,
        at=response.at,
        readings=(*readings, *balances),
        note="; ".join(note for note in (_state(content), trouble) if note) or None,
    )


def _balances(headers: Mapping[str, str]) -> Generator[Request, Response, tuple[list[Reading], str]]:
    """Both balances, and why there are none."""
    request = Request(
        method="POST", url=f"{HOST}/api/check-balance", headers={**headers, "Content-Length": "0"}, body=b""
    )
    try:
        response = yield request
        content = answers.read(response, name=NAME, sign_in=SIGN_IN)
    except ProviderError as error:
        return [], f"no balance ({error.kind})"
    amounts = [(each, answers.decimal(content.get(each[0]))) for each in BALANCES]
    return [
        Reading(window=window, kind=Kind.BALANCE, label=label, remaining=amount, unit=unit)
        for (_key, window, unit, label), amount in amounts
        if amount is not None
    ], ""


def read(content: Mapping[str, Any]) -> list[Reading]:
    """One reading for each window that the answer has, of either generation; none of an inactive subscription."""
    if content.get("active") is False or content.get("state") == "inactive":
        return []
    return list(_readings(content))


def _readings(content: Mapping[str, Any]) -> Iterator[Reading]:
    ends = answers.instant(answers.mapping(content.get("period")).get("currentPeriodEnd"))
    for id_, aliases, window, unit, seconds, label in WINDOWS:
        fields = _fields(content, id_)
        limit = _limit(content, id_, aliases)
        if not fields and limit is None:
            continue
        used, left = answers.decimal(_first(fields, USED)), answers.decimal(_first(fields, LEFT))
        if used is None and left is not None and limit is not None:
            used = limit - left
        if left is None and used is not None and limit is not None:
            left = limit - used
        if limit is None and used is not None and left is not None:
            limit = used + left
        yield Reading(
            window=window,
            kind=answers.kind_of(seconds) if seconds else Kind.MONTHLY,
            label=label,
            used_percent=_percent(used, limit, _first(fields, PERCENT)),
            used=used,
            limit=limit,
            remaining=left,
            unit=unit,
            resets_at=answers.instant(_first(fields, RESET)) or (ends if window == "monthly" else None),
            window_seconds=seconds,
        )


def _percent(used: Decimal | None, limit: Decimal | None, said: object) -> float | None:
    """Used of limit; else what was said: a text with % as it is, a plain number as a fraction."""
    computed = answers.ratio(used, limit)
    if computed is not None:
        return computed if computed >= 0 else None
    if isinstance(said, str) and said.strip().endswith("%"):
        return answers.percent(said.strip()[:-1])
    fraction = answers.percent(said)
    return None if fraction is None else fraction * 100


def _fields(content: Mapping[str, Any], id_: str) -> dict[str, Any]:
    """The window's fields: its own object, one inside `inputTokens`, or flat with its id in front of each name."""
    holders = (content, *(answers.mapping(content.get(name)) for name in ("inputTokens", "input_tokens")))
    for holder in holders:
        for name in (id_, _snake(id_)):
            if isinstance(holder.get(name), dict):
                return dict(holder[name])
    flat = {}
    for name in FLAT:
        key = id_ + name[0].upper() + name[1:]
        for spelling in (key, _snake(key)):
            if spelling in content:
                flat[name] = content[spelling]
    return flat


def _limit(content: Mapping[str, Any], id_: str, aliases: Sequence[str]) -> Decimal | None:
    """The window's limit under any of its names; a negative one is none."""
    limits = answers.mapping(content.get("limits"))
    own = answers.mapping(content.get(id_))
    names = [each for name in (id_, *aliases) for each in (name, f"{name}Limit")]
    for name in names:
        for spelling in (name, _snake(name)):
            found = answers.decimal(limits.get(spelling))
            if found is not None and found >= 0:
                return found
    flat = next((content[each] for each in (f"{id_}Limit", _snake(f"{id_}Limit")) if each in content), own.get("limit"))
    return answers.decimal(flat)


def _first(fields: Mapping[str, Any], names: Sequence[str]) -> Any:
    """The first of those names, in either spelling, that is not null."""
    spellings = (spelling for name in names for spelling in (name, _snake(name)))
    return next((fields[each] for each in spellings if fields.get(each) is not None), None)


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()


def _keys() -> Iterator[str]:
    return (each[0] for each in WINDOWS)


def _state(content: Mapping[str, Any]) -> str:
    """The subscription's state in words, where it is not simply active."""
    state = answers.text(content.get("state")) or ("inactive" if content.get("active") is False else "")
    if state == "grace":
        until = answers.instant(content.get("graceUntil"))
        return f"grace period until {until:%Y-%m-%d}" if until else "grace period"
    return "subscription inactive: no quota to watch" if state == "inactive" else ""


PROVIDER = Provider(
    id=ID,
    name=NAME,
    page="https://nano-gpt.com/subscription",
    sign_in=SIGN_IN,
    primary=("daily", "weekly_input_tokens", "monthly"),
    find=find,
    ask=ask,
    floor=timedelta(minutes=1),
    default=timedelta(minutes=5),
    ceiling=timedelta(minutes=30),
)
