"""Documents of `watcher status`, made by hand, and what stands in them at noon of a Monday."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

from msgspec import structs

from watcher.cli.format import StatusFormatter
from watcher.cli.status_table import render_status_table
from watcher.status.document import AccountStatus, AlertStatus, WindowStatus, make_empty_status

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
TONGUE = StatusFormatter(NOW, UTC)
NAMES = {"claude": "Claude", "copilot": "Copilot", "codex": "Codex"}
M, H = timedelta(minutes=1), timedelta(hours=1)


def window(name="five_hour", **facts):
    known = {
        "window": name,
        "kind": "session",
        "label": "5-hour window",
        "used_percent": 82.0,
        "used": None,
        "limit": None,
        "remaining": None,
        "unit": "percent",
        "unlimited": False,
        "resets_at": NOW + 100 * M,
        "window_seconds": 18000,
        "stale": False,
        "primary": True,
    }
    return WindowStatus(**{**known, **facts})


def account(*windows, **facts):
    known = {
        "provider": "claude",
        "account": None,
        "plan": "Max 20x",
        "ok": True,
        "error": None,
        "fetched_at": NOW - 3 * M,
        "stale": False,
        "note": None,
        "next_poll_at": NOW + 7 * M,
        "next_poll_reason": "every 10m",
        "windows": list(windows),
    }
    return AccountStatus(**{**known, **facts})


def known(*accounts, **facts):
    return structs.replace(
        make_empty_status(NOW), providers=list(accounts), daemon_running=True, daemon_seen_at=NOW, **facts
    )


def shown(document, width=80, **options):
    lines = render_status_table(
        document, TONGUE, width, provider_names=NAMES, ascii_only=options.pop("ascii_", False), **options
    )
    return [line.plain.rstrip() for line in lines]


PREMIUM = window(
    "premium_interactions",
    kind="monthly",
    label="premium interactions",
    used_percent=97.0,
    used=Decimal(291),
    limit=Decimal(300),
    remaining=Decimal(9),
    unit="requests",
    resets_at=NOW + timedelta(days=3, hours=4),
    pace="ahead",
    projected_percent=112.0,
)
BALANCE = window(
    "balance_usd", label="balance", used_percent=None, remaining=Decimal("4.2"), unit="usd", resets_at=None
)
FIRING = AlertStatus(rule="session", series="claude.five_hour", state="firing", severity="warning", since=NOW - 20 * M)
