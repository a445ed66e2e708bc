"""Nano-GPT: `GET https://nano-gpt.com/api/subscription/v1/usage` and `POST https://nano-gpt.com/api/check-balance`.

Documented at https://docs.nano-gpt.com (subscription usage); last checked 2026-11-22. Two generations of the answer:
`{limits: {daily, monthly}, daily: {used, remaining, percentUsed, resetAt (ms)}, monthly: ...}` by requests, and since
2026-02 `weeklyInputTokens`, `dailyInputTokens`, `dailyImages` by tokens, nested or flat; null is absent. Balances are
decimal strings. Needs the key of OpenCode's `nano-gpt` or NANOGPT_API_KEY.
"""

from collections.abc import Generator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from watcher.core.model import Reading, Request, Response, Snapshot, WindowKind
from watcher.credentials import Credential, HostInfo, nano_gpt
from watcher.credentials.places import collect_credentials
from watcher.errors import ProviderError, ShapeChangedError
from watcher.providers import Conversation, Overrides, Provider, ProviderState, answers, nano_gpt_windows

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
    content = answers.parse_response(response, name=NAME, sign_in_hint=SIGN_IN_HINT)
    if "error" in content and not nano_gpt_windows.has_usage(content):
        raise ShapeChangedError(f"{NAME}: an error came instead of usage: {SIGN_IN_HINT}")
    readings = nano_gpt_windows.parse_readings(content)
    if not readings and not nano_gpt_windows.is_inactive(content):
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
        content = answers.parse_response(response, name=NAME, sign_in_hint=SIGN_IN_HINT)
    except ProviderError as error:
        return [], f"no balance ({error.kind})"
    amounts = [(each, answers.parse_decimal(content.get(each[0]))) for each in BALANCE_FIELDS]
    return [
        Reading(window=window, kind=WindowKind.BALANCE, label=label, remaining=amount, unit=unit)
        for (_key, window, unit, label), amount in amounts
        if amount is not None
    ], ""


def _describe_state(content: Mapping[str, Any]) -> str:
    """The subscription's state in words, where it is not simply active, and whether a day's limit binds."""
    if content.get("state") == "grace":
        until = answers.parse_timestamp(content.get("graceUntil"))
        return f"grace period until {until:%Y-%m-%d}" if until else "grace period"
    if nano_gpt_windows.is_inactive(content):
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
