"""The phrases of `watcher status` and `watcher check`, and the windows that are selected."""

from decimal import Decimal

import pytest
from msgspec import structs

from tests.status.documents import FIRING, FORMATTER, NOW, PREMIUM, H, M, account, known, shown, window
from watcher.cli import status, status_text
from watcher.core.model import Reading, WindowKind
from watcher.status.builder import compute_pace
from watcher.status.document import ActiveSnooze, Problem, UndeliveredMessage


@pytest.mark.parametrize(
    ("facts", "output"),
    [
        ({}, "resets in 1 h 40 min (13:40)"),
        ({"unlimited": True, "used_percent": None}, ""),
        ({"resets_at": None}, ""),
        ({"kind": "balance"}, "expires in 1 h 40 min (13:40)"),
        ({"resets_at": NOW - 5 * M}, "reset was due at 11:55"),
    ],
)
def test_when_a_window_resets_is_one_phrase(facts, output):
    assert FORMATTER.format_reset(window(**facts)) == output


@pytest.mark.parametrize(
    ("facts", "used", "left"),
    [
        ({}, "82 %", ""),
        ({"unlimited": True, "used_percent": None}, "unlimited", ""),
        ({"used_percent": None}, "", ""),
        ({"used_percent": 99.97}, "99.9 %", ""),
        ({"remaining": Decimal(-18), "limit": Decimal(300), "unit": "requests"}, "82 %", "18 requests over"),
        ({"remaining": Decimal("12.5"), "limit": Decimal(50), "unit": "usd"}, "82 %", "$12.50 of $50.00 left"),
    ],
)
def test_what_is_used_and_what_is_left_are_phrases(facts, used, left):
    shown = window(**facts)
    assert (status_text.format_used_percent(shown), status_text.format_remaining_amount(shown)) == (used, left)


def test_a_problem_is_shown_with_its_time():
    error = Problem(kind="expired", message="expired: run `claude` once", retry_at=None, since=NOW - 2 * H)
    failing = account(window(), ok=False, error=error, stale=True, fetched_at=NOW - 2 * H)
    text = "\n".join(shown(known(failing), 100))
    assert "read 2 h ago (old), next in 7 min" in text
    assert "  expired: run `claude` once (since 10:00)" in text


def test_a_problem_shows_before_when_polling_is_pointless():
    message = "Claude: asked too often (429): it is asked again later"
    error = Problem(kind="rate_limited", message=message, retry_at=NOW + 2 * H, since=None)
    assert FORMATTER.format_problem(account(ok=False, error=error)) == (
        "asked too often (429): it is asked again later (not polled before 14:00)"
    )
    over = structs.replace(error, retry_at=NOW - H)
    assert FORMATTER.format_problem(account(ok=False, error=over)).endswith("again later")


def test_a_provider_is_not_named_twice():
    error = Problem(kind="server", message="Nano-GPT: failed (500): again later", retry_at=None, since=None)
    failing = account(provider="nano_gpt", ok=False, error=error, next_poll_at=None)
    assert FORMATTER.format_problem(failing) == "failed (500): again later"


def test_every_problem_is_listed_and_waiting_messages_are_counted():
    waiting = UndeliveredMessage(
        channel="team",
        title="Claude at 82 %",
        state="queued",
        outcome="",
        at=NOW,
        attempts=0,
        next_attempt_at=NOW,
    )
    document = known(
        config_error="config.toml:3:1: no",
        database_error="watcher.db cannot be written: alerts go on from memory",
        stopped_channels={"team": "404 no_service"},
        broken_channels={"phone": "NTFY is not set", "providers.claude.token": "KEY is not set"},
        undelivered=[
            waiting,
            structs.replace(waiting, channel="mail", attempts=2, outcome="timed out", next_attempt_at=NOW + 5 * M),
            structs.replace(waiting, channel="old", state="dead", outcome="timed out", next_attempt_at=None),
            structs.replace(waiting, channel="desktop", state="held"),
        ],
    )
    assert FORMATTER.list_problems(document) == [
        "the config has a mistake, and the last good one is in force:\nconfig.toml:3:1: no",
        "watcher.db cannot be written: alerts go on from memory",
        (
            "channel team refused permanently and is not used until its settings change: 404 no_service"
            " (1 message waiting)"
        ),
        "channel phone waits for its secret: NTFY is not set",
        "the token of claude is not available: KEY is not set",
        'not delivered to mail: "Claude at 82 %" (retried in 5 min: timed out)',
        'not delivered to old: "Claude at 82 %" (given up: timed out)',
        "1 message held back by quiet hours or a snooze",
    ]


