"""The simulated providers' answers: a `SimulatedUsage` in the documented shape of each API. Pure."""

import base64
import json
import struct
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from watcher.demo.scenario import CountUsage, SimulatedUsage, WindowUsage
from watcher.providers.protobuf import encode_bytes, encode_varint

Endpoint = Callable[[SimulatedUsage, datetime], dict[str, Any]]

ACCOUNT_EMAIL = "demo@example.com"
CHATGPT_WORKSPACE = "demo-account"
GOOGLE_TOKEN = {"access_token": "ya29.demo", "expires_in": 3599, "token_type": "Bearer", "scope": "cloud-platform"}
GOOGLE_PROJECT = {
    "cloudaicompanionProject": "demo-project",
    "currentTier": {"id": "standard-tier", "name": "Standard"},
}


def claude_usage(usage: SimulatedUsage, _at: datetime) -> dict[str, Any]:
    """`GET /api/oauth/usage`."""
    return {
        "five_hour": _make_claude_window(usage.claude_session),
        "seven_day": _make_claude_window(usage.claude_week),
        "seven_day_sonnet": _make_claude_window(usage.claude_sonnet_week),
        "seven_day_opus": None,
        "extra_usage": {"is_enabled": True, "monthly_limit": 5000, "used_credits": 0, "utilization": None},
    }


def codex_usage(usage: SimulatedUsage, at: datetime) -> dict[str, Any]:
    """`GET /backend-api/wham/usage`."""

    def window(turn: WindowUsage, seconds: int) -> dict[str, Any]:
        left_s = seconds if turn.resets_at is None else int((turn.resets_at - at).total_seconds())
        ends_at = int(at.timestamp()) + left_s
        return {
            "used_percent": round(turn.used_percent),
            "limit_window_seconds": seconds,
            "reset_after_seconds": left_s,
            "reset_at": ends_at,
        }

    return {
        "plan_type": "plus",
        "email": ACCOUNT_EMAIL,
        "rate_limit": {
            "allowed": True,
            "limit_reached": False,
            "primary_window": window(usage.codex_session, 18_000),
            "secondary_window": window(usage.codex_week, 604_800),
        },
        "credits": {"has_credits": False, "unlimited": False, "balance": "0"},
        "rate_limit_reset_credits": {"available_count": 2},
    }


def copilot_user(usage: SimulatedUsage, _at: datetime) -> dict[str, Any]:
    """`GET /copilot_internal/user`."""
    month = usage.copilot_month
    left = month.limit - month.used
    unlimited = {"entitlement": -1, "remaining": -1, "percent_remaining": 100.0, "unlimited": True}
    premium = {
        "entitlement": month.limit,
        "remaining": left,
        "percent_remaining": 100 * left / month.limit,
        "unlimited": False,
        "overage_permitted": True,
        "overage_count": max(0, -left),
    }
    return {
        "copilot_plan": "individual_pro",
        "quota_reset_date": month.resets_at.date().isoformat(),
        "quota_snapshots": {"chat": unlimited, "completions": unlimited, "premium_interactions": premium},
    }


def nano_gpt_usage(usage: SimulatedUsage, _at: datetime) -> dict[str, Any]:
    """`GET /api/subscription/v1/usage`."""

    def window(count: CountUsage) -> dict[str, Any]:
        return {
            "used": count.used,
            "remaining": count.limit - count.used,
            "percentUsed": count.used / count.limit,
            "resetAt": int(count.resets_at.timestamp() * 1000),
        }

    day, month = usage.nano_gpt_day, usage.nano_gpt_month
    return {
        "active": True,
        "limits": {"daily": day.limit, "monthly": month.limit},
        "enforceDailyLimit": True,
        "daily": window(day),
        "monthly": window(month),
        "period": {"currentPeriodEnd": _format_iso(month.resets_at)},
        "state": "active",
        "graceUntil": None,
    }


def nano_gpt_balance(usage: SimulatedUsage, _at: datetime) -> dict[str, Any]:
    """`POST /api/check-balance`."""
    return {"usd_balance": f"{usage.nano_gpt_balance_usd:.8f}", "nano_balance": "26.71801147"}


def gemini_quota(usage: SimulatedUsage, _at: datetime) -> dict[str, Any]:
    """`POST /v1internal:retrieveUserQuota`."""
    return {"buckets": [_make_quota_bucket(model, turn) for model, turn in usage.gemini.items()]}


def _always(content: dict[str, Any]) -> Endpoint:
    """An answer that is the same all day."""
    return lambda _usage, _at: content


ENDPOINTS: Mapping[tuple[str, str], Endpoint] = {
    ("GET", "/api/oauth/usage"): claude_usage,
    ("GET", "/backend-api/wham/usage"): codex_usage,
    ("GET", "/copilot_internal/user"): copilot_user,
    ("GET", "/user"): _always({"login": "demo", "id": 1}),
    ("GET", "/api/subscription/v1/usage"): nano_gpt_usage,
    ("POST", "/api/check-balance"): nano_gpt_balance,
    ("POST", "/token"): _always(GOOGLE_TOKEN),
    ("POST", "/v1internal:loadCodeAssist"): _always(GOOGLE_PROJECT),
    ("POST", "/v1internal:retrieveUserQuota"): gemini_quota,
}
"""Method and path -> the answer. The paths of all providers differ, so one server is enough."""


def encode_antigravity_status(usage: SimulatedUsage, email: str = ACCOUNT_EMAIL) -> str:
    """The value of `antigravityAuthStatus` in the editor's database: JSON around base64 around protobuf."""
    models = b"".join(encode_bytes(1, _encode_model(label, turn)) for label, turn in usage.antigravity.items())
    message = encode_bytes(7, email.encode()) + encode_bytes(33, models)
    proto = base64.b64encode(message).decode()
    return json.dumps({"name": "Demo", "email": email, "apiKey": "ya29.demo", "userStatusProtoBinaryBase64": proto})


def _make_claude_window(window: WindowUsage) -> dict[str, Any]:
    resets_at = None if window.resets_at is None else _format_iso(window.resets_at)
    return {"utilization": round(window.used_percent, 1), "resets_at": resets_at}


def _make_quota_bucket(model: str, window: WindowUsage) -> dict[str, Any]:
    bucket = {"modelId": model, "tokenType": "REQUESTS", "remainingFraction": 1 - window.used_percent / 100}
    return bucket if window.resets_at is None else {**bucket, "resetTime": _format_iso(window.resets_at)}


def _format_iso(at: datetime) -> str:
    return at.isoformat().replace("+00:00", "Z")


def _encode_model(label: str, window: WindowUsage) -> bytes:
    quota = encode_varint(1 << 3 | 5) + struct.pack("<f", 1 - window.used_percent / 100)
    if window.resets_at is not None:
        quota += encode_bytes(2, encode_varint(1 << 3) + encode_varint(int(window.resets_at.timestamp())))
    return encode_bytes(1, label.encode()) + encode_bytes(15, quota)
