from datetime import timedelta, timezone
from decimal import Decimal

import pytest
from msgspec import structs

from watcher.demo.player import (
    ASCII_SCREEN_SYMBOLS,
    BLOCK_SCREEN_SYMBOLS,
    choose_symbols,
    explain_no_message,
    format_notification,
    get_firing_session_percent,
    render_status,
)
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


def test_a_bar_is_as_full_as_the_window_and_marked_while_its_alert_fires() -> None:
    now = status(account("claude", window("five_hour", 50.0)), firing=("claude-session", "claude.five_hour"))
    title, line, *_ = render_status(now, NOON, ASCII_SCREEN_SYMBOLS, NOON.tzinfo)
    assert title == "Monday 12:00, simulated"
    assert line == "! Claude, 5 hours     #############.............    50.0 %  resets 13:10"


def test_times_are_those_of_the_zone() -> None:
    there = timezone(timedelta(hours=2))
    title, line, *_ = render_status(
        status(account("claude", window("five_hour", 50.0))), NOON, ASCII_SCREEN_SYMBOLS, there
    )
    assert title == "Monday 14:00, simulated"
    assert line.endswith("resets 15:10")


def test_overage_fills_the_bar_and_never_more() -> None:
    month = window("premium_interactions", 106.0, used=Decimal(318), limit=Decimal(300), resets_at=None)
    line = render_status(status(account("copilot", month)), NOON, ASCII_SCREEN_SYMBOLS)[5]
    assert line == "  Copilot, month      ########################## 318 / 300"


def test_what_is_not_known_is_a_question_mark_and_not_nothing() -> None:
    assert render_status(status(), NOON, ASCII_SCREEN_SYMBOLS)[1].endswith("?")
    assert render_status(status(account("claude", window("five_hour", None))), NOON, ASCII_SCREEN_SYMBOLS)[1].endswith(
        "?"
    )


@pytest.mark.parametrize("look", [ASCII_SCREEN_SYMBOLS, BLOCK_SCREEN_SYMBOLS])
def test_no_line_is_wider_than_eighty_columns(look: object) -> None:
    full = window("five_hour", 123.4, resets_at=NOON + timedelta(days=9))
    lines = render_status(status(account("claude", full)), NOON, look)  # type: ignore[arg-type]
    payload = {"severity": "critical", "event": "firing", "title": "word " * 60, "message": "word " * 60 + "\nend"}
    lines += [f"12:34  {line}" for line in format_notification(payload, look)]  # type: ignore[arg-type]
    assert max(len(line) for line in lines) <= 80


def test_a_message_begins_with_its_severity_or_event() -> None:
    payload = {"severity": "warning", "event": "firing", "title": "Claude at 81 %", "message": "body"}
    assert format_notification(payload, ASCII_SCREEN_SYMBOLS) == ["! WARNING: Claude at 81 %", "  body"]
    assert (
        format_notification({**payload, "event": "resolved"}, ASCII_SCREEN_SYMBOLS)[0] == "! RESOLVED: Claude at 81 %"
    )


@pytest.mark.parametrize(
    ("encoding", "look"),
    [
        ("utf-8", BLOCK_SCREEN_SYMBOLS),
        ("ascii", ASCII_SCREEN_SYMBOLS),
        ("latin-1", ASCII_SCREEN_SYMBOLS),
        (None, ASCII_SCREEN_SYMBOLS),
        ("odd", ASCII_SCREEN_SYMBOLS),
    ],
)
def test_blocks_are_drawn_only_where_the_terminal_has_them(encoding: str | None, look: object) -> None:
    assert choose_symbols(encoding) is look


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
def test_a_wobble_about_the_threshold_is_explained(
    before: float | None, after: float | None, words: str | None
) -> None:
    assert explain_no_message(before, after) == words


def test_a_session_counts_only_while_its_alert_fires() -> None:
    claude = account("claude", window("five_hour", 81.0))
    assert get_firing_session_percent(status(claude)) is None
    assert get_firing_session_percent(status(claude, firing=("claude-session", "claude.five_hour"))) == 81.0