def test_snoozes_are_shown_with_their_end():
    document = known(
        snoozes=[ActiveSnooze(target="session", until=NOW + 2 * H), ActiveSnooze(target="claude.seven_day", until=None)]
    )
    output = ["snoozed: session until 14:00", "snoozed: claude.seven_day until the reset"]
    assert [line for line in shown(document) if line.startswith("snoozed")] == output


@pytest.mark.parametrize(
    ("facts", "output"),
    [
        ({"daemon_running": True}, "watching in the background"),
        ({"daemon_running": False}, "not watching in the background since 10:00: `watcher agent install`, or"),
        (
            {"daemon_running": False, "daemon_seen_at": None},
            "not watching in the background: `watcher agent install`",
        ),
    ],
)
def test_the_state_of_the_daemon_is_shown(facts, output):
    document = structs.replace(known(), daemon_seen_at=NOW - 2 * H)
    assert FORMATTER.format_daemon_state(structs.replace(document, **facts)).startswith(output)


@pytest.mark.parametrize(
    ("used", "left", "word"),
    [
        (50.0, 2.5 * H, "on"),
        (55.1, 2.5 * H, "ahead"),
        (44.9, 2.5 * H, "behind"),
        (None, 2.5 * H, None),
        (50.0, -1 * M, None),
        (50.0, 6 * H, None),
    ],
)
def test_pace_is_use_against_an_even_use_of_the_window(used, left, word):
    reading = Reading(
        window="five_hour", kind=WindowKind.SESSION, used_percent=used, resets_at=NOW + left, window_seconds=18000
    )
    assert compute_pace(reading, NOW) == word


def test_windows_are_chosen_by_provider_window_kind_and_account():
    weekly = window("seven_day", kind="weekly", primary=False)
    document = known(
        account(window(), weekly, account="a@example.com"),
        account(window(), account="b@example.com"),
        account(PREMIUM, provider="copilot"),
    )

    def names(*selectors):
        found = status.select_windows(document, status.parse_selectors(selectors))
        return [(each.provider, each.account, w.window) for each in found.providers for w in each.windows]

    a, b, c = ("claude", "a@example.com"), ("claude", "b@example.com"), ("copilot", None)
    assert names() == [(*a, "five_hour"), (*a, "seven_day"), (*b, "five_hour"), (*c, "premium_interactions")]
    assert names("claude") == [(*a, "five_hour"), (*a, "seven_day"), (*b, "five_hour")]
    assert names("*.weekly", "copilot") == [(*a, "seven_day"), (*c, "premium_interactions")]
    assert names("claude[b@example.com]") == [(*b, "five_hour")]


def test_the_alerts_are_those_of_the_chosen_windows():
    weekly = structs.replace(FIRING, series="claude.seven_day")
    silent = structs.replace(FIRING, series="codex")
    document = known(
        account(window(), window("seven_day", kind="weekly", primary=False)),
        account(provider="codex"),
        alerts=[FIRING, weekly, silent],
    )

    def alerts(*selectors):
        return [each.series for each in status.select_windows(document, status.parse_selectors(selectors)).alerts]

    assert alerts("claude") == ["claude.five_hour", "claude.seven_day"]
    assert alerts("claude.five_hour") == ["claude.five_hour"]
    assert alerts("codex") == ["codex"]


def test_of_several_accounts_an_alert_stays_with_its_own():
    ours = structs.replace(FIRING, series="claude[b@example.com].five_hour")
    document = known(
        account(window(), account="a@example.com"), account(window(), account="b@example.com"), alerts=[ours]
    )

    def marked(*selectors):
        found = status.select_windows(document, status.parse_selectors(selectors))
        return ["!" in line for line in shown(found) if "%" in line]

    assert marked() == [False, True]
    assert marked("claude[b@example.com]") == [True]
    assert marked("claude[a@example.com]") == [False]


def test_a_template_is_filled_for_the_primary_window_or_for_those_that_were_named():
    weekly = window("seven_day", kind="weekly", primary=False, used_percent=None)
    document = known(account(window(), weekly), alerts=[FIRING])
    text = "{series} {used_percent:.0f}% {resets_in} {resets_at} {severity} {rule} {age}"
    assert list(status.render_template_lines(document, text, (), FORMATTER)) == [
        "claude.five_hour 82% 1 h 40 min 13:40 warning session 3 min"
    ]
    assert list(
        status.render_template_lines(
            document, "{window} {used_percent:.0f}", status.parse_selectors(("*.weekly",)), FORMATTER
        )
    ) == [
        "five_hour 82",
        "seven_day ?",
    ]
