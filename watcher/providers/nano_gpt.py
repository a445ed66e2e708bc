"""Nano-GPT: `GET https://nano-gpt.com/api/subscription/v1/usage` and `POST https://nano-gpt.com/api/check-balance`.

Documented at https://docs.nano-gpt.com (subscription usage); last checked 2026-11-22. Two generations of the answer:
`{limits: {daily, monthly}, daily: {used, remaining, percentUsed, resetAt (ms)}, monthly: ...}` by requests, and since
2026-02 `weeklyInputTokens`, `dailyInputTokens`, `dailyImages` by tokens, nested or flat; null is absent. Balances are
decimal strings. Needs the key of OpenCode's `nano-gpt` or NANOGPT_API_KEY.
"""

from collections.abc import Generator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from watcher.core.model import Kind, Reading, Request, Response, Snapshot
from watcher.credentials import Credential, Surroundings, nano_gpt
from watcher.credentials.places import gather
from watcher.errors import ProviderError, ShapeChangedError
from watcher.providers import Conversation, Kept, Overrides, Provider, answers, nano_gpt_windows

ID, NAME, SIGN_IN = "nano_gpt", "Nano-GPT", "make a new key at nano-gpt.com/api and give it to OpenCode"
HOST = "https://nano-gpt.com"
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
    if "error" in content and not nano_gpt_windows.names_any(content):
        raise ShapeChangedError(f"{NAME}: an error came instead of usage: {SIGN_IN}")
    readings = nano_gpt_windows.read(content)
    if not readings and not nano_gpt_windows.is_inactive(content):
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


def _state(content: Mapping[str, Any]) -> str:
    """The subscription's state in words, where it is not simply active, and whether a day's limit binds."""
    if content.get("state") == "grace":
        until = answers.instant(content.get("graceUntil"))
        return f"grace period until {until:%Y-%m-%d}" if until else "grace period"
    if nano_gpt_windows.is_inactive(content):
        return "subscription inactive: no quota to watch"
    return "the daily limit is not enforced" if content.get("enforceDailyLimit") is False else ""


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
