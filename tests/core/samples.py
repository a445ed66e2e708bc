"""Readings, rules and transitions as the tests of wording and delivery need them."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import msgspec

from watcher.core.model import AlertEvent, Facts, Reading, Series, Severity, Transition, WindowKind
from watcher.core.routing.messages import Formatter, ProviderInfo
from watcher.core.routing.planner import Routing
from watcher.core.rules.ast import iter_field_references
from watcher.core.rules.parser import parse_clear, parse_condition
from watcher.core.rules.rule import Level, Rule

BERLIN = ZoneInfo("Europe/Berlin")
NOW = datetime(2026, 1, 7, 13, 20, tzinfo=UTC)  # a Wednesday, 14:20 in Berlin
H = timedelta(hours=1)
M = timedelta(minutes=1)

SERIES = Series(provider="claude", window="five_hour", account="acc-1")
USUAL = frozenset({AlertEvent.FIRING, AlertEvent.ESCALATED, AlertEvent.RESOLVED})
FORMATTER = Formatter(
    tz=BERLIN,
    providers={
        "claude": ProviderInfo(name="Claude", usage_page="https://claude.ai/settings/usage"),
        "codex": ProviderInfo(name="Codex"),
        "copilot": ProviderInfo(name="GitHub Copilot", usage_page="https://github.com/settings/copilot"),
        "nano_gpt": ProviderInfo(name="Nano-GPT"),
    },
)


def rule(name="claude-session", when="claude.five_hour > 80%", clear="< 70%", **more):
    condition = parse_condition(when)
    level = Level(
        severity=Severity.WARNING, when=condition, clear=parse_clear(clear, condition) if clear else condition
    )
    parts = {
        "name": name,
        "path": "rules.toml",
        "line": 1,
        "subject": next(iter_field_references(condition)).selector,
        "levels": (level,),
        "on": USUAL,
        "fingerprint": "1",
    }
    return Rule(**(parts | more))


def reading(used_percent=82.0, **more):
    parts = {
        "window": "five_hour",
        "kind": WindowKind.SESSION,
        "label": "5-hour window",
        "used_percent": used_percent,
        "resets_at": NOW + timedelta(hours=1, minutes=40),
        "window_seconds": 18000,
    }
    return Reading(**(parts | more))


def premium(used, limit=300):
    used, limit = Decimal(used), Decimal(limit)
    return Reading(
        window="premium_interactions",
        kind=WindowKind.MONTHLY,
        label="premium requests",
        used_percent=float(used / limit * 100),
        used=used,
        limit=limit,
        remaining=limit - used,
        unit="requests",
        resets_at=datetime(2026, 2, 1, tzinfo=UTC),
    )


def balance(remaining, unit="usd"):
    return Reading(
        window="balance_usd", kind=WindowKind.BALANCE, label="balance", remaining=Decimal(remaining), unit=unit
    )


def transition(event="firing", severity="warning", read=None, **more):
    parts = {
        "at": NOW,
        "rule": "claude-session",
        "series": SERIES,
        "account_name": "me@example.com",
        "episode": 3,
        "event": AlertEvent(event),
        "severity": Severity(severity),
        "reason": {"firing": "above", "resolved": "recovered"}.get(event, event),
        "since": more.get("at", NOW),
        "reading": reading() if read is None else read,
        "facts": msgspec.convert(more.pop("facts", {}), Facts),
    }
    return Transition(**(parts | more))


def of(provider, window="five_hour", **more):
    """A transition of another series, known by provider and window."""
    return transition(series=Series(provider=provider, window=window), account_name="", **more)


def routing(**more):
    parts = {
        "channels": {"desktop": "desktop", "team": "slack"},
        "default": ("desktop",),
        "formatter": FORMATTER,
    }
    return Routing(**(parts | more))
