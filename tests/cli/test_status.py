"""`watcher status` and `watcher check`: the same facts, the same words, in any width."""

import io
import json
import os
import re
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from msgspec import structs
from rich.console import Console

from watcher.cli import check, selection
from watcher.cli.status import live
from watcher.cli.table import table
from watcher.cli.words import Tongue
from watcher.core.model import Kind, Reading
from watcher.lock import Lock
from watcher.standing import AccountStatus, AlertStatus, Problem, Undelivered, Window, empty, pace
from watcher.store import Store

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
TONGUE = Tongue(NOW, UTC)
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
    return Window(**{**known, **facts})


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
    return structs.replace(empty(NOW), providers=list(accounts), daemon_running=True, daemon_seen_at=NOW, **facts)


def shown(document, width=80, **options):
    lines = table(document, TONGUE, width, names=NAMES, ascii_=options.pop("ascii_", False), **options)
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


def test_in_80_columns():
    document = known(account(window(pace="on")), account(PREMIUM, BALANCE, provider="copilot", plan=None))
    assert shown(structs.replace(document, alerts=[FIRING])) == [
        "Claude · Max 20x                        read 3 min ago, next in 7 min: every 10m",
        "  5-hour window         ████████░░    82 %!  on pace  in 1 h 40 min (13:40)",
        "",
        "Copilot                                 read 3 min ago, next in 7 min: every 10m",
        "  premium interactions  █████████░    97 %   ahead    in 3 days 4 h (Thu 16:00)",
        "    9 of 300 requests left, 112 % at reset",
        "  balance               $4.20 left",
        "",
        "firing: session on claude.five_hour (warning) since 11:40",
        "watching in the background",
    ]


def test_in_200_columns_everything_is_in_one_row():
    text = "\n".join(shown(known(account(window(pace="on"), PREMIUM), alerts=[FIRING]), 200))
    assert re.search(r"5-hour window +█{25}░{5} +82 %! +on pace +resets in 1 h 40 min \(13:40\) +session", text)
    assert re.search(
        r"premium interactions +█{29}░ +97 % +ahead, 112 % at reset +9 of 300 requests left"
        r" +resets in 3 days 4 h \(Thu 16:00\)",
        text,
    )


@pytest.mark.parametrize("width", [20, 40, 60, 80, 100, 120, 160, 200])
def test_no_row_of_a_window_is_wider_than_the_terminal(width):
    document = known(account(window(label="a very long name of a window of a model", pace="ahead"), PREMIUM, BALANCE))
    rows = [line for line in shown(document, width) if line.startswith("  ") and not line.startswith("    ")]
    assert max(map(len, rows if width >= 60 else [row for row in rows if "read" not in row])) <= width


def test_without_utf_8_every_sign_is_ascii():
    document = known(account(window(), PREMIUM, account="ü@example.com", provider="claude"))
    text = "\n".join(shown(document, ascii_=True))
    assert text.isascii()
    assert "#######." in text


@pytest.mark.parametrize(
    ("used", "full"), [(0.0, 0), (0.4, 1), (8.0, 2), (50.0, 15), (96.0, 29), (99.6, 29), (100.0, 30), (180.0, 30)]
)
def test_a_bar_is_empty_or_full_only_when_the_window_is(used, full):
    (row,) = [line for line in shown(known(account(window(used_percent=used))), 200) if "%" in line]
    bar = "█" * full + "░" * (30 - full)
    assert re.search("[█░]+", row).group() == bar


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({}, "82 % used, resets in 1 h 40 min (13:40)"),
        ({"unlimited": True, "used_percent": None}, "unlimited"),
        ({"used_percent": None, "resets_at": None}, "unknown"),
        ({"used_percent": 99.97}, "99.9 % used, resets in 1 h 40 min (13:40)"),
        ({"resets_at": NOW - 5 * M}, "82 % used, reset was due at 11:55"),
        ({"unconfirmed": True}, "82 % used, resets in 1 h 40 min (13:40), not confirmed yet"),
        (
            {"remaining": Decimal(-18), "limit": Decimal(300), "unit": "requests", "resets_at": None},
            "82 % used, 18 requests over",
        ),
        (
            {
                "remaining": Decimal("12.5"),
                "limit": Decimal(50),
                "unit": "usd",
                "resets_at": None,
                "used_percent": None,
            },
            "$12.50 of $50.00 left",
        ),
    ],
)
def test_a_window_is_one_phrase(facts, said):
    assert TONGUE.window(window(**facts)) == said


