"""Status bars: quick, always in their own form, and in agreement with everything else."""

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from tests.world import HOOK, made
from watcher.cli import status_bar
from watcher.errors import TimedOutError
from watcher.status import builder, fast_reader
from watcher.status.fast_reader import AccountSummary, StatusSummary, WindowSummary
from watcher.storage.store import Store

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
CONFIG = f"""{HOOK}[[rule]]
name = "session"
when = "claude.five_hour > 80%"
severity = "critical"
"""
HEAVY = {"click", "msgspec", "rich", "requests", "loguru", "urllib3", "schedule", "tomllib", "asyncio"}


def window(**facts):
    known = {
        "window": "five_hour",
        "label": "5-hour window",
        "used_percent": 82.4,
        "remaining": None,
        "unit": "percent",
        "unlimited": False,
        "resets_at": NOW + timedelta(hours=1, minutes=40),
        "primary": True,
        "severity": None,
    }
    return WindowSummary(**{**known, **facts})


def account(*windows, **facts):
    known = {"provider": "claude", "name": "", "stale": False, "error": None, "windows": windows}
    return AccountSummary(**{**known, **facts})


@pytest.mark.parametrize(
    ("seen", "said"),
    [
        (account(window()), "claude 82% 1h40m"),
        (account(window(severity="warning")), "claude 82%! 1h40m"),
        (account(window(), window(window="seven_day", primary=False, severity="info")), "claude 82%! 1h40m"),
        (account(window(), stale=True), "claude 82%? 1h40m"),
        (account(window(), error="timed out"), "claude 82%? 1h40m"),
        (account(error="timed out"), "claude ?"),
        (account(window(), name="me@example.com"), "claude me@example.com 82% 1h40m"),
        (account(window(used_percent=99.97)), "claude 99% 1h40m"),
        (account(window(used_percent=118.0, resets_at=None)), "claude 118%"),
        (account(window(used_percent=None, remaining=Decimal("4.2"), unit="usd", resets_at=None)), "claude $4.20 left"),
        (account(window(used_percent=None, resets_at=None)), "claude ?"),
        (account(window(unlimited=True)), "claude unlimited"),
        (account(window(resets_at=NOW + timedelta(days=3, hours=4))), "claude 82% 3d4h"),
        (account(window(resets_at=NOW - timedelta(minutes=1))), "claude 82%"),
        (account(window(primary=False), window(primary=False, used_percent=91.0)), "claude 91% 1h40m"),
    ],
)
def test_one_account_is_one_phrase(seen, said):
    assert status_bar.format_line(StatusSummary((seen,)), NOW) == said


def test_accounts_stand_side_by_side_and_none_is_said_too():
    assert (
        status_bar.format_line(StatusSummary((account(window()), account(provider="codex"))), NOW)
        == "claude 82% 1h40m · codex ?"
    )
    assert status_bar.format_line(StatusSummary(), NOW) == "watcher: no readings yet"


def test_tmux_colours_what_fires_and_what_is_old():
    seen = StatusSummary((account(window(severity="critical")), account(window(), name="#1", stale=True)))
    assert (
        status_bar.format_tmux(seen, NOW)
        == "#[fg=red]claude 82%! 1h40m#[default] · #[fg=colour244]claude ##1 82%? 1h40m#[default]"
    )


def test_waybar_gets_escaped_markup_a_class_and_a_percentage():
    seen = StatusSummary((account(window(severity="critical", label="<&>"), name="a&b"),), "critical")
    assert json.loads(status_bar.format_waybar(seen, NOW)) == {
        "text": "claude a&amp;b 82%! 1h40m",
        "alt": "critical",
        "tooltip": "claude a&amp;b &lt;&amp;&gt;: 82%, resets in 1 h 40 min "
        f"({(NOW + timedelta(hours=1, minutes=40)).astimezone():%H:%M}) (critical)",
        "class": "critical",
        "percentage": 82,
    }


@pytest.mark.parametrize(
    ("seen", "word"),
    [
        (StatusSummary(), "empty"),
        (StatusSummary((account(window()),)), "ok"),
        (StatusSummary((account(window(), stale=True),)), "stale"),
        (StatusSummary((account(window(severity="info")),), "info"), "info"),
        ("watcher: damaged", "error"),
    ],
)
def test_waybar_is_always_json_with_a_word_for_its_state(seen, word):
    assert json.loads(status_bar.format_waybar(seen, NOW))["class"] == word


def test_a_terminal_without_the_sign_gets_another():
    assert status_bar.sanitize_line("a · ü", "ascii") == "a | ?"
    assert status_bar.sanitize_line("a · ü", "utf-8") == "a · ü"
    assert status_bar.sanitize_line("a\x1b[2J\nb", "utf-8") == "a?[2J?b"


@pytest.mark.parametrize("form", ["line", "tmux", "waybar"])
def test_a_damaged_database_is_said_in_the_bar_and_the_exit_code_is_0(empty_home, form):
    state = empty_home.paths.state_dir
    state.mkdir(parents=True)
    (state / "watcher.db").write_bytes(b"not a database " * 100)
    done = empty_home.watcher("status", "--format", form)
    assert done.returncode == 0
    assert done.stderr == ""
    assert "no reading can be had (file is not a database)" in done.stdout
    if form == "waybar":
        assert json.loads(done.stdout)["class"] == "error"


