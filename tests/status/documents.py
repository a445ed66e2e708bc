"""Documents of `watcher status`, made by hand, as of noon of a Monday."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

from msgspec import structs

from watcher.cli.status_table import render_status_table
from watcher.cli.status_text import StatusFormatter
from watcher.status.document import AccountStatus, AlertStatus, StatusDocument, WindowStatus

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
FORMATTER = StatusFormatter(NOW, UTC)
NAMES = {"claude": "Claude", "copilot": "Copilot", "codex": "Codex"}
M, H = timedelta(minutes=1), timedelta(hours=1)


def window(name="five_hour", **facts):
    known = {
        "window": name,
        "series": "",  # see `known`
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
        "poll_every_seconds": 600.0,
        "next_poll_at": NOW + 7 * M,
        "next_poll_reason": "every 10m",
        "windows": list(windows),
    }
    named = {**known, **facts}
    return AccountStatus(provider_name=NAMES.get(named["provider"], ""), **named)


def known(*accounts, **facts):
    """A document of these accounts, each window named as alerts name it."""
    providers = [each.provider for each in accounts]
    named = [
        structs.replace(
            each,
            windows=[
                structs.replace(
                    window,
                    series=f"{each.provider}[{each.account}].{window.window}"
                    if providers.count(each.provider) > 1
                    else f"{each.provider}.{window.window}",
                )
                for window in each.windows
            ],
        )
        for each in accounts
    ]
    return StatusDocument(generated_at=NOW, providers=named, daemon_running=True, daemon_seen_at=NOW, **facts)


def shown(document, width=80, **options):
    lines = render_status_table(document, FORMATTER, width, ascii_only=options.pop("ascii_", False), **options)
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