def test_what_a_server_says_never_reaches_the_terminal_as_a_command():
    document = known(account(window(label="5\x1b[2Jhour"), account="me\x07", plan="\x9b31m"))
    assert not re.search("[\x00-\x1f\x7f-\x9f]", "".join(shown(document)))


def test_what_is_wrong_with_an_account_is_said_with_its_time():
    error = Problem(kind="expired", message="expired: run `claude` once", retry_at=None, since=NOW - 2 * H)
    failing = account(window(), ok=False, error=error, stale=True, fetched_at=NOW - 2 * H)
    text = "\n".join(shown(known(failing), 100))
    assert "read 2 h ago (old), next in 7 min" in text
    assert "  expired: run `claude` once (since 10:00)" in text
    (said, *_) = check.report(known(failing), TONGUE)
    assert said == "claude  expired: run `claude` once (since 10:00, asked again in 7 min)"


def test_a_provider_is_not_named_twice():
    error = Problem(kind="server", message="Nano-GPT: failed (500): again later", retry_at=None, since=None)
    failing = account(provider="nano_gpt", ok=False, error=error, next_poll_at=None)
    assert TONGUE.problem(failing) == "failed (500): again later"


def test_where_nobody_polls_no_next_poll_is_promised():
    error = Problem(kind="offline", message="cannot be reached", retry_at=None, since=None)
    document = structs.replace(known(account(window(), ok=False, error=error)), daemon_running=False)
    assert shown(document)[0].endswith("read 3 min ago")
    assert next(check.report(document, TONGUE)) == "claude  cannot be reached"


def test_long_sentences_are_broken_at_words_on_a_terminal_alone():
    message = "the server said something that takes more than one line of a small terminal to say"
    error = Problem(kind="server", message=message, retry_at=None, since=None)
    document = known(account(ok=False, error=error))
    assert f"  {message}" in shown(document, 60)
    assert shown(document, 60, wraps=True)[1:4] == [
        "  the server said something that takes more than one line of",
        "    a small terminal to say",
        "",
    ]


def test_every_trouble_is_said_and_what_waits_is_counted():
    waiting = Undelivered(
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
        stopped_channels={"team": "404 no_service"},
        broken_channels={"phone": "NTFY is not set", "providers.claude.token": "KEY is not set"},
        undelivered=[
            waiting,
            structs.replace(waiting, channel="mail", attempts=2, outcome="timed out", next_attempt_at=NOW + 5 * M),
            structs.replace(waiting, channel="old", state="dead", outcome="timed out", next_attempt_at=None),
            structs.replace(waiting, channel="desktop", state="held"),
        ],
    )
    assert TONGUE.troubles(document) == [
        "the config has a mistake, and the last good one is in force:\nconfig.toml:3:1: no",
        "channel team refused for good and is silent until its settings change: 404 no_service (1 message waiting)",
        "channel phone waits for its secret: NTFY is not set",
        "the token of claude cannot be had: KEY is not set",
        'not delivered to mail: "Claude at 82 %" (tried again in 5 min: timed out)',
        'not delivered to old: "Claude at 82 %" (given up: timed out)',
        "1 message held back by quiet hours or a snooze",
    ]


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"daemon_running": True}, "watching in the background"),
        ({"daemon_running": False}, "nothing watches in the background since 10:00: `watcher agent install`, or"),
        (
            {"daemon_running": False, "daemon_seen_at": None},
            "nothing watches in the background: `watcher agent install`",
        ),
    ],
)
def test_whether_anybody_watches_is_said(facts, said):
    document = structs.replace(known(), daemon_seen_at=NOW - 2 * H)
    assert TONGUE.watching(structs.replace(document, **facts)).startswith(said)


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
        window="five_hour", kind=Kind.SESSION, used_percent=used, resets_at=NOW + left, window_seconds=18000
    )
    assert pace(reading, NOW) == word


