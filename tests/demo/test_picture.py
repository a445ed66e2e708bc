from datetime import timedelta

import pytest
from msgspec import structs

from watcher.cli.demo import render_status
from watcher.demo.player import explain_no_message, format_notification, get_firing_session_percent
from watcher.demo.scenario import SimulatedDay
from watcher.status.document import AccountStatus, AlertStatus, StatusDocument, WindowStatus

NOON = SimulatedDay().instant_at("12:00")


def window(name: str, used_percent: float | None, **known: object) -> WindowStatus:
    basis = WindowStatus(
        window=name,
        series="",
        kind="session",
        label="",
        used_percent=used_percent,
        used=None,
        limit=None,
        remaining=None,
        unit="percent",
        unlimited=False,
        resets_at=NOON + timedelta(minutes=70),
        window_seconds=None,
        stale=False,
    )
    return structs.replace(basis, **known)


def account(provider: str, *windows: WindowStatus) -> AccountStatus:
    return AccountStatus(
        provider=provider,
        account=None,
        plan=None,
        ok=True,
        error=None,
        fetched_at=NOON,
        stale=False,
        note=None,
        poll_every_seconds=None,
        next_poll_at=None,
        next_poll_reason=None,
        windows=list(windows),
    )


def status(*accounts: AccountStatus, firing: tuple[str, str] | None = None) -> StatusDocument:
    alerts = []
    if firing is not None:
        rule, series = firing
        alerts = [AlertStatus(rule=rule, series=series, state="firing", severity="warning", since=NOON)]
    return StatusDocument(generated_at=NOON, providers=list(accounts), alerts=alerts, daemon_seen_at=NOON)


def test_the_picture_is_the_status_table_of_primary_windows() -> None:
    claude = account("claude", window("five_hour", 50.0, primary=True), window("seven_day", 12.0))
    there = status(claude, firing=("claude-session", "claude.five_hour"))
    text = render_status(there, ascii_only=True).plain
    assert text.startswith(f"\n{NOON.astimezone():%A %H:%M}, simulated\n")
    assert "five_hour" in text
    assert "seven_day" not in text
    assert "####" in text
    assert "firing: claude-session on claude.five_hour" in text
    assert "█" in render_status(there, ascii_only=False).plain


def test_no_line_is_wider_than_eighty_columns() -> None:
    full = window("five_hour", 123.4, resets_at=NOON + timedelta(days=9), primary=True)
    lines = render_status(status(account("claude", full)), ascii_only=False).plain.splitlines()
    payload = {"severity": "critical", "event": "firing", "title": "word " * 60, "message": "word " * 60 + "\nend"}
    lines += [f"12:34  {line}" for line in format_notification(payload, "!")]
    assert max(len(line) for line in lines) <= 80


def test_a_message_begins_with_its_severity_or_event() -> None:
    payload = {"severity": "warning", "event": "firing", "title": "Claude at 81 %", "message": "body"}
    assert format_notification(payload, "!") == ["! WARNING: Claude at 81 %", "  body"]
    assert format_notification({**payload, "event": "resolved"}, "!")[0] == "! RESOLVED: Claude at 81 %"


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        (81.0, 79.0, "Claude back at 79.0 %: not below 70 %, so still firing; nothing is sent"),
        (79.0, 81.0, "Claude again at 81.0 %: the same alert; nothing is sent"),
        (79.0, 78.0, None),
        (81.0, 85.0, None),
        (None, 81.0, None),
        (92.0, None, None),
    ],
)
def test_a_fluctuation_around_the_threshold_is_explained(
    before: float | None, after: float | None, words: str | None
) -> None:
    assert explain_no_message(before, after) == words


def test_a_session_counts_only_while_its_alert_fires() -> None:
    claude = account("claude", window("five_hour", 81.0))
    assert get_firing_session_percent(status(claude)) is None
    assert get_firing_session_percent(status(claude, firing=("claude-session", "claude.five_hour"))) == 81.0