@pytest.mark.parametrize("form", ["line", "tmux", "waybar"])
def test_a_machine_without_readings_says_so(empty_home, form):
    done = empty_home.watcher("status", f"--format={form}")
    assert (done.returncode, done.stderr) == (0, "")
    assert "no readings yet" in done.stdout
    assert not empty_home.paths.state_dir.exists()


def test_the_quick_way_and_clicks_way_say_the_same(served):
    quick, slow = served.watcher("status", "--format", "line"), served.watcher("-v", "status", "--format", "line")
    assert quick.stdout.startswith("antigravity ")
    assert quick.stdout == slow.stdout


@pytest.mark.parametrize(
    ("words", "said"), [(["status", "--format=line"], "claude"), (["ingest", "claude-statusline"], "Claude Code")]
)
def test_the_quick_ways_import_nothing_heavy(served, words, said):
    code = (
        f"import sys; sys.argv = ['watcher', *{words!r}]\n"
        "from watcher.cli import main\n"
        "try: main()\n"
        "except SystemExit: print(*{name.partition('.')[0] for name in sys.modules}, file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=served.env, input="", capture_output=True, text=True, check=True
    )
    assert said in done.stdout
    assert not HEAVY & set(done.stderr.split())


# --- the same as the store says ---------------------------------------------------------------------------------------


@pytest.fixture
def world(tmp_path):
    with made(tmp_path, CONFIG) as world:
        yield world


def both(world, later=timedelta(0)):
    now = world.machine.now() + later
    path = world.paths.state_dir / "watcher.db"
    store = Store(path, now=now, read_only=True)
    document = builder.build_status(store, now=now)
    store.close()
    return fast_reader.read_summary(path, now), document


def agree(seen, document):
    assert len(seen.accounts) == len(document.providers)
    for quick, slow in zip(seen.accounts, document.providers, strict=True):
        assert (quick.provider, quick.stale, quick.error) == (
            slow.provider,
            slow.stale,
            None if slow.error is None else slow.error.message,
        )
        assert [
            (w.window, w.label, w.used_percent, w.remaining, w.unit, w.unlimited, w.resets_at, w.primary)
            for w in quick.windows
        ] == [
            (w.window, w.label, w.used_percent, w.remaining, w.unit, w.unlimited, w.resets_at, w.primary)
            for w in slow.windows
        ]
    assert seen.severity == next((alert.severity for alert in document.alerts if alert.state == "firing"), None)


def test_a_glance_sees_what_status_sees(world):
    world.watch(timedelta(minutes=5))
    agree(*both(world))
    world.usage(91)
    world.watch(timedelta(minutes=15))
    seen, document = both(world)
    agree(seen, document)
    assert seen.severity == "critical"
    assert [w.severity for w in seen.accounts[0].windows if w.primary] == ["critical"]


def test_a_rule_that_speaks_only_of_the_end_fires_nowhere(world):
    rule = '[[rule]]\nname = "room"\nwhen = "claude.five_hour > 80%"\nseverity = "info"\non = ["resolved"]\n'
    world.config(CONFIG.split("[[rule]]", maxsplit=1)[0] + rule)
    world.usage(91)
    world.watch(timedelta(minutes=15))
    seen, document = both(world)
    agree(seen, document)
    assert (seen.severity, document.alerts) == (None, [])
    assert [(each.rule, each.series, each.state) for each in document.waiting] == [
        ("room", "claude.five_hour", "waiting")
    ]
    world.usage(20)
    world.watch(timedelta(minutes=15))
    assert both(world)[1].waiting == []
    assert [body["event"] for body in world.received] == ["resolved"]


def test_a_glance_sees_failure_and_age_as_status_does(world):
    world.watch(timedelta(minutes=5))
    world.answers["/api/oauth/usage"] = lambda _request: TimedOutError("no answer")
    world.watch(timedelta(minutes=20))
    agree(*both(world))
    seen, document = both(world, later=timedelta(days=1))
    agree(seen, document)
    assert seen.accounts[0].stale


def test_a_reading_is_old_when_it_was_not_polled_again_in_time():
    every, at = timedelta(minutes=5), NOW - timedelta(minutes=16)
    assert not fast_reader.is_stale(NOW - timedelta(minutes=15), every, None, NOW, failing=True)
    assert fast_reader.is_stale(at, every, None, NOW, failing=False)
    assert fast_reader.is_stale(at, every, NOW + timedelta(minutes=9), NOW, failing=True)
    assert not fast_reader.is_stale(
        at, every, NOW + timedelta(minutes=9), NOW, failing=False
    )  # asked rarely on purpose
    assert fast_reader.is_stale(at, every, NOW - timedelta(minutes=6), NOW, failing=False)
    assert fast_reader.is_stale(None, every, NOW, NOW, failing=False)
    assert not fast_reader.is_stale(at, None, None, NOW, failing=True)