def test_check_says_the_same_in_one_aligned_block():
    error = Problem(kind="offline", message="cannot be reached", retry_at=None, since=None)
    document = known(
        account(window(), BALANCE),
        account(provider="codex", ok=False, error=error, next_poll_at=None),
        account(provider="copilot"),
        alerts=[FIRING],
    )
    assert list(check.report(document, TONGUE)) == [
        "claude   5-hour window  82 % used, resets in 1 h 40 min (13:40)",
        "claude   balance        $4.20 left",
        "codex    cannot be reached",
        "copilot  answered, without any window",
        "firing: session on claude.five_hour (warning) since 11:40",
    ]


def test_windows_are_chosen_by_provider_window_kind_and_account():
    weekly = window("seven_day", kind="weekly", primary=False)
    document = known(
        account(window(), weekly, account="a@example.com"),
        account(window(), account="b@example.com"),
        account(PREMIUM, provider="copilot"),
    )

    def names(*selectors):
        found = selection.chosen(document, selection.parse(selectors))
        return [(each.provider, each.account, w.window) for each in found.providers for w in each.windows]

    a, b, c = ("claude", "a@example.com"), ("claude", "b@example.com"), ("copilot", None)
    assert names() == [(*a, "five_hour"), (*a, "seven_day"), (*b, "five_hour"), (*c, "premium_interactions")]
    assert names("claude") == [(*a, "five_hour"), (*a, "seven_day"), (*b, "five_hour")]
    assert names("*.weekly", "copilot") == [(*a, "seven_day"), (*c, "premium_interactions")]
    assert names("claude[b@example.com]") == [(*b, "five_hour")]


def test_a_template_is_filled_for_the_primary_window_or_for_those_that_were_named():
    weekly = window("seven_day", kind="weekly", primary=False, used_percent=None)
    document = known(account(window(), weekly), alerts=[FIRING])
    text = "{series} {used_percent:.0f}% {resets_in} {resets_at} {severity} {rule} {age}"
    assert list(selection.lines(document, text, TONGUE, ())) == [
        "claude.five_hour 82% 1 h 40 min 13:40 warning session 3 min"
    ]
    assert list(selection.lines(document, "{window} {used_percent:.0f}", TONGUE, selection.parse(("*.weekly",)))) == [
        "five_hour 82",
        "seven_day ?",
    ]


def test_the_live_view_ends_cleanly_and_leaves_what_was_seen_last():
    drawn, waits = [], iter([None, None])

    def wait(_seconds):
        if next(waits, "end") == "end":
            raise KeyboardInterrupt

    with io.StringIO() as nowhere:
        live(Console(file=nowhere, force_terminal=True), lambda: drawn.append(1), wait)
    assert len(drawn) == 4


# --- as a person runs it ---------------------------------------------------------------------------------------------


def test_check_exits_10_while_an_alert_fires(served):
    assert served.checked.returncode == 10
    assert "firing: claude-session on claude.five_hour (warning)" in served.checked.stdout


def test_status_says_the_same_in_every_form(served):
    text = served.watcher("status", COLUMNS="120").stdout
    document = json.loads(served.watcher("status", "--json").stdout)
    (claude,) = [each for each in document["providers"] if each["provider"] == "claude"]
    (session,) = [each for each in claude["windows"] if each["window"] == "five_hour"]
    line = served.watcher("status", "claude", "--template", "{used_percent:.0f}").stdout.strip()
    assert document["schema"] == "watcher.status.v1"
    assert line == f"{session['used_percent']:.0f}"
    assert re.search(rf"5-hour window +[█░]+ +{line} %!", text)
    assert [(each["rule"], each["state"]) for each in document["alerts"]] == [("claude-session", "firing")]


def test_piped_it_has_no_colour_and_a_terminal_without_utf_8_gets_ascii(served):
    assert "\x1b" not in served.watcher("status").stdout
    assert served.watcher("status", PYTHONIOENCODING="ascii", COLUMNS="80").stdout.isascii()


@pytest.mark.parametrize(("env", "coloured"), [({"NO_COLOR": "1"}, False), ({"TERM": "xterm-256color"}, True)])
def test_a_terminal_has_colour_unless_refused(served, env, coloured):
    pty = pytest.importorskip("pty")
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "watcher", "status"],
        env={**served.env, "TERM": "xterm", "COLUMNS": "80", **env},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    ) as running:
        os.close(theirs)
        seen = b""
        while True:
            try:
                part = os.read(ours, 65536)
            except OSError:
                break
            if not part:
                break
            seen += part
    os.close(ours)
    assert running.returncode == 0
    assert "5-hour window" in seen.decode()
    assert (b"\x1b[33m" in seen) is coloured


def test_a_fresh_machine_is_told_how_to_begin(empty_home):
    done = empty_home.watcher("status")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("No readings yet in ")
    assert "watcher init" in done.stdout
    document = json.loads(empty_home.watcher("status", "--json").stdout)
    assert (document["providers"], document["alerts"]) == ([], [])
    assert not empty_home.paths.state_dir.exists()


def test_providers_without_a_login_are_named_on_request(empty_home):
    done = empty_home.watcher("status", "--all")
    assert done.returncode == 0
    assert "no login found: Claude, Codex, " in done.stdout


def test_a_daemon_that_was_killed_is_not_said_to_watch(empty_home):
    now = datetime.now(UTC)
    store = Store(empty_home.paths.state_dir / "watcher.db", now=now)
    store.write(lambda: store.set_fact("heartbeat", "running", now), now=now)
    store.close()
    assert "nothing watches in the background since " in empty_home.watcher("status").stdout
    lock = Lock(empty_home.paths.state_dir)
    assert lock.acquire()
    assert "watching in the background" in empty_home.watcher("status").stdout
    lock.release()


@pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="no such signal here")
def test_beside_a_daemon_a_refresh_asks_the_daemon(tmp_path, served):
    from tests.cli.conftest import Home  # noqa: PLC0415

    home = Home(tmp_path)
    (tmp_path / "home").mkdir()
    home.paths.config_dir.mkdir(parents=True)
    config = (served.paths.config_dir / "config.toml").read_text()
    (home.paths.config_dir / "config.toml").write_text(config)
    auth = tmp_path / "home" / ".local" / "share" / "opencode" / "auth.json"
    auth.parent.mkdir(parents=True)
    auth.write_text(json.dumps({"nano-gpt": {"type": "api", "key": "demo-nano"}}))
    argv = [sys.executable, "-m", "watcher", "run"]
    with subprocess.Popen(argv, env=home.env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as daemon:
        try:
            assert "watching" in daemon.stderr.readline()
            done = home.watcher("status", "nano_gpt", "--refresh", "--json")
            document = json.loads(done.stdout)
            assert (done.returncode, done.stderr) == (0, "")
            assert document["daemon_running"]
            assert [each["ok"] for each in document["providers"]] == [True]
        finally:
            daemon.send_signal(signal.SIGTERM)
            daemon.communicate(timeout=30)
    assert daemon.returncode == 0


@pytest.mark.parametrize(
    ("words", "code"), [(["status"], 1), (["status", "--json"], 1), (["guard", "claude < 90%"], 69)]
)
def test_a_damaged_database_is_one_line_with_what_to_do(empty_home, words, code):
    state = empty_home.paths.state_dir
    state.mkdir(parents=True)
    (state / "watcher.db").write_bytes(b"not a database " * 100)
    done = empty_home.watcher(*words)
    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr.startswith(f"{state / 'watcher.db'} is damaged: move it away; ")
    assert done.stderr.count("\n") == 1
